"""The test of independence: exact on independent weights, and not deceived by what it permutes."""

from itertools import permutations, product

import numpy as np
import pytest
from scipy.stats import kstest

from gate import stats
from gate.lineage.network import Layer, Site
from gate.lineage.pairing import Pair, paired
from gate.lineage.permutation import correspondences, exceedances

SITE = Site("x", 1)


def chain(seed: int, widths: tuple[int, ...] = (3, 6, 5, 4, 7)) -> list[Layer]:
    """Convolutions one behind another, whose weights are drawn."""
    rng, last = np.random.default_rng(seed), len(widths) - 2
    return [
        Layer(
            f"conv{place}",
            rng.normal(size=(widths[place + 1], widths[place], 9)),
            SITE,
            SITE,
            (place + 1,) if place < last else (),
        )
        for place in range(last + 1)
    ]


def child(layers: list[Layer], noise: float, seed: int = 5) -> list[Layer]:
    rng = np.random.default_rng(seed)
    return [
        layer._replace(weight=layer.weight + noise * rng.normal(size=layer.weight.shape))
        for layer in layers
    ]


def p_value(pairs: list[Pair], draws: int = 999, seed: int = 0) -> float:
    rng = np.random.default_rng(seed)
    return stats.permutation_p_value(*exceedances(correspondences(pairs), draws, rng)).value


def test_a_child_is_found_and_an_independent_network_is_not() -> None:
    parent = chain(0)

    assert p_value(paired(child(parent, 1.0), parent)) == 0.001
    assert p_value(paired(parent, parent)) == 0.001
    assert p_value(paired(chain(1), parent)) > 0.01


def test_it_agrees_with_going_through_all_orders() -> None:
    pairs = paired(chain(3, (2, 4, 3, 3, 2)), chain(4, (2, 4, 3, 3, 2)))

    def cosine(a: np.ndarray, b: np.ndarray) -> float:
        return float((a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum()))

    def statistic(first: tuple[int, ...], third: tuple[int, ...]) -> float:
        (w1, w2, w3, w4), (v1, v2, v3, v4) = (
            [pair[network].weight for pair in pairs] for network in (0, 1)
        )
        return sum(
            [cosine(w1[i], v1[c]) + cosine(w2[:, i], v2[:, c]) for c, i in enumerate(first)]
            + [cosine(w3[i], v3[c]) + cosine(w4[:, i], v4[:, c]) for c, i in enumerate(third)]
        )

    orders = list(product(permutations(range(4)), permutations(range(3))))
    observed = statistic((0, 1, 2, 3), (0, 1, 2))
    share = np.mean([statistic(*order) >= observed - 1e-9 for order in orders])

    found = exceedances(correspondences(pairs), 20_000, np.random.default_rng(0))

    interval = stats.permutation_p_value(*found)
    assert interval.low <= share <= interval.high
    assert interval.value == pytest.approx(share, abs=0.02)


def test_no_layer_is_beside_two_sets_of_channels_that_are_permuted() -> None:
    tables = correspondences(paired(chain(0), chain(1)))

    assert [len(table) for table in tables] == [6, 4]


def test_channels_that_one_of_both_does_not_hide_are_left_out() -> None:
    ours, theirs = chain(0), chain(0)
    theirs[0] = theirs[0]._replace(readers=())

    assert [len(table) for table in correspondences(paired(ours, theirs))] == [5]


def test_permuted_channels_hide_an_ancestor_from_it() -> None:
    parent = chain(0, (3, 32, 4))
    order = np.random.default_rng(1).permutation(32)
    hidden = [
        parent[0]._replace(weight=parent[0].weight[order]),
        parent[1]._replace(weight=parent[1].weight[:, order]),
    ]

    assert p_value(paired(hidden, parent)) > 0.001


@pytest.mark.coverage(full=2000, sampled=200)
def test_of_independent_networks_p_values_are_uniform(simulations: range) -> None:
    found = [
        p_value(paired(chain(2 * seed + 10), chain(2 * seed + 11)), draws=99, seed=seed)
        for seed in simulations
    ]

    # in steps of 0.01, so never below; a jitter within a step makes them continuous
    jitter = np.random.default_rng(0).uniform(0, 0.01, len(found))
    assert kstest(np.array(found) - jitter, "uniform").pvalue > 0.001
    assert np.mean(np.array(found) <= 0.05) <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / len(found))


@pytest.mark.coverage(full=2000, sampled=100)
def test_the_interval_holds_the_share_of_all_orders(simulations: range) -> None:
    held = 0
    for seed in simulations:
        hits = int(np.random.default_rng(seed).binomial(999, 0.004))
        interval = stats.permutation_p_value(hits, 999)
        held += interval.low <= 0.004 <= interval.high
    assert held / len(simulations) >= 0.95 - 3 * np.sqrt(0.05 * 0.95 / len(simulations))
