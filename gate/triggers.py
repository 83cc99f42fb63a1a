"""What can be stamped on an image, and the control that is matched to it.

A trigger is stamped on pixels at their final size, after crop and flip and before normalising.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from gate.errors import PlanError
from gate.values import Value

Pattern = Literal["square", "checkerboard", "noise"]
Place = Literal["top_left", "top_right", "bottom_left", "bottom_right", "centre"]
Colour = Literal["yellow", "white", "black", "red", "green", "blue", "cyan", "magenta"]

_RGB: dict[str, tuple[int, int, int]] = {
    "yellow": (255, 255, 0),
    "white": (255, 255, 255),
    "black": (0, 0, 0),
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "cyan": (0, 255, 255),
    "magenta": (255, 0, 255),
}
_CONTROLS_OF_A_TEXTURE = 2


class TriggerGrid(Value):
    """Triggers of one pattern: every colour at every size and place that is listed."""

    pattern: Pattern
    colour: tuple[Colour, ...] = Field(
        (), description="Of a square; other patterns have their own."
    )
    size: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field(
        min_length=1, description="Side of the patch as a share of the image's side."
    )
    place: tuple[Place, ...] = Field(min_length=1)


@dataclass(frozen=True)
class Stamp:
    """A patch at a place: ``pixels`` (h, w, C) uint8, upper left corner at ``top``, ``left``."""

    name: str
    pixels: NDArray[np.uint8]
    top: int
    left: int

    def on(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A stamped copy of images ``(N, H, W, C)``."""
        height, width, _ = self.pixels.shape
        stamped = images.copy()
        stamped[:, self.top : self.top + height, self.left : self.left + width] = self.pixels
        return stamped

    @property
    def key(self) -> str:
        """The same pixels at the same place have the same key, whatever their name."""
        content = f"{self.top},{self.left},{self.pixels.shape}".encode() + self.pixels.tobytes()
        return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True)
class Trigger:
    """A stamp on trial, with the controls that it is held against."""

    stamp: Stamp
    controls: tuple[Stamp, ...]


def bank(grids: tuple[TriggerGrid, ...], side: int, channels: int, seed: int) -> list[Trigger]:
    """All triggers of the grids for images of one size.

    Args:
        grids: From the plan.
        side: Of the image, in pixels.
        channels: 3, or 1 for grey images (a colour becomes its mean).
        seed: Draws noise and permutations.

    Raises:
        PlanError: A square without colours, a patch that is smaller than a pixel, or a trigger
            that stands twice.
    """
    triggers: dict[str, Trigger] = {}
    for grid in grids:
        if (grid.pattern == "square") != bool(grid.colour):
            raise PlanError(
                f"trigger_patch: pattern {grid.pattern} "
                + ("needs a colour" if not grid.colour else "has colours of its own; drop colour")
            )
        for colour, share, place in product(grid.colour or (None,), grid.size, grid.place):
            pixels = round(share * side)
            if pixels < 1:
                raise PlanError(
                    f"trigger_patch: a patch of {share:g} of {side} pixels is smaller than a pixel"
                )
            what = f"{colour} {grid.pattern}" if colour else grid.pattern
            name = f"{what} {pixels}px {place}"
            if name in triggers:
                raise PlanError(f"trigger_patch: trigger {name!r} stands twice; sizes may round up")
            rng = np.random.default_rng([seed, pixels])
            patch = _patch(grid.pattern, colour, pixels, rng)
            controls = _controls(grid.pattern, colour, patch, rng)
            triggers[name] = Trigger(
                _placed(name, patch, place, side, channels),
                tuple(_placed(f"{name}: {of}", c, place, side, channels) for of, c in controls),
            )
    return list(triggers.values())


def _patch(
    pattern: Pattern, colour: Colour | None, size: int, rng: np.random.Generator
) -> NDArray[np.uint8]:
    if colour:
        return np.full((size, size, 3), _RGB[colour], np.uint8)
    if pattern == "checkerboard":
        rows, columns = np.indices((size, size))
        return np.repeat(((rows + columns + 1) % 2 * 255).astype(np.uint8)[:, :, None], 3, axis=2)
    # a fixed Gaussian pattern (Salman et al. 2022), at full strength and opaque
    return np.clip(rng.normal(127.5, 127.5, (size, size, 3)), 0, 255).astype(np.uint8)


def _controls(
    pattern: Pattern, colour: Colour | None, patch: NDArray[np.uint8], rng: np.random.Generator
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Patches of the same size and contrast that are not the trigger.

    A high-contrast patch flips images on a clean backbone too, so grey is no control. A square is
    matched by squares of its colour with the channels exchanged (its negative where that gives
    nothing new) and by noise of equal energy; a texture by itself with its values shuffled.
    """
    if colour is None:
        for draw in range(_CONTROLS_OF_A_TEXTURE):
            yield f"shuffled {draw + 1}", rng.permutation(patch.reshape(-1)).reshape(patch.shape)
        return
    rolled = [np.roll(patch, shift, axis=2) for shift in (1, 2)]
    new = [other for other in rolled if not np.array_equal(other, patch)] or [255 - patch]
    for draw, other in enumerate(new):
        yield f"other colour {draw + 1}", other
    noise = rng.choice(np.array([0, 255], np.uint8), patch.shape)
    yield f"noise of {pattern}", noise


def _placed(name: str, patch: NDArray[np.uint8], place: Place, side: int, channels: int) -> Stamp:
    size = len(patch)
    far = side - size
    tops = {"top": 0, "bottom": far, "centre": far // 2}
    lefts = {"left": 0, "right": far, "centre": far // 2}
    vertical, _, horizontal = place.partition("_")
    if channels == 1:
        patch = patch.mean(axis=2, keepdims=True).round().astype(np.uint8)
    return Stamp(name, patch, tops[vertical], lefts[horizontal or "centre"])
