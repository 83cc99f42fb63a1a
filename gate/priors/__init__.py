"""Label prior that a classifier absorbed: estimates, and how far they lean.

Source: Zhu et al. 2023, arXiv 2310.08106. The estimate is a bias-only multinomial logistic
regression with a temperature: convex and smooth, so Newton's method finds it in a few steps; no
constraint is needed, because q = softmax(b) lies on the simplex.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gate.priors.others import authors_solver, eigenvector, label_free, mean_predicted_share
from gate.priors.prior import CrossFitted, Prior, check, estimate, uniform
from gate.stats import Interval

__all__ = [
    "CrossFitted",
    "Lean",
    "Prior",
    "authors_solver",
    "check",
    "eigenvector",
    "estimate",
    "label_free",
    "lean",
    "mean_predicted_share",
    "remarks",
    "uniform",
]


class Lean(NamedTuple):
    """How far a prior is from uniform: three measures, and what is left of the classes."""

    total_variation: Interval
    kl: Interval  # nats
    largest_over_smallest: Interval
    effective_classes: Interval  # exp of the entropy: K if uniform, 1 if all is one class's


def lean(prior: Prior, seed: int, draws: int = 2000) -> Lean:
    """How far a prior leans, with 95 % intervals from draws q' of its normal approximation.

    Total variation: ``|TV(q, u) - TV(q', u)| <= TV(q, q')``, and likewise for the ratio, of whose
    logarithm ``|range(b) - range(b')| <= range(b - b')``; the 95 % quantile of the right side is a
    reach that holds, if anything, too wide. Divergence: the quantile of what it differs by itself.
    Draws lean more than q on the average, and the estimate less than the truth, by about as much:
    so no bias may be taken off, as a reflected bootstrap would.
    """
    q, classes = prior.shares, len(prior.shares)
    b, rng = np.log(q), np.random.default_rng(seed)
    dense = prior.covariance.ndim == 2
    root = _root(prior.covariance) if dense else np.sqrt(prior.covariance)
    apart, stretched, differing = np.empty(draws), np.empty(draws), np.empty(draws)
    kl = _divergence(q)
    for draw in range(draws):  # one by one: of 21,000 classes, all at once would be 340 MB
        noise = rng.standard_normal(len(root))
        moved = root @ noise if dense else root * noise
        other = np.exp(b + moved - (b + moved).max())
        other /= other.sum()
        apart[draw] = np.abs(other - q).sum() / 2
        stretched[draw] = np.ptp(moved)
        differing[draw] = abs(_divergence(other) - kl)
    value, ratio = float(np.abs(q - 1 / classes).sum() / 2), float(q.max() / q.min())
    reach, log_factor, nats = (
        float(np.quantile(each, 0.95)) for each in (apart, stretched, differing)
    )
    factor = float(np.exp(log_factor))
    divergence = Interval(kl, max(kl - nats, 0.0), min(kl + nats, float(np.log(classes))))
    effective = (classes * float(np.exp(-each)) for each in (kl, divergence.high, divergence.low))
    return Lean(
        Interval(value, max(value - reach, 0.0), min(value + reach, 1.0)),
        divergence,
        Interval(ratio, max(ratio / factor, 1.0), ratio * factor),
        Interval(*effective),
    )


def _divergence(q: NDArray[np.float64]) -> float:
    return max(float(np.log(len(q)) + (q * np.log(np.maximum(q, 1e-300))).sum()), 0.0)


def _root(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0)))


def remarks(prior: Prior) -> list[str]:
    """What a reader of the estimate must know, in sentences."""
    said = []
    if prior.separable:
        said.append(
            "the corrected logits classify every sample rightly (separable): the likelihood alone "
            "has no maximum, and only the ridge keeps the estimate finite; add harder samples"
        )
    if prior.cross_fit and not prior.helps:
        said.append(
            "removing the prior does not lower the log loss of samples left out (change "
            f"{-prior.cross_fit.log_loss_gain.value:+.4g}): it is not removed; add samples"
        )
    if prior.covariance.ndim == 1:
        said.append(
            f"{len(prior.shares)} classes: standard errors are from the diagonal of the curvature "
            "alone, and too small where classes are confused with each other"
        )
    return said
