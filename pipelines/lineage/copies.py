"""Copies of a network whose descent is known: hidden, pruned, quantised, retrained."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

Weights = Mapping[str, Tensor]


class Hidden(NamedTuple):
    """Channels that no other layer sees, by names of what gives, normalises and reads them."""

    gives: str
    normalises: str
    reads: str


def permuted_and_rescaled(
    weights: Weights, hidden: Sequence[Hidden], generator: torch.Generator, *, spread: float = 1.0
) -> dict[str, Tensor]:
    """A network that computes the same, with its hidden channels in another order and scale.

    Args:
        weights: By name; batch normalisation has its statistics beside.
        hidden: Which channels.
        generator: Draws orders, and factors.
        spread: Standard deviation of the factors' logarithm; 0 leaves scales as they are.
    """
    new = {name: tensor.clone() for name, tensor in weights.items()}
    for gives, normalises, reads in hidden:
        count = len(new[f"{gives}.weight"])
        order = torch.randperm(count, generator=generator)
        before, behind = (
            torch.exp(spread * torch.randn(count, generator=generator)) for _ in range(2)
        )
        new[f"{gives}.weight"] = new[f"{gives}.weight"][order] * before[:, None, None, None]
        for name in ("weight", "bias"):
            new[f"{normalises}.{name}"] = new[f"{normalises}.{name}"][order] * behind
        # a normalisation takes out what comes before it
        mean, variance = f"{normalises}.running_mean", f"{normalises}.running_var"
        new[mean] = new[mean][order] * before
        new[variance] = new[variance][order] * before**2
        read = new[f"{reads}.weight"]
        by_channel = read.reshape(len(read), count, -1)  # also where it reads flattened maps
        permuted = by_channel[:, order] / behind[:, None]
        new[f"{reads}.weight"] = permuted.reshape(read.shape)
    return new


def pruned(weights: Weights, share: float) -> dict[str, Tensor]:
    """The smallest of each kernel's weights set to zero, by magnitude."""
    return {
        name: torch.where(t.abs() > torch.quantile(t.abs().flatten(), share), t, 0.0)
        if _is_kernel(t)
        else t
        for name, t in weights.items()
    }


def quantised(weights: Weights, bits: int) -> dict[str, Tensor]:
    """Each kernel on a symmetric grid of so many bits, as floating-point numbers again."""
    steps = 2 ** (bits - 1) - 1
    return {
        name: torch.round(t / t.abs().max() * steps) * t.abs().max() / steps if _is_kernel(t) else t
        for name, t in weights.items()
    }


def _is_kernel(tensor: Tensor) -> bool:
    return tensor.dim() > 1


def trained(
    module: nn.Module, images: Tensor, labels: Tensor, epochs: int, rate: float, seed: int
) -> dict[str, Tensor]:
    """The weights of a network after training by SGD with momentum on batches of 64.

    Args:
        module: Gives logits; it is changed.
        images: ``(N, 3, S, S)``, normalised.
        labels: ``(N,)`` int64.
        epochs: How often all images are seen.
        rate: Learning rate, falling to zero along a cosine.
        seed: Of the order of the images.
    """
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.SGD(module.parameters(), rate, momentum=0.9, weight_decay=5e-4)
    batches = len(images) // 64
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs * batches)
    module.train()
    for _ in range(epochs):
        order = torch.randperm(len(images), generator=generator)
        for rows in order[: 64 * batches].reshape(batches, 64):
            loss = nn.functional.cross_entropy(module(images[rows]), labels[rows])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch's own
            optimiser.step()
            schedule.step()
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
