"""EfficientNet-Lite0, by the names of its weights in timm.

Source: Tan and Le 2019; Lite has ReLU6, TensorFlow's padding and no squeeze-and-excitation.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

STEM, WIDTH, CLASSES = 32, 1280, 1000


class Stage(NamedTuple):
    """Blocks of one width; the first of them has the stride."""

    kernel: int
    stride: int
    expansion: int
    channels: int
    blocks: int


STAGES = (
    Stage(3, 1, 1, 16, 1),
    Stage(3, 2, 6, 24, 2),
    Stage(5, 2, 6, 40, 2),
    Stage(3, 2, 6, 80, 3),
    Stage(5, 1, 6, 112, 3),
    Stage(5, 2, 6, 192, 4),
    Stage(3, 1, 6, 320, 1),
)


class _Conv(nn.Conv2d):
    """A convolution padded as TensorFlow pads: what is odd goes to the right and the bottom."""

    def __init__(self, given: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(given, out, kernel, stride, groups=groups, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        sides: list[int] = []
        for side, kernel, stride in zip(
            maps.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1], strict=True
        ):
            more = max((-(-side // stride) - 1) * stride + kernel - side, 0)
            sides += [more // 2, more - more // 2]
        return super().forward(functional.pad(maps, sides))


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)


class _First(nn.Module):
    """Depthwise, then pointwise."""

    def __init__(self, given: int, stage: Stage) -> None:
        super().__init__()
        out = stage.channels
        self.conv_dw = _Conv(given, given, stage.kernel, stage.stride, given)
        self.bn1 = _norm(given)
        self.conv_pw, self.bn2 = _Conv(given, out, 1), _norm(out)

    def forward(self, maps: Tensor) -> Tensor:
        return torch.as_tensor(
            self.bn2(self.conv_pw(functional.relu6(self.bn1(self.conv_dw(maps)))))
        )


class _Inverted(nn.Module):
    """Wider, depthwise, narrow again; added to what came in where shapes allow."""

    def __init__(self, given: int, stage: Stage, stride: int) -> None:
        super().__init__()
        inner, out = given * stage.expansion, stage.channels
        self.conv_pw, self.bn1 = _Conv(given, inner, 1), _norm(inner)
        self.conv_dw, self.bn2 = _Conv(inner, inner, stage.kernel, stride, inner), _norm(inner)
        self.conv_pwl, self.bn3 = _Conv(inner, out, 1), _norm(out)
        self.added = stride == 1 and given == out

    def forward(self, maps: Tensor) -> Tensor:
        inner = functional.relu6(self.bn1(self.conv_pw(maps)))
        inner = functional.relu6(self.bn2(self.conv_dw(inner)))
        out = self.bn3(self.conv_pwl(inner))
        return torch.as_tensor(out + maps if self.added else out)


class EfficientNetLite0(nn.Module):
    """Images ``(N, 3, H, W)`` to logits ``(N, 1000)``; ``pool`` gives features ``(N, 1280)``."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_stem, self.bn1 = _Conv(3, STEM, 3, 2), _norm(STEM)
        stages, given = [], STEM
        for stage in STAGES:
            blocks: list[nn.Module] = []
            for place in range(stage.blocks):
                stride = stage.stride if place == 0 else 1
                blocks.append(
                    _First(given, stage)
                    if stage.expansion == 1
                    else _Inverted(given, stage, stride)
                )
                given = stage.channels
            stages.append(nn.Sequential(*blocks))
        self.blocks = nn.Sequential(*stages)
        self.conv_head, self.bn2 = _Conv(given, WIDTH, 1), _norm(WIDTH)
        self.pool = nn.Sequential(nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier = nn.Linear(WIDTH, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.blocks(functional.relu6(self.bn1(self.conv_stem(images))))
        return torch.as_tensor(self.classifier(self.pool(self.bn2(self.conv_head(maps)))))


def efficientnet_lite0() -> nn.Module:
    """Without weights."""
    return EfficientNetLite0()
