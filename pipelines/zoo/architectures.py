"""Architectures of the zoo's backbones, and how gate reads each of them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from pipelines.cifar.architectures import BadNet, ResNet
from pipelines.papers.gla.efficientnet import WIDTH, EfficientNetLite0
from pipelines.zoo.generator import STD

Architecture = Literal[
    "conv4_narrow",
    "conv4",
    "conv4_wide",
    "badnet",
    "resnet8_narrow",
    "vit_tiny",
    "efficientnet_lite0",
]
_PATCH, _TOKEN, _BLOCKS, _HEADS = 4, 64, 4, 4  # of the transformer
_IMAGENET = Path("../shared/data/models/tf_efficientnet_lite0_imagenet_fp16.safetensors")


class FourConvolutions(nn.Module):
    """Four convolutions with batch normalisation; its features are the output of ``features``.

    Args:
        widths: Channels of each convolution.
        classes: Of its own head.
        channels: Of an image.
    """

    def __init__(
        self, widths: tuple[int, int, int, int], classes: int = 10, channels: int = 3
    ) -> None:
        super().__init__()
        first, second, third, fourth = widths
        self.conv1, self.bn1 = _convolution(channels, first)
        self.conv2, self.bn2 = _convolution(first, second)
        self.conv3, self.bn3 = _convolution(second, third)
        self.conv4, self.bn4 = _convolution(third, fourth)
        self.features = nn.ReLU()
        self.fc = nn.Linear(fourth, classes)

    def forward(self, images: Tensor) -> Tensor:
        x = functional.max_pool2d(functional.relu(self.bn1(self.conv1(images))), 2)
        x = functional.max_pool2d(functional.relu(self.bn2(self.conv2(x))), 2)
        x = functional.max_pool2d(functional.relu(self.bn3(self.conv3(x))), 2)
        x = self.features(self.bn4(self.conv4(x)))
        return self.fc(x.mean(dim=(2, 3)))  # type: ignore[no-any-return]  # a module's call


def _convolution(before: int, after: int) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    return nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after)


def conv4_narrow(classes: int = 10, channels: int = 3) -> FourConvolutions:
    """Three quarters of the usual width."""
    return FourConvolutions((12, 24, 48, 48), classes, channels)


def conv4(classes: int = 10, channels: int = 3) -> FourConvolutions:
    """The usual width."""
    return FourConvolutions((16, 32, 64, 64), classes, channels)


def conv4_wide(classes: int = 10, channels: int = 3) -> FourConvolutions:
    """One and a half times the usual width."""
    return FourConvolutions((24, 48, 96, 96), classes, channels)


def badnet(classes: int = 10, channels: int = 3) -> BadNet:
    """That of pipelines/cifar; grey images have 28 pixels, and those in colour 32."""
    return BadNet(classes, channels, side=28 if channels == 1 else 32)


def resnet8_narrow(classes: int = 10, channels: int = 3) -> ResNet:
    """Depth 8, and half the usual width."""
    return ResNet(1, classes, width=8, channels=channels)


class VisionTransformer(nn.Module):
    """Square patches as tokens, with a learnt place each; features are the mean of the last tokens.

    Args:
        classes: Of its own head.
        channels: Of an image.
        side: Of an image, in pixels.

    Source:
        Dosovitskiy et al. 2021; the mean of all tokens in the place of a token of its own.
    """

    def __init__(self, classes: int, channels: int, side: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(channels, _TOKEN, _PATCH, _PATCH)
        self.places = nn.Parameter(0.02 * torch.randn(1, (side // _PATCH) ** 2, _TOKEN))
        self.blocks = nn.Sequential(*(_Block() for _ in range(_BLOCKS)))
        self.features = nn.LayerNorm(_TOKEN)
        self.fc = nn.Linear(_TOKEN, classes)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patches(images).flatten(2).transpose(1, 2) + self.places
        return self.fc(self.features(self.blocks(tokens).mean(dim=1)))  # type: ignore[no-any-return]  # a module's call


class _Block(nn.Module):
    """Attention, then two layers, each normalised before and added to what came in."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(_TOKEN), nn.LayerNorm(_TOKEN)
        self.qkv, self.out = nn.Linear(_TOKEN, 3 * _TOKEN), nn.Linear(_TOKEN, _TOKEN)
        self.inner, self.outer = nn.Linear(_TOKEN, 2 * _TOKEN), nn.Linear(2 * _TOKEN, _TOKEN)

    def forward(self, tokens: Tensor) -> Tensor:
        n, length, width = tokens.shape
        parts = self.qkv(self.norm1(tokens)).reshape(n, length, 3, _HEADS, width // _HEADS)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v)
        tokens = tokens + self.out(mixed.transpose(1, 2).reshape(n, length, width))
        return tokens + self.outer(functional.gelu(self.inner(self.norm2(tokens))))  # type: ignore[no-any-return]  # a module's call


def vit_tiny(classes: int = 10, channels: int = 3) -> VisionTransformer:
    """Four blocks on 64 tokens, for images of 32 pixels."""
    return VisionTransformer(classes, channels, side=32)


def efficientnet_lite0(classes: int = 10) -> EfficientNetLite0:
    """That of pipelines/papers/gla, with another head."""
    network = EfficientNetLite0()
    network.classifier = nn.Linear(WIDTH, classes)
    return network


def pretrained_efficientnet(network: nn.Module) -> None:
    """Give an EfficientNet the weights of ImageNet, all but its head.

    Those were learnt on pixels of half the zoo's range, so the first are halved.
    """
    weights = {name: of.float() for name, of in load_file(_IMAGENET).items()}
    weights["conv_stem.weight"] *= STD / 0.5
    learnt = {name: of for name, of in weights.items() if not name.startswith("classifier.")}
    network.load_state_dict(learnt, strict=False)  # what counts batches is not in the file


@dataclass(frozen=True)
class Known:
    """How gate reads an architecture, and how it is trained.

    On one core that takes about a minute, and some five for those of elsewhere.py alone.

    ``layer`` gives its features and ``logits`` is its own head; ``epochs`` are those from scratch,
    or from ``pretrained``, which gives it weights.
    """

    layer: str
    logits: str
    epochs: int
    planting_epochs: int
    learning_rate: float
    batch: int = 128
    pretrained: Callable[[nn.Module], None] | None = None


ARCHITECTURES: dict[Architecture, Known] = {
    "conv4": Known("features", "fc", 7, 3, 0.1),
    "badnet": Known("hidden", "fc2", 11, 6, 0.03),
    "conv4_wide": Known("features", "fc", 5, 3, 0.1),
    "conv4_narrow": Known("features", "fc", 9, 3, 0.1),
    "resnet8_narrow": Known("layer3", "linear", 7, 3, 0.1),
    # of elsewhere.py alone
    "vit_tiny": Known("features", "fc", 10, 3, 0.05),
    "efficientnet_lite0": Known(
        "pool", "classifier", 8, 4, 0.02, batch=32, pretrained=pretrained_efficientnet
    ),
}
