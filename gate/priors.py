"""Label prior that a classifier absorbed, and generalized logit adjustment (GLA).

Source: Zhu et al. 2023, arXiv 2310.08106. The estimate is a bias-only multinomial logistic
regression with a temperature: convex and smooth, so Newton's method finds it in a few steps; no
constraint is needed, because q = softmax(b) lies on the simplex.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gate.errors import EvidenceError
from gate.head import LinearHead

_RIDGE = 0.1  # a normal prior of standard deviation 3 on b: separable data would send b to infinity
_STEPS = 100


class Prior(NamedTuple):
    """Estimated label bias of a classifier.

    ``shares`` (K,) sum to 1 and are positive; ``covariance`` (K, K) is of their logarithms up to
    a shift; ``scale`` multiplies the logits to make them log-posteriors.
    """

    shares: NDArray[np.float64]
    covariance: NDArray[np.float64]
    scale: float

    @property
    def errors(self) -> NDArray[np.float64]:
        """Standard errors of the shares ``(K,)``, by the delta method."""
        jacobian = np.diag(self.shares) - np.outer(self.shares, self.shares)
        return np.sqrt(np.diag(jacobian @ self.covariance @ jacobian))


def estimate(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> Prior:
    """Label prior and temperature, together, by maximum likelihood.

    Minimises the mean of ``CE(a f - b + log pi, y)`` over a > 0 and b, where pi are the label
    frequencies of the sample itself, so that the sample need not be balanced; q = softmax(b).

    Args:
        logits: ``(N, K)``, of images that the classifier was not fitted on.
        labels: ``(N,)`` in 0 .. K-1, every class present.

    Raises:
        EvidenceError: Logits that are not finite, a class without samples, or no convergence.
    """
    from scipy.optimize import minimize

    n, classes = logits.shape
    counts = np.bincount(labels, minlength=classes)
    if not np.isfinite(logits).all():
        raise EvidenceError("label prior: some logit is not finite; check the classifier")
    if not counts.all():
        raise EvidenceError(
            f"label prior: class {int(counts.argmin())} has no sample; every class needs some"
        )
    f = logits - logits.mean(axis=1, keepdims=True)
    f = (f / (unit := float(f.std()) or 1.0)).astype(np.float64)  # a is then of order one
    offset, ridge = np.log(counts / n), _RIDGE / n
    right = f[np.arange(n), labels]

    def loss(x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        posterior = _posterior(f, offset, x)
        cross_entropy = -np.log(posterior[np.arange(n), labels]).mean()
        value = cross_entropy + ridge / 2 * (x[1:] ** 2).sum()
        slope_a = ((posterior * f).sum(axis=1) - right).mean()
        slope_b = counts / n - posterior.mean(axis=0) + ridge * x[1:]
        return value, np.concatenate([[slope_a], slope_b])

    def curvature(x: NDArray[np.float64]) -> NDArray[np.float64]:
        posterior = _posterior(f, offset, x)
        hessian = np.empty((classes + 1, classes + 1))
        mean_f = (posterior * f).sum(axis=1, keepdims=True)
        hessian[0, 0] = ((posterior * f**2).sum(axis=1) - mean_f[:, 0] ** 2).mean()
        hessian[0, 1:] = hessian[1:, 0] = -(posterior * (f - mean_f)).mean(axis=0)
        hessian[1:, 1:] = np.diag(posterior.mean(axis=0)) - posterior.T @ posterior / n
        hessian[1:, 1:] += ridge * np.eye(classes)
        return hessian

    start = np.concatenate([[1.0], np.zeros(classes)])
    found = minimize(
        loss,
        start,
        jac=True,
        hess=curvature,
        method="trust-exact",
        options={"maxiter": _STEPS, "gtol": 1e-7},
    )
    scale = float(found.x[0])
    if not np.abs(found.jac).max() < 1e-4 or scale <= 0:
        raise EvidenceError(
            f"label prior: no estimate (temperature scale {scale:.3g} after {found.nit} steps); "
            "the logits do not tell the classes apart; check the classifier"
        )
    b = found.x[1:] - found.x[1:].mean()
    covariance = np.linalg.inv(curvature(found.x) * n)[1:, 1:]
    shares = np.exp(b - b.max())
    return Prior(shares / shares.sum(), covariance, scale / unit)


def _posterior(
    f: NDArray[np.float64], offset: NDArray[np.float64], x: NDArray[np.float64]
) -> NDArray[np.float64]:
    scores = x[0] * f - x[1:] + offset
    scores -= scores.max(axis=1, keepdims=True)
    exponentials = np.exp(scores)
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def distance_to_uniform(prior: Prior, seed: int, draws: int = 2000) -> tuple[float, float, float]:
    """Total variation between the prior and the uniform distribution, with a 95 % interval.

    |TV(q, u) - TV(q', u)| <= TV(q, q'), so the 95 % quantile of TV between the estimate and draws
    from its normal approximation is a reach that holds, if anything, too wide.
    """
    uniform = 1 / len(prior.shares)
    value = float(np.abs(prior.shares - uniform).sum() / 2)
    rng = np.random.default_rng(seed)
    logs = np.log(prior.shares) + rng.multivariate_normal(
        np.zeros(len(prior.shares)), prior.covariance, draws, method="eigh"
    )
    others = np.exp(logs - logs.max(axis=1, keepdims=True))
    others /= others.sum(axis=1, keepdims=True)
    reach = float(np.quantile(np.abs(others - prior.shares).sum(axis=1) / 2, 0.95))
    return value, max(value - reach, 0.0), min(value + reach, 1.0)


def adjusted(
    zero_shot: LinearHead,
    prior: Prior,
    fine_tuned: LinearHead,
    fine_tuned_scale: float,
    frequencies: NDArray[np.float64],
) -> LinearHead:
    """Generalized logit adjustment of two linear heads on the same features, as one linear head.

    ``f_gla = a_zs f_zs - log q + a_ft f_ft - log p``.

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
    bias = bias - np.log(prior.shares) - np.log(frequencies)
    return LinearHead(weight.astype(np.float32), bias.astype(np.float32))
