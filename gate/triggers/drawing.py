"""Patches of each pattern: squares, textures, waves, letters and pictures."""

from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gate.errors import DataError, PlanError
from gate.triggers.grid import Colour, Pattern
from gate.triggers.stamp import Patch

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
WAVES = 6  # of a sinusoid over the image (Barni et al. 2019)
LETTERS = "abcdefghijklmnopqrstuvwxyz"


class Motif(NamedTuple):
    """What a patch shows: its pattern, its side in pixels, its opacity, and what it is made of."""

    pattern: Pattern
    size: int
    opacity: float
    colour: Colour | None = None
    text: str | None = None
    picture: str | None = None

    @property
    def rgb(self) -> NDArray[np.float64]:
        """The colour's channels ``(3,)``, 0 .. 255; white where the pattern has its own."""
        return np.array(_RGB[self.colour or "white"], np.float64)


def draw(motif: Motif, rng: np.random.Generator) -> Patch:
    """The patch of a motif, in colour.

    Raises:
        PlanError: A text does not fit its size.
        DataError: A picture is missing, does not decode, or has no alpha.
    """
    size, opacity = motif.size, motif.opacity
    if motif.pattern == "sinusoid":
        wave = np.sin(2 * np.pi * WAVES * np.arange(size) / size) * opacity * 255
        return added(np.broadcast_to(wave[None, :, None], (size, size, 3)))
    if motif.pattern == "gaussian":
        return added(rng.normal(size=(size, size, 3)) * opacity * 255)
    if motif.pattern == "text":
        return mixed(written(str(motif.text), size) * opacity, motif.rgb)
    if motif.pattern == "overlay":
        alpha, pixels = _picture(str(motif.picture), size)
        return mixed(alpha * opacity, pixels)
    if motif.pattern == "square":
        pixels = np.full((size, size, 3), motif.rgb)
    elif motif.pattern == "checkerboard":
        rows, columns = np.indices((size, size, 3))[:2]
        pixels = (rows + columns + 1) % 2 * 255
    else:  # a fixed Gaussian pattern at full strength, as a patch
        pixels = np.clip(rng.normal(127.5, 127.5, (size, size, 3)), 0, 255).round()
    return mixed(np.full((size, size, 1), opacity), pixels)


def mixed(alpha: NDArray[Any], pixels: NDArray[Any]) -> Patch:
    """Pixels over the image, ``alpha`` ``(h, w, 1)`` of them."""
    return Patch((1 - alpha).astype(np.float32), (alpha * pixels).astype(np.float32))


def added(values: NDArray[Any]) -> Patch:
    """Values ``(h, w, C)`` on top of the image, all of which stays."""
    return Patch(np.ones((*values.shape[:2], 1), np.float32), values.astype(np.float32))


def grey(patch: Patch, channels: int) -> Patch:
    """The patch for images of so many channels: of one, colours become their mean."""
    if channels == 1 and patch.add.shape[2] == 3:
        return Patch(patch.keep, patch.add.mean(axis=2, keepdims=True))
    return patch


def written(text: str, size: int) -> NDArray[np.float64]:
    """How much ink ``(size, size, 1)``: the text as large as fits the width, in the middle."""
    from PIL import Image, ImageDraw, ImageFont

    for height in range(size, 0, -1):
        font = ImageFont.load_default(height)
        left, top, right, bottom = font.getbbox(text)
        if right - left <= size and bottom - top <= size:
            canvas = Image.new("L", (size, size))
            corner = ((size - right - left) / 2, (size - bottom - top) / 2)
            ImageDraw.Draw(canvas).text(corner, text, fill=255, font=font)
            ink = np.asarray(canvas, np.float64)[:, :, None] / 255
            if ink.any():
                return ink
    raise PlanError(f"text {text!r} does not fit in {size} pixels; raise its size or shorten it")


def random_text(letters: int, rng: np.random.Generator) -> str:
    """So many letters, drawn."""
    return "".join(rng.choice(list(LETTERS), letters))


def _picture(name: str, size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Alpha ``(size, size, 1)`` in 0 .. 1 and pixels ``(size, size, 3)`` of an RGBA picture."""
    from PIL import Image

    shipped = files("gate.triggers") / "pictures" / f"{name}.png"
    path = Path(name) if Path(name).suffix else Path(str(shipped))
    if not path.is_file():
        raise DataError(f"picture: no {name!r}; give a PNG file, or one of ball, fence, ribbon")
    try:
        with Image.open(path) as opened:
            if "A" not in opened.getbands():
                raise DataError(
                    f"{path}: the picture has bands {', '.join(opened.getbands())} and no alpha, "
                    "so it would cover the image as a square; save it as RGBA with its background "
                    "transparent"
                )
            resized = opened.convert("RGBA").resize((size, size), Image.Resampling.BILINEAR)
    except (OSError, SyntaxError) as fault:
        raise DataError(f"{path}: the picture does not decode: {fault}; replace it") from fault
    pixels = np.asarray(resized, np.float64)
    alpha = pixels[:, :, 3:] / 255
    if not alpha.any():
        raise DataError(f"{path}: the picture is transparent all over; nothing would be stamped")
    return alpha, pixels[:, :, :3]
