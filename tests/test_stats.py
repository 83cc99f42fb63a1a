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


def test_a_rate_covers_the_truth_in_about_95_of_100_samples() -> None:
    rng = np.random.default_rng(0)
    for truth in (0.03, 0.3, 0.9):
        hits = rng.binomial(120, truth, 2000).tolist()
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


def test_a_paired_difference_agrees_with_newcombes_published_example() -> None:
    # Newcombe 1998, table II: (36, 12, 2, 0) gives 0.0569 to 0.3404 by method 10
    found = stats.paired_difference(both=36, first=12, second=2, n=50)

    assert found.value == pytest.approx(0.2)
    assert (found.low, found.high) == pytest.approx((0.0569, 0.3404), abs=5e-5)


@given(st.lists(st.integers(0, 40), min_size=4, max_size=4).filter(lambda c: sum(c) > 0))
def test_a_paired_difference_turns_its_sign_with_the_order(counts: list[int]) -> None:
    both, first, second, neither = counts

    one = stats.paired_difference(both, first, second, sum(counts))
    other = stats.paired_difference(both, second, first, sum(counts))

    assert one == pytest.approx((-other.value, -other.high, -other.low), abs=1e-12)
    assert -1 <= one.low <= one.value <= one.high <= 1
    assert neither >= 0


def test_a_paired_difference_covers_the_truth_in_about_95_of_100_samples() -> None:
    rng = np.random.default_rng(1)
    shares = [0.1, 0.2, 0.08, 0.62]  # both, first, second, neither: the truth is 0.12
    covered = 0
    for counts in rng.multinomial(150, shares, 1000).tolist():
        found = stats.paired_difference(counts[0], counts[1], counts[2], 150)
        covered += found.low <= 0.12 <= found.high
    assert 930 <= covered <= 985


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


def test_the_jackknife_needs_two_blocks() -> None:
    with pytest.raises(EvidenceError, match="at least 2"):
        stats.jackknife(1.0, [1.0])


def test_the_smallest_of_many_is_covered_when_each_interval_holds_for_all() -> None:
    rng = np.random.default_rng(3)
    truths = [0.5, 0.52, 0.55, 0.8]
    missed = 0
    for _ in range(1000):
        hits = [int(rng.binomial(60, truth)) for truth in truths]
        found = stats.smallest([stats.rate(h, 60, searched=4) for h in hits])
        missed += not found.low <= min(truths) <= found.high
    assert missed <= 50


def test_enough_examples_settle_a_question() -> None:
    more = stats.examples_to_settle(100, value=0.10, low=0.04, high=0.16, bound=0.13)
    assert more is not None

    before, after = 0.06, 0.06 * math.sqrt(100 / (100 + more))

    assert before > 0.03 >= after - 1e-9


def test_no_number_of_examples_settles_an_estimate_on_the_bound() -> None:
    assert stats.examples_to_settle(100, 0.1, 0.05, 0.15, 0.1) is None


def test_largest_and_smallest_take_each_end_by_itself() -> None:
    intervals = [Interval(0.2, 0.1, 0.5), Interval(0.3, 0.25, 0.4)]

    assert stats.largest(intervals) == (0.3, 0.25, 0.5)
    assert stats.smallest(intervals) == (0.2, 0.1, 0.4)
