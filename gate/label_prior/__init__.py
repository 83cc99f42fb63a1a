"""Label prior that a classifier absorbed: estimates, and how far they lean.

Source: Zhu et al. 2023, arXiv 2310.08106. The estimate is a bias-only multinomial logistic
regression with a temperature: convex and smooth, so Newton's method finds it in a few steps; no
constraint is needed, because q = softmax(b) lies on the simplex.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gate.label_prior.others import authors_solver, eigenvector, label_free, mean_predicted_share
from gate.label_prior.prior import CrossFitted, Prior, check, estimate, shares_of, uniform
from gate.stats import Interval

Floats = NDArray[np.float64]

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
    "shares_of",
    "uniform",
]


class Lean(NamedTuple):
    """How far a prior is from uniform: three measures, and what is left of the classes."""

    total_variation: Interval
    kl: Interval  # nats
    largest_over_smallest: Interval
    effective_classes: Interval  # exp of the entropy: K if uniform, 1 if all is one class's


def lean(prior: Prior, seed: int, draws: int = 2000) -> Lean:
    """How far a prior leans, with 95 % intervals that are wide enough to hold the estimates too.

    They are around the same measures of the bias-reduced shares q, and reach as far as the 95 %
    quantile of what draws q' of their normal approximation differ. Total variation:
    ``|TV(q, u) - TV(q', u)| <= TV(q, q')``, and likewise for the ratio, of whose logarithm
    ``|range(b) - range(b')| <= range(b - b')``; the quantile is of the right side, so that the
    reach is, if anything, too long. Divergence: of what it differs by itself, and down to 0 where
    the total variation may be 0.
    """
    b, classes, rng = prior.centre, len(prior.shares), np.random.default_rng(seed)
    q = shares_of(b)
    dense = prior.covariance.ndim == 2
    root = _root(prior.covariance) if dense else np.sqrt(prior.covariance)
    apart, stretched, differing = np.empty(draws), np.empty(draws), np.empty(draws)
    for draw in range(draws):  # one by one: of 21,000 classes, all at once would be 340 MB
        noise = rng.standard_normal(len(root))
        moved = root @ noise if dense else root * noise
        other = shares_of(b + moved)
        apart[draw] = np.abs(other - q).sum() / 2
        stretched[draw] = np.ptp(moved)
        differing[draw] = abs(_divergence(other) - _divergence(q))
    uniform, most = np.full(classes, 1 / classes), float(np.log(classes))

    def around(measure: Callable[[Floats], float], of: Floats, high: float) -> Interval:
        """Around the measure of q; of what it differs, ``of`` has been drawn."""
        value, centre, reach = measure(prior.shares), measure(q), float(np.quantile(of, 0.95))
        return Interval(
            value, max(min(centre - reach, value), 0.0), min(max(centre + reach, value), high)
        )

    total_variation = around(lambda shares: float(np.abs(shares - uniform).sum() / 2), apart, 1.0)
    kl = around(_divergence, differing, most)
    if not total_variation.low:
        kl = kl._replace(low=0.0)
    log_ratio = around(lambda shares: float(np.ptp(np.log(shares))), stretched, math.inf)
    return Lean(
        total_variation,
        kl,
        Interval(*map(math.exp, log_ratio)),
        Interval(*(classes * math.exp(-nats) for nats in (kl.value, kl.high, kl.low))),
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
