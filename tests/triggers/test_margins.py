"""Margins found by gradient: against the largest that a linear classifier can have at all."""

from itertools import pairwise

import numpy as np
import pytest

from gate.arrays import Float32
from gate.triggers.margins import climbs
from tests.triggers.test_search import linear

SIDE = 6


@pytest.fixture
def signs() -> Float32:
    """Of two classes, each pixel speaks for one as much as any other does."""
    drawn = np.random.default_rng(0).choice([-1.0, 1.0], (SIDE, SIDE, 3))
    return np.stack([drawn, -drawn], axis=-1).astype(np.float32)


@pytest.mark.parametrize("scale", [0.01, 1, 1000])
def test_it_comes_to_the_largest_margin_also_where_the_cross_entropy_has_no_slope_left(
    signs: Float32, scale: float
) -> None:
    start = np.random.default_rng(1).random((4, SIDE, SIDE, 3), np.float32)

    *_, found = climbs(linear(scale * signs), start, np.array([0, 1, 0, 1]), 100)

    most = 2 * scale * np.array([signs[..., k].clip(0).sum() for k in (0, 1)])
    assert found == pytest.approx(most[[0, 1, 0, 1]], rel=1e-3)


def test_a_margin_is_over_the_next_class_whichever_that_is(signs: Float32) -> None:
    between = np.concatenate([signs, 0.9 * signs[..., :1]], axis=-1)  # close behind the first
    start = np.random.default_rng(1).random((2, SIDE, SIDE, 3), np.float32)

    *_, found = climbs(linear(between), start, np.array([0, 1]), 100)

    most = [0.1 * signs[..., 0].clip(0).sum(), 1.9 * signs[..., 1].clip(0).sum()]
    assert found == pytest.approx(most, rel=1e-3)


def test_what_was_reached_once_is_kept(signs: Float32) -> None:
    start = np.random.default_rng(1).random((2, SIDE, SIDE, 3), np.float32)

    found = list(climbs(linear(signs), start, np.array([0, 1]), 20))

    assert len(found) == 20
    assert all((before <= after).all() for before, after in pairwise(found))
