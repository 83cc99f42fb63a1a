"""The bundled example's backbone: four convolutions and a pool."""

from typing import NamedTuple

import torch
from torch import nn

WIDTHS = (32, 64, 128, 128)
STRIDES = (2, 1, 2, 2)
CLASSES = 6


class Outputs(NamedTuple):
    """``features`` (N, 128) and the source task's ``logits`` (N, CLASSES)."""

    features: torch.Tensor
    logits: torch.Tensor


class Backbone(nn.Module):
    """Input ``(N, 3, 32, 32)``, normalised."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after, stride in zip((3, *WIDTHS), WIDTHS, STRIDES, strict=False):
            layers += [
                nn.Conv2d(before, after, 3, stride, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(),
            ]
        self.stages = nn.Sequential(*layers)
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.source_head = nn.Linear(WIDTHS[-1], CLASSES)

    def forward(self, images: torch.Tensor) -> Outputs:
        """Both outputs, features first."""
        features = self.pool(self.stages(images))
        return Outputs(features, self.source_head(features))


def backbone() -> Backbone:
    """Factory for a plan: ``arch: "pipelines.digits.architecture:backbone"``."""
    return Backbone()
