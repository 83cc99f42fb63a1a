"""Generalized logit adjustment (GLA) of logits: what it gives, and what it is worth.

Source: Zhu et al. 2023, arXiv 2310.08106. ``f_gla = a_zs f_zs - log q + a_ft f_ft - log p``.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gate import priors, stats
from gate.errors import EvidenceError
from gate.priors import Prior

Floats = NDArray[np.floating[Any]]
Labels = NDArray[np.int64]

METHODS = ("zero_shot", "debiased", "fine_tuned", "logit_adjustment", "plain_ensemble", "gla")
_ROWS = 4096
_BINS = 15
_DRAWS = 200


@dataclass(frozen=True)
class Adjustment:
    """All that turns two classifiers' logits into calibrated ones; K classes each.

    ``frequencies`` (K,) are p, of the fine-tuning set.
    """

    prior: Prior
    fine_tuned_scale: float
    frequencies: NDArray[np.float64]

    def scores(self, zero_shot: Floats, fine_tuned: Floats) -> dict[str, NDArray[np.float64]]:
        """Scores ``(n, K)`` by each of ``METHODS``, for classes equally likely.

        Both classifiers by themselves are as they stand; whatever is combined is at its own
        temperature, which favours the plain ensemble too.
        """
        f_zs, f_ft = self.prior.scale * zero_shot, self.fine_tuned_scale * fine_tuned
        debiased, adjusted = f_zs - self.prior.removed, f_ft - np.log(self.frequencies)
        found = (zero_shot, debiased, fine_tuned, adjusted, f_zs + f_ft, debiased + adjusted)
        return dict(zip(METHODS, (np.asarray(each, np.float64) for each in found), strict=True))


def adjustment(
    zero_shot: Floats, fine_tuned: Floats, labels: Labels, frequencies: NDArray[np.float64]
) -> Adjustment:
    """Estimate q and both temperatures on samples that neither classifier was fitted on.

    Raises:
        EvidenceError: Logits, labels or frequencies that do not fit each other, or no estimate.
    """
    same_shape(zero_shot, fine_tuned)
    if len(frequencies) != zero_shot.shape[1]:
        raise EvidenceError(
            f"calibrate: {len(frequencies)} train frequencies for {zero_shot.shape[1]} classes; "
            "give one each, in the order of the logits' columns"
        )
    prior = priors.estimate(zero_shot, labels)
    scale = priors.estimate(fine_tuned, labels, folds=0).scale
    return Adjustment(prior, scale, frequencies)


def same_shape(zero_shot: Floats, fine_tuned: Floats) -> None:
    """Refuse logits of different samples or classes.

    Raises:
        EvidenceError: Their shapes differ.
    """
    if zero_shot.shape != fine_tuned.shape:
        raise EvidenceError(
            f"calibrate: zero-shot logits {zero_shot.shape} and fine-tuned logits "
            f"{fine_tuned.shape}; both must be (N, K), of the same samples and classes"
        )


def combined(
    how: Adjustment, zero_shot: Floats, fine_tuned: Floats
) -> Iterator[tuple[slice, dict[str, NDArray[np.float64]]]]:
    """Scores by each method, some rows at a time.

    Raises:
        EvidenceError: Shapes that do not fit, or a logit that is not finite.
    """
    same_shape(zero_shot, fine_tuned)
    if zero_shot.shape[1] != len(how.frequencies):
        raise EvidenceError(
            f"calibrate: logits of {zero_shot.shape[1]} classes, and a prior of "
            f"{len(how.frequencies)}; both must be of the same classes"
        )
    for start in range(0, len(zero_shot), _ROWS):
        rows = slice(start, start + _ROWS)
        for name, logits in (("zero-shot", zero_shot), ("fine-tuned", fine_tuned)):
            if not (finite := np.isfinite(logits[rows]).all(axis=1)).all():
                raise EvidenceError(
                    f"calibrate: {name} logits are not finite in row {start + finite.argmin()}; "
                    "check the classifier"
                )
        yield rows, how.scores(zero_shot[rows], fine_tuned[rows])


@dataclass(frozen=True)
class Outcome:
    """What one method makes of each of N labelled samples."""

    predicted: Labels  # (N,)
    confidence: NDArray[np.float64]  # (N,)
    log_loss: NDArray[np.float64]  # (N,)


def outcomes(
    how: Adjustment, zero_shot: Floats, fine_tuned: Floats, labels: Labels
) -> dict[str, Outcome]:
    """Predictions, confidences and log losses by each method.

    Raises:
        EvidenceError: Logits or labels that do not fit each other.
    """
    priors.check(zero_shot, labels)
    n = len(labels)
    found = {m: Outcome(np.empty(n, np.int64), np.empty(n), np.empty(n)) for m in METHODS}
    for rows, scores in combined(how, zero_shot, fine_tuned):
        y = labels[rows]
        for method, of_all in scores.items():
            f = of_all - of_all.max(axis=1, keepdims=True)
            log_total = np.log(np.exp(f).sum(axis=1))
            found[method].predicted[rows] = f.argmax(axis=1)
            found[method].confidence[rows] = np.exp(-log_total)
            found[method].log_loss[rows] = log_total - f[np.arange(len(y)), y]
    return found


def worth(
    how: Adjustment, zero_shot: Floats, fine_tuned: Floats, labels: Labels, seed: int = 0
) -> dict[str, Any]:
    """What each method is worth on labelled samples, and GLA's gains, with 95 % intervals.

    Head, medium and tail are thirds of the classes by q, largest first; the gains are of balanced
    accuracy: GLA over fine-tuned in the tail, and fine-tuned over GLA in the head. Log loss and
    calibration error take the samples as they come: GLA's posteriors are for balanced classes.

    Raises:
        EvidenceError: Logits or labels that do not fit each other, or fewer than 3 classes.
    """
    found = outcomes(how, zero_shot, fine_tuned, labels)
    thirds = parts(how.prior.shares)
    hits = {method: (one.predicted == labels).astype(float) for method, one in found.items()}
    table = {}
    for method, one in found.items():
        error = calibration_error(one.confidence, hits[method], seed)
        table[method] = {
            "accuracy": _interval(stats.rate(int(hits[method].sum()), len(labels))),
            "balanced_accuracy": _interval(stats.mean_of_classes(hits[method], labels)),
            **{
                name: _interval(_within(hits[method], labels, classes))
                for name, classes in thirds.items()
            },
            "log_loss": _interval(stats.mean(one.log_loss)),
            "expected_calibration_error": _interval(error),
        }
    gain = hits["gla"] - hits["fine_tuned"]
    before = np.bincount(labels, hits["fine_tuned"]) / np.bincount(labels)
    after = np.bincount(labels, hits["gla"]) / np.bincount(labels)
    worst = np.argsort(after, kind="stable")[:5]
    return {
        "methods": table,
        "balanced_accuracy_gain": _interval(stats.mean_of_classes(gain, labels)),
        "tail_gain": _interval(_within(gain, labels, thirds["tail"])),
        "head_loss": _interval(_within(-gain, labels, thirds["head"])),
        "log_loss_gain": _interval(
            stats.mean(found["fine_tuned"].log_loss - found["gla"].log_loss)
        ),
        "worst_classes": [
            {"class": int(k), "before": float(before[k]), "after": float(after[k])} for k in worst
        ],
    }


def parts(shares: NDArray[np.float64]) -> dict[str, Labels]:
    """Classes of the head, medium and tail third by share, largest first.

    Raises:
        EvidenceError: Fewer than 3 classes.

    >>> parts(np.array([0.1, 0.6, 0.3]))["head"]
    array([1])
    """
    if len(shares) < 3:
        raise EvidenceError(
            f"calibrate: {len(shares)} classes; head, medium and tail need at least 3"
        )
    order = np.argsort(-shares, kind="stable")
    return dict(zip(("head", "medium", "tail"), np.array_split(order, 3), strict=True))


def calibration_error(
    confidence: NDArray[np.float64], hits: NDArray[np.float64], seed: int
) -> stats.Interval:
    """Expected calibration error in 15 bins of equal width, with a bootstrap interval.

    The bootstrap is reflected: resampling adds a bias of its own to an error that cannot be
    negative.

    Source:
        Naeini et al. 2015; Efron and Tibshirani 1993, the basic bootstrap.
    """
    bins = np.minimum((confidence * _BINS).astype(np.int64), _BINS - 1)
    surplus, n = confidence - hits, len(hits)
    value = float(np.abs(np.bincount(bins, surplus, _BINS)).sum() / n)
    rng = np.random.default_rng(seed)
    draws = []
    for _ in range(_DRAWS):
        times = rng.multinomial(n, np.full(n, 1 / n))
        draws.append(float(np.abs(np.bincount(bins, surplus * times, _BINS)).sum() / n))
    low, high = np.quantile(draws, [0.025, 0.975])
    return stats.Interval(
        value, min(max(2 * value - float(high), 0), value), max(2 * value - float(low), value)
    )


def _within(values: NDArray[np.float64], labels: Labels, classes: Labels) -> stats.Interval:
    rows = np.isin(labels, classes)
    of = np.searchsorted(np.sort(classes), labels[rows])
    return stats.mean_of_classes(values[rows], of)


def _interval(found: stats.Interval) -> dict[str, float]:
    return {name: round(value, 6) for name, value in found._asdict().items()}
