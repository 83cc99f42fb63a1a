"""From maps and sequences of vectors to one vector an image: an average over places."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gate.arrays import Array, Float32
from gate.errors import BackboneError
from gate.plan.backbone import BackbonePlan


def pooled(plan: BackbonePlan, values: Any) -> Any:
    """Values of N examples as one vector each: those of maps and tokens averaged, or the first.

    Args:
        plan: Says how, and in which layout images, and therefore maps, are.
        values: An array or a tensor, ``(N, D)``; of images also ``(N, T, D)`` and maps.

    Returns:
        ``(N, D)``, of the kind of ``values``.

    Raises:
        BackboneError: Values of another shape.
    """
    if takes_first(plan, values.shape):
        return values[:, 0]
    axes = places(plan, values.shape)
    return values.mean(axis=axes) if axes else values


def takes_first(plan: BackbonePlan, shape: Sequence[int]) -> bool:
    """Whether features of that shape are those of a first token."""
    return plan.preprocessing is not None and plan.pooling == "first" and len(shape) == 3


def places(plan: BackbonePlan, shape: Sequence[int]) -> tuple[int, ...]:
    """Axes over which features of that shape are averaged; none where they are one vector each.

    Args:
        plan: Says in which layout images, and therefore maps, are.
        shape: ``(N, D)``; of images also ``(N, T, D)`` and maps.

    Raises:
        BackboneError: Features of another shape.
    """
    if len(shape) == 2:
        return ()
    if plan.preprocessing and plan.pooling != "mean":
        raise BackboneError(
            f"{plan.path}: features of shape {tuple(shape)} do not go with pooling: "
            f"{plan.pooling}, which takes "
            + ("(N, D)" if plan.pooling == "none" else "(N, T, D) or (N, D)")
            + "; say pooling: mean, or name another output or layer"
        )
    if plan.preprocessing and len(shape) == 4:
        return (2, 3) if plan.preprocessing.layout == "NCHW" else (1, 2)
    if plan.preprocessing and len(shape) == 3:
        return (1,)
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
