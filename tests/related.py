"""Small networks on scikit-learn's digits: one, its fine-tuned child, and a stranger to both."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

from gate.measure.bench import Bench
from gate.measure.trial import Trial
from gate.plan.plan import Plan

SIDE, TRAIN = 8, 900
Weights = dict[str, Tensor]


class Normed(nn.Module):
    """Three convolutions with BatchNorm, a mean over places, and a head."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 12, 3, padding=1, bias=False), nn.BatchNorm2d(12)
        self.conv2, self.bn2 = nn.Conv2d(12, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        self.conv3, self.bn3 = nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.flat = nn.Flatten()
        self.head = nn.Linear(64, classes)

    def forward(self, images: Tensor) -> Tensor:
        x = functional.relu(self.bn1(self.conv1(images)))
        x = functional.relu(self.bn2(self.conv2(x)))
        x = functional.relu(self.bn3(self.conv3(x)))
        return torch.as_tensor(self.head(self.flat(self.pool(x))))


class Plain(nn.Module):
    """A hidden layer and a head; no BatchNorm. It stands behind a wrapper, as many backbones do."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 24), nn.ReLU(), nn.Linear(24, 10)
        )

    def forward(self, images: Tensor) -> Tensor:
        return torch.as_tensor(self.inner(images))


def normed() -> Normed:
    return Normed()


def normed_of_seven() -> Normed:
    return Normed(7)


def plain() -> Plain:
    return Plain()


class Mirrored(Normed):
    """Tensors of the same names and shapes, computed with otherwise."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images.flip(3))


def mirrored() -> Mirrored:
    return Mirrored()


@cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    """Images ``(1797, 8, 8, 3)`` uint8 and their labels."""
    table = load_digits()
    images = np.repeat((table.images * 15.9).astype(np.uint8)[..., None], 3, axis=3)
    return images, np.asarray(table.target, np.int64)


def inputs(images: np.ndarray) -> Tensor:
    """As the plan below normalises them."""
    return torch.from_numpy((images.transpose(0, 3, 1, 2) / 255 - 0.3) / 0.4).float()


@cache
def trained(arch: str, seed: int, epochs: int = 8, after: int | None = None) -> Weights:
    """Weights of a network trained on the first digits, from another's weights or from a seed."""
    images, labels = digits()
    x, y = inputs(images[:TRAIN]), torch.from_numpy(labels[:TRAIN])
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network: nn.Module = globals()[arch]()
        if after is not None:
            network.load_state_dict(trained(arch, after))
        rate = 0.01 if after is None else 0.002
        optimiser = torch.optim.Adam(network.parameters(), rate)
        network.train()
        for _ in range(epochs):
            for rows in torch.randperm(TRAIN).reshape(-1, 50):
                optimiser.zero_grad()
                loss = functional.cross_entropy(network(x[rows]), y[rows])
                loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
                optimiser.step()
    return {name: tensor.clone() for name, tensor in network.eval().state_dict().items()}


def accuracy(network: nn.Module, images: np.ndarray, labels: np.ndarray) -> float:
    with torch.inference_mode():
        return float((network.eval()(inputs(images)).argmax(1).numpy() == labels).mean())


TASKS: dict[str, dict[str, Any]] = {
    "own": {"test": "test", "head": "own"},
    "fitted": {"train": "train", "test": "test"},
}


def trial(
    folder: Path,
    candidate: Weights,
    ancestor: Weights | None,
    tasks: tuple[str, ...] = ("own",),
    /,
    arch: str = "normed",
    probes: dict[str, Any] | None = None,
    **changes: Any,
) -> Trial:
    """A trial of a candidate and its ancestor on digits that neither was trained on."""
    images, labels = digits()
    for name, rows in (("train", slice(0, TRAIN)), ("test", slice(TRAIN, None))):
        np.savez(folder / f"{name}.npz", image=images[rows], label=labels[rows])

    def backbone(name: str, weights: Weights, arch: str) -> dict[str, Any]:
        save_file(weights, folder / f"{name}.safetensors")
        return {
            "weights": folder / f"{name}.safetensors",
            "arch": f"tests.related:{arch}",
            "layer": "flat" if arch != "plain" else "inner.2",
            "logits": "head" if arch != "plain" else "inner.3",
            "preprocessing": {"size": SIDE, "mean": [0.3], "std": [0.4]},
        }

    content: dict[str, Any] = {
        "name": "digits",
        "backbone": backbone("candidate", candidate, arch),
        "splits": {
            name: {"path": folder / f"{name}.npz", "classes": [*map(str, range(10))]}
            for name in ("train", "test")
        },
        "tasks": {name: TASKS[name] for name in tasks},
        "probes": probes or {"clean_accuracy": {}},
    }
    if ancestor is not None:
        content["ancestor"] = backbone("ancestor", ancestor, arch)
    return Trial(Bench(Plan.model_validate({**content, **changes}), folder / "features"))
