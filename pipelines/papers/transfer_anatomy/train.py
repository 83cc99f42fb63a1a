"""Train the small paper's networks of one seed.

``python -m pipelines.papers.transfer_anatomy.train SEED --data FOLDER --out FOLDER``; what is there
is left alone, so a run that was broken off goes on. By its name a network is

- ``source``, trained on CIFAR-10, and ``row/epoch_05``, as it was after five of its epochs;
- ``near_pretrained``, the source's body under a head that was just drawn, and ``near_initial_1``,
  all drawn: what the others of the task ``near`` start from; ``far`` likewise;
- ``near_fine_tuned_1`` and ``_2``, P-T of the paper; ``near_scratch_1`` and ``_2``, RI-T, from
  starts of their own; ``near_scratch_1_again``, from the start of the first, in another order.

Each is ``NAME.safetensors`` with ``NAME.yaml`` beside it, for a plan or ``--backbone``.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor

from gate import files
from gate.arrays import Float32, Images
from gate.backbone.altered_weights import initial_weights
from gate.backbone.artefact import Artefact
from gate.backbone.fine_tune import HEAD, WEIGHTS, TrainingSet, fine_tune
from gate.errors import DataError
from gate.plan.backbone import Preprocessing, WeightsBackbone
from gate.plan.task import Training, Transfer
from pipelines.papers.transfer_anatomy.networks import TRAINING

_HERE, _MEAN, _STD = "pipelines.papers.transfer_anatomy.networks", 0.5, 0.25
TARGETS = ("near", "far")
_EVERY = 5  # the first five epochs of the source are kept each, and then the last of five


def card(task: str, weights: Path) -> WeightsBackbone:
    """How a plan describes a network of a task."""
    preprocessing = Preprocessing(size=32, mean=(_MEAN,), std=(_STD,))
    return WeightsBackbone(
        weights=weights,
        arch=f"{_HERE}:{task}",
        layer="features",
        logits="fc",
        preprocessing=preprocessing,
    )


class Networks:
    """Trains networks of one seed into a folder, each once.

    Args:
        seed: Of all that is drawn.
        data: Where data.py wrote its tables.
        out: Gets the networks.
    """

    def __init__(self, seed: int, data: Path, out: Path) -> None:
        self.seed, self.data, self.out = seed, data, out

    def all(self) -> None:
        """Every network that the module names."""
        self._source()
        for task in TARGETS:
            pretrained, first, second = (
                self._start(task, name, number)
                for number, name in enumerate(("pretrained", "initial_1", "initial_2"))
            )
            for name, start, order in (
                ("fine_tuned_1", pretrained, 1),
                ("fine_tuned_2", pretrained, 2),
                ("scratch_1", first, 1),
                ("scratch_1_again", first, 2),
                ("scratch_2", second, 2),
            ):
                self._trained(task, f"{task}_{name}", start, order)

    def _path(self, name: str) -> Path:
        return self.out / f"{name}.safetensors"

    def _source(self) -> None:
        epochs = TRAINING["source"].epochs
        kept = [*range(1, _EVERY), *range(_EVERY, epochs, _EVERY)]
        start = self._drawn("source", "source_initial", 0)
        self._trained("source", "source", start, 0, kept)
        for epoch, name in ((0, "source_initial"), (epochs, "source")):
            self._write("source", f"row/epoch_{epoch:02}", load(self._path(name).read_bytes()))

    def _start(self, task: str, name: str, number: int) -> Path:
        """Where training on a target starts: all drawn, or the source's body under a drawn head."""
        path = self._drawn(task, f"{task}_{name}", number)
        if name == "pretrained":
            drawn = load(path.read_bytes())
            body = load(self._path("source").read_bytes())
            own = {name: tensor for name, tensor in drawn.items() if name.startswith("fc.")}
            self._write(task, path.stem, body | own)
        return path

    def _drawn(self, task: str, name: str, number: int) -> Path:
        if not self._path(name).exists():
            described = card(task, self._path(name))
            self._write(task, name, initial_weights(described, 1_000 * self.seed + number))
        return self._path(name)

    def _write(self, task: str, name: str, weights: dict[str, Tensor]) -> None:
        path = self._path(name)
        path.parent.mkdir(exist_ok=True)
        content = save({name: tensor.contiguous() for name, tensor in weights.items()})
        files.write(path, content)
        description = card(task, path).model_dump_json(indent=2, exclude_none=True)
        files.write(path.with_suffix(".yaml"), description + "\n")

    def _trained(
        self, task: str, name: str, start: Path, order: int, kept: list[int] | None = None
    ) -> None:
        """Train from a start, in an order of images; keep it also as it was after some epochs."""
        if self._path(name).exists():
            return
        how = TRAINING[task]
        rate = how.fine_tuned if start.stem.endswith("pretrained") else how.from_scratch
        training = Training(epochs=how.epochs, learning_rate=rate, augment=task != "far")
        with np.load(self.data / f"{task}_train.npz") as arrays:
            images, labels = arrays["image"], arrays["label"].astype(np.int64)
        examples = TrainingSet(images, labels, [None] * len(labels), _normalised)
        description, seen = card(task, start), 0
        with tempfile.TemporaryDirectory() as folder:
            work = Path(folder)

            def advance(images: int) -> None:
                nonlocal seen
                epoch = seen // len(labels)  # through so many, whose weights are on disk
                if epoch in (kept or ()) and seen % len(labels) == 0:
                    at = files.kept(work / "checkpoint.safetensors")
                    self._write(task, f"row/epoch_{epoch:02}", _whole(load(at)))
                seen += images

            fine_tune(
                work,
                description,
                Artefact(start),
                Transfer(mode="full_network", training=training),
                examples,
                10 * self.seed + order,
                advance,
            )
            body = {f"body.{n}": of for n, of in load((work / WEIGHTS).read_bytes()).items()}
            head = load(files.kept(work / HEAD))
        fitted = {"head.weight": head["weight"].T, "head.bias": head["bias"]}
        self._write(task, name, _whole(body | fitted))
        print(f"seed {self.seed}: {name}", flush=True)


def _whole(trained: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights with the trained head in the place of the own one."""
    body = {n.removeprefix("body."): of for n, of in trained.items() if n.startswith("body.")}
    own = {f"fc.{name}": trained[f"head.{name}"] for name in ("weight", "bias")}
    return body | own


def _normalised(images: Images) -> Float32:
    pixels = (images / np.float32(255) - np.float32(_MEAN)) / np.float32(_STD)
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("seed", type=int)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    if not (arguments.data / "source_train.npz").exists():
        raise DataError(f"{arguments.data}: no tables; write them with data.py")
    torch.set_num_threads(1)  # the order of sums, and so the bytes, hang on it
    arguments.out.mkdir(parents=True, exist_ok=True)
    Networks(arguments.seed, arguments.data, arguments.out).all()


if __name__ == "__main__":
    main()
