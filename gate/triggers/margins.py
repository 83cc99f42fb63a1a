"""Images on which a class is told from all others by most, found by gradient.

Pure: a classifier is a function of pixels and targets, and images to begin with are an argument.

Source: Wang et al. 2024, "MM-BD: Post-Training Detection of Backdoor Attacks with Arbitrary
Backdoor Pattern Types Using a Maximum Margin Statistic", arXiv 2205.06900.
"""

from collections.abc import Iterator

import numpy as np

from gate.arrays import Float32, Int64
from gate.triggers.search import Differentiable

_STRIDE = 0.02  # of a step, per pixel (root mean square), in images of 0 .. 1
_MOMENTUM = 0.5
_SLOWER_FROM, _SLOWER = 0.7, 0.3  # the stride, in the last part
_TINY = 1e-12


def climbs(of: Differentiable, start: Float32, classes: Int64, steps: int) -> Iterator[Float32]:
    """The highest margins ``(N,)`` that N images have had when each step is taken.

    A margin is by how much an image's logit of a class lies above the next highest. The cross
    entropy to a class that is far ahead has no slope left, so as long as the class is not the
    first, an image goes down that cross entropy; then up that to the next class, whose slope is
    the margin's.

    Args:
        of: The classifier.
        start: ``(N, H, W, C)`` in 0 .. 1.
        classes: ``(N,)`` whose margin each image is to raise.
        steps: How many there are; each takes a gradient of each image.
    """
    pixels, speed = start, np.zeros_like(start)
    aims, highest = classes, np.full(len(start), -np.inf, np.float32)
    for step in range(steps):
        logits, slopes = of(pixels, aims)
        margin, rivals = margins(logits, classes)
        highest = np.maximum(highest, margin)
        uphill = np.where(_by_image(aims == classes), -slopes, slopes)
        length = np.sqrt((uphill**2).mean(axis=(1, 2, 3)))
        speed = np.asarray(_MOMENTUM * speed + uphill / _by_image(length + _TINY), np.float32)
        stride = _STRIDE * (_SLOWER if step >= _SLOWER_FROM * steps else 1)
        pixels = np.asarray((pixels + stride * speed).clip(0, 1), np.float32)
        aims = np.where(margin > 0, rivals, classes)
        yield highest


def margins(logits: Float32, classes: Int64) -> tuple[Float32, Int64]:
    """By how much each image's logit of a class is above the next ``(N,)``, and which that is.

    >>> found = margins(np.array([[5, 2, 1], [5, 2, 1]], np.float32), np.array([0, 2]))
    >>> [each.tolist() for each in found]
    [[3.0, -4.0], [1, 0]]
    """
    each = np.arange(len(logits))
    others = np.array(logits)
    others[each, classes] = -np.inf
    rivals = others.argmax(axis=1)
    return logits[each, classes] - others[each, rivals], rivals


def _by_image(values: Float32) -> Float32:
    """One value an image ``(N,)``, against its pixels."""
    return values.reshape(-1, 1, 1, 1)
