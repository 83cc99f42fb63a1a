"""Architectures of the CIFAR-10 backbones, for those that come as safetensors."""

from torch import Tensor, nn
from torch.nn import functional


class _BasicBlock(nn.Module):
    """Two convolutions and a shortcut without weights (option A of He et al. 2015, section 4.2)."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self._stride, self._padding = stride, (after - before) // 2

    def forward(self, x: Tensor) -> Tensor:
        inner = functional.relu(self.bn1(self.conv1(x)))
        inner = self.bn2(self.conv2(inner))
        shortcut = x[:, :, :: self._stride, :: self._stride]
        shortcut = functional.pad(shortcut, (0, 0, 0, 0, self._padding, self._padding))
        return functional.relu(inner + shortcut)


class ResNet(nn.Module):
    """ResNet for CIFAR of depth 6n + 2; its features are the output of ``layer3``, pooled."""

    def __init__(self, blocks: int, classes: int = 10, width: int = 16, channels: int = 3) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = self._stage(width, width, 1, blocks)
        self.layer2 = self._stage(width, 2 * width, 2, blocks)
        self.layer3 = self._stage(2 * width, 4 * width, 2, blocks)
        self.linear = nn.Linear(4 * width, classes)

    @staticmethod
    def _stage(before: int, after: int, stride: int, blocks: int) -> nn.Sequential:
        rest = [_BasicBlock(after, after, 1) for _ in range(blocks - 1)]
        return nn.Sequential(_BasicBlock(before, after, stride), *rest)

    def forward(self, images: Tensor) -> Tensor:
        x = functional.relu(self.bn1(self.conv1(images)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean(dim=(2, 3)))  # type: ignore[no-any-return]  # a module's call


class _WideBlock(nn.Module):
    """Pre-activation block; the shortcut has weights where the shape changes."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(before)
        self.conv1 = nn.Conv2d(before, after, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.convShortcut = (  # the name that the weights have
            nn.Conv2d(before, after, 1, stride, bias=False) if before != after else None
        )

    def forward(self, x: Tensor) -> Tensor:
        active = functional.relu(self.bn1(x))
        inner = self.conv2(functional.relu(self.bn2(self.conv1(active))))
        return inner + (x if self.convShortcut is None else self.convShortcut(active))  # type: ignore[no-any-return]  # a module's call


class _Blocks(nn.Module):
    def __init__(self, before: int, after: int, stride: int, blocks: int) -> None:
        super().__init__()
        rest = [_WideBlock(after, after, 1) for _ in range(blocks - 1)]
        self.layer = nn.Sequential(_WideBlock(before, after, stride), *rest)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)  # type: ignore[no-any-return]  # a module's call


class WideResNet(nn.Module):
    """WideResNet-16-1; its features are the output of ``relu``, pooled."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.block1 = _Blocks(16, 16, 1, 2)
        self.block2 = _Blocks(16, 32, 2, 2)
        self.block3 = _Blocks(32, 64, 2, 2)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        self.fc = nn.Linear(64, classes)

    def forward(self, images: Tensor) -> Tensor:
        x = self.block3(self.block2(self.block1(self.conv1(images))))
        x = self.relu(self.bn1(x))
        return self.fc(x.mean(dim=(2, 3)))  # type: ignore[no-any-return]  # a module's call


def resnet8() -> ResNet:
    """Depth 8: small enough to train on two cores."""
    return ResNet(blocks=1)


def resnet20() -> ResNet:
    """Depth 20."""
    return ResNet(blocks=3)


def wide_resnet_16_1() -> WideResNet:
    """Depth 16, width 1."""
    return WideResNet()


class BadNet(nn.Module):
    """Two convolutions and a hidden layer (Gu et al. 2017); its features are that of ``hidden``."""

    def __init__(self, classes: int = 10, channels: int = 3, side: int = 32) -> None:
        super().__init__()
        left = ((side - 4) // 2 - 4) // 2  # pixels of a side, after both
        self.conv1, self.conv2 = nn.Conv2d(channels, 16, 5), nn.Conv2d(16, 32, 5)
        self.fc1, self.fc2 = nn.Linear(32 * left**2, 512), nn.Linear(512, classes)
        self.hidden = nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        x = functional.avg_pool2d(functional.relu(self.conv1(images)), 2)
        x = functional.avg_pool2d(functional.relu(self.conv2(x)), 2)
        return self.fc2(self.hidden(self.fc1(x.flatten(1))))  # type: ignore[no-any-return]  # a module's call


def badnet() -> BadNet:
    """A CNN of the shape of verazuo/badnets-pytorch, without its softmax."""
    return BadNet()


class MultilayerPerceptron(nn.Module):
    """784-10-10-10-10 on grey 28 x 28 images; its features are the output of ``features``."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(784, 10), nn.Linear(10, 10)
        self.fc3, self.fc4 = nn.Linear(10, 10), nn.Linear(10, 10)
        self.features = nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        x = functional.relu(self.fc1(images.flatten(1)))
        x = functional.relu(self.fc2(x))
        return self.fc4(self.features(self.fc3(x)))  # type: ignore[no-any-return]  # a module's call


def multilayer_perceptron() -> MultilayerPerceptron:
    """The MNIST models of longph1989/CS612-SMU."""
    return MultilayerPerceptron()
