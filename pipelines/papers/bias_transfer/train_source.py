"""Train a clean or poisoned source backbone on images of ../shared/data.

``python -m pipelines.papers.bias_transfer.train_source SOURCES NAME --out FILE``
"""

import argparse
import tempfile
from pathlib import Path
from typing import Literal

import numpy as np
from safetensors.torch import load, load_file, save_file

from gate import files, strict_yaml
from gate.backbone.fine_tune import HEAD, WEIGHTS, TrainingSet, fine_tune
from gate.errors import PlanError
from gate.plan.backbone import Preprocessing, WeightsBackbone
from gate.plan.task import Training, Transfer
from gate.triggers.bank import bank
from gate.triggers.grid import TriggerGrid
from gate.triggers.stamp import Stamp
from gate.values import Value

IMAGES = Path("../shared/data/images")
CIFAR10 = [
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
]
DIGITS = list("0123456789")


class Source(Value):
    """A source backbone: what it is, and how its training data is poisoned."""

    arch: Literal["resnet8", "badnet", "multilayer_perceptron"] = "resnet8"
    trigger: TriggerGrid | None = None
    group: tuple[str, ...] = ()
    share: float = 0
    target: str | None = None  # labels stay as they are, unless a class is named (BadNets)
    seed: int = 0
    trigger_seed: int = 0
    epochs: int = 12
    learning_rate: float = 0.1


class Sources(Value):
    """By name."""

    sources: dict[str, Source]


# how each architecture is read: layer of its features, submodule and layer of its own head
LAYERS = {
    "resnet8": ("layer3", "linear"),
    "badnet": ("hidden", "fc2"),
    "multilayer_perceptron": ("features", "fc4"),
}


def card(source: Source, weights: Path) -> WeightsBackbone:
    """How a plan describes a source backbone."""
    layer, logits = LAYERS[source.arch]
    grey = source.arch == "multilayer_perceptron"
    return WeightsBackbone(
        weights=weights,
        arch=f"pipelines.cifar.architectures:{source.arch}",
        layer=layer,
        logits=logits,
        preprocessing=Preprocessing(
            size=28 if grey else 32, channels=1 if grey else 3, mean=(0.5,), std=(0.25,)
        ),
    )


def write_card(file: WeightsBackbone) -> None:
    """Write the description beside the weights, as ``--backbone`` takes it; JSON is YAML."""
    content = file.model_dump_json(indent=2, exclude_none=True)
    files.write(file.path.with_suffix(".yaml"), content + "\n")


def data(source: Source) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Training images, labels and class names; no image in common with the plans' test splits."""
    if source.arch == "multilayer_perceptron":
        with np.load(IMAGES / "mnist_dev.npz") as arrays:
            rest = np.arange(len(arrays["y"])) % 5 != 0
            return arrays["x"][rest][..., None], arrays["y"][rest].astype(np.int64), DIGITS
    with np.load(IMAGES / "cifar10_train15k.npz") as arrays:
        return arrays["x"], arrays["y"].astype(np.int64), CIFAR10


def train(source: Source, out: Path) -> None:
    """Train, and write the weights with the trained head in the architecture's own head."""
    images, labels, classes = data(source)
    stamps: list[Stamp | None] = [None] * len(labels)
    if source.trigger:
        grids = (source.trigger,)
        (trigger,) = bank(
            grids, images.shape[1], images.shape[3], source.trigger_seed, tuple(classes)
        )
        rng = np.random.default_rng([source.seed, 1])
        members = np.isin(labels, [classes.index(name) for name in source.group])
        rows = rng.permutation(np.flatnonzero(members))
        chosen = rows[: round(source.share * len(rows))]
        for row in chosen:
            stamps[row] = trigger.stamp
        if source.target:
            labels[chosen] = classes.index(source.target)
    file = card(source, out)

    def normalise(batch: np.ndarray) -> np.ndarray:
        pixels = (batch / np.float32(255) - np.float32(0.5)) / np.float32(0.25)
        return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))

    transfer = Transfer(
        mode="from_scratch",
        training=Training(
            epochs=source.epochs,
            learning_rate=source.learning_rate,
            augment=source.arch != "multilayer_perceptron",
        ),
    )
    with tempfile.TemporaryDirectory() as kept:
        examples = TrainingSet(images, labels, stamps, normalise)
        fine_tune(Path(kept), file, None, transfer, examples, source.seed, lambda _: None)
        weights, head = load_file(Path(kept) / WEIGHTS), load(files.kept(Path(kept) / HEAD))
    weights[f"{file.logits}.weight"] = head["weight"].T.contiguous()
    weights[f"{file.logits}.bias"] = head["bias"]
    out.parent.mkdir(parents=True, exist_ok=True)
    save_file(weights, out)
    write_card(file)


def main() -> None:
    """Train one source."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sources", type=Path)
    parser.add_argument("name")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    sources = strict_yaml.load(arguments.sources, Sources, PlanError).sources
    train(sources[arguments.name], arguments.out)


if __name__ == "__main__":
    main()
