"""Intervals against independent formulas, published values and simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate import stats
from gate.errors import EvidenceError
from gate.stats import Interval


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


@pytest.mark.coverage(full=2000, sampled=500)
def test_a_rate_covers_the_truth_in_about_95_of_100_samples(simulations: range) -> None:
    rng = np.random.default_rng(0)
    for truth in (0.03, 0.3, 0.9):
        hits = rng.binomial(120, truth, len(simulations)).tolist()
        intervals = {h: stats.rate(h, 120) for h in set(hits)}
        covered = sum(intervals[h].low <= truth <= intervals[h].high for h in hits) / len(hits)
        assert 0.93 <= covered <= 0.98


def test_a_rate_picked_from_many_has_a_wider_interval() -> None:
    alone, picked = stats.rate(5, 50), stats.rate(5, 50, searched=10)

    assert picked.low < alone.low < alone.high < picked.high


@pytest.mark.parametrize(("hits", "n"), [(0, 0), (-1, 5), (6, 5)])
def test_no_interval_without_examples(hits: int, n: int) -> None:
    with pytest.raises(EvidenceError, match="add examples"):
        stats.rate(hits, n)


@pytest.mark.parametrize(
    ("counts", "limits"),
    [  # a negative, a weak and a strong positive association; no pair of the second kind
        ((36, 12, 2, 0), (0.0569, 0.3404)),
        ((20, 12, 2, 16), (0.0562, 0.3292)),
        ((18, 12, 2, 18), (0.0562, 0.3290)),
        ((36, 14, 0, 0), (0.1528, 0.4167)),
        ((35, 14, 0, 1), (0.1461, 0.4175)),
        ((18, 14, 0, 18), (0.1441, 0.3963)),
        ((2, 97, 1, 0), (0.8721, 0.9854)),
        ((0, 29, 1, 0), (0.6666, 0.9882)),
    ],
)
def test_a_paired_difference_agrees_with_newcombes_published_examples(
    counts: tuple[int, int, int, int], limits: tuple[float, float]
) -> None:
    # Newcombe 1998, table III, method 10
    both, first, second, neither = counts

    found = stats.paired_difference(both, first, second, sum(counts))

    assert neither == sum(counts) - both - first - second
    assert found.value == pytest.approx((first - second) / sum(counts))
    assert (found.low, found.high) == pytest.approx(limits, abs=5.1e-5)


@given(st.lists(st.integers(0, 40), min_size=4, max_size=4).filter(lambda c: sum(c) > 0))
def test_a_paired_difference_turns_its_sign_with_the_order(counts: list[int]) -> None:
    both, first, second, neither = counts

    one = stats.paired_difference(both, first, second, sum(counts))
    other = stats.paired_difference(both, second, first, sum(counts))

    assert one == pytest.approx((-other.value, -other.high, -other.low), abs=1e-12)
    assert -1 <= one.low <= one.value <= one.high <= 1
    assert neither >= 0


@pytest.mark.coverage(full=1000, sampled=200)
def test_a_paired_difference_covers_the_truth_in_about_95_of_100_samples(
    simulations: range,
) -> None:
    rng = np.random.default_rng(1)
    shares = [0.1, 0.2, 0.08, 0.62]  # both, first, second, neither: the truth is 0.12
    covered = 0
    for counts in rng.multinomial(150, shares, len(simulations)).tolist():
        found = stats.paired_difference(counts[0], counts[1], counts[2], 150)
        covered += found.low <= 0.12 <= found.high
    assert 0.93 <= covered / len(simulations) <= 0.985


def test_a_difference_picked_from_many_has_a_wider_interval() -> None:
    alone = stats.paired_difference(20, 10, 5, 50)
    picked = stats.paired_difference(20, 10, 5, 50, searched=10)

    assert picked.low < alone.low < alone.value < alone.high < picked.high


@pytest.mark.parametrize(
    "counts", [(0, 0, 0, 0), (-1, 2, 2, 5), (2, -1, 2, 5), (2, 2, -1, 5), (2, 2, 2, 5)]
)
def test_no_paired_interval_for_counts_that_cannot_be(counts: tuple[int, int, int, int]) -> None:
    with pytest.raises(EvidenceError, match="no paired interval for counts"):
        stats.paired_difference(*counts)


@pytest.mark.parametrize("counts", [(5, 0, 0, 5), (0, 5, 0, 5), (0, 0, 0, 5), (0, 0, 5, 5)])
def test_a_difference_of_all_or_nothing_has_an_interval(counts: tuple[int, int, int, int]) -> None:
    found = stats.paired_difference(*counts)

    assert -1 <= found.low < found.high <= 1
    assert found.low <= found.value <= found.high


def test_where_every_example_hits_both_times_nothing_correlates() -> None:
    # an empty margin leaves the correlation undefined; Newcombe takes it as 0
    low = stats.rate(50, 50).low

    assert stats.paired_difference(50, 0, 0, 50) == pytest.approx((0, low - 1, 1 - low))


def test_pairing_narrows_the_interval_of_rates_that_go_together() -> None:
    together = stats.paired_difference(both=40, first=5, second=0, n=100)
    apart = stats.paired_difference(both=18, first=27, second=22, n=100)

    assert together.high - together.low < apart.high - apart.low


def test_the_jackknife_of_a_mean_agrees_with_the_t_interval() -> None:
    from scipy.stats import t

    blocks = np.random.default_rng(2).normal(size=20)
    parts = [float(np.delete(blocks, i).mean()) for i in range(20)]
    error = blocks.std(ddof=1) / math.sqrt(20)

    found = stats.jackknife(float(blocks.mean()), parts)

    assert found.high - found.value == pytest.approx(t.ppf(0.975, 19) * error)
    assert found.value - found.low == pytest.approx(t.ppf(0.975, 19) * error)


def test_the_jackknife_of_one_picked_from_many_is_wider() -> None:
    alone, picked = stats.jackknife(1, [0.9, 1.1, 1]), stats.jackknife(1, [0.9, 1.1, 1], searched=5)

    assert picked.low < alone.low < 1 < alone.high < picked.high


def test_the_jackknife_needs_two_blocks() -> None:
    with pytest.raises(EvidenceError, match="at least 2"):
        stats.jackknife(1.0, [1.0])
    assert stats.jackknife(1.0, [1.0, 1.0]) == (1, 1, 1)


@pytest.mark.coverage(full=1000, sampled=200)
def test_the_smallest_of_many_is_covered_when_each_interval_holds_for_all(
    simulations: range,
) -> None:
    rng = np.random.default_rng(3)
    truths = [0.5, 0.52, 0.55, 0.8]
    missed = 0
    for _ in simulations:
        hits = [int(rng.binomial(60, truth)) for truth in truths]
        found = stats.smallest([stats.rate(h, 60, searched=4) for h in hits])
        missed += not found.low <= min(truths) <= found.high
    assert missed <= len(simulations) / 20


def test_enough_examples_settle_a_question() -> None:
    more = stats.examples_to_settle(100, value=0.10, low=0.04, high=0.16, bound=0.13)
    assert more is not None

    before, after = 0.06, 0.06 * math.sqrt(100 / (100 + more))

    assert before > 0.03 >= after - 1e-9


@given(
    st.integers(1, 1000),
    st.floats(0.01, 1),
    st.floats(0.01, 1),
    st.floats(0.02, 0.99),
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


def test_an_estimate_a_hundredth_of_its_interval_off_the_bound_counts_as_on_it() -> None:
    assert stats.examples_to_settle(100, 0.0, -1.0, 1.0, 0.009) is None
    assert stats.examples_to_settle(100, 0.0, -1.0, 1.0, -0.009) is None
    assert stats.examples_to_settle(100, 0.0, -1.0, 1.0, 0.0101) is not None


def test_no_number_of_examples_settles_an_estimate_on_the_bound() -> None:
    assert stats.examples_to_settle(100, 0.1, 0.05, 0.15, 0.1) is None


def test_largest_and_smallest_take_each_end_by_itself() -> None:
    intervals = [Interval(0.2, 0.1, 0.5), Interval(0.3, 0.25, 0.4)]

    assert stats.largest(intervals) == (0.3, 0.25, 0.5)
    assert stats.smallest(intervals) == (0.2, 0.1, 0.4)
