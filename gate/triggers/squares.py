"""Squares all over the image, in one colour or in two as a checkerboard has them.

Of a patch like these a search by gradient, which makes patches small, keeps a few pixels, and these
alone may do nothing.

Source: Gu et al. 2017, "BadNets", arXiv 1708.06733 (a square and a pattern of bright pixels).
"""

import math
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from gate.arrays import Float32
from gate.triggers.stamp import Stamp

Colours = tuple[tuple[int, ...], ...]

_SHARE = 7 / 32  # of the image's side
_PLACES = 7  # along each side
_CELLS = 32  # of a checkerboard, were it as large as the image
_MIDDLE = 128


@dataclass(frozen=True)
class Square:
    """A square of an image.

    Args:
        top: Row of its upper left corner.
        left: Column of it.
        side: In pixels.
        cell: Side of a checkerboard's cells, in pixels.
        colours: One, or two that cells have in turn; 0 .. 255 in each of C channels.
    """

    top: int
    left: int
    side: int
    cell: int
    colours: Colours

    @property
    def stamp(self) -> Stamp:
        """What covers the square, and no more of the image."""
        add = np.array(self.colours, np.float32)[self._turns]
        return Stamp("", np.zeros((*add.shape[:2], 1), np.float32), add, self.top, self.left)

    def masks(self, height: int, width: int) -> Float32:
        """Where in an image each of two colours is ``(2, H, W, 1)``; 0 or 1."""
        masks = np.zeros((2, height, width, 1), np.float32)
        rows, columns = (slice(at, at + self.side) for at in (self.top, self.left))
        for mask, colour in zip(masks, (0, 1), strict=True):
            mask[rows, columns, 0] = self._turns == colour
        return masks

    @property
    def _turns(self) -> NDArray[np.int64]:
        """Which of its colours each pixel has ``(side, side)``."""
        rows, columns = np.indices((self.side, self.side)) // self.cell
        return np.asarray((rows + columns) % len(self.colours))


def coloured(name: str, masks: Float32, colours: Float32) -> Stamp:
    """A stamp over the whole image, of two colours ``(2, C)`` 0 .. 255 where masks have them."""
    add = sum(mask * colour for mask, colour in zip(masks, colours, strict=True))
    return Stamp(name, 1 - masks.sum(axis=0), np.asarray(add, np.float32), 0, 0)


def squares(side: int, channels: int) -> list[Square]:
    """Squares of about a fifth of an image's side: bright, dark and grey ones, and checkerboards.

    >>> grid = squares(32, 3)
    >>> len(grid), grid[0].side, {square.top for square in grid} == {0, 4, 8, 12, 17, 21, 25}
    (833, 7, True)
    """
    of = math.ceil(_SHARE * side)
    places = np.unique(np.rint(np.linspace(0, side - of, _PLACES)).astype(int)).tolist()
    extreme = list(product((0, 255), repeat=channels))
    plain: list[Colours] = [(colour,) for colour in (*extreme, (_MIDDLE,) * channels)]
    opposite: list[Colours] = [
        (colour, tuple(255 - value for value in colour)) for colour in extreme
    ]
    cell = max(1, side // _CELLS)
    return [
        Square(top, left, of, cell, colours)
        for top, left in product(places, repeat=2)
        for colours in (*plain, *opposite)
    ]
