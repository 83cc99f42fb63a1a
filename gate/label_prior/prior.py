"""What an estimate of the label prior is, and how it is made from logits and labels.

Source: Zhu et al. 2023, arXiv 2310.08106. The estimate is a bias-only multinomial logistic
regression with a temperature: convex and smooth, so Newton's method finds it in a few steps; no
constraint is needed, because q = softmax(b) lies on the simplex.
"""

from dataclasses import dataclass

import numpy as np

from gate import stats
from gate.arrays import Float64, Floats, Int64, Labels, first_not_finite
from gate.errors import EvidenceError
from gate.label_prior.joint import CrossFit, Fit, cross_fit, fit
from gate.label_prior.likelihood import Likelihood, one_blas_thread
from gate.label_prior.uncertainty import uncertainty

_Z = 1.959964  # a 95 % interval of a normal estimate
_TINY = 1e-12  # shares below are as good as 0
_FAR = 3.0  # times the odds of a uniform prior, or a third of them


@dataclass(frozen=True)
class Prior:
    """Estimated label bias of a classifier.

    ``shares`` (K,) sum to 1 and are positive; ``covariance`` is of their logarithms up to a
    shift, without the ridge, (K, K) or, of very many classes, its diagonal (K,); ``scale``
    multiplies the logits to make them log-posteriors; ``spread`` is the standard deviation of log
    shares a priori, which sets the ridge; ``separable`` says that only the ridge kept the estimate
    finite; ``cross_fit`` says what removing the prior does to samples that it was not estimated
    on; ``bias_reduced`` (K,) are log shares, up to a shift, that are off by less than the estimated
    ones, if there are any.
    """

    shares: Float64
    covariance: Float64
    scale: float
    spread: float | None = None
    separable: bool = False
    cross_fit: "CrossFitted | None" = None
    bias_reduced: Float64 | None = None

    @property
    def errors(self) -> Float64:
        """Standard errors of the shares ``(K,)``, by the delta method."""
        q = self.shares
        own, mixed = self._moments(q)
        return np.asarray(q * np.sqrt(np.maximum(own - 2 * mixed + q @ mixed, 0)))

    @property
    def centre(self) -> Float64:
        """Log shares ``(K,)`` that intervals are around, up to a shift."""
        return np.log(self.shares) if self.bias_reduced is None else self.bias_reduced

    @property
    def bounds(self) -> tuple[Float64, Float64]:
        """95 % intervals of the shares, wide enough to hold the estimates too.

        They are normal in the log odds of a class against all others. As log shares err, the
        others' summed odds are too large on the average: in logarithms by half the variance of
        log shares under the others' own shares r, ``(sum r_j V_jj - r' V r) / 2``, and in what
        holds to second order, by no more than a standard error.

        Source:
            Cox and Snell 1968, for the bias of a function to second order.
        """
        q = shares_of(self.centre)
        rest = np.maximum(1 - q, _TINY)
        own, mixed = self._moments(q)
        error = np.sqrt(np.maximum(own - 2 * mixed + q @ mixed, 0)) / rest
        others = (q @ own - q * own) / rest
        others -= (q @ mixed - 2 * q * mixed + q**2 * own) / rest**2
        odds = np.log(np.maximum(q, _TINY) / rest) + np.minimum(others / 2, error)
        low, high = (np.exp(-np.logaddexp(0, -odds - z * error)) for z in (-_Z, _Z))
        return np.minimum(low, self.shares), np.maximum(high, self.shares)

    def _moments(self, q: Float64) -> tuple[Float64, Float64]:
        """Variance of each log share, and its covariance with the mean of all under q."""
        v = self.covariance
        return (v, v * q) if v.ndim == 1 else (np.diag(v), v @ q)

    @property
    def helps(self) -> bool:
        """Whether the cross-fitted log loss falls when the prior is removed."""
        return self.cross_fit is None or self.cross_fit.log_loss_gain.value > 0

    @property
    def removed(self) -> Float64:
        """What to subtract from scaled logits ``(K,)``: log q, or 0 where that does not help."""
        return np.log(self.shares) if self.helps else np.zeros(len(self.shares))


@dataclass(frozen=True)
class CrossFitted:
    """What removing the prior changes for samples that it was not estimated on.

    ``fits`` are temperature and bias of each fold, fitted without it.
    """

    log_loss_gain: stats.Interval
    balanced_accuracy_gain: stats.Interval
    fits: CrossFit


def shares_of(log_shares: Float64) -> Float64:
    """Shares ``(K,)`` from their logarithms up to a shift: the softmax."""
    q = np.exp(log_shares - log_shares.max())
    return np.asarray(q / q.sum())


def uniform(classes: int) -> Prior:
    """A uniform prior: that of a classifier which is taken as it stands."""
    return Prior(np.full(classes, 1 / classes), np.zeros((classes, classes)), scale=1.0)


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
    if vague := _vague(prior):
        said.append(
            f"of {vague} of {len(prior.shares)} classes the interval reaches from less than a "
            f"third of the odds that all classes alike would have to more than {_FAR:g} times "
            "these: it says nearly nothing of their shares; add samples"
        )
    if prior.covariance.ndim == 1:
        said.append(
            f"{len(prior.shares)} classes: standard errors are from the diagonal of the curvature "
            "alone, and too small where classes are confused with each other"
        )
    return said


def _vague(prior: Prior) -> int:
    """How many classes may have far less than a uniform share, and as well far more."""
    low, high = prior.bounds
    others = len(low) - 1
    less = low * others < (1 - low) / _FAR
    more = high * others > (1 - high) * _FAR
    return int((less & more).sum())


@one_blas_thread
def estimate(
    logits: Floats,
    labels: Labels,
    *,
    clusters: Int64 | None = None,
    spread: float | None = None,
    folds: int = 5,
    seed: int = 0,
) -> Prior:
    """Estimate label prior and temperature, together, by penalised maximum likelihood.

    Minimises the sum of ``CE(a f - b + log pi, y)`` and a ridge on b, where pi are the label
    frequencies of the sample itself, so that the sample need not be balanced; q = softmax(b).

    Args:
        logits: ``(N, K)``, of samples that the classifier was not fitted on; read in blocks.
        labels: ``(N,)`` in 0 .. K-1, every class present.
        clusters: ``(N,)``, which samples are not independent, such as images of one scene: they
            count as one, and no fold cuts them in two.
        spread: Standard deviation of log q a priori, above 0; estimated unless given.
        folds: How many parts the cross-fit leaves out in turn; 0 for none.
        seed: Of the folds.

    Raises:
        EvidenceError: Logits or labels that do not fit, or no estimate.

    Source:
        Zhu et al. 2023, equation 6, without its constraint and with a temperature.
    """
    check(logits, labels)
    weight = 1.0
    if clusters is not None:
        clusters = _checked(clusters, labels)
        weight = _weight(clusters, labels)
    likelihood = Likelihood(logits, labels, weight=weight)
    best = fit(likelihood, spread)
    with np.errstate(over="ignore"):  # of logits near the least float; refused
        scale = float(best.x[0] / likelihood.unit)
    # the ridge on it is in the logits' own unit, so that their size does not matter
    if not (best.x[0] * best.precision[0] ** 0.5 > _TINY and np.isfinite(scale)):
        raise EvidenceError(
            f"label prior: no estimate (temperature scale {scale:.3g}, which must be above "
            "0); the logits do not tell the classes apart, or are smallest for the likeliest "
            "class, as distances are; check the classifier, or change their sign"
        )
    separable = likelihood.separates(best.x)
    logs, covariance = uncertainty(likelihood, best)
    return Prior(
        shares_of(best.x[1:]),
        covariance,
        scale,
        best.spread,
        separable=separable,
        cross_fit=_cross_fitted(likelihood, best, folds, seed, clusters) if folds > 1 else None,
        # where no sample is near a boundary, a Newton step leads anywhere
        bias_reduced=None if separable else logs,
    )


def _weight(clusters: Int64, labels: Labels) -> float:
    """What a sample counts for: one over the mean size of the clusters of a class's samples.

    It is the class where that is largest. So copies of a sample count as one; samples that merely
    resemble each other do too, and intervals are then too wide.

    Source:
        Kish 1965: the design effect of clusters whose members are all alike.
    """
    sizes = np.bincount(clusters)[clusters]
    return float(1 / (np.bincount(labels, sizes) / np.bincount(labels)).max())


def _checked(clusters: Int64, labels: Labels) -> Int64:
    """Number the clusters 0 .. C-1.

    Raises:
        EvidenceError: They do not fit the labels, or all samples are of one.
    """
    if clusters.shape != labels.shape or not np.issubdtype(clusters.dtype, np.integer):
        raise EvidenceError(
            f"label prior: cluster ids of shape {clusters.shape} and type {clusters.dtype} for "
            f"{len(labels)} samples; give one whole number each"
        )
    ids, places = np.unique(clusters, return_inverse=True)
    if len(ids) < 2:
        raise EvidenceError(
            "label prior: all samples are of one cluster, so that none can be left out; add others"
        )
    return places


def _cross_fitted(
    likelihood: Likelihood, best: Fit, folds: int, seed: int, clusters: Int64 | None
) -> CrossFitted:
    crossed = cross_fit(likelihood, best, seed, folds, clusters)
    labels = likelihood.labels
    gain = crossed.before.log_loss - crossed.after.log_loss
    hits = (crossed.after.predicted == labels).astype(float) - (crossed.before.predicted == labels)
    balanced = stats.mean_of_classes(hits, labels, clusters)
    return CrossFitted(stats.mean(gain, clusters), balanced, crossed)


def check(logits: Floats, labels: Labels) -> None:
    """Refuse logits and labels that nothing can be estimated from.

    Raises:
        EvidenceError: Logits as in ``check_logits``, labels of another length, one out of range,
            or a class without samples.
    """
    check_logits(logits)
    n, classes = logits.shape
    if labels.shape != (n,):
        raise EvidenceError(
            f"label prior: {n} rows of logits and labels of shape {labels.shape}; "
            "give one label a row"
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise EvidenceError(f"label prior: labels of type {labels.dtype}; give whole numbers")
    if (wrong := np.flatnonzero((labels < 0) | (labels >= classes))).size:
        raise EvidenceError(
            f"label prior: label {labels[wrong[0]]} in row {wrong[0]} is not in 0 .. {classes - 1}"
            f" (the logits have {classes} columns; {wrong.size} labels are out of range)"
        )
    if not (counts := np.bincount(labels, minlength=classes)).all():
        raise EvidenceError(
            f"label prior: class {int(counts.argmin())} has no sample; every class needs some "
            f"({int((counts == 0).sum())} of {classes} have none)"
        )


def check_logits(logits: Floats) -> None:
    """Refuse logits that nothing can be estimated from.

    Raises:
        EvidenceError: Not two-dimensional, without a sample, or not finite.
    """
    if logits.ndim != 2 or logits.shape[1] < 2 or not len(logits):
        raise EvidenceError(
            f"label prior: logits of shape {logits.shape}; (N, K) with N >= 1 and K >= 2 is needed"
        )
    if wrong := first_not_finite(logits):
        raise EvidenceError(
            f"label prior: some logit is not finite, the first in row {wrong[0]}, class "
            f"{wrong[1]}; check the classifier"
        )
