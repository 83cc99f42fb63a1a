"""Fit temperature and label prior together, with a ridge, and cross-fit them.

The ridge on b is a normal prior, whose spread is itself estimated, by marginal likelihood: no
sample is spared for it (``tests/benchmarks/priors.py`` holds it against cross-validation).
Cross-validation then decides whether removing the prior helps at all.
"""

from typing import NamedTuple

import numpy as np

from gate.arrays import Float64, Floats, Int64, Labels
from gate.errors import EvidenceError
from gate.label_prior.likelihood import HeldOut, Likelihood, Point

DENSE = 2048  # classes up to which a (K, K) curvature is computed
_NARROW, WIDE = 0.01, 3.0  # spreads of b: about none; about a factor of 20 between classes
_MOST_GAP = 30.0  # nats between logits, which hold the temperature back on separable data
_CLASSES_BEFORE = 2  # as many classes of spread 1 are taken as seen: ten alone say little of it
_STEPS = 100
_START_A_CLASS, _START = 8, 300  # samples that a fit is begun with: a class, and at least
_SETTLED = 1e-3  # nats a class still to be gained: half of (a twentieth of a standard error)^2


class Fit(NamedTuple):
    """Where the penalised likelihood is highest."""

    x: Float64  # (K + 1,): a, then b, with mean 0
    precision: Float64  # (K + 1,): the ridge on each
    curvature: Float64 | None = None  # (K + 1, K + 1), near x, without the ridge

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
        EvidenceError: No convergence, or half of the classes or more are masked.

    Source:
        Alexandari et al. 2020, "bias-corrected temperature scaling"; for the spread, MacKay 1992.
    """
    part = likelihood.part(starting_size(likelihood.classes))
    if part is not likelihood:
        return _again(likelihood, fit(part, spread), likelihood.n / part.n, free=spread is None)
    start = _with_spread(fit_temperature(likelihood), 1 if spread is None else spread)
    search = _newton if likelihood.classes <= DENSE else _quasi_newton
    return search(likelihood, start, spread is None)


def starting_size(classes: int) -> int:
    """How many samples are enough to begin a fit with."""
    return max(_START, _START_A_CLASS * classes)


def _again(likelihood: Likelihood, start: Fit, times: float, *, free: bool) -> Fit:
    """Fit a sample that is ``times`` as large as the one of ``start``, and like it."""
    if start.curvature is None:
        return _quasi_newton(likelihood, start, free)
    return _newton(likelihood, start._replace(curvature=start.curvature * times), free)


def fit_temperature(likelihood: Likelihood) -> Fit:
    """Fit the temperature scale alone, at b = 0; on part of the sample where it is long.

    At the best scale a, mean logits under the posteriors are the labels' logits; both are below 0,
    the largest. The former falls about as a power of a: Newton's method in logarithms.

    Raises:
        EvidenceError: Half of the classes or more are masked.
    """
    part = likelihood.part(_START)
    gap = part.logit_gap()
    x = np.append(1 / gap, np.zeros(part.classes))
    ridge, label_logits = (gap / _MOST_GAP) ** 2, part.label_logits()
    for _ in range(_STEPS):
        here = part.at(x, "diagonal")
        # rounded to 0, it may be
        mean = max(-(here.slope[0] + label_logits), np.finfo(np.float32).tiny)
        wanted = ridge * x[0] - label_logits
        step = np.log(mean / wanted) / (x[0] * (here.curvature[0] / mean + ridge / wanted))
        x[0] *= np.exp(np.clip(step, -2, 2))
        if abs(step) < 0.1:  # the next is about its square
            break
    return _with_spread(Fit(x, np.full(len(x), ridge)), _NARROW)


def _with_spread(of: Fit, spread: float) -> Fit:
    """The fit with the ridge on b that follows from that spread."""
    return of._replace(precision=np.append(of.precision[0], np.full(len(of.x) - 1, spread**-2)))


def _likeliest_spread(at: Fit, width: Float64) -> float:
    """Spread of b at which its marginal likelihood is highest, by one fixed-point step.

    A class counts as far as the sample, and not the ridge, determines its b.

    Args:
        at: The fit so far.
        width: Variance ``(K + 1,)`` of x a posteriori.

    Source:
        MacKay 1992, "Bayesian interpolation": the number of well-determined parameters.
    """
    b = at.x[1:]  # its mean is 0, up to rounding
    determined = (1 - at.precision * width)[1:].sum() - 1  # less the shift
    square = float(b @ b + _CLASSES_BEFORE) / (max(float(determined), 0) + _CLASSES_BEFORE)
    return float(min(max(square**0.5, _NARROW), WIDE))


def _newton(likelihood: Likelihood, at: Fit, free: bool) -> Fit:
    """Fit by Newton's method; a curvature to start with serves for as long as that goes well.

    Args:
        likelihood: Of the sample.
        at: Where to start, with the curvature there if it is known.
        free: Whether the spread is to be estimated, from the second point on.
    """
    fresh = at.curvature is None
    curvature = np.empty(0) if at.curvature is None else at.curvature
    best, before, length = np.inf, np.inf, 1.0
    step, inverse = np.zeros_like(at.x), np.empty(0)
    for _ in range(_STEPS):
        there = at._replace(x=at.x - length * step)
        here = likelihood.at(there.x, "full" if fresh else "slope")
        # so written that what is not finite fails; less than a millionth is rounding
        if not _height(here, there) <= best + 1e-6 * abs(best) + _SETTLED:
            fresh, length = True, length / 4
            continue
        if free and length == 1 and inverse.size:
            there = _with_spread(there, _likeliest_spread(there, np.diag(inverse)))
            free = abs(np.log(there.spread / at.spread)) > 0.1
        if fresh:
            curvature = here.curvature
        at, best, length = there, _height(here, there), 1.0
        if fresh or free or not inverse.size:
            inverse = np.asarray(np.linalg.inv(curvature + np.diag(at.precision)))
        slope = here.slope + at.precision * at.x
        step = inverse @ slope
        decrement = float(slope @ step)  # in nats, of the whole sample
        # what the step after this one would gain, if steps go on to shrink as they do
        left = decrement * min(decrement / before, 1)
        if left < _SETTLED * likelihood.classes and np.isfinite(before) and not free:
            return at._replace(x=_centred(at.x - step), curvature=curvature)
        fresh, before = fresh or decrement > before / 2, decrement
    raise EvidenceError(
        f"label prior: no estimate after {_STEPS} Newton steps; look for logits of very "
        "different sizes, or for labels that do not belong to them"
    )


def _height(here: Point, at: Fit) -> float:
    return here.loss + float(at.precision @ at.x**2) / 2


def _quasi_newton(likelihood: Likelihood, at: Fit, free: bool) -> Fit:
    """Fit by L-BFGS on x in units of its curvature; to estimate the spread, once roughly before."""
    from scipy.optimize import minimize

    for tolerance in (1e-5, 1e-6) if free else (1e-6,):
        width = (likelihood.at(at.x, "diagonal").curvature + at.precision) ** -0.5

        def loss(z: Float64, at: Fit = at, width: Float64 = width) -> tuple[float, Float64]:
            there = at._replace(x=width * z)
            here = likelihood.at(there.x)
            return _height(here, there), width * (here.slope + at.precision * there.x)

        options = {"maxiter": _STEPS, "ftol": tolerance, "gtol": 0}
        search = minimize(loss, at.x / width, jac=True, method="L-BFGS-B", options=options)
        at = at._replace(x=width * search.x)
        if free and tolerance > 1e-6:
            at = _with_spread(at, _likeliest_spread(at, width**2))
    # in these units a slope counts in standard errors; rounding may end the search before its own
    # criterion does
    if not search.jac @ search.jac < _SETTLED * likelihood.classes:
        raise EvidenceError(
            f"label prior: no estimate after {search.nit} L-BFGS steps ({search.message}); look "
            "for logits of very different sizes, or for labels that do not belong to them"
        )
    return at._replace(x=_centred(at.x))


def _centred(x: Float64) -> Float64:
    return np.append(x[0], x[1:] - x[1:].mean())


class CrossFit(NamedTuple):
    """What temperature and bias of each fold, fitted without it, make of the fold's samples."""

    folds: Labels  # (N,)
    fits: tuple[Fit, ...]
    before: HeldOut  # at b = 0
    after: HeldOut
    unit: float  # of the logits that they were fitted on

    def logits(self, logits: Floats, rows: slice) -> Floats:
        """Corrected logits ``a f - b`` of those rows, each by the fit that did not see it."""
        x = np.stack([each.x for each in self.fits])[self.folds[rows]]
        return np.asarray(x[:, :1] * (logits[rows] / self.unit) - x[:, 1:])


def cross_fit(
    likelihood: Likelihood, whole: Fit, seed: int, folds: int = 5, clusters: Int64 | None = None
) -> CrossFit:
    """Fit without each fold in turn, at the whole sample's ridge; quick where it has a curvature.

    Every fold holds each class in proportion, and clusters whole; a class that a fit lacks keeps
    b = 0 there.
    """
    labels, size = likelihood.labels, likelihood.n
    if clusters is None:
        fold = _stratified(labels, min(folds, size), seed)
    else:
        _, first, place = np.unique(clusters, return_index=True, return_inverse=True)
        fold = _stratified(labels[first], min(folds, len(first)), seed)[place]
    alone = fit_temperature(likelihood).x
    before, after = (HeldOut(np.empty(size), np.empty(size, np.int64)) for _ in range(2))
    fits = []
    for number in range(int(fold.max()) + 1):
        fitted, left_out = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        without = _again(likelihood.of(fitted), whole, len(fitted) / size, free=False)
        own = likelihood.of(left_out)
        for into, x in ((before, alone), (after, without.x)):
            into.log_loss[left_out], into.predicted[left_out] = own.held_out(x, likelihood.offset)
        fits.append(without)
    return CrossFit(fold, tuple(fits), before, after, likelihood.unit)


def _stratified(labels: Labels, folds: int, seed: int) -> Labels:
    """Fold of each sample: within a class they follow each other, over all classes too."""
    order = np.random.default_rng(seed).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    fold = np.empty(len(labels), np.int64)
    fold[order] = np.arange(len(labels)) % folds
    return fold
