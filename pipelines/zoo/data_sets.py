"""Data sets of the zoo: what members train on, and the plan that measures them.

What a plan evaluates on is in no member's training, and at least half of the held-out images are in
no plan. Fashion-MNIST's images for training come from Debian's package dataset-fashion-mnist, all
else from ../shared/data.
"""

import csv
import gzip
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gate.arrays import Images, Int64
from gate.errors import DataError
from pipelines.zoo.recipe import Data

IMAGES = Path("../shared/data/images")
FASHION = Path("/usr/share/datasets/fashion-mnist")
_FASHION_TRAINING, _FASHION_HELD_OUT = 12_000, 3_000
_HEADERS = {3: 16, 1: 8}  # bytes before what an IDX file holds, by its dimensions
_LEFT_OUT = 6  # every sixth of CIFAR-10, which are half of those that its plan evaluates on
_ANIMALS = (2, 3, 4, 5, 6, 7)


@dataclass(frozen=True)
class DataSet:
    """What a recipe must know of one.

    ``side`` is in pixels. ``lengthening`` is how many times more epochs members train for, since it
    has fewer images than CIFAR-10. Digits are not flipped, where ``flips`` is false.
    """

    plan: Path
    classes: int
    side: int
    channels: int
    lengthening: float
    flips: bool = True


_HERE = Path("pipelines/zoo")
DATA_SETS: dict[Data, DataSet] = {
    "cifar10": DataSet(_HERE / "plan.yaml", 10, 32, 3, 1),
    "cifar10_animals": DataSet(_HERE / "plan_animals.yaml", 6, 32, 3, 1.5),
    "fashion_mnist": DataSet(_HERE / "plan_fashion_mnist.yaml", 10, 28, 1, 1),
    "mnist": DataSet(_HERE / "plan_mnist.yaml", 10, 28, 1, 2.5, flips=False),
    # of elsewhere.py alone
    "cifar100": DataSet(_HERE / "plan_cifar100.yaml", 100, 32, 3, 3),
    "imagenette": DataSet(_HERE / "plan_imagenette.yaml", 10, 224, 3, 1),
}


@dataclass(frozen=True)
class Labelled:
    """Images ``(N, S, S, C)`` uint8 and labels ``(N,)`` in 0 .. K-1."""

    images: Images
    labels: Int64

    def at(self, rows: NDArray[np.bool_] | slice) -> "Labelled":
        """Those rows."""
        return Labelled(self.images[rows], self.labels[rows])


@dataclass(frozen=True)
class Material:
    """Images to train on, and others to measure on."""

    training: Labelled
    held_out: Labelled


@cache
def load_material(data: Data) -> Material:
    """The images of a data set; what its plan evaluates on is not in the training part.

    Raises:
        DataError: Fashion-MNIST is not installed.
    """
    if data == "cifar10_animals":
        whole = load_material("cifar10")
        return Material(_animals(whole.training), _animals(whole.held_out))
    if data == "fashion_mnist":
        with np.load(IMAGES / "fashion_mnist_dev.npz", allow_pickle=False) as arrays:
            in_plan = arrays["t10k_index"]
        test = _fashion("t10k")
        unused = np.ones(len(test.labels), bool)
        unused[in_plan] = False
        held_out = test.at(unused).at(slice(_FASHION_HELD_OUT))
        return Material(_fashion("train").at(slice(_FASHION_TRAINING)), held_out)
    if data == "mnist":
        whole_mnist = _from_npz("mnist_dev.npz", "x", "y")
        place = np.arange(len(whole_mnist.labels)) % 5  # the plan evaluates on those at 0
        return Material(whole_mnist.at((place > 0) & (place < 4)), whole_mnist.at(place == 4))
    if data == "cifar100":
        hundred = _from_npz("cifar100_15k.npz", "x", "y")
        place = np.arange(len(hundred.labels)) % 5  # the plan evaluates on those at 0
        return Material(hundred.at(place > 0), _from_npz("cifar100_dev.npz", "x", "y"))
    if data == "imagenette":
        large = imagenette()
        place = np.arange(len(large.labels)) % 10  # the plan evaluates on the even ones
        return Material(large.at((place % 2 == 1) & (place < 9)), large.at(place == 9))
    test = _from_npz("cifar10_dev.npz", "x_test", "y_test")
    unused = np.arange(len(test.labels)) % _LEFT_OUT != 0
    return Material(_from_npz("cifar10_train15k.npz", "x", "y"), test.at(unused))


@cache
def imagenette() -> Labelled:
    """All 800 of its images, 224 pixels a side, class by class."""
    with ZipFile(IMAGES / "imagenette_val_dev.zip") as archive:
        lines = archive.read("labels.csv").decode().splitlines()
        rows = list(csv.DictReader(lines))
        pixels = [np.asarray(Image.open(archive.open(row["file"])).convert("RGB")) for row in rows]
    names = sorted({row["wnid"] for row in rows})
    return Labelled(np.stack(pixels), np.array([names.index(row["wnid"]) for row in rows]))


def _from_npz(name: str, images: str, labels: str) -> Labelled:
    """Grey images have one channel."""
    with np.load(IMAGES / name, allow_pickle=False) as arrays:
        pixels = arrays[images]
        return Labelled(
            pixels if pixels.ndim == 4 else pixels[..., None], arrays[labels].astype(np.int64)
        )


def _animals(whole: Labelled) -> Labelled:
    """The six classes of animals, from 0 on."""
    animals = whole.at(np.isin(whole.labels, _ANIMALS))
    return Labelled(animals.images, animals.labels - _ANIMALS[0])


def _fashion(part: str) -> Labelled:
    images = _idx(FASHION / f"{part}-images-idx3-ubyte.gz", 3).reshape(-1, 28, 28, 1)
    return Labelled(images, _idx(FASHION / f"{part}-labels-idx1-ubyte.gz", 1).astype(np.int64))


def _idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    try:
        content = gzip.decompress(path.read_bytes())
    except OSError as fault:
        raise DataError(
            f"{path}: cannot be read: {fault.strerror or fault}; install Debian's package "
            "dataset-fashion-mnist"
        ) from fault
    return np.frombuffer(content, np.uint8, offset=_HEADERS[dimensions])
