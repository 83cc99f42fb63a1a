"""Synthetic classes with exact posteriors under a planted prior."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SHARES = np.array([0.4, 0.3, 0.15, 0.1, 0.05])  # (K,): a prior to plant in exact_logits


class Planted(NamedTuple):
    """Samples ``x`` of Gaussian classes, and what a perfect classifier says of them."""

    logits: NDArray[np.float32]  # (N, K): log-posteriors under ``shares``, up to a shift
    labels: NDArray[np.int64]  # (N,)
    shares: NDArray[np.float64]  # (K,): the planted prior
    unbiased: NDArray[np.float32]  # (N, K): log-likelihoods


def planted(
    classes: int,
    each: int,
    seed: int,
    *,
    ratio: float = 50,
    features: int = 16,
    distance: float = 1.0,
    largest: float | None = None,
) -> Planted:
    """Draw a balanced sample; shares fall geometrically by ``ratio``, in an order of their own.

    Args:
        classes: K.
        each: Samples a class.
        seed: Of centres, samples and order.
        ratio: Largest share over smallest.
        features: Dimensions of the Gaussians, of unit covariance.
        distance: Standard deviation of the centres in each dimension.
        largest: Share of one class, if all others have the same.
    """
    rng = np.random.default_rng(seed)
    shares = ratio ** (-np.arange(classes) / (classes - 1))
    if largest is not None:
        shares = np.append(largest, np.full(classes - 1, (1 - largest) / (classes - 1)))
    shares = rng.permutation(shares / shares.sum())
    centres = (rng.normal(size=(classes, features)) * distance).astype(np.float32)
    labels = np.repeat(np.arange(classes), each)
    x = centres[labels] + rng.standard_normal((len(labels), features), np.float32)
    unbiased = x @ centres.T - (centres**2).sum(axis=1) / 2
    return Planted(unbiased + np.log(shares).astype(np.float32), labels, shares, unbiased)


def total_variation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Total variation between two distributions, each divided by its sum."""
    return float(np.abs(one / one.sum() - other / other.sum()).sum() / 2)


def exact_logits(
    prior: NDArray[np.float64], counts: NDArray[np.int64], seed: int, scale: float = 1.0
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Log-posteriors under a planted prior, for samples drawn with other frequencies."""
    rng = np.random.default_rng(seed)
    classes = len(prior)
    centres = np.random.default_rng(5).normal(size=(classes, 4)) * 1.2
    labels = np.repeat(np.arange(classes), counts)
    x = centres[labels] + rng.normal(size=(len(labels), 4))
    likelihood = -((x[:, None] - centres) ** 2).sum(axis=2) / 2
    return ((likelihood + np.log(prior)) * scale).astype(np.float32), labels
