"""Label prior that a classifier absorbed, and generalized logit adjustment (GLA).

Source: Zhu et al. 2023, arXiv 2310.08106. The estimate is a bias-only multinomial logistic
regression with a temperature: convex and smooth, so Newton's method finds it in a few steps; no
constraint is needed, because q = softmax(b) lies on the simplex.
"""

import numpy as np
from numpy.typing import NDArray

from gate.head import LinearHead
from gate.priors.others import authors_solver, eigenvector, label_free, mean_predicted_share
from gate.priors.prior import CrossFitted, Prior, check, estimate

__all__ = [
    "CrossFitted",
    "Prior",
    "adjusted",
    "authors_solver",
    "check",
    "distance_to_uniform",
    "eigenvector",
    "estimate",
    "label_free",
    "mean_predicted_share",
]


def distance_to_uniform(prior: Prior, seed: int, draws: int = 2000) -> tuple[float, float, float]:
    """Total variation between the prior and the uniform distribution, with a 95 % interval.

    |TV(q, u) - TV(q', u)| <= TV(q, q'), so the 95 % quantile of TV between the estimate and draws
    from its normal approximation is a reach that holds, if anything, too wide.
    """
    uniform = 1 / len(prior.shares)
    value = float(np.abs(prior.shares - uniform).sum() / 2)
    rng = np.random.default_rng(seed)
    dense = prior.covariance.ndim == 2
    root = _root(prior.covariance) if dense else np.sqrt(prior.covariance)
    distances = np.empty(draws)
    for draw in range(draws):  # one by one: of 21,000 classes, all at once would be 340 MB
        noise = rng.standard_normal(len(root))
        logs = np.log(prior.shares) + (root @ noise if dense else root * noise)
        other = np.exp(logs - logs.max())
        distances[draw] = np.abs(other / other.sum() - prior.shares).sum() / 2
    reach = float(np.quantile(distances, 0.95))
    return value, max(value - reach, 0.0), min(value + reach, 1.0)


def _root(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0)))


def adjusted(
    zero_shot: LinearHead,
    prior: Prior,
    fine_tuned: LinearHead,
    fine_tuned_scale: float,
    frequencies: NDArray[np.float64],
) -> LinearHead:
    """Generalized logit adjustment of two linear heads on the same features, as one linear head.

    ``f_gla = a_zs f_zs - log q + a_ft f_ft - log p``; log q gives way to 0 where removing it does
    not help.

    Args:
        zero_shot: f_zs.
        prior: q and a_zs.
        fine_tuned: f_ft.
        fine_tuned_scale: a_ft.
        frequencies: p ``(K,)``, label frequencies of the fine-tuning set.

    Source:
        Zhu et al. 2023, equation 8.
    """
    weight = prior.scale * zero_shot.weight + fine_tuned_scale * fine_tuned.weight
    bias = prior.scale * zero_shot.bias + fine_tuned_scale * fine_tuned.bias
    bias = bias - prior.removed - np.log(frequencies)
    return LinearHead(weight.astype(np.float32), bias.astype(np.float32))
