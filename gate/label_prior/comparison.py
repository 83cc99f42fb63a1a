"""What GLA is worth beside simpler methods, on labelled samples."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from gate import stats
from gate.arrays import Float64, Floats, Int64, Labels
from gate.errors import EvidenceError
from gate.label_prior.gla import Adjustment, scores_by_block
from gate.label_prior.prior import check
from gate.stats import Interval

_BINS = 15
_MOST_LOSS = 1e100  # nats; squares of more overflow
_DRAWS = 200
_MANY, _FEW = 100, 20  # training examples of a class


class SampleResults(NamedTuple):
    """What one method makes of each of N labelled samples."""

    hits: Float64  # (N,): 1 where the sample is classified correctly, else 0
    confidence: Float64  # (N,)
    log_loss: Float64  # (N,)


class MethodResults(NamedTuple):
    """What one method is worth; ``groups`` and ``classes`` are mean accuracies of classes."""

    accuracy: Interval
    balanced_accuracy: Interval
    groups: dict[str, Interval]
    classes: tuple[Interval, ...]  # (K,)
    log_loss: Interval
    calibration_error: Interval


class MethodComparison(NamedTuple):
    """Each method by itself, and GLA less the fine-tuned classifier, on the same samples.

    The last group's gain and the first group's loss are of mean accuracy of their classes.
    """

    methods: dict[str, MethodResults]
    accuracy_gain: Interval
    balanced_accuracy_gain: Interval
    tail_classes_gain: Interval
    head_classes_loss: Interval
    log_loss_gain: Interval


def compare_methods(
    how: Adjustment,
    zero_shot: Floats,
    fine_tuned: Floats,
    labels: Labels,
    groups: Mapping[str, Labels],
    others: Mapping[str, Floats] | None = None,
    seed: int = 0,
) -> MethodComparison:
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
    check(zero_shot, labels)
    parts: dict[str, list[SampleResults]] = {}
    for rows, scores in scores_by_block(how, zero_shot, fine_tuned):
        more = {name: logits[rows] for name, logits in (others or {}).items()}
        for method, of_all in {**more, **scores}.items():
            parts.setdefault(method, []).append(sample_results(of_all, labels[rows]))
    results = {
        method: SampleResults(*map(np.concatenate, zip(*pieces, strict=True)))
        for method, pieces in parts.items()
    }
    return _compared(results, labels, groups, seed)


def sample_results(scores: Floats, labels: Labels) -> SampleResults:
    """Hits, confidence and log loss of samples by their scores ``(n, K)``.

    Raises:
        EvidenceError: A log loss so large that its variance is none.
    """
    f = np.asarray(scores - scores.max(axis=1, keepdims=True), np.float64)
    log_total = np.log(np.exp(f).sum(axis=1))
    hits = (f.argmax(axis=1) == labels).astype(float)
    log_loss = log_total - f[np.arange(len(labels)), labels]
    if not (log_loss <= _MOST_LOSS).all():
        raise EvidenceError(
            f"calibrate: a log loss of {log_loss.max():.3g} nats, where at most {_MOST_LOSS:g} can "
            "be averaged; divide the logits by a number"
        )
    return SampleResults(hits, np.exp(-log_total), log_loss)


def _compared(
    results: dict[str, SampleResults], labels: Labels, groups: Mapping[str, Labels], seed: int
) -> MethodComparison:
    before, after = results["fine_tuned"], results["gla"]
    gain = after.hits - before.hits
    ordered = list(groups.values())  # of a mild tail there may be one group only
    first, second = int((gain > 0).sum()), int((gain < 0).sum())
    return MethodComparison(
        {name: _method_results(each, labels, groups, seed) for name, each in results.items()},
        stats.paired_difference(first, second, n=len(labels)),
        stats.mean_of_classes(gain, labels),
        _within(gain, labels, ordered[-1]),
        _within(-gain, labels, ordered[0]),
        stats.mean(before.log_loss - after.log_loss),
    )


def _method_results(
    of: SampleResults, labels: Labels, groups: Mapping[str, Labels], seed: int
) -> MethodResults:
    hits, counts = np.bincount(labels, of.hits), np.bincount(labels)
    return MethodResults(
        stats.rate(int(of.hits.sum()), len(labels)),
        _of_rates(stats.mean_of_classes(of.hits, labels)),
        {name: _of_rates(_within(of.hits, labels, each)) for name, each in groups.items()},
        tuple(stats.rate(int(k), int(n)) for k, n in zip(hits, counts, strict=True)),
        stats.mean(of.log_loss),
        calibration_error(of.confidence, of.hits, seed),
    )


def by_prior(shares: Float64) -> dict[str, Labels]:
    """Classes of the head, medium and tail third by share, largest first; of two, head and tail.

    >>> by_prior(np.array([0.1, 0.6, 0.3]))["head"]
    array([1])
    """
    names = ("head", "medium", "tail") if len(shares) > 2 else ("head", "tail")
    order = np.argsort(-shares, kind="stable")
    return dict(zip(names, np.array_split(order, len(names)), strict=True))


def by_count(counts: Int64) -> dict[str, Labels]:
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


def calibration_error(confidence: Float64, hits: Float64, seed: int) -> Interval:
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


def _of_rates(interval: Interval) -> Interval:
    return Interval(interval.value, max(interval.low, 0.0), min(interval.high, 1.0))


def _within(values: Float64, labels: Labels, classes: Labels) -> Interval:
    rows = np.isin(labels, classes)
    of = np.searchsorted(np.sort(classes), labels[rows])
    return stats.mean_of_classes(values[rows], of)
