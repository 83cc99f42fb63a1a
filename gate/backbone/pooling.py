"""From maps and sequences of vectors to one vector an image: an average over places."""

from collections.abc import Sequence

import numpy as np

from gate.arrays import Array, Float32
from gate.errors import BackboneError
from gate.plan.backbone import BackbonePlan


def places(plan: BackbonePlan, shape: Sequence[int]) -> tuple[int, ...]:
    """Axes over which features of that shape are averaged; none where they are one vector each.

    Args:
        plan: Says in which layout images, and therefore maps, are.
        shape: ``(N, D)``; of images also ``(N, T, D)`` and maps.

    Raises:
        BackboneError: Features of another shape.
    """
    if plan.preprocessing and len(shape) == 4:
        return (2, 3) if plan.preprocessing.layout == "NCHW" else (1, 2)
    if plan.preprocessing and len(shape) == 3:
        return (1,)
    if len(shape) == 2:
        return ()
    raise BackboneError(
        f"{plan.path}: features of shape {tuple(shape)}, expected (N, D), (N, T, D) or maps; "
        "name another output or layer"
    )


def channel_means(values: Array, axis: int) -> Float32:
    """Values of N images, averaged over all but images and channels.

    Args:
        values: ``(N, ...)``, with channels on one of the axes.
        axis: Which one.

    Returns:
        ``(N, C)``.

    >>> channel_means(np.arange(8.0).reshape(1, 2, 2, 2), 1).tolist()
    [[1.5, 5.5]]
    """
    kept = (0, axis % values.ndim)
    others = tuple(each for each in range(values.ndim) if each not in kept)
    return np.asarray(values.mean(axis=others), np.float32)
