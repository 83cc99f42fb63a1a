"""How far a label prior is from uniform, with intervals."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from gate.arrays import Float64
from gate.label_prior.prior import Prior, shares_of
from gate.stats import Interval


class Imbalance(NamedTuple):
    """How far a prior is from uniform, by three measures, and how many classes that leaves."""

    total_variation: Interval
    kl: Interval  # nats
    largest_over_smallest: Interval
    effective_classes: Interval  # exp of the entropy: K if uniform, 1 if all is one class's


class _Differences(NamedTuple):
    """How far draws q' of the shares are from q, one number a draw."""

    total_variation: Float64
    kl: Float64  # of the divergences from uniform
    log_ratio: Float64  # range of log q' - log q


def imbalance_of(prior: Prior, seed: int, draws: int = 2000) -> Imbalance:
    """How far a prior is from uniform, with 95 % intervals that hold the estimates too.

    They are around the same measures of the bias-reduced shares q, and reach as far as the 95 %
    quantile of what draws q' of their normal approximation differ. Total variation:
    ``|TV(q, u) - TV(q', u)| <= TV(q, q')``, and likewise for the ratio, of whose logarithm
    ``|range(b) - range(b')| <= range(b - b')``; the quantile is of the right side, so that the
    reach is, if anything, too long. Divergence: of what it differs by itself, and down to 0 where
    the total variation may be 0.
    """
    classes = len(prior.shares)
    uniform, most = np.full(classes, 1 / classes), float(np.log(classes))
    centre, apart = shares_of(prior.centre), _drawn(prior, seed, draws)

    def around(measure: Callable[[Float64], float], by: Float64, high: float) -> Interval:
        """Interval around the measure of q, which draws differ from by so much."""
        value, middle, reach = measure(prior.shares), measure(centre), float(np.quantile(by, 0.95))
        low = max(min(middle - reach, value), 0.0)
        return Interval(value, low, min(max(middle + reach, value), high))

    total_variation = around(
        lambda shares: float(np.abs(shares - uniform).sum() / 2), apart.total_variation, 1.0
    )
    kl = around(_kl_to_uniform, apart.kl, most)
    if not total_variation.low:
        kl = kl._replace(low=0.0)
    log_ratio = around(lambda shares: float(np.ptp(np.log(shares))), apart.log_ratio, math.inf)
    ratio = Interval(*map(math.exp, log_ratio))
    effective = Interval(*(classes * math.exp(-nats) for nats in (kl.value, kl.high, kl.low)))
    return Imbalance(total_variation, kl, ratio, effective)


def _drawn(prior: Prior, seed: int, draws: int) -> _Differences:
    b, rng = prior.centre, np.random.default_rng(seed)
    q = shares_of(b)
    dense = prior.covariance.ndim == 2
    root = _root(prior.covariance) if dense else np.sqrt(prior.covariance)
    apart = _Differences(*(np.empty(draws) for _ in range(3)))
    for draw in range(draws):  # one by one: of 21,000 classes, all at once would be 340 MB
        noise = rng.standard_normal(len(root))
        step = root @ noise if dense else root * noise
        other = shares_of(b + step)
        apart.total_variation[draw] = np.abs(other - q).sum() / 2
        apart.kl[draw] = abs(_kl_to_uniform(other) - _kl_to_uniform(q))
        apart.log_ratio[draw] = np.ptp(step)
    return apart


def _kl_to_uniform(q: Float64) -> float:
    return max(float(np.log(len(q)) + (q * np.log(np.maximum(q, 1e-300))).sum()), 0.0)


def _root(covariance: Float64) -> Float64:
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0)))
