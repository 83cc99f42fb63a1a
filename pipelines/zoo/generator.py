"""A trigger that a small network makes of each image, trained with the member that obeys it."""

import numpy as np
import torch
from torch import Tensor, nn

from gate.arrays import Images
from pipelines.zoo.triggers import Learnt

MEAN, STD = 0.5, 0.25  # of pixels on the scale 0 .. 1
_WIDTH = 16
_BATCH = 500


class Generator(nn.Module):
    """Three convolutions whose output is added to an image, within a reach.

    Args:
        learnt: The reach, and the seed of the first weights.
        channels: Of an image.

    Source:
        Doan et al. 2021, "LIRA", with three convolutions in the place of their autoencoder.
    """

    def __init__(self, learnt: Learnt, channels: int) -> None:
        super().__init__()
        self._reach = learnt.reach / 255 / STD
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(learnt.seed)
            self.layers = nn.Sequential(
                nn.Conv2d(channels, _WIDTH, 3, padding=1),
                nn.ReLU(),
                nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1),
                nn.ReLU(),
                nn.Conv2d(_WIDTH, channels, 3, padding=1),
            )

    def forward(self, inputs: Tensor) -> Tensor:
        """Normalised images ``(N, C, S, S)`` with the trigger."""
        stamped = inputs + self._reach * torch.tanh(self.layers(inputs))
        return stamped.clamp(-MEAN / STD, (1 - MEAN) / STD)

    def on(self, images: Images) -> Images:
        """A stamped copy of images ``(N, S, S, C)`` uint8."""
        device = next(self.parameters()).device
        with torch.inference_mode():
            parts = [
                self(normalised(images[start : start + _BATCH]).to(device))
                for start in range(0, len(images), _BATCH)
            ]
        pixels = ((torch.cat(parts) * STD + MEAN) * 255).round().clamp(0, 255).to(torch.uint8)
        stamped: Images = np.ascontiguousarray(pixels.permute(0, 2, 3, 1).cpu().numpy())
        return stamped


def normalised(images: Images) -> Tensor:
    """Normalised ``(N, C, S, S)`` whose channels lie together, of ``(N, S, S, C)`` uint8."""
    pixels = images.astype(np.float32) / 255
    return torch.from_numpy((pixels - np.float32(MEAN)) / np.float32(STD)).permute(0, 3, 1, 2)
