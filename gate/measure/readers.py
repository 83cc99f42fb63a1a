"""What is kept of a pass's outputs: the outputs themselves, classes, or sums of features.

A reader is a value that can be sent elsewhere. It reads the outputs of one variant of one block of
examples; what it keeps of each block is put together where the blocks come back.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from gate.arrays import ROWS, Array, Float32, Float64, Int64, unit_rows
from gate.backbone.backbone import Outputs
from gate.backbone.heads import LinearHead
from gate.measure.blocks import BLOCKS

OutputName = Literal["features", "logits"]


class Reader(Protocol):
    """Keeps something of the outputs of a block, and puts together what was kept of all."""

    def read(self, rows: Int64, outputs: Outputs, /) -> Any:
        """What is kept of the outputs of the examples at ``rows`` ``(n,)`` of a split."""

    def put(self, whole: Any, kept: Any, rows: Int64, total: int, /) -> Any:
        """What was kept of blocks so far (None at first), with that of one more added."""


def _in_place(whole: Array | None, kept: Array, rows: Int64, total: int) -> Array:
    """What was kept of all N examples, that of this block in its place."""
    if whole is None:
        whole = np.empty((total, *kept.shape[1:]), kept.dtype)
    whole[rows] = kept
    return whole


@dataclass(frozen=True)
class Output:
    """Keeps the features, together ``(N, D)`` float32, or the own head's logits ``(N, K)``."""

    name: OutputName

    def read(self, _rows: Int64, outputs: Outputs) -> Float32:
        """The output ``(n, D)`` of a block."""
        return np.asarray(getattr(outputs, self.name))

    put = staticmethod(_in_place)


@dataclass(frozen=True)
class Classes:
    """Keeps the class that a head gives each example; without a head, the own head's logits say."""

    head: LinearHead | None

    def read(self, _rows: Int64, outputs: Outputs) -> NDArray[np.int16]:
        """Classes ``(n,)`` of a block."""
        return self.of(outputs).astype(np.int16)

    def of(self, outputs: Outputs) -> Int64:
        """Classes ``(N,)`` for what the backbone gave."""
        if self.head:
            return self.head.predict(outputs.features)
        assert outputs.logits is not None  # noqa: S101  # such a task names the output of its head
        return np.asarray(outputs.logits.argmax(axis=1))

    put = staticmethod(_in_place)


@dataclass(frozen=True)
class CrossEntropies:
    """Keeps the cross entropy of each example to its label, in nats.

    Args:
        head: On features; without one, the own head's logits are read.
        labels: ``(N,)`` of all examples.
    """

    head: LinearHead | None
    labels: Int64

    def read(self, rows: Int64, outputs: Outputs) -> Float64:
        """Cross entropies ``(n,)`` of a block."""
        logits = self.head.logits(outputs.features) if self.head else outputs.logits
        assert logits is not None  # noqa: S101  # such a task names the output of its head
        scores = logits.astype(np.float64)
        right = scores[np.arange(len(rows)), self.labels[rows]]
        return np.asarray(np.logaddexp.reduce(scores, axis=1) - right)

    put = staticmethod(_in_place)


@dataclass(frozen=True)
class PairwiseCosine:
    """Sums of unit features by jackknife block: all that the mean pairwise cosine needs.

    ``sums`` are ``(B, D)``, ``counts`` ``(B,)`` images.
    """

    sums: Float64
    counts: Int64

    def __post_init__(self) -> None:
        self.sums.flags.writeable = self.counts.flags.writeable = False

    @classmethod
    def of(cls, rows: Int64, features: Float32) -> "PairwiseCosine":
        """The sums over features ``(n, D)`` of the images at ``rows`` ``(n,)`` of a split."""
        membership = rows % BLOCKS == np.arange(BLOCKS)[:, None]  # (B, n)
        return cls(membership.astype(np.float64) @ unit_rows(features), membership.sum(axis=1))

    @classmethod
    def of_all(cls, features: Float32) -> "PairwiseCosine":
        """The sums over all features ``(N, D)`` of a split, which may lie on disk."""
        rows = np.arange(len(features))
        spans = [slice(start, start + ROWS) for start in range(0, len(features), ROWS)]
        first, *others = (cls.of(rows[span], features[span]) for span in spans)
        return sum(others, first)

    def __add__(self, other: "PairwiseCosine") -> "PairwiseCosine":
        """The sums over the images of both."""
        return PairwiseCosine(self.sums + other.sums, self.counts + other.counts)

    @cached_property
    def distances(self) -> Float64:
        """Mean cosine distance over all pairs of images: of all, then without each block."""
        sums = np.vstack([self.sums.sum(axis=0), self.sums.sum(axis=0) - self.sums])
        n = np.concatenate([[self.counts.sum()], self.counts.sum() - self.counts])
        return np.asarray(1 - ((sums**2).sum(axis=1) - n) / (n * (n - 1)))


@dataclass(frozen=True)
class Cosines:
    """Keeps the sums that the mean pairwise cosine of features needs."""

    def read(self, rows: Int64, outputs: Outputs) -> PairwiseCosine:
        """The sums over a block."""
        return PairwiseCosine.of(rows, outputs.features)

    def put(
        self, whole: PairwiseCosine | None, kept: PairwiseCosine, _rows: object, _total: int
    ) -> PairwiseCosine:
        """The sums over all blocks so far."""
        return kept if whole is None else whole + kept
