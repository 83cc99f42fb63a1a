"""Images of the small paper's tasks, as tables that its plans read.

``python -m pipelines.papers.transfer_anatomy.data --out FOLDER``; needs ../shared/data. Writes for
each task ``TASK_train.npz`` and ``TASK_test.npz``, which have no image in common.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gate.arrays import Images, Int64

IMAGES = Path("../shared/data/images")
NEAR = np.arange(0, 100, 5)  # classes of CIFAR-100
_TRAIN = 100  # images a class of a target


class Tables(NamedTuple):
    """Images to train on and to test on, with their labels, and the classes' names."""

    train: Images
    train_labels: Int64
    test: Images
    test_labels: Int64
    classes: tuple[str, ...]


def source() -> Tables:
    """CIFAR-10: 15,000 images to train on, 3,000 to test on."""
    with np.load(IMAGES / "cifar10_train15k.npz") as arrays:
        images, labels, names = arrays["x"], arrays["y"], arrays["class_names"]
    with np.load(IMAGES / "cifar10_dev.npz") as arrays:
        return Tables(images, labels, arrays["x_test"], arrays["y_test"], tuple(names.tolist()))


def near() -> Tables:
    """Twenty classes of CIFAR-100: 2,000 images to train on, 1,000 to test on."""
    with np.load(IMAGES / "cifar100_15k.npz") as arrays:
        images, labels, names = arrays["x"], arrays["y"], arrays["class_names"]
    chosen = np.isin(labels, NEAR)
    relabelled = np.searchsorted(NEAR, labels[chosen])
    return _parted(images[chosen], relabelled, tuple(names[NEAR].tolist()))


def far() -> Tables:
    """Handwritten digits, in three equal channels: 1,000 images to train on, 4,000 to test on."""
    with np.load(IMAGES / "mnist_dev.npz") as arrays:
        grey, labels = arrays["x"], arrays["y"].astype(np.int64)
    images = np.repeat(np.pad(grey, ((0, 0), (2, 2), (2, 2)))[..., None], 3, axis=3)
    return _parted(images, labels, tuple("0123456789"))


TASKS = {"source": source, "near": near, "far": far}


def _parted(images: Images, labels: Int64, classes: tuple[str, ...]) -> Tables:
    """The first hundred images of each class to train on, and the others to test on."""
    places = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        places[rows] = np.arange(len(rows))
    first = places < _TRAIN
    return Tables(images[first], labels[first], images[~first], labels[~first], classes)


def main() -> None:
    """Write the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    for task, tables in TASKS.items():
        made = tables()
        for part, images, labels in (
            ("train", made.train, made.train_labels),
            ("test", made.test, made.test_labels),
        ):
            names = np.array(made.classes)
            np.savez(out / f"{task}_{part}.npz", image=images, label=labels, class_names=names)


if __name__ == "__main__":
    main()
