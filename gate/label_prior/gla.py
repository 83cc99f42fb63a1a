"""Generalized logit adjustment (GLA) of logits: what it gives, and what it is worth.

Source: Zhu et al. 2023, arXiv 2310.08106. ``f_gla = a_zs f_zs - log q + a_ft f_ft - log p``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gate import label_prior as priors
from gate import stats
from gate.errors import EvidenceError
from gate.label_prior import Prior
from gate.stats import Interval

Floats = NDArray[np.floating[Any]]
Labels = NDArray[np.int64]

METHODS = ("zero_shot", "debiased", "fine_tuned", "logit_adjustment", "plain_ensemble", "gla")
_ROWS = 4096
_BINS = 15
_DRAWS = 200
_MANY, _FEW = 100, 20  # training examples of a class


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
        zero_shot, fine_tuned = np.asarray(zero_shot, float), np.asarray(fine_tuned, float)
        f_zs, f_ft = self.prior.scale * zero_shot, self.fine_tuned_scale * fine_tuned
        debiased, adjusted = f_zs - self.prior.removed, f_ft - np.log(self.frequencies)
        found = (zero_shot, debiased, fine_tuned, adjusted, f_zs + f_ft, debiased + adjusted)
        return dict(zip(METHODS, found, strict=True))


def adjustment(
    zero_shot: Floats,
    fine_tuned: Floats,
    labels: Labels,
    frequencies: NDArray[np.float64],
    seed: int,
) -> Adjustment:
    """Estimate q and both temperatures on samples that neither classifier was fitted on.

    Args:
        zero_shot: ``(N, K)``.
        fine_tuned: ``(N, K)``.
        labels: ``(N,)``, every class present.
        frequencies: ``(K,)``, of the fine-tuning set.
        seed: Of the folds that say whether removing q helps.

    Raises:
        EvidenceError: Logits, labels or frequencies that do not fit each other, or no estimate.
    """
    same_shape(zero_shot, fine_tuned)
    if len(frequencies) != zero_shot.shape[1]:
        raise EvidenceError(
            f"calibrate: {len(frequencies)} train frequencies for {zero_shot.shape[1]} classes; "
            "give one each, in the order of the logits' columns"
        )
    prior = priors.estimate(zero_shot, labels, seed=seed)
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


# --- what it is worth -----------------------------------------------------------------------------


class Outcome(NamedTuple):
    """What one method makes of each of N labelled samples."""

    hits: NDArray[np.float64]  # (N,): 1 where the class is right
    confidence: NDArray[np.float64]  # (N,)
    log_loss: NDArray[np.float64]  # (N,)


class Quality(NamedTuple):
    """What one method is worth; ``groups`` and ``classes`` are mean accuracies of classes."""

    accuracy: Interval
    balanced_accuracy: Interval
    groups: dict[str, Interval]
    classes: tuple[Interval, ...]  # (K,)
    log_loss: Interval
    calibration_error: Interval


class Worth(NamedTuple):
    """Each method by itself, and GLA less the fine-tuned classifier, on the same samples.

    The last group's gain and the first group's loss are of mean accuracy of their classes.
    """

    methods: dict[str, Quality]
    accuracy_gain: Interval
    balanced_accuracy_gain: Interval
    tail_gain: Interval
    head_loss: Interval
    log_loss_gain: Interval


def outcome(scores: Floats, labels: Labels) -> Outcome:
    """Whether each sample is right by its scores ``(n, K)``, how sure, and its log loss."""
    f = np.asarray(scores - scores.max(axis=1, keepdims=True), np.float64)
    log_total = np.log(np.exp(f).sum(axis=1))
    return Outcome(
        (f.argmax(axis=1) == labels).astype(float),
        np.exp(-log_total),
        log_total - f[np.arange(len(labels)), labels],
    )


def worth(
    how: Adjustment,
    zero_shot: Floats,
    fine_tuned: Floats,
    labels: Labels,
    groups: Mapping[str, Labels],
    others: Mapping[str, Floats] | None = None,
    seed: int = 0,
) -> Worth:
    """What each method is worth on labelled samples, and GLA's gains, with 95 % intervals.

    Log loss and calibration error take the samples as they come: GLA's posteriors are for balanced
    classes.

    Args:
        how: Prior, temperatures and frequencies.
        zero_shot: ``(N, K)``.
        fine_tuned: ``(N, K)``.
        labels: ``(N,)``, every class present.
        groups: Classes by name, from head to tail; see ``by_prior`` and ``by_count``.
        others: Logits ``(N, K)`` of further methods.
        seed: Of the bootstrap.

    Raises:
        EvidenceError: Logits or labels that do not fit each other.
    """
    priors.check(zero_shot, labels)
    parts: dict[str, list[Outcome]] = {}
    for rows, scores in combined(how, zero_shot, fine_tuned):
        more = {name: logits[rows] for name, logits in (others or {}).items()}
        for method, of_all in {**more, **scores}.items():
            parts.setdefault(method, []).append(outcome(of_all, labels[rows]))
    found = {
        method: Outcome(*map(np.concatenate, zip(*pieces, strict=True)))
        for method, pieces in parts.items()
    }
    before, after = found["fine_tuned"], found["gla"]
    gain = after.hits - before.hits
    ordered = list(groups.values())  # of a mild tail there may be one group only
    return Worth(
        {name: _quality(one, labels, groups, seed) for name, one in found.items()},
        stats.paired_difference(
            both=int((after.hits * before.hits).sum()),
            first=int((gain > 0).sum()),
            second=int((gain < 0).sum()),
            n=len(labels),
        ),
        stats.mean_of_classes(gain, labels),
        _within(gain, labels, ordered[-1]),
        _within(-gain, labels, ordered[0]),
        stats.mean(before.log_loss - after.log_loss),
    )


def _quality(found: Outcome, labels: Labels, groups: Mapping[str, Labels], seed: int) -> Quality:
    right, counts = np.bincount(labels, found.hits), np.bincount(labels)
    return Quality(
        stats.rate(int(found.hits.sum()), len(labels)),
        _of_rates(stats.mean_of_classes(found.hits, labels)),
        {name: _of_rates(_within(found.hits, labels, each)) for name, each in groups.items()},
        tuple(stats.rate(int(k), int(n)) for k, n in zip(right, counts, strict=True)),
        stats.mean(found.log_loss),
        calibration_error(found.confidence, found.hits, seed),
    )


def by_prior(shares: NDArray[np.float64]) -> dict[str, Labels]:
    """Classes of the head, medium and tail third by share, largest first; of two, head and tail.

    >>> by_prior(np.array([0.1, 0.6, 0.3]))["head"]
    array([1])
    """
    names = ("head", "medium", "tail") if len(shares) > 2 else ("head", "tail")
    order = np.argsort(-shares, kind="stable")
    return dict(zip(names, np.array_split(order, len(names)), strict=True))


def by_count(counts: NDArray[np.int64]) -> dict[str, Labels]:
    """Classes of a long-tailed training set: many (> 100 samples), medium, few (< 20).

    Groups without a class are left out.

    Source:
        Liu et al. 2019, "Large-scale long-tailed recognition in an open world".

    >>> by_count(np.array([500, 50, 5]))["few"]
    array([2])
    """
    members = {
        "many": counts > _MANY,
        "medium": (counts >= _FEW) & (counts <= _MANY),
        "few": counts < _FEW,
    }
    return {name: np.flatnonzero(which) for name, which in members.items() if which.any()}


def calibration_error(
    confidence: NDArray[np.float64], hits: NDArray[np.float64], seed: int
) -> Interval:
    """Expected calibration error in 15 bins of equal width, with a bootstrap interval.

    It is a sum over bins of ``|mean confidence - accuracy|``, which errs by no more than the sum
    over bins of what is inside errs; the 95 % quantile of that is a reach that holds, if anything,
    too wide, and down to 0 where the classifier may well be calibrated.

    Source:
        Naeini et al. 2015; Efron and Tibshirani 1993.
    """
    bins = np.minimum((confidence * _BINS).astype(np.int64), _BINS - 1)
    surplus, n = confidence - hits, len(hits)
    by_bin = np.bincount(bins, surplus, _BINS)
    value = float(np.abs(by_bin).sum() / n)
    rng = np.random.default_rng(seed)
    draws = []
    for _ in range(_DRAWS):
        times = rng.multinomial(n, np.full(n, 1 / n))
        draws.append(np.abs(np.bincount(bins, surplus * times, _BINS) - by_bin).sum() / n)
    reach = float(np.quantile(draws, 0.95))
    return Interval(value, max(value - reach, 0.0), min(value + reach, 1.0))


def _of_rates(found: Interval) -> Interval:
    return Interval(found.value, max(found.low, 0.0), min(found.high, 1.0))


def _within(values: NDArray[np.float64], labels: Labels, classes: Labels) -> Interval:
    rows = np.isin(labels, classes)
    of = np.searchsorted(np.sort(classes), labels[rows])
    return stats.mean_of_classes(values[rows], of)
