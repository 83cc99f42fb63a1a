"""Margins found by gradient: against the largest that a linear classifier can have at all."""

from itertools import pairwise

import numpy as np
import pytest

from gate.arrays import Float32, Int64
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


def peaked(pixels: Float32, targets: Int64) -> tuple[Float32, Float32]:
    """Two classes; the first has its largest margin, 1, on an image of mid-grey alone."""
    off = pixels - 0.5
    logits = np.stack([1 - (off**2).sum(axis=(1, 2, 3)), np.zeros(len(pixels))], axis=1)
    first = 1 / (1 + np.exp(-logits[:, 0])) - (targets == 0)  # the cross entropy's slope
    slopes = first[:, None, None, None] * -2 * off
    return logits.astype(np.float32), slopes.astype(np.float32)


def test_what_was_reached_once_is_kept_where_a_step_goes_too_far() -> None:
    start = np.full((1, SIDE, SIDE, 3), 0.51, np.float32)

    found = list(climbs(peaked, start, np.array([0]), 20))

    assert len(found) == 20
    assert found[0] == pytest.approx(1 - start.size * 0.01**2)
    assert all((before <= after).all() for before, after in pairwise(found))
