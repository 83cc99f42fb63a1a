"""Images as other preprocessing would have made them: other scales, or channels reversed."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from gate.arrays import Float32, Float64
from gate.backbone.backbone import Backbone

Layout = Literal["NCHW", "NHWC"]
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_SAME = 1e-3  # of a step between two pixel values: what differs by less is the same preprocessing


@dataclass(frozen=True)
class Preprocessed:
    """Normalised images, changed into what another preprocessing makes of the same pixels.

    Args:
        name: What is another in it.
        scale: C numbers, by which channels are multiplied.
        offset: C numbers, which are then added.
        is_reversed: Whether channels then change their order to the opposite.
        layout: Of the images.
    """

    name: str
    scale: tuple[float, ...]
    offset: tuple[float, ...]
    is_reversed: bool
    layout: Layout

    def on(self, inputs: Float32) -> Float32:
        """A changed copy of normalised images ``(N, C, S, S)``, or ``(N, S, S, C)``."""
        axis = 1 if self.layout == "NCHW" else -1
        shape = (-1, 1, 1) if axis == 1 else (-1,)
        scale, offset = (np.reshape(each, shape) for each in (self.scale, self.offset))
        changed = np.asarray(inputs * scale + offset, np.float32)
        return np.ascontiguousarray(np.flip(changed, axis) if self.is_reversed else changed)


def alternatives(backbone: Backbone) -> list[Preprocessed]:
    """Preprocessing that backbones are commonly trained with, other than the plan's.

    Each is named by the keys of ``preprocessing`` that say it.
    """
    wanted = backbone.preprocessing
    layout: Layout = "NCHW" if wanted.layout == "NCHW" else "NHWC"  # an opened backbone has one
    edges = np.zeros((2, 1, 1, wanted.channels), np.uint8)
    edges[1] = 255
    black, white = backbone.inputs(edges).reshape(2, -1).astype(np.float64)  # (C,)
    step = white - black
    is_bgr = wanted.channel_order == "bgr"
    known = _scales(black, step, -1 if is_bgr else 1)
    found = [_alternative(*each, black, step, layout) for each in known]
    if wanted.channels > 1:
        ones, zeros = (1.0,) * wanted.channels, (0.0,) * wanted.channels
        name = f"channel_order: {'rgb' if is_bgr else 'bgr'}, and mean and std in that order"
        found.append(Preprocessed(name, ones, zeros, True, layout))
    return [each for each in found if each.is_reversed or _differs(each, step)]


def _scales(
    black: Float64, step: Float64, order: Literal[1, -1]
) -> Iterator[tuple[str, Float64, Float64]]:
    """Names, and mean and standard deviation of each on the scale 0 .. 1, each pair once.

    The order is -1 where channels go in from blue to red.
    """
    channels = len(step)
    flat = np.ones(channels)
    own_mean, own_std = -black / step, 1 / step
    known = [
        ("pixels in 0 .. 1", 0 * flat, flat),
        ("pixels in 0 .. 255", 0 * flat, flat / 255),
        ("pixels in -1 .. 1", flat / 2, flat / 2),
        ("the plan's mean and std on the scale 0 .. 255", own_mean / 255, own_std / 255),
    ]
    if channels == len(_IMAGENET[0]):
        mean, std = (np.array(each)[::order] for each in _IMAGENET)
        known.append(("ImageNet's mean and std", mean, std))
    seen: list[tuple[Float64, Float64]] = []
    for name, mean, std in known:
        if not any(np.allclose(mean, m) and np.allclose(std, s) for m, s in seen):
            seen.append((mean, std))
            yield name, mean, std


def _alternative(
    name: str,
    mean: Float64,
    std: Float64,
    black: Float64,
    step: Float64,
    layout: Layout,
) -> Preprocessed:
    """What makes of inputs under the plan's preprocessing those under another."""
    scale = 1 / (step * std)
    offset = -(black / step + mean) / std
    stated = (f"[{', '.join(f'{x:.4g}' for x in _short(each))}]" for each in (mean, std))
    said = "rescale 1/255, mean {}, std {}".format(*stated)
    return Preprocessed(f"{name} ({said})", tuple(scale), tuple(offset), False, layout)


def _short(numbers: Float64) -> Float64:
    """One number where all are alike, as a plan may state them."""
    return numbers[:1] if np.allclose(numbers, numbers[0]) else numbers


def _differs(each: Preprocessed, step: Float64) -> bool:
    """Whether inputs change by more than rounding."""
    pixel = np.abs(step) / 255
    scaled = np.abs(np.array(each.scale) - 1) * np.abs(step)
    return bool((scaled > _SAME * pixel).any() or (np.abs(each.offset) > _SAME * pixel).any())
