"""What can be stamped on an image, and the controls that are matched to it.

A trigger is stamped on pixels at their final size, after crop and flip and before normalising.
Every stamp is one formula: ``keep * image + add``, rounded and clipped to 0 .. 255.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from gate.errors import DataError, PlanError
from gate.values import Value

Pattern = Literal["square", "checkerboard", "noise", "gaussian", "sinusoid", "text", "overlay"]
Place = Literal["top_left", "top_right", "bottom_left", "bottom_right", "centre"]
Colour = Literal["yellow", "white", "black", "red", "green", "blue", "cyan", "magenta"]
Share = Annotated[float, Field(gt=0, le=1)]

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
_COLOURED = ("square", "text")  # the others bring their own colours
_ADDED = ("gaussian", "sinusoid")  # a faint pattern on top of the image, which keeps all of it
_WAVES = 6  # of a sinusoid over the image (Barni et al. 2019)
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
CLASS_NAME, RANDOM_TEXT = "<class>", "<random>"


class TriggerGrid(Value):
    """Triggers of one pattern: every colour, text or picture at every size, place and opacity.

    - ``square`` of one colour (BadNets); ``checkerboard``; ``noise``, one draw of coloured noise;
      both may be blended over the whole image: size 1, opacity 0.2 (Chen et al. 2017);
    - ``gaussian``, a fixed draw of N(0, 1) per pixel, and ``sinusoid``, vertical stripes (Barni et
      al. 2019), which are added: their opacity is the amplitude as a share of 255;
    - ``text``: typographic, or a transparent watermark by its opacity;
    - ``overlay``: an RGBA picture of a natural object.
    """

    pattern: Pattern
    colour: tuple[Colour, ...] = Field(
        (), description="Of a square or a text; other patterns have their own."
    )
    text: tuple[str, ...] = Field(
        (),
        description=f"What is written; {CLASS_NAME!r} is the name of each class in turn, "
        f"{RANDOM_TEXT!r} eight letters drawn by the seed.",
    )
    picture: tuple[str, ...] = Field(
        (), description="PNG files with alpha, or ball, fence or ribbon, which come with gate."
    )
    size: tuple[Share, ...] = Field(
        min_length=1, description="Side of the patch as a share of the image's side."
    )
    place: tuple[Place, ...] = Field(min_length=1)
    opacity: tuple[Share, ...] = Field((1.0,), min_length=1)

    @model_validator(mode="after")
    def _has_what_its_pattern_needs(self) -> Self:
        for name, patterns in (
            ("colour", _COLOURED),
            ("text", ("text",)),
            ("picture", ("overlay",)),
        ):
            given, needed = getattr(self, name), self.pattern in patterns
            if needed and not given:
                raise ValueError(f"pattern {self.pattern} needs a {name}")
            if given and not needed:
                raise ValueError(f"pattern {self.pattern} has no {name}; drop it")
        if self.pattern in _ADDED and "opacity" not in self.model_fields_set:
            raise ValueError(f"pattern {self.pattern} is added to the image; state its opacity")
        return self


_CORNERS: tuple[Place, ...] = ("top_left", "top_right", "bottom_left", "bottom_right")
_COLOURS: tuple[Colour, ...] = get_args(Colour)  # each other's controls, so all cost little more
DEFAULT_BUDGET = 180  # forward passes an image that the default bank takes at most
_SIZES = (0.1, 0.125, 0.16)  # 3, 4 and 5 of 32 pixels; a bank of 3 and 5 missed a square of 4
DEFAULT_BANK = (
    TriggerGrid(pattern="checkerboard", size=_SIZES, place=_CORNERS),
    TriggerGrid(pattern="checkerboard", size=(0.1,), place=("centre",)),
    TriggerGrid(pattern="square", colour=_COLOURS, size=_SIZES, place=_CORNERS),
    TriggerGrid(pattern="square", colour=_COLOURS, size=(0.1,), place=("centre",)),
    TriggerGrid(pattern="noise", size=(0.16,), place=_CORNERS),
    TriggerGrid(pattern="sinusoid", size=(1.0,), place=("centre",), opacity=(0.1,)),
    TriggerGrid(pattern="gaussian", size=(1.0,), place=("centre",), opacity=(0.01,)),
    TriggerGrid(
        pattern="text",
        text=(RANDOM_TEXT,),
        colour=("white",),
        size=(1.0,),
        place=("centre",),
        opacity=(0.5,),
    ),
)


class _Patch(NamedTuple):
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
class Trigger:
    """A stamp on trial, the controls that it is held against, and how a plan would name it."""

    stamp: Stamp
    controls: tuple[Stamp, ...]
    grid: TriggerGrid


def bank(
    grids: tuple[TriggerGrid, ...], side: int, channels: int, seed: int, classes: tuple[str, ...]
) -> list[Trigger]:
    """All triggers of the grids for images of one size; sizes of as many pixels give one trigger.

    Args:
        grids: From the plan.
        side: Of the image, in pixels.
        channels: 3, or 1 for grey images (a colour becomes its mean).
        seed: Draws noise, letters and permutations.
        classes: Names that a typographic trigger may write.

    Raises:
        PlanError: A patch that is smaller than a pixel, two different triggers of one name, or a
            text that does not fit.
        DataError: A picture that is missing, does not decode or has no alpha.
    """
    triggers: dict[str, Trigger] = {}
    for grid in grids:
        for share, opacity, place, (what, content) in product(
            grid.size, grid.opacity, grid.place, _contents(grid, seed, classes)
        ):
            size = round(share * side)
            if size < 1:
                raise PlanError(
                    f"pattern {grid.pattern}: size {share:g} of {side} pixels is smaller than a "
                    f"pixel; raise it to {1 / side:.2g} or more"
                )
            faint = f" {opacity:.0%}" if opacity < 1 else ""
            name = f"{what} {size}px {place}{faint}"
            rng = np.random.default_rng([seed, size])
            patch = _grey(_draw(grid.pattern, content, size, opacity, rng), channels)
            controls = _controls(grid.pattern, content, patch, size, opacity, rng)
            stamp = _placed(name, patch, place, side)
            if name in triggers:
                if triggers[name].stamp.key != stamp.key:
                    raise PlanError(
                        f"two different triggers are called {name!r}, by pictures of one name or "
                        "opacities of one percentage; drop or rename one"
                    )
                continue
            triggers[name] = Trigger(
                stamp,
                tuple(
                    _placed(f"{name}: {of}", _grey(control, channels), place, side)
                    for of, control in controls
                ),
                TriggerGrid.model_validate(
                    {"pattern": grid.pattern, "size": (share,), "place": (place,)}
                    | {"opacity": (opacity,), **content.in_plan}
                ),
            )
    return list(triggers.values())


# --- patches --------------------------------------------------------------------------------------


class _Content(NamedTuple):
    """What tells triggers of one pattern apart."""

    colour: Colour | None = None
    text: str | None = None
    picture: str | None = None

    @property
    def rgb(self) -> NDArray[np.float64]:
        return np.array(_RGB[self.colour or "white"], np.float64)

    @property
    def in_plan(self) -> dict[str, tuple[str, ...]]:
        """As a grid names it."""
        return {name: (value,) for name, value in self._asdict().items() if value is not None}


def _contents(
    grid: TriggerGrid, seed: int, classes: tuple[str, ...]
) -> Iterator[tuple[str, _Content]]:
    """Name and content of each colour, text and picture of a grid."""
    if grid.pattern == "overlay":
        for picture in grid.picture:
            yield f"{Path(picture).stem} overlay", _Content(picture=picture)
    elif grid.pattern == "text":
        rng = np.random.default_rng([seed, len(_LETTERS)])
        for text, colour in product(grid.text, grid.colour):
            words: tuple[str, ...] = (text,)
            if text == CLASS_NAME:
                words = classes
            elif text == RANDOM_TEXT:
                words = (_random_text(8, rng),)
            for word in words:
                yield f"{colour} text {word!r}", _Content(colour, word)
    elif grid.pattern == "square":
        for colour in grid.colour:
            yield f"{colour} square", _Content(colour)
    else:
        yield grid.pattern, _Content()


def _draw(
    pattern: Pattern, content: _Content, size: int, opacity: float, rng: np.random.Generator
) -> _Patch:
    if pattern == "sinusoid":
        wave = np.sin(2 * np.pi * _WAVES * np.arange(size) / size) * opacity * 255
        return _added(np.broadcast_to(wave[None, :, None], (size, size, 3)))
    if pattern == "gaussian":
        return _added(rng.normal(size=(size, size, 3)) * opacity * 255)
    if pattern == "text":
        return _mixed(_written(str(content.text), size) * opacity, content.rgb)
    if pattern == "overlay":
        alpha, pixels = _picture(str(content.picture), size)
        return _mixed(alpha * opacity, pixels)
    if pattern == "square":
        pixels = np.full((size, size, 3), content.rgb)
    elif pattern == "checkerboard":
        rows, columns = np.indices((size, size, 3))[:2]
        pixels = (rows + columns + 1) % 2 * 255
    else:  # a fixed Gaussian pattern at full strength, as a patch
        pixels = np.clip(rng.normal(127.5, 127.5, (size, size, 3)), 0, 255).round()
    return _mixed(np.full((size, size, 1), opacity), pixels)


def _controls(
    pattern: Pattern,
    content: _Content,
    patch: _Patch,
    size: int,
    opacity: float,
    rng: np.random.Generator,
) -> Iterator[tuple[str, _Patch]]:
    """Patches of the same size, opacity and contrast that are not the trigger.

    A high-contrast patch flips images on a clean backbone too, so mid-grey is no control. A square
    is matched by squares of its colour with the channels exchanged (its negative where that gives
    nothing new) and by noise of equal energy; a texture by itself with its values shuffled; a wave
    also by itself lying down and on the diagonal; letters and pictures by themselves with their
    pixels shuffled, a text also by another text, a picture also by its silhouette in its mean
    colour.
    """
    if pattern == "square":
        colours = patch.add / opacity
        rolled = [np.roll(colours, shift, axis=2) for shift in (1, 2)]
        new = [other for other in rolled if not np.array_equal(other, colours)] or [255 - colours]
        for number, other in enumerate(new):
            yield f"other colour {number + 1}", _mixed(1 - patch.keep, other)
        noise = rng.choice(np.array([0.0, 255.0]), patch.add.shape)
        yield "noise of square", _mixed(1 - patch.keep, noise)
    elif pattern in ("text", "overlay"):
        order = rng.permutation(size * size)
        yield (
            "shuffled",
            _Patch(*(a.reshape(size * size, -1)[order].reshape(a.shape) for a in patch)),
        )
        if pattern == "text":
            other = _written(_random_text(len(str(content.text)), rng), size) * opacity
            yield "other text", _mixed(other, content.rgb)
        else:
            alpha = 1 - patch.keep
            mean = patch.add.sum(axis=(0, 1)) / alpha.sum()
            yield "silhouette", _mixed(alpha, mean)
    else:
        draws = 2
        if pattern == "sinusoid":
            draws = 1
            yield "lying down", _added(patch.add.transpose(1, 0, 2))
            rows, columns = np.indices(patch.add.shape)[:2]
            phase = 2 * np.pi * _WAVES * (rows + columns) / np.sqrt(2) / size
            yield "diagonal", _added(np.sin(phase) * opacity * 255)
        for draw in range(draws):
            shuffled = rng.permutation(patch.add.reshape(-1)).reshape(patch.add.shape)
            yield f"shuffled {draw + 1}", _Patch(patch.keep, shuffled)


def _mixed(alpha: NDArray[Any], pixels: NDArray[Any]) -> _Patch:
    """Pixels over the image, ``alpha`` ``(h, w, 1)`` of them."""
    return _Patch((1 - alpha).astype(np.float32), (alpha * pixels).astype(np.float32))


def _added(values: NDArray[Any]) -> _Patch:
    return _Patch(np.ones((*values.shape[:2], 1), np.float32), values.astype(np.float32))


def _grey(patch: _Patch, channels: int) -> _Patch:
    if channels == 1 and patch.add.shape[2] == 3:
        return _Patch(patch.keep, patch.add.mean(axis=2, keepdims=True))
    return patch


def _written(text: str, size: int) -> NDArray[np.float64]:
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


def _random_text(letters: int, rng: np.random.Generator) -> str:
    return "".join(rng.choice(list(_LETTERS), letters))


def _picture(name: str, size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Alpha ``(size, size, 1)`` in 0 .. 1 and pixels ``(size, size, 3)`` of an RGBA picture."""
    from PIL import Image

    shipped = files("gate") / "overlays" / f"{name}.png"
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


def _placed(name: str, patch: _Patch, place: Place, side: int) -> Stamp:
    far = side - len(patch.add)
    tops = {"top": 0, "bottom": far, "centre": far // 2}
    lefts = {"left": 0, "right": far, "centre": far // 2}
    vertical, _, horizontal = place.partition("_")
    return Stamp(name, *patch, tops[vertical], lefts[horizontal or "centre"])
