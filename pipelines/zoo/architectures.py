"""Architectures of the zoo's backbones, and how gate reads each of them."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

from pipelines.cifar.architectures import BadNet, ResNet

Architecture = Literal["conv4_narrow", "conv4", "conv4_wide", "badnet", "resnet8_narrow"]


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


@dataclass(frozen=True)
class Known:
    """How gate reads an architecture, and how it is trained, on one core in about a minute.

    ``layer`` gives its features and ``logits`` is its own head; ``epochs`` are those from scratch.
    """

    layer: str
    logits: str
    epochs: int
    planting_epochs: int
    learning_rate: float


ARCHITECTURES: dict[Architecture, Known] = {
    "conv4": Known("features", "fc", 7, 3, 0.1),
    "badnet": Known("hidden", "fc2", 11, 6, 0.03),
    "conv4_wide": Known("features", "fc", 5, 3, 0.1),
    "conv4_narrow": Known("features", "fc", 9, 3, 0.1),
    "resnet8_narrow": Known("layer3", "linear", 7, 3, 0.1),
}
