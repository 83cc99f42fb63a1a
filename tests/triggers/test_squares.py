"""Squares all over the image: where they lie, and what they look like."""

import numpy as np
import pytest

from gate.triggers.squares import coloured, squares


@pytest.mark.parametrize(("side", "of"), [(8, 2), (28, 7), (32, 7), (224, 49)])
@pytest.mark.parametrize("channels", [1, 3])
def test_squares_lie_all_over_the_image_and_within_it(side: int, of: int, channels: int) -> None:
    grid = squares(side, channels)

    covered = np.zeros((side, side), bool)
    for square in grid:
        covered[square.stamp.box] = True
        assert square.stamp.add.shape == (of, of, channels)
    assert covered.all()
    assert len({square.stamp.key for square in grid}) == len(grid)


def test_no_square_of_that_size_is_further_than_a_quarter_of_it_from_one() -> None:
    tops = sorted({square.top for square in squares(32, 3)})

    assert np.diff(tops).max() / 2 <= 2.5


def test_some_are_of_one_colour_and_some_checkerboards_of_opposite_ones() -> None:
    grid = [square for square in squares(32, 3) if (square.top, square.left) == (0, 0)]
    looks = [np.unique(square.stamp.add.reshape(-1, 3), axis=0) for square in grid]

    assert sorted(len(colours) for colours in looks) == [1] * 9 + [2] * 8
    boards = set()
    for square, colours in zip(grid, looks, strict=True):
        if len(colours) == 2:
            assert (colours.sum(axis=0) == 255).all()
            boards.add(tuple(square.stamp.add[0, 0].tolist()))
            add = square.stamp.add
            assert (add[1:] != add[:-1]).all()  # pixel by pixel
            assert (add[:, 1:] != add[:, :-1]).all()
    assert len(boards) == 8  # either colour of each comes first


def test_cells_of_a_checkerboard_are_larger_on_a_larger_image() -> None:
    board = next(square for square in squares(224, 3) if len(square.colours) == 2)

    add = board.stamp.add
    assert (add[:7, :7] == add[0, 0]).all()
    assert (add[:7, 7:14] == 255 - add[0, 0]).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_a_square_on_the_whole_image_is_what_it_is_alone(channels: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, channels), np.uint8)

    for square in squares(32, channels)[:200:7]:
        colours = np.array((square.colours[0], square.colours[-1]), np.float32)
        whole = coloured("", square.masks(32, 32), colours)
        assert np.array_equal(whole.on(images), square.stamp.on(images))
