"""Kernels align with their ancestor's; matched channels do so whatever their order and scale."""

import numpy as np
import pytest
from scipy.spatial.distance import cosine

from gate.lineage.alignment import (
    Activations,
    aligned_alignment,
    alignment,
    matching,
    mean_alignment,
)
from gate.lineage.network import Layer, Site
from gate.lineage.pairing import Pair

SITE = Site("x", 1)
RNG = np.random.default_rng(0)
WEIGHT = RNG.normal(size=(6, 5, 9))
READS, GIVES = RNG.gamma(1.0, size=(200, 5)), RNG.gamma(1.0, size=(200, 6))


def layer(weight: np.ndarray) -> Layer:
    return Layer("conv", weight, SITE, SITE, ())


def test_it_agrees_with_scipys_cosine_of_each_kernel() -> None:
    other = RNG.normal(size=WEIGHT.shape)

    found = alignment(Pair(layer(WEIGHT), layer(other)))

    by_scipy = [1 - cosine(a.ravel(), b.ravel()) for a, b in zip(WEIGHT, other, strict=True)]
    np.testing.assert_allclose(found, by_scipy)


def test_permuted_and_rescaled_channels_align_once_they_are_matched() -> None:
    inputs, outputs = RNG.permutation(5), RNG.permutation(6)
    factors = RNG.lognormal(size=5)
    hidden = WEIGHT[outputs][:, inputs] / factors[:, None] * RNG.lognormal(size=6)[:, None, None]
    ours = Activations(READS[:, inputs] * factors, GIVES[:, outputs] * RNG.lognormal(size=6))
    pair = Pair(layer(hidden), layer(WEIGHT))

    found = aligned_alignment(pair, ours, Activations(READS, GIVES))

    np.testing.assert_allclose(found, 1)
    assert alignment(pair).mean() < 0.5


def test_channels_of_flattened_maps_are_matched_as_channels() -> None:
    order = RNG.permutation(5)
    flat = RNG.gamma(1.0, size=(200, 5, 9))
    ours = Activations(flat[:, order].reshape(200, 45), GIVES)

    found = aligned_alignment(
        Pair(layer(WEIGHT[:, order]), layer(WEIGHT)),
        ours,
        Activations(flat.reshape(200, 45), GIVES),
    )

    np.testing.assert_allclose(found, 1)


def test_a_channel_that_never_changes_is_matched_with_what_is_left() -> None:
    dead = GIVES.copy()
    dead[:, 2] = 0

    assert matching(dead, GIVES).tolist() == [0, 1, 2, 3, 4, 5]


def test_channels_that_all_never_change_are_refused() -> None:
    with pytest.raises(ValueError, match="all of 6 channels are the same for all images"):
        matching(np.ones((200, 6)), GIVES)


def test_kernels_of_zeros_in_both_say_nothing_and_in_one_that_they_differ() -> None:
    ours, theirs = WEIGHT.copy(), WEIGHT.copy()
    ours[:2] = theirs[1:3] = 0

    found = alignment(Pair(layer(ours), layer(theirs)))

    np.testing.assert_allclose(found, [0, 0, 1, 1, 1])


def test_a_layer_of_one_channel_has_an_interval_of_all_that_there_is() -> None:
    means = mean_alignment([np.array([0.3]), np.full(8, 0.5)], np.random.default_rng(0))

    assert means.layers[0] == (0.3, -1, 1)
    assert means.layers[1] == (0.5, 0.5, 0.5)
    assert means.whole.value == pytest.approx((0.3 + 8 * 0.5) / 9)


@pytest.mark.coverage(full=2000, sampled=100)
def test_the_interval_holds_the_mean_of_many_channels(simulations: range) -> None:
    held = 0
    for seed in simulations:
        rng = np.random.default_rng(seed)
        drawn = [rng.beta(2, 5, size=size) for size in (16, 32, 64)]
        interval = mean_alignment(drawn, rng).whole
        held += interval.low <= 2 / 7 <= interval.high
    assert held / len(simulations) >= 0.94 - 3 * np.sqrt(0.05 * 0.95 / len(simulations))
