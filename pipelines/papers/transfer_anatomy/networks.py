"""The small paper's networks: four convolutions, with an own head for each task."""

from typing import NamedTuple

from pipelines.zoo.architectures import FourConvolutions

_WIDTHS = (16, 32, 64, 64)


def source() -> FourConvolutions:
    """Of CIFAR-10."""
    return FourConvolutions(_WIDTHS, 10)


def near() -> FourConvolutions:
    """Of twenty classes of CIFAR-100."""
    return FourConvolutions(_WIDTHS, 20)


def far() -> FourConvolutions:
    """Of handwritten digits."""
    return FourConvolutions(_WIDTHS, 10)


class Training(NamedTuple):
    """How a task's networks are trained; a learning rate at its peak."""

    epochs: int
    from_scratch: float
    fine_tuned: float


TRAINING = {
    "source": Training(12, 0.1, 0.1),
    "near": Training(30, 0.1, 0.03),
    "far": Training(30, 0.1, 0.03),
}
