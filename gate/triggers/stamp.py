"""Stamps: what changes an image's pixels, at their final size and before normalising.

Every stamp is one formula: ``keep * image + add``, rounded and clipped to 0 .. 255.
"""

import hashlib
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gate.arrays import Images, Int64
from gate.triggers.grid import TriggerGrid


class Patch(NamedTuple):
    """``keep * image + add`` on a box: keep ``(h, w, 1)`` in 0 .. 1, add ``(h, w, C)``."""

    keep: NDArray[np.float32]
    add: NDArray[np.float32]


@dataclass(frozen=True)
class Stamp:
    """A patch at a place: upper left corner at ``top``, ``left``.

    ``keep`` ``(h, w, 1)`` float32 is the share of the image that stays, ``add`` ``(h, w, C)``
    float32 on the scale 0 .. 255 is what comes on top.
    """

    name: str
    keep: NDArray[np.float32]
    add: NDArray[np.float32]
    top: int
    left: int

    @property
    def box(self) -> tuple[slice, slice]:
        """Rows and columns that the stamp covers."""
        height, width, _ = self.add.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)

    def inside(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """What stands in the box ``(N, h, w, C)`` once images ``(N, H, W, C)`` are stamped."""
        rows, columns = self.box
        stamped = images[:, rows, columns] * self.keep
        stamped += self.add
        np.rint(stamped, out=stamped)
        return stamped.clip(0, 255, out=stamped).astype(np.uint8)

    def on(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A stamped copy of images ``(N, H, W, C)``."""
        rows, columns = self.box
        stamped = images.copy()
        stamped[:, rows, columns] = self.inside(images)
        return stamped

    @property
    def key(self) -> str:
        """The same patch at the same place has the same key, whatever its name."""
        content = f"{self.top},{self.left},{self.add.shape}".encode()
        return hashlib.sha256(content + self.keep.tobytes() + self.add.tobytes()).hexdigest()


@dataclass(frozen=True)
class StampOfEach:
    """A stamp for each image of a split, in their order; they may differ in size and place."""

    stamps: tuple[Stamp, ...]

    def on(self, rows: Int64, images: Images) -> Images:
        """A stamped copy of the images ``(n, H, W, C)`` at ``rows`` ``(n,)`` of the split."""
        single = (images[place : place + 1] for place in range(len(images)))
        return np.concatenate([self.stamps[row].on(i) for row, i in zip(rows, single, strict=True)])


@dataclass(frozen=True)
class Trigger:
    """A stamp on trial, the controls that it is held against, and how a plan would name it."""

    stamp: Stamp
    controls: tuple[Stamp, ...]
    grid: TriggerGrid

    @property
    def is_local(self) -> bool:
        """Whether it leaves part of the image as it is."""
        return self.grid.size[0] < 1
