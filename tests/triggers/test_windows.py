"""Windows found by gradient: against the best that a linear classifier can have at all."""

import numpy as np
import pytest

from gate.arrays import Float32
from gate.triggers.windows import gradients, raised, spread, windows
from tests.triggers.test_search import linear

SIDE = 16


@pytest.fixture
def weights() -> Float32:
    """Of two classes; the pixels of one corner say most."""
    drawn = np.random.default_rng(0).standard_normal((SIDE, SIDE, 3))
    drawn[9:15, 1:6] *= 3
    return np.stack([drawn, -drawn], axis=-1).astype(np.float32)


@pytest.fixture
def images() -> Float32:
    return np.random.default_rng(1).random((40, SIDE, SIDE, 3), np.float32)


@pytest.mark.parametrize("scale", [0.01, 1, 1000])
def test_it_comes_to_the_best_window_in_the_best_colours_at_any_scale_of_logits(
    weights: Float32, images: Float32, scale: float
) -> None:
    pattern = np.zeros((1, SIDE, SIDE, 3), np.float32)

    *_, (mask, colours) = raised(linear(scale * weights), images, 0, pattern, 100, [0])

    # the mean margin that each window leaves at most: its own best colours, and what is around it
    speaks = weights[..., 0] - weights[..., 1]
    inside, around = speaks.clip(0), speaks * images.mean(axis=0)
    most = [float((of * inside + (1 - of) * around).sum()) for of in windows(SIDE, SIDE)]
    under = (mask * colours * speaks + (1 - mask) * around).sum()
    assert np.array_equal(mask, windows(SIDE, SIDE)[int(np.argmax(most))])
    assert under == pytest.approx(max(most), rel=0.05)


def test_whatever_is_half_as_large_as_a_window_lies_in_one_whole() -> None:
    for height, width in ((28, 28), (32, 32), (33, 50), (5, 3)):
        masks, side = windows(height, width)[..., 0], max(1, min(height, width) // 8)
        assert masks.sum(axis=0).min() >= 1
        for top in range(height - side + 1):
            for left in range(width - side + 1):
                covered = masks[:, top : top + side, left : left + side].all(axis=(1, 2))
                assert covered.any()


def test_each_step_takes_as_many_gradients_as_it_says(weights: Float32, images: Float32) -> None:
    asked, of = list[int](), linear(np.float32(0.01) * weights)

    def noted(pixels: Float32, targets: np.ndarray) -> tuple[Float32, Float32]:
        asked.append(len(pixels))
        return of(pixels, targets)

    pattern = np.zeros((1, SIDE, SIDE, 3), np.float32)
    steps = list(raised(noted, images, 0, pattern, 40, [0]))

    assert asked == gradients(SIDE, SIDE, 40)
    assert len(steps) == len(asked)


def test_a_spread_is_of_what_tells_classes_apart() -> None:
    logits = np.random.default_rng(2).standard_normal((50, 10)).astype(np.float32)
    shifted = logits + np.arange(50, dtype=np.float32)[:, None]

    assert spread(shifted) == pytest.approx(spread(logits), rel=1e-4)
    assert spread(7 * logits) == pytest.approx(7 * spread(logits), rel=1e-4)
