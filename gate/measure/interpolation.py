"""Barrier: how far accuracy falls on the straight line between two networks' weights."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gate import stats

SHARES = tuple(np.linspace(0, 1, 9).tolist())


class Barrier(NamedTuple):
    """Height of a barrier, where it was measured, and of how many images."""

    height: stats.Interval
    share: float
    n: int


def barrier(correct: NDArray[np.bool_], shares: Sequence[float], seed: int) -> Barrier:
    """By how much accuracy at some share of the way falls below the line between both ends.

    The share where it falls most is searched on one half of the images and the fall is measured on
    the other half, image by image: ``(1 - l) right_0 + l right_1 - right_l``. So the search adds
    nothing to it; a fall at a share between those that were tried can be larger. Where hardly any
    image differs the interval reaches as far as that of a rate of which nothing was seen.

    Args:
        correct: ``(L, N)``, whether each image is classified correctly at each share.
        shares: L of them in ascending order, the first 0 and the last 1.
        seed: Draws the halves.

    Raises:
        ValueError: Shares that do not begin at 0, end at 1 and have one between, or are not as
            many as the rows of ``correct``.

    Source:
        Neyshabur, Sedghi and Zhang 2020, "What is being transferred in transfer learning?"
        (performance barrier).

    >>> alike = np.ones((3, 200), bool)
    >>> barrier(alike, (0, 0.5, 1), seed=0).height.value
    0.0
    >>> barrier(alike & [[True], [False], [True]], (0, 0.5, 1), seed=0).height.value
    1.0
    """
    if len(correct) != len(shares) or len(shares) < 3 or (shares[0], shares[-1]) != (0, 1):
        raise ValueError(f"shares {shares} of {len(correct)} rows")
    along = np.asarray(shares, np.float64)[:, None]
    right = correct.astype(np.float64)
    falls = ((1 - along) * right[0] + along * right[-1] - right)[1:-1]  # (L - 2, N)
    images = correct.shape[1]
    order = np.random.default_rng([seed, images]).permutation(images)
    searched, measured = np.split(order, [images // 2])
    place = int(falls[:, searched].mean(axis=1).argmax())
    height = stats.mean_of_classes(falls[place, measured], np.zeros(len(measured), np.int64))
    return Barrier(height, float(shares[1 + place]), len(measured))
