"""Intervals against independent formulas, published values and simulation."""

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq, minimize_scalar
from scipy.special import xlogy
from scipy.stats import binom

from gate import stats
from gate.errors import EvidenceError
from gate.measure import blocks
from gate.stats import Interval
from tests.benchmarks.intervals import (
    excess_accepted,
    newcombe,
    rate_accepted,
    rates_rejected,
    tango,
)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_a_rate_agrees_with_wilsons_formula(counts: tuple[int, int]) -> None:
    hits, n = counts
    z = 1.959963984540054
    centre = (hits + z**2 / 2) / (n + z**2)
    reach = z * math.sqrt(hits * (n - hits) / n + z**2 / 4) / (n + z**2)

    found = stats.rate(hits, n)

    assert found.value == hits / n
    assert found.low == pytest.approx(centre - reach, abs=1e-12)
    assert found.high == pytest.approx(centre + reach, abs=1e-12)


def test_a_rate_agrees_with_a_published_interval() -> None:
    # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I, method 3
    assert stats.rate(81, 263) == pytest.approx((0.3080, 0.2553, 0.3662), abs=5e-5)
    assert stats.rate(0, 20) == pytest.approx((0, 0, 0.1611), abs=5e-5)


@pytest.mark.parametrize(("hits", "n"), [(0, 1), (1, 1), (0, 3), (3, 3), (0, 10**6)])
def test_an_estimate_at_the_edge_is_inside_its_interval_and_inside_0_to_1(
    hits: int, n: int
) -> None:
    found = stats.rate(hits, n)

    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.low < found.high


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_an_exact_rate_ends_where_a_binomial_test_of_one_side_errs_in_2_5_of_100_cases(
    counts: tuple[int, int],
) -> None:
    hits, n = counts

    found = stats.exact_rate(hits, n)

    if hits > 0:
        assert binom.sf(hits - 1, n, found.low) == pytest.approx(0.025, abs=1e-6)
    if hits < n:
        assert binom.cdf(hits, n, found.high) == pytest.approx(0.025, abs=1e-6)
    assert found.low <= found.value <= found.high


@pytest.mark.coverage(full=2000, sampled=500)
def test_a_rate_covers_the_truth_in_about_95_of_100_samples(simulations: range) -> None:
    rng = np.random.default_rng(0)
    for truth in (0.03, 0.3, 0.9):
        hits = rng.binomial(120, truth, len(simulations)).tolist()
        intervals = {h: stats.rate(h, 120) for h in set(hits)}
        covered = sum(intervals[h].low <= truth <= intervals[h].high for h in hits) / len(hits)
        assert 0.93 <= covered <= 0.98


@pytest.mark.parametrize(("hits", "n"), [(0, 0), (-1, 5), (6, 5)])
def test_no_interval_without_examples(hits: int, n: int) -> None:
    with pytest.raises(EvidenceError, match="add examples"):
        stats.rate(hits, n)


@pytest.mark.parametrize(
    ("counts", "limits"),
    [
        # the example of Tango 1998
        ((9, 3, 32), (-0.027, 0.390)),
        # Fagerland, Lydersen and Laake 2017, "Statistical analysis of contingency tables", chapter
        # 8: airway hyper-responsiveness, and complete response
        ((1, 7, 21), (-0.517, -0.026)),
        ((6, 16, 161), (-0.124, -0.005)),
    ],
)
def test_a_paired_difference_agrees_with_published_examples(
    counts: tuple[int, int, int], limits: tuple[float, float]
) -> None:
    first, second, n = counts

    found = stats.paired_difference(first, second, n)

    assert found.value == pytest.approx((first - second) / n)
    assert (found.low, found.high) == pytest.approx(limits, abs=5.1e-4)


def score(first: int, second: int, n: int, difference: float) -> float:
    """Distance of the estimate from a difference, in standard errors where that is the truth.

    The share of examples that hit the second time only is the likeliest then, by search.
    """

    def surprise(share: float) -> float:
        neither = 1 - 2 * share - difference
        return -float(
            xlogy(first, share + difference)
            + xlogy(second, share)
            + xlogy(n - first - second, neither)
        )

    edges = max(0.0, -difference), (1 - difference) / 2
    share = minimize_scalar(surprise, bounds=edges, method="bounded", options={"xatol": 1e-11}).x
    variance = n * (2 * share + difference - difference**2)
    return float((first - second - n * difference) / math.sqrt(variance))


counts_of_pairs = st.integers(1, 200).flatmap(
    lambda n: st.integers(0, n).flatmap(
        lambda first: st.tuples(st.just(first), st.integers(0, n - first), st.just(n))
    )
)


@given(counts_of_pairs)
def test_a_paired_difference_agrees_with_score_tests_whose_likelihood_is_maximised_by_search(
    counts: tuple[int, int, int],
) -> None:
    first, second, n = counts
    z = 1.959963984540054

    found = stats.paired_difference(first, second, n)

    if first < n:
        high = brentq(lambda d: score(*counts, d) + z, found.value + 1e-9, 1 - 1e-9)
        assert found.high == pytest.approx(high, abs=1e-5)
    if second < n:
        low = brentq(lambda d: score(*counts, d) - z, -1 + 1e-9, found.value - 1e-9)
        assert found.low == pytest.approx(low, abs=1e-5)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_a_control_that_never_hits_alone_leaves_the_upper_end_of_a_rate(
    counts: tuple[int, int],
) -> None:
    # the likelihood is then that of a rate: both limits solve the same equation
    hits, n = counts

    assert stats.paired_difference(hits, 0, n).high == pytest.approx(stats.rate(hits, n).high)


def test_where_both_always_hit_together_the_difference_reaches_as_far_as_a_rate_of_nothing() -> (
    None
):
    reach = stats.rate(0, 50).high

    assert stats.paired_difference(0, 0, 50) == pytest.approx((0, -reach, reach))


@given(counts_of_pairs, st.integers(1, 3000))
def test_a_paired_difference_turns_its_sign_with_the_order(
    counts: tuple[int, int, int], searched: int
) -> None:
    first, second, n = counts

    one = stats.paired_difference(first, second, n, searched_low=searched)
    other = stats.paired_difference(second, first, n, searched_high=searched)

    assert one == (-other.value, -other.high, -other.low)
    assert -1 <= one.low <= one.value <= one.high <= 1
    assert one.low < one.high


@given(counts_of_pairs, st.integers(1, 3000), st.integers(1, 3000))
def test_the_more_ends_must_hold_at_once_the_farther_they_reach(
    counts: tuple[int, int, int], some: int, others: int
) -> None:
    fewer, more = sorted((some, others))

    near = stats.paired_difference(*counts, searched_low=fewer, searched_high=fewer)
    far = stats.paired_difference(*counts, searched_low=more, searched_high=more)

    assert far.low <= near.low
    assert far.high >= near.high


@pytest.mark.coverage(full=1000, sampled=200)
def test_a_paired_difference_covers_the_truth_in_about_95_of_100_samples(
    simulations: range,
) -> None:
    rng = np.random.default_rng(1)
    shares = [0.2, 0.08, 0.72]  # first, second, both or neither: the truth is 0.12
    covered = 0
    for first, second, _ in rng.multinomial(150, shares, len(simulations)).tolist():
        found = stats.paired_difference(first, second, 150)
        covered += found.low <= 0.12 <= found.high
    assert 0.93 <= covered / len(simulations) <= 0.985


@pytest.mark.parametrize(
    "interval",
    [
        partial(stats.rate, 5, 50),
        partial(stats.exact_rate, 5, 50),
        partial(stats.paired_difference, 10, 5, 50),
        partial(stats.jackknife, 1, [0.9, 1.1, 1]),
        partial(blocks.jackknife, np.array([1, 0.9, 1.1, 1])),
        partial(blocks.shift, np.array([1, 0.9, 1.1, 1]), 50),
        partial(blocks.shift, np.array([1.0, 1, 1, 1]), 50),  # nothing changes
    ],
)
def test_only_the_end_that_must_hold_for_many_moves(interval: Callable[..., Interval]) -> None:
    alone = interval()
    largest, smallest = interval(searched_low=10), interval(searched_high=10)

    assert largest.low < alone.low < alone.value < alone.high < smallest.high
    assert (largest.value, largest.high) == (alone.value, alone.high)
    assert (smallest.value, smallest.low) == (alone.value, alone.low)


@pytest.mark.parametrize("counts", [(0, 0, 0), (-1, 2, 5), (2, -1, 5), (3, 3, 5)])
def test_no_paired_interval_for_counts_that_cannot_be(counts: tuple[int, int, int]) -> None:
    with pytest.raises(EvidenceError, match="no paired interval for counts"):
        stats.paired_difference(*counts)


def test_pairing_narrows_the_interval_of_rates_that_go_together() -> None:
    together = stats.paired_difference(first=5, second=0, n=100)
    apart = stats.paired_difference(first=27, second=22, n=100)

    assert together.high - together.low < apart.high - apart.low


def kappa_of(cells: np.ndarray) -> float:
    """Cohen's kappa of shares of both, first, second, neither; by its definition."""
    both, first, second, neither = cells / cells.sum()
    agreed = both + neither
    by_chance = (both + first) * (both + second) + (neither + first) * (neither + second)
    return float((agreed - by_chance) / (1 - by_chance))


@given(st.tuples(*[st.integers(0, 80)] * 4))
def test_kappa_agrees_with_its_definition_and_with_slopes_taken_by_differences(
    counts: tuple[int, int, int, int],
) -> None:
    both, first, second, neither = counts
    n = sum(counts)
    if n in (both, neither):
        with pytest.raises(EvidenceError, match=r"no kappa for counts .*; add examples"):
            stats.kappa(both, first, second, n)
        return
    more = np.array(counts) + 1.0
    step = 1e-4 * np.eye(4)
    slopes = np.array([kappa_of(more + s) - kappa_of(more - s) for s in step]) / 2e-4
    # of counts that are independent (Poisson): kappa does not change with their sum
    error = math.sqrt((slopes**2) @ more)

    found = stats.kappa(both, first, second, n)

    assert found.value == pytest.approx(kappa_of(np.array(counts)), abs=1e-12)
    ends = [kappa_of(more) + sign * 1.959964 * error for sign in (-1, 1)]
    low, high = min(max(ends[0], -1), found.value), max(min(ends[1], 1), found.value)
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-6)


@pytest.mark.coverage(full=4000, sampled=400)
@pytest.mark.parametrize("n", [100, 300, 2000])
@pytest.mark.parametrize(
    "cells",  # both, first, second: kappas of 0.27, 0.6, 0.9, 0, of rare and of common yeses
    [(0.015, 0.035, 0.035), (0.08, 0.02, 0.07), (0.27, 0.02, 0.02), (0.0004, 0.0196, 0.0196)],
)
def test_kappa_covers_the_truth_in_about_95_of_100_samples_also_where_a_yes_is_rare(
    cells: tuple[float, float, float], n: int, simulations: range
) -> None:
    shares = np.array([*cells, 1 - sum(cells)])
    truth, rng = kappa_of(shares), np.random.default_rng(7)
    drawn = rng.multinomial(n, shares, len(simulations)).tolist()

    found = [stats.kappa(both, one, two, n) for both, one, two, neither in drawn if neither < n]

    covered = sum(each.low <= truth <= each.high for each in found) / len(found)
    assert len(found) > 0.95 * len(simulations)
    assert covered >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / len(found))


def test_the_jackknife_of_a_mean_agrees_with_the_t_interval() -> None:
    from scipy.stats import t

    blocks = np.random.default_rng(2).normal(size=20)
    parts = [float(np.delete(blocks, i).mean()) for i in range(20)]
    error = blocks.std(ddof=1) / math.sqrt(20)

    found = stats.jackknife(float(blocks.mean()), parts)

    assert found.high - found.value == pytest.approx(t.ppf(0.975, 19) * error)
    assert found.value - found.low == pytest.approx(t.ppf(0.975, 19) * error)


def test_the_jackknife_needs_two_blocks() -> None:
    with pytest.raises(EvidenceError, match="at least 2"):
        stats.jackknife(1.0, [1.0])
    assert stats.jackknife(1.0, [1.0, 1.0]) == (1, 1, 1)


@pytest.mark.coverage(full=20000, sampled=1000)
def test_each_end_of_the_smallest_of_many_errs_in_at_most_2_5_of_100_samples(
    simulations: range,
) -> None:
    rng = np.random.default_rng(3)
    above = below = 0
    # the upper end errs most where all are alike, the lower where one is the smallest by far
    for _ in simulations:
        alike = rng.binomial(500, [0.6] * 4).tolist()
        above += stats.smallest([stats.rate(h, 500, searched_high=4) for h in alike]).high < 0.6
        one = rng.binomial(500, [0.6, 0.9, 0.9, 0.9]).tolist()
        below += stats.smallest([stats.rate(h, 500, searched_high=4) for h in one]).low > 0.6
    allowed = 0.025 * len(simulations)
    assert max(above, below) <= allowed + 3 * math.sqrt(allowed)


@pytest.mark.coverage(full=20000, sampled=1000)
def test_each_end_of_the_largest_excess_errs_in_at_most_2_5_of_100_samples(
    simulations: range,
) -> None:
    # 5 triggers, 3 controls, 500 images; an excess of 0.3 over the strongest control
    rng, triggers, controls, n = np.random.default_rng(4), 5, 3, 500

    def largest(shares: list[list[float]]) -> Interval:
        """Of draws, by the rates of each trigger and of each control among its hits."""
        smallest = []
        for trigger, *of_hits in shares:
            hits = int(rng.binomial(n, trigger))
            smallest.append(
                stats.smallest(
                    [
                        stats.paired_difference(
                            hits - shared, 0, n, searched_low=triggers, searched_high=controls
                        )
                        for shared in rng.binomial(hits, of_hits).tolist()
                    ]
                )
            )
        return stats.largest(smallest)

    # the upper end errs most where one trigger is the worst by far, and its controls are alike; the
    # lower where triggers are alike, and each has one control that is the strongest by far
    alike, elsewhere, one = [0.6, 0.5, 0.5, 0.5], [0.05, 0.0, 0.0, 0.0], [0.6, 0.5, 0.0, 0.0]
    below = sum(largest([alike, *[elsewhere] * 4]).high < 0.3 for _ in simulations)
    above = sum(largest([one] * 5).low > 0.3 for _ in simulations)

    allowed = 0.025 * len(simulations)
    assert max(above, below) <= allowed + 3 * math.sqrt(allowed)


def test_the_worst_of_a_bank_is_accepted_and_rejected_as_often_as_it_may_be() -> None:
    # 1,240 rates, of 500 images, bound 0.6
    assert rate_accepted(0.55) == pytest.approx(0.62, abs=0.005)
    assert rate_accepted(0.55, searched=1240) == pytest.approx(0.04, abs=0.005)
    assert rate_accepted(0.6) == pytest.approx(0.025, abs=5e-4)
    assert rates_rejected(0.6, rates=1240, searched=1240) <= 0.025
    assert rates_rejected(0.6, rates=1240, searched=1) > 0.99


@pytest.mark.parametrize(
    ("rate", "by_newcombe", "by_tango"),
    [(0.42, 0.015, 0.013), (0.45, 0.020, 0.016), (0.6, 0.033, 0.020), (0.8, 0.035, 0.022)],
)
def test_an_excess_at_its_bound_is_accepted_too_often_by_newcombes_limits_alone(
    rate: float, by_newcombe: float, by_tango: float
) -> None:
    assert excess_accepted(newcombe, rate, 0.4, 3) == pytest.approx(by_newcombe, abs=6e-4)
    assert excess_accepted(tango, rate, 0.4, 3) == pytest.approx(by_tango, abs=6e-4)


def test_enough_examples_settle_a_question() -> None:
    more = stats.examples_to_settle(100, value=0.10, low=0.04, high=0.16, bound=0.13)
    assert more is not None

    before, after = 0.06, 0.06 * math.sqrt(100 / (100 + more))

    assert before > 0.03 >= after - 1e-9


@given(
    st.integers(1, 1000),
    st.floats(0.01, 1),
    st.floats(0.01, 1),
    st.floats(0.26, 0.99),
    st.booleans(),
)
def test_what_is_told_to_settle_it_does_and_one_less_does_not(
    n: int, below: float, above: float, share: float, upper: bool
) -> None:
    # the interval reaches `below` and `above` 0; the bound lies inside it, at `share` of one side
    bound = above * share if upper else -below * share
    side = above if upper else below

    more = stats.examples_to_settle(n, 0.0, -below, above, bound)

    assert more is not None
    assert side * math.sqrt(n / (n + more)) <= abs(bound) * (1 + 1e-6)
    assert more == 1 or side * math.sqrt(n / (n + more - 1)) > abs(bound) * (1 - 1e-6)


def test_an_estimate_a_quarter_of_its_interval_off_the_bound_counts_as_on_it() -> None:
    assert stats.examples_to_settle(100, 0.0, -1.0, 1.0, 0.24) is None
    assert stats.examples_to_settle(100, 0.0, -1.0, 1.0, -0.24) is None
    assert stats.examples_to_settle(100, 0.0, -1.0, 1.0, 0.26) is not None


def test_no_number_of_examples_settles_an_estimate_on_the_bound() -> None:
    assert stats.examples_to_settle(100, 0.1, 0.05, 0.15, 0.1) is None


def test_largest_and_smallest_take_each_end_by_itself() -> None:
    intervals = [Interval(0.2, 0.1, 0.5), Interval(0.3, 0.25, 0.4)]

    assert stats.largest(intervals) == (0.3, 0.25, 0.5)
    assert stats.smallest(intervals) == (0.2, 0.1, 0.4)


def test_a_rate_of_many_is_what_it_would_be_had_it_been_searched_for() -> None:
    for hits, n, many in ((0, 50, 300), (7, 50, 5), (50, 50, 20), (999, 1000, 300)):
        corrected = stats.rate(hits, n, searched_low=many, searched_high=many)

        assert stats.rate_of_many(stats.rate(hits, n), many) == pytest.approx(corrected, abs=1e-6)


def test_a_paired_difference_of_many_is_no_narrower_than_at_their_level() -> None:
    for first, second, n in (
        (10, 0, 200),
        (1, 0, 100),
        (5, 1, 400),
        (60, 20, 200),
        (300, 200, 999),
    ):
        for many in (1, 5, 300):
            exact = stats.paired_difference(first, second, n, searched_low=many, searched_high=many)
            found = stats.number_of_many(stats.paired_difference(first, second, n), many, n)

            assert found.value == exact.value
            assert found.low <= exact.low + 1e-9
            assert found.high >= exact.high - 1e-9


def test_newcombes_example_has_newcombes_interval() -> None:
    """Newcombe 1998, table II, method 10: 56 of 70 and 48 of 80; 9 of 10 and 3 of 10."""
    for (a, m, b, n), ends in (
        ((56, 70, 48, 80), (0.0524, 0.3339)),
        ((9, 10, 3, 10), (0.1705, 0.8090)),
        ((10, 10, 0, 20), (0.6791, 1.0)),
        ((0, 10, 0, 20), (-0.1611, 0.2775)),
    ):
        found = stats.difference(stats.rate(a, m), stats.rate(b, n))

        assert (found.low, found.high) == pytest.approx(ends, abs=1e-4)
