"""What classifiers make of stamped images: hits of each classifier, sums of each backbone.

All of it holds for texts that a phrase is put into, too.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from gate.arrays import Float64, Int64
from gate.errors import EvidenceError
from gate.measure.blocks import BLOCKS
from gate.measure.readers import PairwiseCosine
from gate.triggers.phrase import AnyStamp


@dataclass(frozen=True)
class Hits:
    """What a classifier does to images when they are stamped.

    Args:
        task: Named in errors and measurements.
        classes: Names of the K classes.
        labels: ``(N,)`` in 0 .. K-1.
        clean: ``(N,)`` classes without a stamp.
        stamped: Classes by the stamp's key, of the first images: ``(n,)``, n at most N.
        examples: What they are: images, or texts, into which phrases are put.
    """

    task: str
    classes: tuple[str, ...]
    labels: Int64
    clean: Int64
    stamped: dict[str, NDArray[np.int16]]
    examples: str = "images"

    def seen(self, *stamps: AnyStamp) -> int:
        """How many of the first images were seen under each of these stamps."""
        return min(len(self.stamped[stamp.key]) for stamp in stamps)

    def first(self, images: int) -> "Hits":
        """Those of its first images, under the stamps that they were all seen under."""
        if images not in self._firsts:
            seen = {key: k[:images] for key, k in self.stamped.items() if len(k) >= images}
            labels, clean = self.labels[:images], self.clean[:images]
            self._firsts[images] = replace(self, labels=labels, clean=clean, stamped=seen)
        return self._firsts[images]

    @cached_property
    def _firsts(self) -> dict[int, "Hits"]:
        return {}

    @cached_property
    def correct(self) -> NDArray[np.bool_]:
        """Which images are classified correctly without a stamp.

        Raises:
            EvidenceError: None is.
        """
        correct = np.asarray(self.clean == self.labels)
        if not correct.any():
            raise EvidenceError(
                f"task {self.task} has none of its {self.examples} right without a trigger, so "
                "there is nothing to attack; check the head, or drop the task"
            )
        return correct

    @cached_property
    def targets(self) -> list[int]:
        """Classes that some correctly classified image of another class can be carried to.

        Raises:
            EvidenceError: There is none.
        """
        present = np.unique(self.labels[self.correct])
        # a class that holds every correctly classified image has nobody to receive
        targets = [k for k in range(len(self.classes)) if len(present) > 1 or k != present[0]]
        if not targets:
            raise EvidenceError(
                f"all correctly classified {self.examples} of task {self.task} are of one class, "
                f"so no class can receive them; add {self.examples} of other classes"
            )
        return targets

    def flipped(self, stamp: AnyStamp) -> NDArray[np.bool_]:
        """Of the correctly classified images, those that are given another class when stamped."""
        return np.asarray((self.stamped[stamp.key] != self.labels)[self.correct])

    def carried(self, stamp: AnyStamp, target: int) -> NDArray[np.bool_]:
        """Of the correctly classified images of other classes, those that are given the target."""
        others = self.correct & (self.labels != target)
        return np.asarray((self.stamped[stamp.key] == target)[others])

    def shares(self, stamp: AnyStamp | None) -> Float64:
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

    ``hits`` are by task; ``cosines`` of features by the backbone's digest, then by the stamp's key.
    """

    hits: dict[str, Hits]
    cosines: dict[str, dict[str, PairwiseCosine]]
