"""Likelihood of labels under corrected logits, summed over blocks of rows.

The model is ``P(y | f) = softmax(a f - b + log pi)``, with a temperature scale a, a bias b = log q
and the sample's own label frequencies pi, so that the sample need not be balanced. Each pass reads
the logits block by block: a memory map of any length will do.
"""

import functools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

Function = TypeVar("Function", bound=Callable[..., Any])
Floats = NDArray[np.floating[Any]]
Labels = NDArray[np.int64]
Order = Literal["slope", "diagonal", "full"]

BLOCK = 1 << 19  # numbers in a block: a few of them fit a core's cache
KEPT = 1 << 22  # numbers that are kept from pass to pass, as blocks in memory
_THREADS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


def one_blas_thread(function: Function) -> Function:
    """Threads of BLAS fight with ours: on a busy machine a small product took 50 times as long."""

    @functools.wraps(function)
    def limited(*args: Any, **named: Any) -> Any:
        with _libraries().limit(limits=1, user_api="blas"):
            return function(*args, **named)

    return limited  # type: ignore[return-value]  # wraps keeps the signature


@functools.cache
def _libraries() -> "ThreadpoolController":
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


class Point(NamedTuple):
    """Summed log loss at some x = (a, b), with its derivatives.

    ``curvature`` is ``(K + 1, K + 1)``, or its diagonal, or zeros where it was not asked for;
    ``hits`` counts the samples that are classified rightly.
    """

    loss: float
    slope: NDArray[np.float64]  # (K + 1,)
    curvature: NDArray[np.float64]
    hits: int


class Held(NamedTuple):
    """Samples that were held out: their log loss, and the class that each is given."""

    log_loss: NDArray[np.float64]
    predicted: Labels


class Likelihood:
    """Summed log loss of labels given logits.

    Args:
        logits: ``(N, K)``; computed in their own precision, at least float32.
        labels: ``(N,)`` in 0 .. K-1.
        rows: Which rows to use; all, unless given.
    """

    def __init__(self, logits: Floats, labels: Labels, rows: Labels | None = None) -> None:
        self.logits, self.labels, self.rows = logits, labels, rows
        self.classes = logits.shape[1]
        self.n = len(labels) if rows is None else len(rows)
        used = labels if rows is None else labels[rows]
        self.counts = np.bincount(used, minlength=self.classes)
        with np.errstate(divide="ignore"):  # a class without samples cannot be the answer
            self.offset = np.log(self.counts / self.n)
        self._dtype = np.result_type(logits.dtype, np.float32)
        size = max(1, BLOCK // self.classes)
        spans = [(start, min(start + size, self.n)) for start in range(0, self.n, size)]
        self._spans = spans
        small = self.n * self.classes <= KEPT
        self._kept = [self._read(*span) for span in spans] if small else None

    def spans(self) -> Iterator[tuple[tuple[int, int], Floats, Labels]]:
        """Each block of rows, from where to where, its logits, and its labels."""
        for index, span in enumerate(self._spans):
            yield span, *(self._kept[index] if self._kept else self._read(*span))

    def _read(self, start: int, stop: int) -> tuple[Floats, Labels]:
        rows = slice(start, stop) if self.rows is None else self.rows[start:stop]
        return np.asarray(self.logits[rows], self._dtype), self.labels[rows]

    def total(self, term: Callable[[Floats, Labels], Sequence[Any]]) -> list[Any]:
        """Sums of what ``term`` gives for each block of rows, in an order that stays the same."""
        if self._kept is not None:
            return _sum(term(*block) for block in self._kept)
        shares = [self._spans[start::_THREADS] for start in range(_THREADS)]
        with ThreadPoolExecutor(_THREADS) as pool:
            return _sum(
                pool.map(lambda own: _sum(term(*self._read(*span)) for span in own), shares)
            )

    def scores(self, f: Floats, x: NDArray[np.float64], offset: NDArray[np.float64]) -> Floats:
        """``a f - b + offset``, less the maximum in each row."""
        scores = f * self._dtype.type(x[0])
        scores += (offset - x[1:]).astype(self._dtype)
        scores -= scores.max(axis=1, keepdims=True)
        return np.asarray(scores)

    def at(self, x: NDArray[np.float64], order: Order = "slope") -> Point:
        """Loss and derivatives at x = (a, b)."""

        def term(f: Floats, y: Labels) -> Sequence[Any]:
            each = np.arange(len(y))
            p = self.scores(f, x, self.offset)
            right = p[each, y]
            np.exp(p, out=p)
            total = p.sum(axis=1, keepdims=True)
            mean = np.einsum("ij,ij->i", p, f) / total[:, 0]
            predicted = (1 / total[:, 0]) @ p
            second = np.zeros(1)
            if order != "slope":
                p /= total
                second = _curvature(p, f - mean[:, None], order)
            return (
                np.log(total).sum(dtype=np.float64) - right.sum(dtype=np.float64),
                (mean - f[each, y]).sum(dtype=np.float64),
                predicted.astype(np.float64),
                second,
                np.count_nonzero(right == 0),
            )

        loss, of_a, predicted, second, hits = self.total(term)
        return Point(loss, np.append(of_a, self.counts - predicted), second, hits)

    def part(self, few: int) -> "Likelihood":
        """About that many of its samples, of each class in proportion."""
        rows = np.arange(self.n) if self.rows is None else self.rows
        by_class = rows[np.argsort(self.labels[rows], kind="stable")]
        return Likelihood(self.logits, self.labels, np.sort(by_class[:: max(1, self.n // few)]))

    def score(self, rows: slice, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Slope ``(n, K + 1)`` of the log loss of each sample, of a likelihood of all rows."""
        y = self.labels[rows]
        f, _ = self._read(*rows.indices(self.n)[:2])
        p = np.exp(self.scores(f, x, self.offset)).astype(np.float64)
        p /= p.sum(axis=1, keepdims=True)
        each = np.arange(len(y))
        of_a = (p * f).sum(axis=1) - f[each, y]
        p[each, y] -= 1
        return np.column_stack([of_a, -p])

    def unit(self) -> float:
        """How far the logits of a sample lie apart: their standard deviation, on average."""
        (spread,) = self.total(lambda f, _: [f.std(axis=1).sum(dtype=np.float64)])
        return float(spread) / self.n or 1.0

    def each(self, x: NDArray[np.float64], offset: NDArray[np.float64]) -> "Held":
        """Log loss ``(n,)`` of each sample at x under that offset, and its class without one."""
        log_loss, predicted = np.empty(self.n), np.empty(self.n, np.int64)
        for (start, stop), f, y in self.spans():
            scores = self.scores(f, x, np.zeros(self.classes))
            predicted[start:stop] = scores.argmax(axis=1)
            scores += offset.astype(self._dtype)
            scores -= scores.max(axis=1, keepdims=True)
            right = scores[np.arange(len(y)), y]
            np.exp(scores, out=scores)
            log_loss[start:stop] = np.log(scores.sum(axis=1)) - right
        return Held(log_loss, predicted)


def _curvature(p: Floats, f: Floats, order: Order) -> NDArray[np.float64]:
    weighted = p * f
    of_a = np.einsum("ij,ij->", weighted, f)
    predicted = p.sum(axis=0)
    if order == "diagonal":
        return np.append(of_a, predicted - np.einsum("ij,ij->j", p, p)).astype(np.float64)
    classes = p.shape[1]
    matrix = np.empty((classes + 1, classes + 1))
    matrix[0, 0] = of_a
    matrix[0, 1:] = matrix[1:, 0] = -weighted.sum(axis=0)
    matrix[1:, 1:] = -(p.T @ p)
    matrix[np.arange(1, classes + 1), np.arange(1, classes + 1)] += predicted
    return matrix


def _sum(parts: Iterable[Sequence[Any]]) -> list[Any]:
    whole: list[Any] = []
    for part in parts:
        whole = [a + b for a, b in zip(whole, part, strict=True)] if whole else list(part)
    return whole
