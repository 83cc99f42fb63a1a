"""Debiased CKA of standardised channels."""

from itertools import permutations

import numpy as np
import pytest

from gate.lineage.similarity import (
    debiased_cka,
    feature_similarity,
    standardised,
    unbiased_hsic,
)


def features(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Of two networks that share some of what they see."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(n, 4))
    return tuple(
        shared @ rng.normal(size=(4, width)) + rng.normal(size=(n, width)) for width in (6, 9)
    )  # type: ignore[return-value]  # two of them


def test_the_unbiased_criterion_agrees_with_its_sum_over_distinct_images() -> None:
    first, second = (values @ values.T for values in features(7))

    found = unbiased_hsic(first, second)

    pairs = [first[i, j] * second[i, j] for i, j in permutations(range(7), 2)]
    triples = [first[i, j] * second[i, k] for i, j, k in permutations(range(7), 3)]
    fours = [first[i, j] * second[k, m] for i, j, k, m in permutations(range(7), 4)]
    assert found == pytest.approx(np.mean(pairs) + np.mean(fours) - 2 * np.mean(triples))


def test_the_same_features_are_alike_and_independent_ones_are_not() -> None:
    first, _ = features(300)
    other = np.random.default_rng(1).normal(size=(300, 200))

    assert feature_similarity(first, first).value == pytest.approx(1)
    independent = feature_similarity(first, other)
    assert independent.low < 0 < independent.high
    assert abs(independent.value) < 0.02  # without debiasing, 200 channels would look alike


def test_order_scale_and_shift_of_channels_change_nothing() -> None:
    first, second = features(300)
    rng = np.random.default_rng(2)
    moved = first[:, rng.permutation(6)] * rng.lognormal(size=6) + rng.normal(size=6)

    found, expected = feature_similarity(moved, second), feature_similarity(first, second)

    np.testing.assert_allclose(found, expected)
    assert 0.1 < expected.low < expected.value < expected.high < 0.9


def test_channels_that_never_change_are_left_out() -> None:
    first, second = features(300)
    padded = np.hstack([first, np.full((300, 3), 7.3)])

    np.testing.assert_allclose(
        feature_similarity(padded, second), feature_similarity(first, second)
    )


def test_features_that_all_never_change_are_refused() -> None:
    with pytest.raises(ValueError, match="all of 6 channels are the same for all 300 images"):
        feature_similarity(np.ones((300, 6)), features(300)[1])


@pytest.mark.coverage(full=400, sampled=60)
def test_the_interval_holds_what_very_many_images_give(simulations: range) -> None:
    rng = np.random.default_rng(99)
    mixing = [rng.normal(size=(4, width)) for width in (6, 9)]

    def drawn(n: int, generator: np.random.Generator) -> list[np.ndarray]:
        shared = generator.normal(size=(n, 4))
        return [shared @ mix + generator.normal(size=(n, mix.shape[1])) for mix in mixing]

    grams = [values @ values.T for values in map(standardised, drawn(4000, rng))]
    truth, held = debiased_cka(*grams), 0
    for seed in simulations:
        interval = feature_similarity(*drawn(200, np.random.default_rng(seed)))
        held += interval.low <= truth <= interval.high
    assert held / len(simulations) >= 0.95 - 3 * np.sqrt(0.05 * 0.95 / len(simulations))
