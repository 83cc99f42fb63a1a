"""Intervals: closed-form where one exists, so that the same counts give the same bytes.

All are two-sided. A rule is held against the unfavourable end, so accepting needs *every* rule to
hold; searching many triggers or groups can then only make a false acceptance less likely, and no
correction across rules is needed. Where one *number* is itself the worst of many (worst group,
strongest target class), its interval is widened (Bonferroni) to hold for all of them at once:
pass ``searched``, the number of candidates.

scipy is imported inside the functions: deciding and checking must start in 0.3 s.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from gate.errors import EvidenceError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LEVEL = 0.95
_Z = 1.959964


class Interval(NamedTuple):
    """A point estimate with its lower and upper confidence bound."""

    value: float
    low: float
    high: float


def rate(hits: int, n: int, *, searched: int = 1) -> Interval:
    """Share of ``n`` independent examples that hit, with its Wilson score interval.

    Args:
        hits: How many examples hit, 0 to ``n``.
        n: How many examples there are.
        searched: Out of how many rates this one was picked; its interval holds for all of them.

    Raises:
        EvidenceError: There is no example, or ``hits`` is not in 0 .. n.

    Source:
        Wilson 1927; computed by ``scipy.stats.binomtest``.

    >>> rate(0, 100)
    Interval(value=0.0, low=0.0, high=0.03699)
    """
    if n < 1 or not 0 <= hits <= n:
        raise EvidenceError(
            f"no interval for {hits} of {n} examples: a rate needs at least 1 example and "
            "0 <= hits <= n; add examples"
        )
    low, high = _wilson(hits, n, _level(searched))
    value = hits / n
    # rounding can leave the bound of 0/n or n/n a hair inside the estimate
    return Interval(value, min(low, value), max(high, value))


@lru_cache(maxsize=65_536)  # a bank of triggers asks for the same few counts over and over
def _wilson(hits: int, n: int, level: float) -> tuple[float, float]:
    from scipy.stats import binomtest

    bounds = binomtest(hits, n).proportion_ci(level, method="wilson")
    return float(bounds.low), float(bounds.high)


def paired_difference(both: int, first: int, second: int, n: int, *, searched: int = 1) -> Interval:
    """Difference of two rates measured on the same ``n`` examples: first minus second.

    Args:
        both: Examples that hit both times.
        first: Examples that hit the first time only.
        second: Examples that hit the second time only.
        n: All examples, those that never hit included.
        searched: Out of how many differences this one was picked.

    Raises:
        EvidenceError: There is no example, or the counts exceed ``n``.

    Source:
        Newcombe 1998, "Improved confidence intervals for the difference between binomial
        proportions based on paired data", method 10 (square-and-add on Wilson limits).

    >>> paired_difference(both=36, first=12, second=2, n=50)
    Interval(value=0.2, low=0.0569, high=0.3404)
    """
    neither = n - both - first - second
    if n < 1 or min(both, first, second, neither) < 0:
        raise EvidenceError(
            f"no paired interval for counts {both}, {first}, {second} of {n} examples: "
            "a difference needs at least 1 example; add examples"
        )
    a = rate(both + first, n, searched=searched)
    b = rate(both + second, n, searched=searched)
    margins = (both + first) * (neither + second) * (both + second) * (neither + first)
    product = float(both * neither - first * second)
    # Newcombe's continuity correction applies to a positive association only
    if product > 0:
        product = max(product - n / 2, 0.0)
    phi = product / math.sqrt(margins) if margins else 0.0
    value = a.value - b.value

    def reach(x: float, y: float) -> float:
        return math.sqrt(max(x * x - 2 * phi * x * y + y * y, 0.0))

    return Interval(
        value,
        max(value - reach(a.value - a.low, b.high - b.value), -1.0),
        min(value + reach(a.high - a.value, b.value - b.low), 1.0),
    )


def jackknife(whole: float, parts: Sequence[float], *, searched: int = 1) -> Interval:
    """Interval of a statistic from its values with one block of examples left out at a time.

    Args:
        whole: The statistic on all examples.
        parts: Its value with each block left out in turn, blocks of about equal size.
        searched: Out of how many statistics this one was picked.

    Raises:
        EvidenceError: Fewer than two blocks.

    Source:
        Tukey 1958: delete-one-block jackknife, Student's t with (blocks - 1) degrees of freedom.
    """
    from scipy.stats import t

    blocks = len(parts)
    if blocks < 2:
        raise EvidenceError(f"no jackknife interval from {blocks} blocks: at least 2 are needed")
    centre = sum(parts) / blocks
    error = math.sqrt((blocks - 1) / blocks * sum((part - centre) ** 2 for part in parts))
    reach = float(t.ppf((1 + _level(searched)) / 2, blocks - 1)) * error
    return Interval(whole, whole - reach, whole + reach)


def weighted_mean(parts: Sequence[Interval], weights: Sequence[float]) -> Interval:
    """Mean of independent quantities with known weights; reaches add up as standard errors do.

    Args:
        parts: The quantities, each with its own interval.
        weights: One for each, not negative; they sum to 1.

    Source:
        Zou & Donner 2008, "Construction of confidence limits about effect measures: a general
        approach" (square-and-add for any sum of independent estimates).

    >>> weighted_mean([Interval(0.5, 0.2, 0.7), Interval(0.9, 0.5, 1.0)], [0.5, 0.5])
    Interval(value=0.7, low=0.45, high=0.8118)
    """
    weighted = list(zip(weights, parts, strict=True))
    value = sum(weight * part.value for weight, part in weighted)
    below = math.hypot(*(weight * (part.value - part.low) for weight, part in weighted))
    above = math.hypot(*(weight * (part.high - part.value) for weight, part in weighted))
    return Interval(value, value - below, value + above)


def mean(values: "NDArray[np.float64]", clusters: "NDArray[np.int64] | None" = None) -> Interval:
    """Mean of values, with its normal interval; all there is, where there is one.

    Args:
        values: ``(N,)``, independent but for clusters.
        clusters: ``(N,)``, in 0 .. C-1: which of them belong together.

    Source:
        Liang and Zeger 1986, for clusters.

    >>> import numpy as np
    >>> mean(np.array([1.0, 2.0, 3.0]))
    Interval(value=2.0, low=0.868, high=3.132)
    """
    value, n = float(values.mean()), len(values)
    if clusters is not None:
        reach = _reach((values - value) / n, clusters)
    else:
        reach = _Z * float(values.std(ddof=1)) / math.sqrt(n) if n > 1 else math.inf
    return Interval(value, value - reach, value + reach)


def _reach(shares: "NDArray[np.float64]", clusters: "NDArray[np.int64]") -> float:
    """Reach of a sum from what each value adds to its error; clusters are independent."""
    import numpy as np
    from scipy.stats import t

    sums = np.bincount(clusters, shares)
    error = math.sqrt(len(sums) / (len(sums) - 1) * float(sums @ sums))
    return float(t.ppf((1 + LEVEL) / 2, len(sums) - 1)) * error


def mean_of_classes(
    values: "NDArray[np.float64]",
    classes: "NDArray[np.int64]",
    clusters: "NDArray[np.int64] | None" = None,
) -> Interval:
    """Mean of the classes' means, with its normal interval; every class has values.

    Values are of hits: 0 and 1, or differences of such. A class with a single value says nothing
    of its variance: it takes the mean one of the others. Where hardly any value differs, the
    interval reaches as far as that of a rate of which nothing was seen (Wilson). Clusters as in
    ``mean``.

    >>> import numpy as np
    >>> mean_of_classes(np.array([0.0, 1.0, 1.0, 1.0]), np.array([0, 0, 1, 1]))
    Interval(value=0.75, low=0.26, high=1.24)
    """
    import numpy as np

    counts = np.bincount(classes)
    means = np.bincount(classes, values) / counts
    value, apart, independent = float(means.mean()), values - means[classes], len(values)
    if clusters is not None:
        independent = int(clusters.max()) + 1
        reach = _reach(apart / counts[classes] / len(counts), clusters)
    else:
        several = counts > 1
        if not several.any():
            return mean(values)
        variances = np.bincount(classes, apart**2) / np.maximum(counts - 1, 1)
        variances[~several] = variances[several].mean()
        reach = _Z * math.sqrt(float((variances / counts).sum())) / len(counts)
    reach = max(reach, _Z**2 / (independent + _Z**2))
    return Interval(value, value - reach, value + reach)


def largest(candidates: Sequence[Interval]) -> Interval:
    """The largest of several quantities; each interval must hold for all at once (``searched``).

    >>> largest([Interval(0.2, 0.1, 0.5), Interval(0.3, 0.2, 0.4)])
    Interval(value=0.3, low=0.2, high=0.5)
    """
    return Interval(*(max(ends) for ends in zip(*candidates, strict=True)))


def smallest(candidates: Sequence[Interval]) -> Interval:
    """The smallest of several quantities; each interval must hold for all at once (``searched``).

    >>> smallest([Interval(0.2, 0.1, 0.5), Interval(0.3, 0.2, 0.4)])
    Interval(value=0.2, low=0.1, high=0.4)
    """
    return Interval(*(min(ends) for ends in zip(*candidates, strict=True)))


def examples_to_settle(n: int, value: float, low: float, high: float, bound: float) -> int | None:
    """About how many *more* examples would move the whole interval to one side of the bound.

    An interval shrinks with the square root of ``n``; None where the estimate all but sits on the
    bound, so that no number of examples one would collect settles it.

    >>> examples_to_settle(100, value=0.10, low=0.04, high=0.16, bound=0.13)
    300
    """
    side = high - value if bound > value else value - low
    distance = abs(bound - value)
    if distance <= side / 100:
        return None
    needed = n * (side / distance) ** 2
    return max(1, math.ceil(needed - n - 1e-9))


def _level(searched: int) -> float:
    return 1 - (1 - LEVEL) / searched
