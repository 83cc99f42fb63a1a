"""Intervals: no chance in how they are computed, so that the same counts give the same bytes.

All are two-sided: each end may err in 2.5 % of cases. A rule is held against the unfavourable end,
so accepting needs *every* rule to hold; searching many triggers or groups can then only make a
false acceptance less likely, and no correction across rules is needed.

Where one *number* is itself the worst of many (worst group, strongest target class), one of its
ends is corrected (Bonferroni: its 2.5 % are divided by the number of those that can err), and the
other is not. The largest of all p(i) has the ends max L(i) and max U(i):

- max L(i) lies above it only if *some* L(i) lies above p(i): all can err, so their number is passed
  as ``searched_low``.
- max U(i) lies below it only if U(i) lies below p(i) where p(i) is largest: one can err.

Of the smallest, the upper end is corrected likewise, by ``searched_high``. Of the largest over
triggers of the smallest over controls, max min d(i, c):

- max min L(i, c) lies above it only if, for some trigger, L(i, c) lies above d(i, c) at *that*
  control where d(i, c) is smallest: one for each trigger can err, however many controls there are.
- max min U(i, c) lies below it only if, at *that* trigger where min d(i, c) is largest, some
  U(i, c) lies below d(i, c): one for each control can err, however many triggers there are.

scipy is imported inside the functions: deciding and checking must start in 0.3 s.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from statistics import NormalDist
from typing import TYPE_CHECKING, Literal, NamedTuple

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


def rate(hits: int, n: int, *, searched_low: int = 1, searched_high: int = 1) -> Interval:
    """Share of ``n`` independent examples that hit, with its Wilson score interval.

    Args:
        hits: How many examples hit, 0 to ``n``.
        n: How many examples there are.
        searched_low: How many lower ends must hold at once, where the largest is taken.
        searched_high: How many upper ends must hold at once, where the smallest is taken.

    Raises:
        EvidenceError: There is no example, or ``hits`` is not in 0 .. n.

    Source:
        Wilson 1927; computed by ``scipy.stats.binomtest``.

    >>> rate(0, 100)
    Interval(value=0.0, low=0.0, high=0.03699)
    """
    return _rate("wilson", hits, n, searched_low, searched_high)


def exact_rate(hits: int, n: int, *, searched_low: int = 1, searched_high: int = 1) -> Interval:
    """Share of ``n`` independent examples that hit, with its exact interval; see `rate`.

    It is wider than Wilson's, and neither end errs more often than it may. Far in its tail Wilson's
    lower end does: it is above eight rates of 0.1, of 60 examples each, in 4 % of cases.

    Source:
        Clopper and Pearson 1934; computed by ``scipy.stats.binomtest``.

    >>> exact_rate(0, 100)
    Interval(value=0.0, low=0.0, high=0.03622)
    """
    return _rate("exact", hits, n, searched_low, searched_high)


def _rate(
    method: Literal["wilson", "exact"], hits: int, n: int, searched_low: int, searched_high: int
) -> Interval:
    if n < 1 or not 0 <= hits <= n:
        raise EvidenceError(
            f"no interval for {hits} of {n} examples: a rate needs at least 1 example and "
            "0 <= hits <= n; add examples"
        )
    low, _ = _ends(method, hits, n, _level(searched_low))
    _, high = _ends(method, hits, n, _level(searched_high))
    value = hits / n
    # rounding can leave the bound of 0/n or n/n a hair inside the estimate
    return Interval(value, min(low, value), max(high, value))


@lru_cache(maxsize=65_536)  # a bank of triggers asks for the same few counts over and over
def _ends(
    method: Literal["wilson", "exact"], hits: int, n: int, level: float
) -> tuple[float, float]:
    from scipy.stats import binomtest

    bounds = binomtest(hits, n).proportion_ci(level, method=method)
    return float(bounds.low), float(bounds.high)


def permutation_p_value(exceedances: int, draws: int) -> Interval:
    """P-value of a test by permutations drawn at random, with its exact binomial interval.

    The interval is of the share of *all* permutations that exceed what was observed: it says how
    far drawing some of them may mislead. The value counts what was observed as one of the draws, so
    that it is never 0, and at most any level in no more than that share of cases.

    Args:
        exceedances: Draws whose statistic is as large as the observed one, or larger.
        draws: How many there are.

    Raises:
        EvidenceError: There is no draw, or more exceed than were drawn.

    Source:
        Clopper and Pearson 1934; Phipson and Smyth 2010, "Permutation P-values should never be
        zero".

    >>> permutation_p_value(0, 9999)
    Interval(value=0.0001, low=0.0, high=0.00037)
    """
    from scipy.stats import binomtest

    if draws < 1 or not 0 <= exceedances <= draws:
        raise EvidenceError(
            f"no p-value for {exceedances} of {draws} permutations: it needs at least 1 draw and "
            "0 <= exceedances <= draws; draw more"
        )
    bounds = binomtest(exceedances, draws).proportion_ci(LEVEL, method="exact")
    value = (1 + exceedances) / (1 + draws)
    return Interval(value, min(float(bounds.low), value), max(float(bounds.high), value))


def paired_difference(
    first: int, second: int, n: int, *, searched_low: int = 1, searched_high: int = 1
) -> Interval:
    """Difference of two rates measured on the same ``n`` examples: first minus second.

    Args:
        first: Examples that hit the first time only.
        second: Examples that hit the second time only.
        n: All examples, those that hit both times or never included.
        searched_low: How many lower ends must hold at once, where the largest is taken.
        searched_high: How many upper ends must hold at once, where the smallest is taken.

    Raises:
        EvidenceError: There is no example, or the counts exceed ``n``.

    Source:
        Tango 1998, "Equivalence test and confidence interval for the difference in proportions for
        the paired-sample design" (score limits).

    >>> paired_difference(first=12, second=2, n=50)
    Interval(value=0.2, low=0.0611, high=0.3447)
    """
    if n < 1 or min(first, second, n - first - second) < 0:
        raise EvidenceError(
            f"no paired interval for counts {first}, {second} of {n} examples: "
            "a difference needs at least 1 example; add examples"
        )
    low = -_score_limit(second, first, n, _level(searched_low))
    high = _score_limit(first, second, n, _level(searched_high))
    return Interval((first - second) / n, low, high)


@lru_cache(maxsize=65_536)
def _score_limit(first: int, second: int, n: int, level: float) -> float:
    """The largest difference d that the score test does not refuse, found by bisection.

    The test holds the estimate's distance from d against its standard error under d; ``share`` is
    the likeliest share of the second kind there.
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    low, high = (first - second) / n, 1.0
    for _ in range(40):  # to a width of 2e-12
        d = (low + high) / 2
        b = (2 * n - first + second) * d - first - second
        root = math.sqrt(max(b * b + 8 * n * second * d * (1 - d), 0.0))
        share = (root - b) / (4 * n)
        # multiplied out, since at d = 0 and d = 1 the standard error may be 0
        if (first - second - n * d) ** 2 <= z * z * n * (2 * share + d * (1 - d)):
            low = d
        else:
            high = d
    return high


def kappa(both: int, first: int, second: int, n: int) -> Interval:
    """Cohen's kappa of two yes-or-no answers to the same ``n`` examples: agreement beyond chance.

    Its interval is the delta method's with one example more of each kind. Without these it holds
    the truth in 21 % of cases where 2 % of 300 answers are yes, and with them in 94 % or more.

    Args:
        both: Examples with two yeses.
        first: Examples with the first yes only.
        second: Examples with the second yes only.
        n: All examples.

    Raises:
        EvidenceError: The counts are not of ``n`` examples, or all answers are the same, so that
            any agreement is chance.

    Source:
        Cohen 1960; Fleiss, Cohen and Everitt 1969 for the variance; Agresti and Caffo 2000, who add
        one of each kind for differences of proportions.

    >>> kappa(both=20, first=5, second=10, n=50)
    Interval(value=0.4, low=0.1269, high=0.6138)
    """
    neither = n - both - first - second
    if n < 1 or min(both, first, second, neither) < 0 or n in (both, neither):
        raise EvidenceError(
            f"no kappa for counts {both}, {first}, {second} of {n} examples: it needs examples "
            "with a yes and examples with a no; add examples"
        )
    value, _ = _kappa_and_error(both, first, second, neither)
    centre, error = _kappa_and_error(both + 1, first + 1, second + 1, neither + 1)
    low, high = max(centre - _Z * error, -1.0), min(centre + _Z * error, 1.0)
    return Interval(value, min(low, value), max(high, value))


def _kappa_and_error(both: int, first: int, second: int, neither: int) -> tuple[float, float]:
    """Cohen's kappa and its standard error by the delta method."""
    n = both + first + second + neither
    yes, too = (both + first) / n, (both + second) / n
    # of n * n pairs, those that would disagree by chance
    apart = (both + first) * (first + neither) + (both + second) * (second + neither)
    value = 2 * (both * neither - first * second) / apart
    slopes = (1 - value) * (2 * too - 1), (1 - value) * (2 * yes - 1)  # of chance, in yes and too
    cells = (
        (both, 1 - sum(slopes)),
        (first, -slopes[0]),
        (second, -slopes[1]),
        (neither, 1.0),
    )
    mean = sum(count * slope for count, slope in cells) / n
    variance = sum(count * (slope - mean) ** 2 for count, slope in cells) / n
    return value, math.sqrt(variance / n) * n * n / apart


def jackknife(
    whole: float, parts: Sequence[float], *, searched_low: int = 1, searched_high: int = 1
) -> Interval:
    """Interval of a statistic from its values with one block of examples left out at a time.

    Args:
        whole: The statistic on all examples.
        parts: Its value with each block left out in turn, blocks of about equal size.
        searched_low: How many lower ends must hold at once, where the largest is taken.
        searched_high: How many upper ends must hold at once, where the smallest is taken.

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
    quantiles = [(1 + _level(searched)) / 2 for searched in (searched_low, searched_high)]
    below, above = (t.ppf(quantiles, blocks - 1) * error).tolist()
    return Interval(whole, whole - below, whole + above)


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


def difference(first: Interval, second: Interval) -> Interval:
    """Difference of two independent quantities from their intervals: first minus second.

    Of two rates with Wilson intervals it is Newcombe's interval. Of quantities measured on the same
    examples it is wider than need be, as far as both err alike.

    Source:
        Newcombe 1998, "Interval estimation for the difference between independent proportions",
        method 10; Zou & Donner 2008 for other quantities (MOVER).

    >>> difference(rate(56, 70), rate(48, 80))
    Interval(value=0.2, low=0.0524, high=0.3339)
    """
    value = first.value - second.value
    below = math.hypot(first.value - first.low, second.high - second.value)
    above = math.hypot(first.high - first.value, second.value - second.low)
    return Interval(value, value - below, value + above)


def rate_of_many(rate: Interval, rows: int) -> Interval:
    """A share's interval, as wide as it must be where those of ``rows`` rows hold at once.

    Each end is Wilson's for as many examples as would put it where it is. So the ends of `rate` are
    what they would have been with ``searched_low`` and ``searched_high``, and those that were
    corrected already are corrected once more.

    Args:
        rate: A share in 0 .. 1; each of its ends errs in 2.5 % of cases.
        rows: By how many that is divided (Bonferroni).

    >>> rate_of_many(rate(7, 50), 100), rate(7, 50, searched_low=100, searched_high=100)
    (Interval(value=0.14, low=0.0417, high=0.3788), Interval(value=0.14, low=0.0417, high=0.3788))
    """
    z, (value, low, high) = _quantile(rows), rate
    return Interval(value, min(_wilson(value, low, z), value), max(_wilson(value, high, z), value))


def _wilson(value: float, end: float, z: float) -> float:
    """Where Wilson's end lies at another quantile."""
    if not 0 < end < 1 or end == value:
        return end
    n = _Z**2 * end * (1 - end) / (value - end) ** 2
    reach = z * math.sqrt(value * (1 - value) / n + z**2 / (4 * n**2))
    return (value + z**2 / (2 * n) + (reach if end > value else -reach)) / (1 + z**2 / n)


def number_of_many(number: Interval, rows: int, n: int | None = None) -> Interval:
    """Any number's interval, as wide as it must be where those of ``rows`` rows hold at once.

    Reaches grow as the normal distribution's quantiles do. That of a difference of rates grows by
    as much more as where hardly any example differs, which is by their squares at most.

    Args:
        number: Each of its ends errs in 2.5 % of cases.
        rows: By how many that is divided (Bonferroni).
        n: Examples, where it is a difference of rates.

    >>> number_of_many(Interval(1.0, 0.8, 1.4), 20)
    Interval(value=1.0, low=0.6915, high=1.617)
    """
    z, (value, low, high) = _quantile(rows), number
    return Interval(value, value - _grown(value - low, z, n), value + _grown(high - value, z, n))


def _grown(reach: float, z: float, n: int | None) -> float:
    """A reach at another quantile."""
    grown = reach * z / _Z
    return min(grown + z * (z - _Z) / n, reach * (z / _Z) ** 2) if n else grown


def _quantile(rows: int) -> float:
    return NormalDist().inv_cdf((1 + _level(rows)) / 2) if rows > 1 else _Z


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
    """The largest of several quantities; their lower ends must hold at once (``searched_low``).

    >>> largest([Interval(0.2, 0.1, 0.5), Interval(0.3, 0.2, 0.4)])
    Interval(value=0.3, low=0.2, high=0.5)
    """
    return Interval(*(max(ends) for ends in zip(*candidates, strict=True)))


def smallest(candidates: Sequence[Interval]) -> Interval:
    """The smallest of several quantities; their upper ends must hold at once (``searched_high``).

    >>> smallest([Interval(0.2, 0.1, 0.5), Interval(0.3, 0.2, 0.4)])
    Interval(value=0.2, low=0.1, high=0.4)
    """
    return Interval(*(min(ends) for ends in zip(*candidates, strict=True)))


def examples_to_settle(n: int, value: float, low: float, high: float, bound: float) -> int | None:
    """About how many *more* examples would move the whole interval to one side of the bound.

    An interval shrinks with the square root of ``n``; None where more than sixteen times as many
    examples would be needed, which hardly anybody collects.

    >>> examples_to_settle(100, value=0.10, low=0.04, high=0.16, bound=0.13)
    300
    """
    side = high - value if bound > value else value - low
    distance = abs(bound - value)
    if distance <= side / 4:
        return None
    needed = n * (side / distance) ** 2
    return max(1, math.ceil(needed - n - 1e-9))


def _level(searched: int) -> float:
    return 1 - (1 - LEVEL) / searched
