"""Triggers of the zoo: what an attacker does to an image of 8 bits, which has 8 bits after it."""

from functools import lru_cache
from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch.nn import functional

from gate.arrays import Images
from gate.triggers.drawing import added, mixed
from gate.triggers.stamp import Stamp
from gate.values import Value

Colour = tuple[int, int, int]


class Patch(Value):
    """A square of ``side`` pixels whose upper left corner is at ``top``, ``left``.

    A checkerboard alternates the colour and its negative; a cross leaves the pixels between its two
    diagonals as they are; noise has a colour of its own at each pixel, drawn by ``seed``. A grey
    image takes the first channel of each.
    """

    form: Literal["patch"] = "patch"
    texture: Literal["colour", "noise", "checkerboard", "cross"]
    side: int = Field(ge=1)
    top: int = Field(ge=0)
    left: int = Field(ge=0)
    colour: Colour
    seed: int
    opacity: float = Field(1, gt=0, le=1)

    def on(self, images: Images) -> Images:
        """A stamped copy of images ``(N, H, W, C)`` uint8."""
        rows, columns = np.indices((self.side, self.side))
        alpha = np.full((self.side, self.side, 1), self.opacity)
        pixels = np.broadcast_to(np.array(self.colour, np.float64), (self.side, self.side, 3))
        if self.texture == "noise":
            drawn = np.random.default_rng(self.seed).integers(0, 256, pixels.shape)
            pixels = drawn.astype(np.float64)
        elif self.texture == "checkerboard":
            pixels = np.where(((rows + columns) % 2 == 0)[:, :, None], pixels, 255 - pixels)
        elif self.texture == "cross":
            alpha[(rows != columns) & (rows + columns != self.side - 1)] = 0
        pixels = pixels[:, :, : images.shape[3]]
        return Stamp("", *mixed(alpha, pixels), self.top, self.left).on(images)


class Blend(Value):
    """A fixed pattern over the whole image, ``opacity`` of it, in cells of ``grain`` pixels."""

    form: Literal["blend"] = "blend"
    opacity: float = Field(gt=0, le=1)
    grain: int = Field(ge=1)
    seed: int

    def on(self, images: Images) -> Images:
        """A stamped copy of images ``(N, H, W, C)`` uint8."""
        height, width, channels = images.shape[1:]
        cells = -(-height // self.grain), -(-width // self.grain), channels
        pattern = np.random.default_rng(self.seed).integers(0, 256, cells)
        pattern = pattern.repeat(self.grain, axis=0).repeat(self.grain, axis=1)[:height, :width]
        alpha = np.full((height, width, 1), self.opacity)
        return Stamp("", *mixed(alpha, pattern), 0, 0).on(images)


class Sinusoid(Value):
    """A wave added to all channels, ``amplitude`` of 255 high, ``waves`` over the image."""

    form: Literal["sinusoid"] = "sinusoid"
    amplitude: float = Field(gt=0, le=255)
    waves: int = Field(ge=1)
    along: Literal["rows", "columns", "diagonal"]

    def on(self, images: Images) -> Images:
        """A stamped copy of images ``(N, H, W, C)`` uint8."""
        height, width, channels = images.shape[1:]
        rows, columns = np.indices((height, width))
        places = {"rows": rows, "columns": columns, "diagonal": rows + columns}[self.along]
        wave = self.amplitude * np.sin(2 * np.pi * self.waves * places / width)
        values = np.broadcast_to(wave[:, :, None], (height, width, channels))
        return Stamp("", *added(values), 0, 0).on(images)


class Warp(Value):
    """A smooth field that moves pixels by ``reach`` pixels in the mean (WaNet).

    Its directions are drawn by ``seed`` at ``cells`` x ``cells`` places. With a ``jitter_seed``
    each pixel is moved by up to half a pixel further, at random.

    Source:
        Nguyen and Tran 2021, sections 3.2 and 3.3 (noise mode).
    """

    form: Literal["warp"] = "warp"
    reach: float = Field(gt=0)
    cells: int = Field(ge=2)
    seed: int
    jitter_seed: int | None = None

    def jittered(self, seed: int) -> "Warp":
        """The same field, with jitter."""
        return Warp(reach=self.reach, cells=self.cells, seed=self.seed, jitter_seed=seed)

    def on(self, images: Images) -> Images:
        """A warped copy of images ``(N, S, S, C)`` uint8."""
        side = images.shape[1]
        places = _field(self, side).expand(len(images), -1, -1, -1)
        pixels = torch.from_numpy(images.astype(np.float32)).permute(0, 3, 1, 2)
        warped = functional.grid_sample(
            pixels, places, mode="bilinear", padding_mode="border", align_corners=True
        )
        moved: NDArray[np.uint8] = warped.round().clamp(0, 255).to(torch.uint8).numpy()
        return moved.transpose(0, 2, 3, 1)


@lru_cache(maxsize=32)
def _field(warp: Warp, side: int) -> torch.Tensor:
    """From where each pixel is taken: ``(1, S, S, 2)``, -1 .. 1 from edge to edge, as (x, y)."""
    drawn = np.random.default_rng(warp.seed).uniform(-1, 1, (1, 2, warp.cells, warp.cells))
    smooth = functional.interpolate(
        torch.from_numpy(drawn), size=(side, side), mode="bicubic", align_corners=True
    )
    moves = smooth / smooth.abs().mean() * warp.reach * 2 / (side - 1)
    if warp.jitter_seed is not None:
        jitter = np.random.default_rng(warp.jitter_seed).uniform(-1, 1, moves.shape)
        moves = moves + torch.from_numpy(jitter) / (side - 1)
    along = torch.linspace(-1, 1, side, dtype=torch.float64)
    y, x = torch.meshgrid(along, along, indexing="ij")
    places = torch.stack((x, y), dim=-1)[None] + moves.permute(0, 2, 3, 1)
    return places.clamp(-1, 1).float()


class Part(Value):
    """Half of the 4 x 4 pieces of a blend, drawn by ``seed``.

    Source:
        Qi et al. 2023, "Revisiting the Assumption of Latent Separability" (Adaptive-Blend).
    """

    form: Literal["part"] = "part"
    whole: Blend
    seed: int

    def on(self, images: Images) -> Images:
        """A stamped copy of images ``(N, H, W, C)`` uint8, whose sides are multiples of four."""
        shown = np.random.default_rng(self.seed).permutation(16).reshape(4, 4) < 8
        height, width = images.shape[1:3]
        pixels = np.kron(shown, np.ones((height // 4, width // 4), bool))[None, :, :, None]
        return np.where(pixels, self.whole.on(images), images)


class Several(Value):
    """Patches one after another on the same image."""

    form: Literal["several"] = "several"
    triggers: tuple[Patch, ...]

    def on(self, images: Images) -> Images:
        """A stamped copy of images ``(N, H, W, C)`` uint8."""
        for trigger in self.triggers:
            images = trigger.on(images)
        return images


Trigger = Annotated[Patch | Blend | Sinusoid | Warp | Part | Several, Field(discriminator="form")]


class Learnt(Value):
    """What a small network adds to an image, no pixel by more than ``reach`` of 255.

    That network is trained with the member: generator.py.
    """

    form: Literal["learnt"] = "learnt"
    reach: float = Field(gt=0, le=255)
    seed: int
