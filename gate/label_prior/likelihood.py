"""Likelihood of labels under corrected logits, summed over blocks of rows.

The model is ``P(y | f) = softmax(a f - b + log pi)``, with a temperature scale a, a bias b = log q
and the sample's own label frequencies pi, so that the sample need not be balanced. Each pass reads
the logits block by block: a memory map of any length will do.
"""

import functools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np

from gate.arrays import Float64, Floats, Labels
from gate.errors import EvidenceError

Function = TypeVar("Function", bound=Callable[..., Any])
Order = Literal["slope", "diagonal", "full"]

BLOCK = 1 << 18  # numbers in a block: a few of them fit a core's cache
CACHED = 1 << 22  # numbers up to which all blocks stay in memory from pass to pass
# what float32 can square; a class so far below the largest, in the logits' unit, has no share
_LOWEST = -(2.0**60)
# how many times as far below the first class as the second the median one lies; of normally
# distributed logits about 3 log K at the most
_MASKED = 1000
_PLAIN = range(-40, 41)  # exponents of 2 of logits that need no other unit
_THREADS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


def one_blas_thread(function: Function) -> Function:
    """Run a function with BLAS on one thread.

    Threads of BLAS fight with ours, most of all on a busy machine and over small products.
    """

    @functools.wraps(function)
    def limited(*args: Any, **named: Any) -> Any:
        with _libraries().limit(limits=1, user_api="blas"):
            return function(*args, **named)

    return limited  # type: ignore[return-value]  # wraps keeps the signature


@functools.cache
def _libraries() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


class Point(NamedTuple):
    """Summed log loss at some x = (a, b), with its derivatives.

    ``curvature`` is ``(K + 1, K + 1)``, or its diagonal, or zeros where it was not asked for.
    """

    loss: float
    slope: Float64  # (K + 1,)
    curvature: Float64


class Block(NamedTuple):
    """Some rows of a sample; a logit shifted in the whole row says the same."""

    logits: Floats  # (n, K), the largest in each row 0
    labels: Labels  # (n,)
    label_logits: float  # their sum over the rows


class HeldOut(NamedTuple):
    """Log loss and predicted class of samples that a fit did not see."""

    log_loss: Float64  # (n,)
    predicted: Labels  # (n,)


class Likelihood:
    """Summed log loss of labels given logits.

    Args:
        logits: ``(N, K)``; computed in their own precision, at least float32.
        labels: ``(N,)`` in 0 .. K-1.
        rows: Which rows to use; all, unless given.
        weight: What each sample counts for, where samples are not independent.
        unit: What logits are divided by, a power of 2; found by their size unless stated. The
            temperature scale is of logits in this unit.
    """

    def __init__(
        self,
        logits: Floats,
        labels: Labels,
        rows: Labels | None = None,
        weight: float = 1.0,
        unit: float | None = None,
    ) -> None:
        self.logits, self.labels, self.rows, self.weight = logits, labels, rows, weight
        self.unit = _unit(logits) if unit is None else unit
        self.classes = logits.shape[1]
        self.n = len(labels) if rows is None else len(rows)
        used = labels if rows is None else labels[rows]
        self.counts = np.bincount(used, minlength=self.classes)
        with np.errstate(divide="ignore"):  # a class without samples cannot be the answer
            self.offset = np.log(self.counts / self.n)
        self._dtype = np.result_type(logits.dtype, np.float32)
        size = max(1, BLOCK // self.classes)
        self._spans = [slice(at, at + size) for at in range(0, self.n, size)]
        small = self.n * self.classes <= CACHED
        # column by column: along rows of few classes numpy is slow
        self._cached = [self._read(span, "F") for span in self._spans] if small else None

    def _read(self, span: slice, order: Literal["C", "F"] = "C") -> Block:
        rows = span if self.rows is None else self.rows[span]
        f = np.asarray(self.logits[rows], self._dtype)
        if self.unit != 1:
            f = f / self._dtype.type(self.unit)
        with np.errstate(over="ignore"):  # what overflows is below the lowest
            f = np.subtract(f, f.max(axis=1, keepdims=True), order=order)
        np.maximum(f, self._dtype.type(_LOWEST), out=f)
        y = self.labels[rows]
        return Block(f, y, f[np.arange(len(y)), y].sum(dtype=np.float64))

    def blocks(self) -> Iterator[tuple[slice, Block]]:
        """Each block of rows, and where it stands in the sample."""
        for index, span in enumerate(self._spans):
            yield span, self._cached[index] if self._cached else self._read(span)

    def total(self, term: Callable[[Block], Sequence[Any]]) -> list[Any]:
        """Sum what ``term`` gives for each block of rows, in an order that stays the same."""
        if self._cached is not None:
            return _sum(map(term, self._cached))
        shares = [self._spans[start::_THREADS] for start in range(_THREADS)]
        with ThreadPoolExecutor(_THREADS) as pool:
            return _sum(pool.map(lambda own: _sum(term(self._read(span)) for span in own), shares))

    def scores(self, f: Floats, x: Float64, offset: Float64) -> Floats:
        """``a f - b + offset``, less what keeps it from being above 0 while a is."""
        scores = f * self._dtype.type(x[0])
        scores += self._constant(x, offset).astype(self._dtype)
        return np.asarray(scores)

    @staticmethod
    def _constant(x: Float64, offset: Float64) -> Float64:
        constant = offset - x[1:]
        return np.asarray(constant - constant.max())

    def posteriors(self, f: Floats, x: Float64, offset: Float64) -> Floats:
        """Softmax of the scores ``(n, K)``."""
        p = self.scores(f, x, offset)
        np.exp(p, out=p)
        p /= p.sum(axis=1, keepdims=True)
        return p

    def at(self, x: Float64, order: Order = "slope") -> Point:
        """Loss and derivatives at x = (a, b); not finite where a step led too far."""

        def term(block: Block) -> Sequence[Any]:
            f = block.logits
            with np.errstate(all="ignore"):
                p = self.scores(f, x, self.offset)
                np.exp(p, out=p)
                total = p.sum(axis=1)
                weight = 1 / total
                mean = np.einsum("ij,ij->i", p, f) * weight
                loss = np.log(total).sum(dtype=np.float64)
                sums = [loss, block.label_logits, mean.sum(dtype=np.float64), weight @ p]
                if order == "slope":
                    return sums
                p *= weight[:, None]
                return sums + _second(p, f - mean[:, None], order)

        loss, label_logits, mean, predicted, *second = self.total(term)
        constant = self._constant(x, self.offset)
        constant[self.counts == 0] = 0  # no label stands there
        loss -= x[0] * label_logits + self.counts @ constant
        slope = np.append(mean - label_logits, self.counts - predicted)
        curvature = _curvature(predicted, second)
        return Point(self.weight * float(loss), self.weight * slope, self.weight * curvature)

    def part(self, size: int) -> "Likelihood":
        """About so many samples, classes in proportion, if there are thrice as many; else itself.

        A class of which there are too few is left out.
        """
        if self.n <= 3 * size:
            return self
        rows = np.arange(self.n) if self.rows is None else self.rows
        by_class = rows[np.argsort(self.labels[rows], kind="stable")]
        return self.of(np.sort(by_class[:: self.n // size]))

    def of(self, rows: Labels) -> "Likelihood":
        """The likelihood of those rows alone, at the same weight."""
        return Likelihood(self.logits, self.labels, rows, self.weight, self.unit)

    def separates(self, x: Float64) -> bool:
        """Whether every sample is classified correctly, under the sample's own frequencies."""
        return all(
            (self.scores(f, x, self.offset).argmax(axis=1) == y).all()
            for _, (f, y, _) in self.blocks()
        )

    def label_logits(self) -> float:
        """Summed logits of the labels, at the sample's weight."""
        return self.weight * float(self.total(lambda block: [block.label_logits])[0])

    def logit_gap(self) -> float:
        """How far the logits of a sample lie apart: the median class from the first, in the median.

        So a class that is masked by a huge negative logit does not count.

        Raises:
            EvidenceError: Half of the classes are masked, or more.
        """
        gaps = [-np.median(block.logits, axis=1) for _, block in self.blocks()]
        second = [-np.partition(block.logits, -2)[:, -2] for _, block in self.blocks()]
        gap, nearest = (float(np.median(np.concatenate(each))) for each in (gaps, second))
        if 0 < _MASKED * nearest < gap:
            raise EvidenceError(
                f"label prior: the median class lies {gap / nearest:.3g} times as far below the "
                f"first as the second does, more than {_MASKED}: half of the classes or more are "
                "masked, and the mask would set the temperature; give logits without a mask"
            )
        return gap or 1.0

    def held_out(self, x: Float64, offset: Float64) -> HeldOut:
        """Log loss ``(n,)`` of each sample at x under that offset, and its class without one."""
        log_loss, predicted = np.empty(self.n), np.empty(self.n, np.int64)
        for span, (f, y, _) in self.blocks():
            scores = self.scores(f, x, np.zeros(self.classes))
            predicted[span] = scores.argmax(axis=1)
            scores += offset.astype(self._dtype)
            scores -= scores.max(axis=1, keepdims=True)
            of_labels = scores[np.arange(len(y)), y]
            np.exp(scores, out=scores)
            log_loss[span] = np.log(scores.sum(axis=1)) - of_labels
        return HeldOut(log_loss, predicted)


def _unit(logits: Floats) -> float:
    """A power of 2 by which very large or small logits are divided; 1 for all others.

    The second largest of a row tells, by how far it lies below the largest, in the median: it is
    masked last.

    >>> _unit(np.array([[1.0, 3.0, -1e20]])), _unit(np.array([[1e300, 3e300, 0.0]])) > 1e299
    (1.0, True)
    """
    some = np.asarray(logits[:: len(logits) // 256 + 1], np.float64)
    second, largest = np.partition(some / 2, -2)[:, -2:].T  # halves: no difference overflows
    exponent = int(np.frexp(np.median(largest - second))[1])
    return 1.0 if exponent in _PLAIN else 2.0 ** (exponent - 1)


def _second(p: Floats, f: Floats, order: Order) -> list[Any]:
    """What second derivatives are made of; each row of f is less its mean."""
    weighted = p * f
    squares = np.einsum("ij,ij->j", p, p) if order == "diagonal" else p.T @ p
    return [np.einsum("ij,ij->", weighted, f), weighted.sum(axis=0), squares]


def _curvature(predicted: Floats, second: list[Any]) -> Float64:
    if not second:
        return np.zeros(1)
    of_a, crossed, squares = second
    if squares.ndim == 1:
        return np.append(of_a, predicted - squares).astype(np.float64)
    matrix = np.empty((len(crossed) + 1, len(crossed) + 1))
    matrix[0, 0], matrix[1:, 0], matrix[0, 1:] = of_a, -crossed, -crossed
    matrix[1:, 1:] = np.diag(predicted) - squares
    return matrix


def _sum(parts: Iterable[Sequence[Any]]) -> list[Any]:
    whole: list[Any] = []
    for part in parts:
        whole = [a + b for a, b in zip(whole, part, strict=True)] if whole else list(part)
    return whole
