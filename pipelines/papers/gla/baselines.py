"""Estimators of the label prior that gate's is held against: by eigenvector, and two baselines."""

import numpy as np
from numpy.typing import NDArray

from gate.arrays import Floats, Labels
from gate.errors import EvidenceError
from gate.label_prior.joint import DENSE
from gate.label_prior.likelihood import Block, Likelihood, one_blas_thread
from gate.label_prior.prior import check, check_logits

_ROUNDS = 200
_SINGULAR = 1e10  # condition above which rounding decides


@one_blas_thread
def eigenvector(logits: Floats, labels: Labels, scale: float = 1.0) -> NDArray[np.float64]:
    """Estimate the label prior as the eigenvector of mean predictions by class.

    ``M[j, k]`` is the mean posterior of class j over samples of class k, and q = M q.

    Args:
        logits: ``(N, K)``.
        labels: ``(N,)`` in 0 .. K-1, every class present; balance does not matter.
        scale: Makes the logits log-posteriors.

    Raises:
        EvidenceError: Logits or labels that do not fit, more classes than a (K, K) matrix is
            made for, or posteriors that hardly mix the classes.

    Source:
        Zhu et al. 2023, third version.
    """
    check(logits, labels)
    return _perron(_mean_posteriors(logits, labels, scale))


@one_blas_thread
def label_free(logits: Floats, scale: float = 1.0) -> NDArray[np.float64]:
    """Estimate the prior by the eigenvector, without labels, of a sample with balanced classes.

    Posteriors less the latest estimate stand for labels; repeated until the shares stay. Hard
    labels with a confidence gap, as the paper has them, were tried: the rarest class is soon
    predicted no more.

    Raises:
        EvidenceError: As ``eigenvector``.

    Source:
        Zhu et al. 2023, third version; soft labels are ours.
    """
    check_logits(logits)
    classes = logits.shape[1]
    _require_matrix(classes)
    likelihood = Likelihood(logits, np.zeros(len(logits), np.int64))
    plain, none = np.append(scale, np.zeros(classes)), np.zeros(classes)
    shares = np.full(classes, 1 / classes)
    for _ in range(_ROUNDS):
        debiased = np.append(scale, np.log(shares))

        def term(block: Block, x: NDArray[np.float64] = debiased) -> list[Floats]:
            members = likelihood.posteriors(block.logits, x, none)
            return [
                members.T @ likelihood.posteriors(block.logits, plain, none),
                members.sum(axis=0),
            ]

        sums, counts = likelihood.total(term)
        before, shares = shares, _perron((sums / counts[:, None]).T.astype(np.float64))
        if np.abs(shares - before).sum() / 2 < 1e-4:
            break
    return shares


def mean_predicted_share(logits: Floats, scale: float = 1.0) -> NDArray[np.float64]:
    """Mean posterior of each class ``(K,)``: a baseline, which hits pull to the sample.

    It needs no labels; a sample in which classes are balanced makes it too even.

    Raises:
        EvidenceError: Logits that do not fit.
    """
    check_logits(logits)
    none = np.zeros(logits.shape[1])
    likelihood = Likelihood(logits, np.zeros(len(logits), np.int64))
    x = np.append(scale, none)
    (sums,) = likelihood.total(
        lambda block: [likelihood.posteriors(block.logits, x, none).sum(axis=0, dtype=np.float64)]
    )
    return np.asarray(sums / len(logits))


@one_blas_thread
def authors_solver(logits: Floats, labels: Labels, steps: int = 1000) -> NDArray[np.float64]:
    """Estimate the prior as the paper does, re-made from its description: a baseline.

    The temperature is the one at which mean confidence matches accuracy; then full-batch gradient
    descent on q at rate ``1e-5 * shots / 50``, with a Lagrangian for its sum (its multiplier's
    rate is ours: the same). What comes out need not sum to 1.

    Raises:
        EvidenceError: Logits or labels that do not fit.

    Source:
        Zhu et al. 2023, equation 6 and the authors' code, read and not copied.
    """
    check(logits, labels)
    n, classes = logits.shape
    f = np.asfortranarray(logits - logits.max(axis=1, keepdims=True))
    # the temperature stays: exponentials are taken once, and a step is two products with them
    odds = np.exp(f * f.dtype.type(confidence_matching_scale(f, labels)))
    frequencies = np.bincount(labels, minlength=classes) / n
    rate = 1e-5 * (n / classes) / 50
    q, multiplier = np.full(classes, 1 / classes), 0.0
    for _ in range(steps):
        weights = 1 / q
        predicted = (1 / (odds @ weights.astype(f.dtype))) @ odds * weights / n
        slope = (frequencies - predicted) * weights + multiplier
        multiplier += rate * (q.sum() - 1)
        q = np.maximum(q - rate * slope, 1e-8)
    return np.asarray(q)


def confidence_matching_scale(f: Floats, labels: Labels) -> float:
    """The scale at which mean confidence is accuracy; the largest of each row of f is 0."""
    hits = int((f.argmax(axis=1) == labels).sum())
    low, high = 1e-3, 1e3
    for _ in range(30):  # halving the logarithm's range
        middle = float(np.sqrt(low * high))
        confidence = (1 / np.exp(f * f.dtype.type(middle)).sum(axis=1)).sum(dtype=np.float64)
        low, high = (low, middle) if confidence > hits else (middle, high)
    return float(np.sqrt(low * high))


def _require_matrix(classes: int) -> None:
    if classes > DENSE:
        raise EvidenceError(
            f"label prior by eigenvector: {classes} classes; its (K, K) matrix is kept up to "
            f"{DENSE}; use the joint estimate"
        )


def _mean_posteriors(logits: Floats, labels: Labels, scale: float) -> NDArray[np.float64]:
    """``(K, K)``, columns sum to 1: mean posterior of each class over samples of each class."""
    from scipy.sparse import csr_array

    classes = logits.shape[1]
    _require_matrix(classes)
    likelihood = Likelihood(logits, labels)
    x = np.append(scale, np.zeros(classes))

    def term(block: Block) -> list[NDArray[np.float64]]:
        f, y, _ = block
        members = csr_array((np.ones(len(y), f.dtype), (y, np.arange(len(y)))), (classes, len(y)))
        return [(members @ likelihood.posteriors(f, x, np.zeros(classes))).astype(np.float64)]

    (sums,) = likelihood.total(term)
    return np.asarray((sums / likelihood.counts[:, None]).T)


def _perron(columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """The distribution q = M q of a matrix whose columns sum to 1.

    Raises:
        EvidenceError: It has more than one.
    """
    classes = len(columns)
    system = columns - np.eye(classes)
    system[-1] = 1  # the equations sum to 0: one of them gives way to sum q = 1
    if not np.linalg.cond(system, 1) < _SINGULAR:
        raise EvidenceError(
            "label prior by eigenvector: the posteriors hardly mix the classes (separable), so "
            "that many priors would do; add harder samples, or use the joint estimate"
        )
    q = np.linalg.solve(system, np.append(np.zeros(classes - 1), 1.0))
    q = np.maximum(q, np.finfo(float).tiny)
    return np.asarray(q / q.sum())
