"""Opaque windows all over an image, in colours that bring a class as far ahead as they can.

Pure: a classifier is a function of pixels and targets, and chance is an argument. All windows are
tried for a while, then fewer and fewer, those under which the class is ahead by most.

Source: Brown et al. 2017, "Adversarial Patch", arXiv 1712.09665 (one patch for many images);
margins as in `margins`.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from gate.arrays import Float32
from gate.triggers.margins import margins
from gate.triggers.search import Differentiable, logistic

_OF_SIDE, _STRIDES = 4, 2  # a window's side is a quarter of the image's; the next is half one on
# how many windows are left, for which share of the steps, on how many images each
_STAGES = ((None, 0.05, 4), (12, 0.08, 6), (4, 0.1, 12), (1, 0.25, 20))
_RATE, _SLOWER_FROM, _SLOWER = 0.3, 0.8, 0.3  # of Adam, and in the last part
_MOMENTS, _TINY = (0.5, 0.9), 1e-8
_KEPT = 0.7  # of the average margin, at each step
_FAR = 8.0  # a margin at which cross entropy has hardly any slope left


class Window(NamedTuple):
    """An opaque window: its pixels ``(H, W, 1)``, 0 or 1, and colours ``(H, W, C)`` in 0 .. 1."""

    mask: Float32
    colours: Float32


def windows(height: int, width: int) -> Float32:
    """Masks of 0 and 1 ``(G, H, W, 1)``, half a window apart, and at the far edges.

    >>> [len(windows(side, side)) for side in (28, 32, 224)]
    [64, 49, 49]
    """
    side = max(1, min(height, width) // _OF_SIDE)
    down, along = (
        sorted({*range(0, length - side + 1, max(1, side // _STRIDES)), length - side})
        for length in (height, width)
    )
    masks = np.zeros((len(down) * len(along), height, width, 1), np.float32)
    for mask, (top, left) in zip(masks, ((y, x) for y in down for x in along), strict=True):
        mask[top : top + side, left : left + side] = 1
    return masks


def raised(
    of: Differentiable, images: Float32, target: int, pattern: Float32, steps: int, seed: list[int]
) -> Iterator[Window]:
    """The window under which a class is ahead by most, as it is after each step; the last is best.

    Each goes by Adam along the mean of images' directions of steepest ascent. An image's direction
    is down the cross entropy to the class; where that has hardly any slope left, up that to the
    next class.

    Args:
        of: The classifier.
        images: ``(N, H, W, C)`` in 0 .. 1, drawn from anew for each window and step.
        target: The class.
        pattern: ``(1, H, W, C)`` colours to begin with, before a logistic function.
        steps: Of the longest searches; see `gradients`.
        seed: Of what is drawn.
    """
    masks, rng = windows(*images.shape[1:3]), np.random.default_rng(seed)
    values = np.repeat(pattern, len(masks), axis=0)
    first, second = np.zeros_like(values), np.zeros_like(values)
    average = np.zeros(len(masks))
    stages = [(left, batch) for left, share, batch in _STAGES for _ in range(_of(share, steps))]
    for step, (left, batch) in enumerate(stages, 1):
        best = np.sort(np.argsort(-average, kind="stable")[:left])
        masks, values, average = masks[best], values[best], average[best]
        first, second = first[best], second[best]
        drawn = images[rng.integers(len(images), size=(len(masks), batch))]
        colours = logistic(values)
        stamped = (1 - masks[:, None]) * drawn + (masks * colours)[:, None]
        margin, uphill = _uphill(of, stamped.reshape(-1, *images.shape[1:]), target)
        slope = uphill.reshape(drawn.shape).mean(axis=1) * masks * colours * (1 - colours)
        first = _MOMENTS[0] * first + (1 - _MOMENTS[0]) * slope
        second = _MOMENTS[1] * second + (1 - _MOMENTS[1]) * slope**2
        mean, square = first / (1 - _MOMENTS[0] ** step), second / (1 - _MOMENTS[1] ** step)
        rate = _RATE * (_SLOWER if step > _SLOWER_FROM * len(stages) else 1)
        values = np.asarray(values + rate * mean / (np.sqrt(square) + _TINY), np.float32)
        now = margin.reshape(len(masks), batch).mean(axis=1)
        average = _KEPT * average + (1 - _KEPT) * now
        top = int(average.argmax())
        yield Window(masks[top], logistic(values[top]))


def _uphill(of: Differentiable, images: Float32, target: int) -> tuple[Float32, Float32]:
    """Margins ``(N,)`` of a class, and directions that raise them, of root mean square 1."""
    targets = np.full(len(images), target)
    logits, slopes = of(images, targets)
    margin, rivals = margins(logits, targets)
    uphill = -slopes
    if (far := margin > _FAR).any():
        uphill[far] = of(images[far], rivals[far])[1]
    length = np.sqrt((uphill**2).mean(axis=(1, 2, 3), keepdims=True))
    return margin, np.asarray(uphill / (length + _TINY**2), np.float32)


def spread(logits: Float32) -> float:
    """The root mean square of logits ``(N, K)``, each image's mean taken off: what margins go by.

    >>> spread(np.array([[1, 3], [5, 1]], np.float32)).__round__(3)
    1.581
    """
    return float(np.sqrt(((logits - logits.mean(axis=1, keepdims=True)) ** 2).mean()))


def gradients(height: int, width: int, steps: int) -> list[int]:
    """How many gradients of single images each step takes; as many again at the most.

    >>> [sum(gradients(side, side, 100)) for side in (28, 32)]
    [2836, 2536]
    """
    places = len(windows(height, width))
    return [
        (left or places) * batch for left, share, batch in _STAGES for _ in range(_of(share, steps))
    ]


def _of(share: float, steps: int) -> int:
    return max(1, round(share * steps))
