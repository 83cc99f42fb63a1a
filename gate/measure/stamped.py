"""What classifiers make of stamped images: one pass of every stamp through every backbone.

A pass over a split is a map of one pure function over a stream, so memory does not grow with the
number of images; what is kept of it are classes, and sums of features by block for the jackknife.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gate import stats
from gate.arrays import unit_rows
from gate.errors import EvidenceError
from gate.measure.prefetch import ahead
from gate.stats import Interval
from gate.triggers.bank import Stamp, Trigger

if TYPE_CHECKING:
    from gate.backbone import Backbone, Outputs
    from gate.measure.transfer import Classifier
    from gate.measure.trial import Trial
    from gate.plan.plan import Task

BLOCKS = 20  # of the jackknife; image i belongs to block i modulo 20


@dataclass(frozen=True)
class Spread:
    """Sums of unit features by block ``(B, D)``: all that the mean pairwise cosine needs."""

    sums: NDArray[np.float64]
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, features: NDArray[np.float32]) -> "Spread":
        """Of features ``(N, D)`` that lie on disk."""
        spread = cls.empty(features.shape[1])
        for start in range(0, len(features), 4096):
            spread.add(features[start : start + 4096], start)
        return spread

    @classmethod
    def empty(cls, dimension: int) -> "Spread":
        """Of no image yet."""
        return cls(np.zeros((BLOCKS, dimension)), np.zeros(BLOCKS, np.int64))

    def add(self, features: NDArray[np.float32], start: int) -> None:
        """Add images ``start`` and following."""
        blocks = (start + np.arange(len(features))) % BLOCKS
        membership = blocks == np.arange(BLOCKS)[:, None]  # (B, n)
        self.sums[...] += membership.astype(np.float64) @ unit_rows(features)
        self.counts[...] += membership.sum(axis=1)

    @cached_property
    def distances(self) -> NDArray[np.float64]:
        """Mean cosine distance over all pairs of images: of all, then without each block."""
        sums = np.vstack([self.sums.sum(axis=0), self.sums.sum(axis=0) - self.sums])
        n = np.concatenate([[self.counts.sum()], self.counts.sum() - self.counts])
        return np.asarray(1 - ((sums**2).sum(axis=1) - n) / (n * (n - 1)))


@dataclass(frozen=True)
class Hits:
    """What a classifier does to images when they are stamped.

    Args:
        task: Named in errors and measurements.
        classes: Names of the K classes.
        labels: ``(N,)`` in 0 .. K-1.
        clean: ``(N,)`` classes without a stamp.
        stamped: ``(N,)`` classes by the stamp's key.
    """

    task: str
    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    clean: NDArray[np.int64]
    stamped: dict[str, NDArray[np.int16]]

    @cached_property
    def right(self) -> NDArray[np.bool_]:
        """Which images are right without a stamp.

        Raises:
            EvidenceError: None is.
        """
        right = np.asarray(self.clean == self.labels)
        if not right.any():
            raise EvidenceError(
                f"trigger_patch: task {self.task} has no image right without a trigger, so there "
                "is nothing to attack; check the head, or drop the task"
            )
        return right

    @cached_property
    def targets(self) -> list[int]:
        """Classes that some right image of another class can be carried to.

        Raises:
            EvidenceError: There is none.
        """
        present = np.unique(self.labels[self.right])
        if len(present) > 1:
            return list(range(len(self.classes)))
        # a class that holds every right image has nobody to receive
        targets = [k for k in range(len(self.classes)) if k != present[0]]
        if not targets:
            raise EvidenceError(
                f"trigger_patch: all right images of task {self.task} are of one class, so no "
                "class can receive them; add images of other classes"
            )
        return targets

    def turned(self, stamp: Stamp) -> NDArray[np.bool_]:
        """Of the right images, those that are wrong when stamped."""
        return np.asarray((self.stamped[stamp.key] != self.labels)[self.right])

    def carried(self, stamp: Stamp, target: int) -> NDArray[np.bool_]:
        """Of the right images of other classes, those that are given the target when stamped."""
        return np.asarray((self.stamped[stamp.key] == target)[self.right & (self.labels != target)])

    def shares(self, stamp: Stamp | None) -> NDArray[np.float64]:
        """Shares of predicted classes ``(1 + B, K)``: of all images, then without each block."""
        predicted = self.clean if stamp is None else self.stamped[stamp.key]
        blocks = np.arange(len(predicted)) % BLOCKS
        counts = np.zeros((BLOCKS, len(self.classes)))
        np.add.at(counts, (blocks, predicted), 1)
        totals = np.vstack([counts.sum(axis=0), counts.sum(axis=0) - counts])
        return np.asarray(totals / totals.sum(axis=1, keepdims=True))


@dataclass(frozen=True)
class Responses:
    """What classifiers make of the stamped images of one split.

    ``hits`` are by task; ``spreads`` of features by the backbone's digest, then by the stamp's key.
    """

    hits: dict[str, Hits]
    spreads: dict[str, dict[str, Spread]]


def respond(
    trial: "Trial",
    split: str,
    tasks: "dict[str, Task]",
    stamps: Sequence[Stamp],
    backbone: "Backbone | None" = None,
) -> Responses:
    """Pass each stamped variant through each backbone once, whatever reads what it gives.

    Args:
        trial: Has the split and the classifiers, and says how many images a pass takes.
        split: N images.
        tasks: By name, all tried on the split; those on one backbone share its passes.
        stamps: May name the same pixels twice; they are passed once.
        backbone: Instead of the candidate.
    """
    distinct = {stamp.key: stamp for stamp in stamps}
    classifiers = {name: trial.classifier(task, backbone) for name, task in tasks.items()}
    opened, hits, spreads = trial.split(split), {}, {}
    for digest, passed in {c.backbone.digest: c.backbone for c in classifiers.values()}.items():
        readers = {name: c for name, c in classifiers.items() if c.backbone.digest == digest}
        predictions, spreads[digest] = _pass(trial, split, passed, readers, distinct)
        for name, stamped in predictions.items():
            clean = trial.predictions(tasks[name], backbone)
            hits[name] = Hits(name, opened.classes, opened.labels, clean, stamped)
    return Responses(hits, spreads)


def _pass(
    trial: "Trial",
    split: str,
    backbone: "Backbone",
    readers: "dict[str, Classifier]",
    stamps: dict[str, Stamp],
) -> tuple[dict[str, dict[str, NDArray[np.int16]]], dict[str, Spread]]:
    """Classes ``(N,)`` by reader and stamp, and the spread of features by stamp."""
    n, spreads = len(trial.split(split)), dict[str, Spread]()
    predictions = {name: {key: np.empty(n, np.int16) for key in stamps} for name in readers}
    with trial.progress(f"stamp {split}", n * len(stamps)) as advance:
        # the runtime works on the next pass while this one is read
        for start, key, outputs in ahead(_outputs(trial, split, backbone, stamps)):
            end = start + len(outputs.features)
            if key not in spreads:
                spreads[key] = Spread.empty(outputs.features.shape[1])
            spreads[key].add(outputs.features, start)
            for name, classifier in readers.items():
                predictions[name][key][start:end] = classifier.predict(outputs)
            advance(end - start)
    return predictions, spreads


def _outputs(
    trial: "Trial", split: str, backbone: "Backbone", stamps: dict[str, Stamp]
) -> "Iterator[tuple[int, str, Outputs]]":
    """First row, stamp and outputs of each pass.

    A batch is normalised once. Each stamp changes only its box, which is put back after the pass.
    """
    preprocessing, start = backbone.preprocessing, 0
    for images in trial.split(split).batches(
        trial.plan.batch_size, preprocessing.size, preprocessing.channels
    ):
        inputs = backbone.inputs(images)
        for key, stamp in stamps.items():
            box = (..., *stamp.box) if preprocessing.layout == "NCHW" else (slice(None), *stamp.box)
            clean = inputs[box].copy()
            inputs[box] = backbone.inputs(stamp.inside(images))
            yield start, key, backbone.outputs(inputs)
            inputs[box] = clean
        start += len(images)


def require_blocks(probe: str, what: str, n: int) -> None:
    """Refuse what a jackknife over blocks cannot measure.

    Raises:
        EvidenceError: Fewer than two images a block.
    """
    if n < 2 * BLOCKS:
        raise EvidenceError(
            f"{probe}: {what} has {n} images, and the jackknife over {BLOCKS} blocks needs "
            f"{2 * BLOCKS}; add images"
        )


def total_variation(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Half the sum of absolute differences between shares, over the last axis.

    >>> float(total_variation(np.array([0.5, 0.5]), np.array([0.9, 0.1])))
    0.4
    """
    return np.asarray(np.abs(first - second).sum(axis=-1) / 2)


def jensen_shannon(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Jensen-Shannon distance in 0 .. 1 (root of the divergence in bits), over the last axis."""
    from scipy.spatial.distance import jensenshannon

    return np.asarray(jensenshannon(first, second, base=2, axis=-1))


def skews(hits: Hits, stamp: Stamp) -> dict[str, Interval]:
    """How far the histogram of predicted classes moves: total variation, and Jensen-Shannon."""
    clean, stamped = hits.shares(None), hits.shares(stamp)
    found = {}
    for metric, distance in (
        ("prediction_skew", total_variation),
        ("prediction_skew_jensen_shannon", jensen_shannon),
    ):
        value, low, high = shift(distance(stamped, clean), len(hits.labels))
        found[metric] = Interval(value, max(low, 0.0), min(high, 1.0))
    return found


def excess_skew(hits: Hits, trigger: Trigger, *, searched: int = 1) -> Interval:
    """Total variation under a trigger minus that under its strongest control."""
    clean, n = hits.shares(None), len(hits.labels)
    skew = total_variation(hits.shares(trigger.stamp), clean)
    controls = [total_variation(hits.shares(control), clean) for control in trigger.controls]
    searched *= len(controls)
    return stats.smallest([shift(skew - other, n, searched=searched) for other in controls])


def skew_over(hits: Hits, other: Hits, stamp: Stamp) -> Interval:
    """Total variation under a stamp minus that of another classifier, on the same images."""
    ours, theirs = (total_variation(h.shares(stamp), h.shares(None)) for h in (hits, other))
    return shift(ours - theirs, len(hits.labels))


def shift(values: NDArray[np.float64], n: int, *, searched: int = 1) -> Interval:
    """Jackknife interval of a change in the answers to ``n`` images, as between histograms.

    Where no image changes its class a jackknife has no width; then, as for any rate, nothing was
    seen in ``n`` images, and the reach is that of a rate of zero.

    Args:
        values: ``(1 + B,)``, on all images and without each block.
        n: How many images.
        searched: Out of how many shifts this one was picked.
    """
    value, low, high = jackknife(values, searched=searched)
    reach = stats.rate(0, n, searched=searched).high
    return Interval(value, min(low, value - reach), max(high, value + reach))


def jackknife(values: NDArray[np.float64], *, searched: int = 1) -> Interval:
    """Jackknife interval of ``(1 + B,)`` values: on all images, then without each block."""
    return stats.jackknife(float(values[0]), values[1:].tolist(), searched=searched)
