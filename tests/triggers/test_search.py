"""The search for triggers: its gradients by finite differences, and what it finds on toys."""

from collections.abc import Callable

import numpy as np
import pytest

from gate.arrays import Float32, Int64
from gate.triggers.search import (
    Colours,
    Differentiable,
    Kind,
    Patches,
    Patterns,
    Search,
    State,
    TwoColours,
    Values,
    patterns_on,
)

SIDE, CLASSES = 6, 3
PLANTED = (4, 1)  # row and column of the one pixel that carries every image to class 2


def linear(weight: Float32) -> Differentiable:
    """A linear classifier of pixels: weight ``(H, W, C, K)``."""

    def of(pixels: Float32, targets: Int64) -> tuple[Float32, Float32]:
        flat = pixels.reshape(len(pixels), -1)
        logits = flat @ weight.reshape(-1, weight.shape[-1])
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        shares[np.arange(len(targets)), targets] -= 1
        slopes = shares @ weight.reshape(-1, weight.shape[-1]).T
        return logits.astype(np.float32), slopes.reshape(pixels.shape).astype(np.float32)

    return of


def losses(of: Differentiable, pixels: Float32, targets: Int64) -> Float32:
    logits, _ = of(pixels, targets)
    return np.asarray(
        np.logaddexp.reduce(logits, axis=1) - logits[np.arange(len(targets)), targets]
    )


@pytest.fixture
def images() -> Float32:
    return np.random.default_rng(0).uniform(0.2, 0.8, (30, SIDE, SIDE, 3)).astype(np.float32)


@pytest.fixture
def planted() -> Differentiable:
    """Looks a little everywhere, and very much at one pixel for the last class."""
    weight = 0.3 * np.random.default_rng(1).standard_normal((SIDE, SIDE, 3, CLASSES), np.float32)
    weight[(*PLANTED, slice(None), -1)] += np.array([14, -14, 14], np.float32)
    return linear(weight)


def searched(
    kind: Kind,
    of: Differentiable,
    images: Float32,
    *,
    seed: int = 0,
    steps: int = 60,
    limits: tuple[tuple[float, int], ...] = (),
) -> tuple[Search, State]:
    """The last state of a search for a trigger to each class, on all images."""
    targets = np.repeat(np.arange(CLASSES)[:, None], len(images), axis=1)
    search = Search(kind, of, images, targets, steps, 8, (seed,), limits)
    (*_, last) = search.states()
    return search, last


def objective(
    kind: Kind, of: Differentiable, values: Values, images: Float32, targets: Int64, weight: float
) -> float:
    """What a step makes smaller, of all goals together, in double precision."""
    exact = {name: array.astype(np.float64) for name, array in values.items()}
    stamped = kind.on(exact, images.astype(np.float64))  # type: ignore[arg-type]  # more exact
    each = losses(of, stamped.reshape(-1, *images.shape[2:]), targets.ravel())
    sizes = kind.sizes(exact)  # type: ignore[arg-type]  # as above
    return float(each.reshape(targets.shape).mean(axis=1).sum() + weight * sizes.sum())


def colours(values: Values) -> Colours:
    return Colours((values["mask"] > -2).astype(np.float32), values["pattern"])


def two_colours(values: Values) -> TwoColours:
    first = (values["mask"] > -2).astype(np.float32)
    at = values["pattern"][:, :, :1, :1]
    return TwoColours(np.stack((first, 1 - first)), at, -at)


@pytest.mark.parametrize(
    "make",
    [lambda _: Patches(), lambda _: Patterns(), lambda _: Patterns(cell=4), colours, two_colours],
)
def test_its_slopes_are_those_of_finite_differences(
    make: Callable[[Values], Kind], images: Float32, planted: Differentiable
) -> None:
    rng = np.random.default_rng(3)
    kind = make(Patches().drawn(2, images.shape[1:], rng))
    values = kind.drawn(2, images.shape[1:], rng)
    batch, targets = images[:10].reshape(2, 5, *images.shape[1:]), np.array([[0] * 5, [2] * 5])
    stamped = kind.on(values, batch)
    _, of_pixels = planted(stamped.reshape(-1, *images.shape[1:]), targets.ravel())
    slopes = kind.slopes(values, batch, of_pixels.reshape(batch.shape))
    for name, of_size in kind.slopes_of_sizes(values).items():
        slopes[name] = slopes[name] + 0.05 * of_size
    step = 1e-3

    for name, slope in slopes.items():
        direction = rng.standard_normal(values[name].shape).astype(np.float32)
        ahead, behind = (
            objective(
                kind, planted, {**values, name: values[name] + sign * step * direction},
                batch, targets, 0.05 if kind.weight else 0.0,
            )
            for sign in (1, -1)
        )  # fmt: skip
        assert float((slope * direction).sum()) == pytest.approx(
            (ahead - behind) / (2 * step), rel=0.02
        )


@pytest.mark.parametrize(
    ("kind", "side", "as_heavy"),
    [
        (Patches(), 28, 1),
        (Patches(), 32, 1),
        (Patches(), 64, 1 / 2),
        (Patches(), 224, 1 / 7),
        (Patterns(), 63, 32 / 63),
        (Patterns(cell=7), 224, 1),
        (Patterns(cell=7), 250, 32 / 36),
    ],
)
def test_sizes_of_more_values_which_are_larger_weigh_less_at_first(
    kind: Kind, side: int, as_heavy: float, planted: Differentiable
) -> None:
    images, targets = np.zeros((1, side, side, 3), np.float32), np.zeros((2, 1), np.int64)

    start = Search(kind, planted, images, targets, 1, 1, (0,)).start

    assert start.weight.tolist() == pytest.approx([kind.weight * as_heavy] * 2)


@pytest.mark.parametrize(
    ("side", "cell"), [(8, 1), (32, 1), (63, 1), (64, 2), (100, 3), (224, 7), (299, 9)]
)
def test_patterns_on_large_images_are_of_thirty_two_cells_a_side_or_a_few_more(
    side: int, cell: int
) -> None:
    kind = patterns_on(side, side + 5)
    values = kind.drawn(1, (side, side + 5, 3), np.random.default_rng(0))
    images = np.full((2, side, side + 5, 3), 0.5, np.float32)

    patterns = kind.on(values, images[None])[0] - 0.5

    assert kind.cell == cell
    rows, columns = np.arange(side) // cell, np.arange(side + 5) // cell
    wanted = values["added"][0, 0][rows][:, columns]
    np.testing.assert_allclose(patterns, np.stack((wanted, wanted)), atol=1e-6)
    assert 32 <= rows[-1] + 1 < 2 * 32 or side < 32


def test_a_coarse_pattern_stands_out_in_cells_where_any_class_has_one_of_single_pixels() -> None:
    side, rng = 64, np.random.default_rng(5)
    images = rng.uniform(0.2, 0.8, (20, side, side, 3)).astype(np.float32)
    weight = 0.02 * rng.standard_normal((side, side, 3, CLASSES), np.float32)
    coarse = rng.choice([-0.02, 0.02], (side // 16, side // 16, 3))  # of other cells
    weight[..., 2] += coarse.repeat(16, axis=0).repeat(16, axis=1).astype(np.float32)
    weight -= weight.mean(axis=(0, 1, 2))  # grey images are of no class

    (_, pixels), (_, cells) = (
        searched(Patterns(cell=cell), linear(weight), images) for cell in (1, 4)
    )

    by_pixels, by_cells = (np.median(of.smallest) / of.smallest[2] for of in (pixels, cells))
    assert by_pixels < 1.5
    assert by_cells > 2


def test_it_finds_the_planted_pixel(images: Float32, planted: Differentiable) -> None:
    search, last = searched(Patches(), planted, images)

    best = search.ranked(last)[0]
    mask = last.found["mask"][best, 0, :, :, 0]
    assert last.goals[best] == 2
    assert mask.argmax() == PLANTED[0] * SIDE + PLANTED[1]
    assert search.kind.sizes(last.found)[best] < 3


def test_no_class_stands_out_where_nothing_is_planted(images: Float32) -> None:
    weight = 0.3 * np.random.default_rng(1).standard_normal((SIDE, SIDE, 3, CLASSES), np.float32)
    weight -= weight.mean(axis=(0, 1, 2))  # grey images are of no class

    _, last = searched(Patches(), linear(weight), images)

    smallest, second, *_ = sorted(last.smallest)
    assert second < 2.5 * smallest


def test_a_pattern_it_keeps_carries_nine_of_ten(images: Float32, planted: Differentiable) -> None:
    search, last = searched(Patterns(), planted, images, steps=200)

    for row in np.flatnonzero(np.isfinite(last.smallest)):
        stamped = search.kind.on(last.found, images[None])[row]
        logits, _ = planted(stamped, np.zeros(len(images), np.int64))
        assert (logits.argmax(axis=1) == last.goals[row]).mean() > 0.8
    assert np.isfinite(last.smallest).any()


def test_the_same_seed_gives_the_same_trigger_and_another_one_another(
    images: Float32, planted: Differentiable
) -> None:
    (_, one), (_, again), (_, other) = (
        searched(Patches(), planted, images, seed=seed, steps=20) for seed in (1, 1, 2)
    )

    assert one.found["mask"].tobytes() == again.found["mask"].tobytes()
    assert one.found["mask"].tobytes() != other.found["mask"].tobytes()


def test_a_search_that_was_left_ends_where_it_would_have(
    images: Float32, planted: Differentiable
) -> None:
    search, last = searched(Patches(), planted, images, steps=20)
    states = search.states()
    left = [next(states) for _ in range(9)][-1]

    (*_, resumed) = search.states(left)

    assert resumed.found["pattern"].tobytes() == last.found["pattern"].tobytes()


def test_goals_that_promise_little_are_dropped(images: Float32, planted: Differentiable) -> None:
    limits = ((0.3, 2), (0.5, 1))

    search, last = searched(Patches(), planted, images, limits=limits)

    assert last.goals.tolist() == [2]
    assert search.gradients() == 8 * (18 * 3 + 12 * 2 + 30 * 1)
