"""The bundled example's backbone: four convolutions and a pool."""

from typing import NamedTuple

import torch
from torch import nn

WIDTH = 32
CLASSES = 6


class Outputs(NamedTuple):
    """``features`` (N, 4 * WIDTH) and the source task's ``logits`` (N, CLASSES)."""

    features: torch.Tensor
    logits: torch.Tensor


class Backbone(nn.Module):
    """Input ``(N, 3, 32, 32)``, normalised."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, WIDTH, 2 * WIDTH, 2 * WIDTH, 4 * WIDTH)
        strides = (1, 2, 1, 2)
        layers: list[nn.Module] = []
        for before, after, stride in zip(widths, widths[1:], strides, strict=False):
            layers += [
                nn.Conv2d(before, after, 3, stride, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(),
            ]
        self.stages = nn.Sequential(*layers)
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.source_head = nn.Linear(4 * WIDTH, CLASSES)

    def forward(self, images: torch.Tensor) -> Outputs:
        """Both outputs, features first."""
        features = self.pool(self.stages(images))
        return Outputs(features, self.source_head(features))


def backbone() -> Backbone:
    """Factory for a plan: ``arch: "pipelines.digits.architecture:backbone"``."""
    return Backbone()
