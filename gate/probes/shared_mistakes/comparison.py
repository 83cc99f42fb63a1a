"""What two classifiers say of the same examples, side by side."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gate.arrays import Int64
from gate.data.split import Split

_CLASSES, _ROWS = 5, 5  # that remarks name at the most, and rows of each: for people to look at

Mask = NDArray[np.bool_]


class ByClass(NamedTuple):
    """Counts of each of K classes: of its examples, and of those of them that are of a kind."""

    examples: list[int]
    agree: list[int]
    worse: list[int]
    better: list[int]


@dataclass(frozen=True)
class Comparison:
    """Classes that candidate and reference give to the N examples of a split.

    Args:
        task: Named in measurements and remarks.
        split: N examples with their labels.
        ours: ``(N,)`` classes by the candidate's classifier.
        theirs: ``(N,)`` by the reference's.
    """

    task: str
    split: Split
    ours: Int64
    theirs: Int64

    @cached_property
    def agree(self) -> Mask:
        """Which examples both give the same class, right or wrong."""
        return np.asarray(self.ours == self.theirs)

    @cached_property
    def ours_wrong(self) -> Mask:
        """Which examples the candidate gets wrong."""
        return np.asarray(self.ours != self.split.labels)

    @cached_property
    def theirs_wrong(self) -> Mask:
        """Which examples the reference gets wrong."""
        return np.asarray(self.theirs != self.split.labels)

    @cached_property
    def worse(self) -> Mask:
        """Which examples the candidate alone gets wrong: negative flips."""
        return self.ours_wrong & ~self.theirs_wrong

    @cached_property
    def better(self) -> Mask:
        """Which examples the reference alone gets wrong: positive flips."""
        return self.theirs_wrong & ~self.ours_wrong

    @property
    def examples_are(self) -> str:
        """What the examples are, images or texts."""
        return f"{self.split.plan.kind}s"

    @cached_property
    def by_class(self) -> ByClass:
        """How many examples each class has, and of those how many are of each kind."""
        labels, classes = self.split.labels, len(self.split.classes)
        parts = (labels, labels[self.agree], labels[self.worse], labels[self.better])
        return ByClass(*(np.bincount(part, minlength=classes).tolist() for part in parts))

    def examples(self) -> Iterator[str]:
        """A few rows that the candidate alone gets wrong, of the classes with most, in words."""
        classes, (counts, _, worse, _) = self.split.classes, self.by_class
        # a stable sort: among classes with as many, the first stands first
        order = [k for k in np.argsort([-n for n in worse], kind="stable").tolist() if worse[k]]
        for k in order[:_CLASSES]:
            rows = np.flatnonzero(self.worse & (self.split.labels == k))
            shown = ", ".join(
                f"{self.split.file_rows[row]} (given {classes[self.ours[row]]})"
                for row in rows[:_ROWS].tolist()
            )
            more = f" and {len(rows) - _ROWS} more" if len(rows) > _ROWS else ""
            yield (
                f"{self.task}, class {classes[k]}: the candidate alone gets {worse[k]} of "
                f"{counts[k]} {self.examples_are} wrong; rows of split {self.split.name}, "
                f"counted from 0: {shown}{more}"
            )
        if len(order) > _CLASSES:
            rest = sum(worse[k] for k in order[_CLASSES:])
            yield (
                f"{self.task}: of {len(order) - _CLASSES} more classes the candidate alone gets "
                f"{rest} {self.examples_are} wrong; see class_negative_flip_rate"
            )
