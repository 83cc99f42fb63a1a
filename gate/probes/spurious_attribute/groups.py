"""Accuracy by group, a group being a (class, attribute value) pair."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gate import stats
from gate.errors import EvidenceError
from gate.probes.spurious_attribute import METRICS
from gate.values import Measurement

_LEAST = 2  # one image gives an interval of nearly 0 .. 1, which only looks like a measurement


class Groups(NamedTuple):
    """The (class, value) pairs of a task and an attribute: K classes by V sorted values."""

    classes: tuple[str, ...]
    values: tuple[str, ...]

    def name(self, k: int, v: int) -> str:
        """How messages call a group."""
        return f"({self.classes[k]}, {self.values[v]})"

    def tally(self, labels: NDArray[np.int64], values: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many images ``(K, V)`` each group has.

        >>> Groups(("x", "y"), ("a", "b")).tally(np.array([0, 1, 1]), np.array([1, 0, 0])).tolist()
        [[0, 1], [2, 0]]
        """
        shape = len(self.classes), len(self.values)
        return np.bincount(labels * shape[1] + values, minlength=shape[0] * shape[1]).reshape(shape)


def accuracies(
    about: dict[str, str],
    groups: Groups,
    labels: NDArray[np.int64],
    values: NDArray[np.int64],
    correct: NDArray[np.bool_],
    trained: NDArray[np.int64] | None,
) -> Iterator[Measurement]:
    """Accuracy by group, of the worst, the gap, and the mean as weighted in training.

    Args:
        about: Labels of every measurement.
        groups: Names of the K classes and V values.
        labels: ``(N,)`` of the test images, in 0 .. K-1.
        values: ``(N,)`` of the test images, in 0 .. V-1.
        correct: ``(N,)`` whether each was classified correctly.
        trained: ``(K, V)`` images of each group in training; None, where it does not name the
            attribute, leaves the weighted mean out.

    Raises:
        EvidenceError: The attribute has one value, or a group has no image, or one.

    Source:
        Sagawa et al. 2020, who weight by the training split on Waterbirds.
    """
    if len(groups.values) < 2:
        raise EvidenceError(
            f"spurious_attribute: {about['attribute']} has the one value {groups.values[0]!r}, and "
            "at least 2 are needed to compare; add images, or drop the attribute from the plan"
        )
    counts = groups.tally(labels, values)
    hits = groups.tally(labels[correct], values[correct])
    rates, simultaneous = [], []
    for k, v in np.ndindex(counts.shape):
        n, hit = int(counts[k, v]), int(hits[k, v])
        if n < _LEAST:
            raise EvidenceError(
                f"spurious_attribute: group {groups.name(k, v)} has {n} test images, "
                f"and at least {_LEAST} are needed; add images, or drop the attribute from the plan"
            )
        pair = {"class": groups.classes[k], "value": groups.values[v]}
        yield METRICS.rate("group_accuracy", hit, n, **about, **pair)
        size = counts.size
        rates.append(stats.rate(hit, n, searched_high=size))
        simultaneous.append(stats.rate(hit, n, searched_low=size, searched_high=size))
    worst = stats.smallest(rates)
    smallest = int(counts.flat[int(np.argmin([rate.value for rate in rates]))])
    yield METRICS.measurement("worst_group_accuracy", worst, smallest, **about)
    # where all groups lie in their intervals at once, so do the worst and the mean in these
    least = stats.smallest(simultaneous)
    mean = stats.Interval(*np.mean(simultaneous, axis=0).tolist())
    gap = stats.Interval(
        mean.value - least.value, max(mean.low - least.high, 0.0), mean.high - least.low
    )
    yield METRICS.measurement("group_gap", gap, smallest, **about)
    if trained is not None:
        weighted = weighted_accuracy(hits, counts, trained / trained.sum())
        yield METRICS.measurement("group_weighted_accuracy", weighted, len(correct), **about)


def weighted_accuracy(
    hits: NDArray[np.int64], counts: NDArray[np.int64], shares: NDArray[np.float64]
) -> stats.Interval:
    """Mean of the groups' accuracies by given shares, with a stratified interval.

    Args:
        hits: ``(K, V)`` images that were classified correctly.
        counts: ``(K, V)`` images, at least one in each group.
        shares: ``(K, V)`` weights that sum to 1, taken as known.

    >>> weighted_accuracy(np.array([[9, 1]]), np.array([[10, 10]]), np.array([[0.75, 0.25]])).value
    0.7
    """
    rates = [stats.rate(int(hit), int(n)) for hit, n in zip(hits.flat, counts.flat, strict=True)]
    return stats.weighted_mean(rates, shares.ravel().tolist())
