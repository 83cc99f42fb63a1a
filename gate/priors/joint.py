"""Temperature and label prior together: ridge, cross-fitting, standard errors.

The ridge on b is a normal prior, whose spread is itself estimated, by marginal likelihood: no
sample is spared for it (``tests/benchmarks/priors.py`` holds it against cross-validation).
Cross-validation then decides whether removing the prior helps at all.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gate.errors import EvidenceError
from gate.priors.likelihood import KEPT, Floats, Held, Labels, Likelihood

NEWTON = 256  # classes up to which a step solves with the whole curvature
DENSE = 2048  # classes up to which standard errors do
_NARROW, _WIDE = 0.01, 3.0  # spreads of b: about none; about a factor of 20 between classes
_REACH = 30.0  # spread of the logits, in nats, that holds the temperature back on separable data
_CLASSES_BEFORE = 2  # as many classes of spread 1 are taken as seen: ten alone say little of it
_STEPS = 100
_PART, _FEW = 8, 300  # samples of the part that is fitted first: a class, and at least
_SETTLED = 1e-5  # nats a class to be gained still: less than a hundredth of a standard error


class Fit(NamedTuple):
    """Where the penalised likelihood is highest."""

    x: NDArray[np.float64]  # (K + 1,): a, then b, with mean 0
    precision: NDArray[np.float64]  # (K + 1,): the ridge on each
    hits: int  # samples of the fit that are classified rightly
    curvature: NDArray[np.float64] | None = None  # (K + 1, K + 1), without the ridge

    @property
    def spread(self) -> float:
        """Standard deviation of b a priori."""
        return float(self.precision[-1] ** -0.5)


def fit(likelihood: Likelihood, spread: float | None = None) -> Fit:
    """Temperature scale a and bias b, by penalised maximum likelihood.

    Args:
        likelihood: Of the sample; where it is long, a part of it is fitted first.
        spread: Standard deviation of b a priori, which sets the ridge; estimated unless given.

    Raises:
        EvidenceError: No convergence.

    Source:
        Alexandari et al. 2020, "bias-corrected temperature scaling"; for the spread, MacKay 1992.
    """
    few = max(_FEW, _PART * likelihood.classes)
    if likelihood.n > 3 * few:
        part = likelihood.part(few)
        start = with_curvature(part, fit(part, spread))
        return _again(likelihood, start, likelihood.n / part.n, free=not spread)
    start = fit_temperature(likelihood)
    start = start._replace(precision=_ridge(start, spread or 1))
    search = _newton if likelihood.classes <= NEWTON else _quasi_newton
    return search(likelihood, start, not spread)


def _again(likelihood: Likelihood, start: Fit, times: float, *, free: bool) -> Fit:
    """The fit of a sample that many times as large as the one of ``start``, and like it."""
    if start.curvature is None:
        return _quasi_newton(likelihood, start, free)
    return _newton(likelihood, start._replace(curvature=start.curvature * times), free)


def fit_temperature(likelihood: Likelihood) -> Fit:
    """The temperature scale alone, b = 0; on part of the sample where it is long."""
    few = max(_FEW, _PART * likelihood.classes)
    if likelihood.n > 3 * few:
        likelihood = likelihood.part(few)
    unit = likelihood.unit()
    x = np.append(1 / unit, np.zeros(likelihood.classes))
    ridge = (unit / _REACH) ** 2
    for _ in range(_STEPS):
        here = likelihood.at(x, "diagonal")
        step = (here.slope[0] + ridge * x[0]) / (here.curvature[0] + ridge)
        # a step to where the curvature vanishes would not come back
        x[0] -= np.clip(step, -2 * abs(x[0]), 2 * abs(x[0]))
        if abs(step) < 0.03 * abs(x[0]) or x[0] <= 0:
            break
    return Fit(x, np.append(ridge, np.full(likelihood.classes, _NARROW**-2)), here.hits)


def _ridge(of: Fit, spread: float) -> NDArray[np.float64]:
    return np.append(of.precision[0], np.full(len(of.x) - 1, spread**-2))


def _respread(x: NDArray[np.float64], determined: float) -> float:
    """Spread of b that is most likely, given in how many directions the sample determines b."""
    b = x[1:] - x[1:].mean()
    known = float(b @ b) + _CLASSES_BEFORE
    return float(
        np.clip(np.sqrt(known / (max(determined - 1, 0) + _CLASSES_BEFORE)), _NARROW, _WIDE)
    )


def _newton(likelihood: Likelihood, start: Fit, free: bool) -> Fit:
    """Newton's method; while that goes well, it keeps the curvature that it has."""
    x, precision = start.x, start.precision
    near, before = start.curvature is not None, float("inf")
    settled = _SETTLED * likelihood.classes
    patience = min(likelihood.classes / 1000, 0.5)  # a new one costs more, the more classes
    here = likelihood.at(x, "slope" if near else "full")
    curvature = here.curvature if start.curvature is None else start.curvature
    inverse = np.linalg.inv(curvature + np.diag(precision))
    for _ in range(_STEPS):
        slope = here.slope + precision * x
        step = inverse @ slope
        decrement = float(slope @ step)  # in nats, of the whole sample
        if decrement < settled and not free:
            own = here.curvature if here.curvature.ndim == 2 else None
            return Fit(_centred(x), precision, here.hits, own)
        near, before = near if np.isinf(before) else decrement < patience * before, decrement
        height, length = here.loss + precision @ x**2 / 2, 1.0
        while True:
            there = likelihood.at(x - length * step, "slope" if near else "full")
            rise = there.loss + precision @ (x - length * step) ** 2 / 2 - height
            if rise <= 1e-6 * abs(height) + settled:  # beyond that, rounding
                break
            length /= 2
        x, here = x - length * step, there
        if not near:
            curvature = here.curvature
        if free and length == 1:
            determined = (1 - np.diag(inverse) * precision)[1:].sum()
            ridge = _ridge(start, _respread(x, determined))
            free = abs(np.log(ridge[-1] / precision[-1])) > 0.1
            precision = ridge
        if not near or free:
            inverse = np.linalg.inv(curvature + np.diag(precision))
    raise EvidenceError(
        f"label prior: no estimate after {_STEPS} Newton steps; look for logits of very "
        "different sizes, or for labels that do not belong to them"
    )


def _quasi_newton(likelihood: Likelihood, start: Fit, free: bool) -> Fit:
    """L-BFGS on x in units of its curvature; with a spread to be found, once roughly before."""
    from scipy.optimize import minimize

    x, precision, hits = start[:3]
    for tolerance in (1e-5, 1e-7) if free else (1e-7,):
        width = (likelihood.at(x, "diagonal").curvature + precision) ** -0.5

        def loss(z: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            nonlocal hits
            here = likelihood.at(width * z)  # noqa: B023  # called within this turn only
            hits = here.hits
            slope = here.slope + precision * width * z  # noqa: B023
            height = here.loss + float(precision @ (width * z) ** 2) / 2  # noqa: B023
            return height, np.asarray(width * slope)  # noqa: B023

        options = {"maxiter": _STEPS, "ftol": tolerance, "gtol": 1e-3}
        found = minimize(loss, x / width, jac=True, method="L-BFGS-B", options=options)
        x = width * found.x
        if free and tolerance > 1e-7:
            determined = (1 - precision * width**2)[1:].sum()
            precision = _ridge(start, _respread(x, determined))
    # in these units a slope counts in standard errors; rounding may end the search before its own
    # criterion does
    if not found.jac @ found.jac < 1e-3 * likelihood.classes:
        raise EvidenceError(
            f"label prior: no estimate after {found.nit} L-BFGS steps ({found.message}); look for "
            "logits of very different sizes, or for labels that do not belong to them"
        )
    return Fit(_centred(x), precision, hits)


def _centred(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.append(x[0], x[1:] - x[1:].mean())


class CrossFit(NamedTuple):
    """What temperature and bias of each fold, fitted without it, make of the fold's samples."""

    folds: Labels  # (N,)
    fits: tuple[Fit, ...]
    before: Held  # at b = 0
    after: Held

    def logits(self, logits: Floats, rows: slice) -> Floats:
        """Corrected logits ``a f - b`` of those rows, each by the fit that did not see it."""
        x = np.stack([each.x for each in self.fits])[self.folds[rows]]
        return np.asarray(x[:, :1] * logits[rows] - x[:, 1:])


def cross_fit(likelihood: Likelihood, whole: Fit, seed: int, folds: int = 5) -> CrossFit:
    """Fit without each fold in turn, at the whole sample's ridge; quick where it has a curvature.

    Every fold holds each class in proportion; a class that a fit lacks keeps b = 0 there.
    """
    logits, labels = likelihood.logits, likelihood.labels
    fold = _stratified(labels, min(folds, len(labels)), seed)
    alone = fit_temperature(likelihood).x
    size = len(labels)
    before, after = (Held(np.empty(size), np.empty(size, np.int64)) for _ in range(2))
    fits = []
    for number in range(int(fold.max()) + 1):
        kept, held = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        own = Likelihood(logits, labels, kept)
        found = _again(own, whole, len(kept) / size, free=False)
        own = Likelihood(logits, labels, held)
        for into, x in ((before, alone), (after, found.x)):
            into.log_loss[held], into.predicted[held] = own.each(x, likelihood.offset)
        fits.append(found)
    return CrossFit(fold, tuple(fits), before, after)


def _stratified(labels: Labels, folds: int, seed: int) -> Labels:
    """Fold of each sample: within a class they follow each other, over all classes too."""
    order = np.random.default_rng(seed).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    fold = np.empty(len(labels), np.int64)
    fold[order] = np.arange(len(labels)) % folds
    return fold


def with_curvature(likelihood: Likelihood, at: Fit) -> Fit:
    """The fit with its curvature, unless there are more than ``DENSE`` classes."""
    if at.curvature is not None or likelihood.classes > DENSE:
        return at
    return at._replace(curvature=likelihood.at(at.x, "full").curvature)


def covariance(
    likelihood: Likelihood, at: Fit, clusters: NDArray[np.int64] | None = None
) -> NDArray[np.float64]:
    """Covariance ``(K, K)`` of b, up to a shift; above ``DENSE`` classes its diagonal, ``(K,)``.

    ``A (S + R) A`` with the penalised curvature A^-1 = H + R, the ridge R, and the scores'
    covariance S. The sample's class counts are given, so that S is of scores *within* classes:
    ``S = H - H D H`` by the model, D = diag(1 / counts); or from the scores themselves, summed by
    cluster. Without ridge, ``A (S + R) A = H^-1 - D``.

    Source:
        Prentice and Pyke 1979, logistic regression on samples taken by label.
    """
    if clusters is not None and likelihood.classes > DENSE:
        raise EvidenceError(
            f"label prior: clusters with {likelihood.classes} classes; errors that respect "
            f"clusters need a (K, K) matrix, which is kept up to {DENSE}; leave them out"
        )
    h, r = at.curvature, at.precision
    if h is None:
        h = likelihood.at(at.x, "diagonal").curvature
        a = 1 / (h + r)[1:]
        return np.asarray(a - (a * h[1:]) ** 2 / likelihood.counts)
    inverse = np.linalg.inv(h + np.diag(r))[1:]  # (K, K + 1)
    if clusters is None:
        taken = inverse @ h[:, 1:]
        return np.asarray(inverse[:, 1:] - (taken / likelihood.counts) @ taken.T)
    return np.asarray(inverse @ (_scatter(likelihood, at, clusters) + np.diag(r)) @ inverse.T)


def _scatter(likelihood: Likelihood, at: Fit, clusters: NDArray[np.int64]) -> NDArray[np.float64]:
    """Covariance of the scores' sums by cluster, around the mean of each sample's class."""
    groups, place = np.unique(clusters, return_inverse=True)
    width = likelihood.classes + 1
    means, sums = np.zeros((width - 1, width)), np.zeros((len(groups), width), np.float32)
    step = max(1, KEPT // width)
    spans = [slice(start, start + step) for start in range(0, likelihood.n, step)]
    for rows in spans:
        np.add.at(means, likelihood.labels[rows], likelihood.score(rows, at.x))
    means /= likelihood.counts[:, None]
    for rows in spans:
        score = likelihood.score(rows, at.x) - means[likelihood.labels[rows]]
        np.add.at(sums, place[rows], score.astype(np.float32))
    return np.asarray(sums.T @ sums, np.float64) * len(groups) / max(len(groups) - 1, 1)
