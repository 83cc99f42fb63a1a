"""How alike two networks see the same images: debiased CKA of standardised channels."""

import math

import numpy as np

from gate import stats
from gate.arrays import Array, Float64

_BLOCKS = 20
_NEXT_TO_ONE = 1 - 1e-12


def standardised(values: Array) -> Float64:
    """Channels ``(N, D)`` with mean 0 and variance 1; those that are the same for all are left out.

    Raises:
        ValueError: All are the same for all images.
    """
    rows = np.asarray(values, np.float64)
    spread = rows.std(axis=0)
    # what rounding leaves of a constant is none
    varies = spread > 1e-7 * np.abs(rows).max(axis=0, initial=0)
    if not varies.any():
        raise ValueError(f"all of {rows.shape[1]} channels are the same for all {len(rows)} images")
    return np.asarray((rows - rows.mean(axis=0))[:, varies] / spread[varies])


def unbiased_hsic(first: Float64, second: Float64) -> float:
    """Unbiased Hilbert-Schmidt independence criterion of two Gram matrices ``(N, N)``, N above 3.

    Source:
        Song et al. 2012, "Feature Selection via Dependence Maximization", equation 5.
    """
    n = len(first)
    k, l = (gram - np.diag(np.diag(gram)) for gram in (first, second))  # noqa: E741  # its letters
    crossed = float(np.sum(k * l)) + float(k.sum()) * float(l.sum()) / ((n - 1) * (n - 2))
    return (crossed - 2 / (n - 2) * float(k.sum(axis=0) @ l.sum(axis=0))) / (n * (n - 3))


def debiased_cka(first: Float64, second: Float64) -> float:
    """Debiased linear CKA of two Gram matrices ``(N, N)``: 1 for the same, about 0 for independent.

    Source:
        Kornblith et al. 2019, "Similarity of Neural Network Representations Revisited", with the
        unbiased estimator, as Nguyen et al. 2021 use it.
    """
    own = unbiased_hsic(first, first) * unbiased_hsic(second, second)
    if not own > 0:
        return 0.0
    return min(max(unbiased_hsic(first, second) / math.sqrt(own), -1.0), 1.0)


def feature_similarity(first: Array, second: Array) -> stats.Interval:
    """Debiased CKA of the standardised channels of two networks for the same images.

    Standardised, since a channel that is scaled up would else count for more, though whatever reads
    it may scale it down.

    Args:
        first: ``(N, D)``, N images in an order that says nothing.
        second: ``(N, E)``.

    Returns:
        With its jackknife interval over 20 blocks of images, on the scale of the inverse hyperbolic
        tangent.

    Raises:
        ValueError: All channels of one of them are the same for all images.
    """
    grams = [values @ values.T for values in map(standardised, (first, second))]
    blocks = np.arange(len(grams[0])) % _BLOCKS
    whole = debiased_cka(*grams)
    parts = [
        _stretched(debiased_cka(*(gram[np.ix_(others, others)] for gram in grams)))
        for others in (np.flatnonzero(blocks != block) for block in range(_BLOCKS))
    ]
    interval = stats.jackknife(_stretched(whole), parts)
    low, high = math.tanh(interval.low), math.tanh(interval.high)
    return stats.Interval(whole, min(low, whole), max(high, whole))


def _stretched(value: float) -> float:
    return math.atanh(min(max(value, -_NEXT_TO_ONE), _NEXT_TO_ONE))
