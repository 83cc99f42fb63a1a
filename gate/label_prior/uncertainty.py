"""Log shares less the biases of ridge and small samples, and their covariance.

The ridge makes an estimate better on the whole by drawing rare and frequent classes together, so
an interval around it misses those at either end too often. Two Newton steps from the estimate take
off the ridge, and the bias that maximum likelihood has in small samples.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gate.arrays import Float64, Floats
from gate.label_prior.joint import WIDE, Fit, starting_size
from gate.label_prior.likelihood import Block, Likelihood

_VAGUE = 10.0  # spread of b where the sample is silent: it keeps the curvature invertible


def uncertainty(likelihood: Likelihood, at: Fit) -> tuple[Float64, Float64]:
    """Take two Newton steps from the fit to the bias-reduced estimate; its covariance is there.

    The first goes to about where the weakest ridge would have it, the second to Firth's estimate,
    where the log loss less ``log det(H) / 2`` is least, H its curvature. Class counts n are given,
    not drawn, which takes ``diag(1 / n)`` from the covariance H^-1 of log shares, and
    ``-1 / (2 n)`` from their bias (variance and bias of log n, if it were drawn). H and n are at
    the sample's weight.

    Above ``DENSE`` classes H is its diagonal, and there is no first step.

    Returns:
        Bias-reduced log shares ``(K,)``, up to a shift, and the covariance ``(K, K)`` of them less
        their mean; above ``DENSE`` classes about its diagonal ``(K,)``.

    Source:
        Firth 1993, section 3 (canonical link). Prentice and Pyke 1979, samples taken by label.
    """
    x, counts = at.x, likelihood.weight * likelihood.counts
    weak, none = (np.append(at.precision[0], np.full(len(counts), s**-2)) for s in (WIDE, _VAGUE))
    if at.curvature is None:
        here = likelihood.at(x, "diagonal")
        inverse = np.asarray(1 / (here.curvature + none))
        step = inverse * (here.slope + none * x - _slope_of_log_det(likelihood, x, inverse) / 2)
        variance = np.maximum(inverse[1:] - 1 / counts, 0)
        return (x - step)[1:] + 1 / (2 * counts), np.asarray(variance)
    # at the fit, the log loss' slope is -precision * x
    x = x - np.linalg.solve(at.curvature + np.diag(weak), (weak - at.precision) * x)
    here = likelihood.at(x, "full")
    inverse = np.asarray(np.linalg.inv(here.curvature + np.diag(none)))
    step = inverse @ (here.slope + none * x - _slope_of_log_det(likelihood, x, inverse) / 2)
    covariance = inverse[1:, 1:] - np.diag(1 / counts)
    covariance -= covariance.mean(axis=0)
    covariance -= covariance.mean(axis=1, keepdims=True)
    return (x - step)[1:] + 1 / (2 * counts), covariance


def _slope_of_log_det(likelihood: Likelihood, x: Float64, inverse: Float64) -> Float64:
    """Slope ``(K + 1,)`` of ``log det H``, by a part of the sample where it is long.

    A class's score is ``z' x`` with ``z = (f_k, -e_k)``. One sample adds ``Cov(z)`` to H, and to
    this slope ``sum_k p_k l_k (z_k - m)``, where m is the mean of z under the posteriors p, and
    ``l_k = (z_k - m)' V (z_k - m)`` the squared length of ``z_k - m`` by the inverse curvature V.
    """
    part = likelihood.part(starting_size(likelihood.classes))

    def term(block: Block) -> Sequence[Any]:
        p = part.posteriors(block.logits, x, likelihood.offset)
        f = block.logits - (p * block.logits).sum(axis=1, keepdims=True)
        lengths = _squared_lengths(p, f, inverse.astype(p.dtype))
        lengths -= (p * lengths).sum(axis=1, keepdims=True)  # as z_k - m has mean 0
        p *= lengths
        return (p * f).sum(dtype=np.float64), p.sum(axis=0, dtype=np.float64)

    of_a, of_b = part.total(term)
    return np.append(of_a, -of_b) * (likelihood.weight * likelihood.n / part.n)


def _squared_lengths(p: Floats, f: Floats, v: Floats) -> Floats:
    """``(z_k - m)' V (z_k - m)`` of each sample and class, less what is the same in all classes.

    ``z_k - m = (f_k, p - e_k)`` with f less its mean; V may be a diagonal.
    """
    if v.ndim == 1:
        return np.asarray(v[0] * f**2 + v[1:] * (1 - 2 * p))
    crossed = (p @ v[0, 1:])[:, None] - v[0, 1:]
    return np.asarray(v[0, 0] * f**2 + 2 * f * crossed + np.diag(v)[1:] - 2 * (p @ v[1:, 1:]))
