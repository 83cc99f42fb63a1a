"""Accuracy of each method on training sets of a few examples a class."""

import math
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gate import stats
from gate.arrays import Floats, Labels
from gate.backbone.backbone import Outputs
from gate.backbone.heads import LinearHead, ZeroShotHead
from gate.data.split import Split
from gate.errors import EvidenceError
from gate.label_prior import gla
from gate.label_prior import prior as priors
from gate.measure.calibrate import zero_shot_logits
from gate.measure.head import fit_linear, out_of_fold_logits
from gate.probes.label_prior import METRICS
from gate.values import Measurement


class FewShot(NamedTuple):
    """A task whose training set is cut to a few examples a class."""

    task: str
    zero_shot: ZeroShotHead
    train: Split
    test: Split
    l2: float  # strength of the penalty on the head's weights
    seed: int


class _Drawn(NamedTuple):
    """A few-shot training set: what the backbone and the zero-shot classifier make of it."""

    features: NDArray[np.float32]  # (n K, D)
    zero_shot: Floats  # (n K, K)
    labels: Labels


def few_shot(
    of: FewShot, train: Outputs, test: Outputs, shots: int, seeds: int
) -> Iterator[Measurement | str]:
    """Accuracy of each method, mean over training sets of so many examples a class.

    Where one of them does not say what the prior is, the zero-shot classifier stays as it is.

    Args:
        of: The task.
        train: What the backbone gives for its training split.
        test: What the backbone gives for its test split.
        shots: Examples a class.
        seeds: How many training sets are drawn.

    Raises:
        EvidenceError: A class has fewer examples.
    """
    fewest = int(np.bincount(of.train.labels).min())
    if not 1 <= shots <= fewest:
        raise EvidenceError(
            f"label_prior.few_shot: {shots} examples a class, and a class of {of.train.name} has "
            f"{fewest}; give numbers from 1 to {fewest}"
        )
    f_zs, f_test = (zero_shot_logits(of.zero_shot, outputs) for outputs in (train, test))
    hits: dict[str, list[float]] = {}
    silent = 0
    for number in range(seeds):
        rows = _rows(of.train, shots, np.random.default_rng([of.seed, number, shots]))
        drawn = _Drawn(train.features[rows], f_zs[rows], of.train.labels[rows])
        tuned = fit_linear(drawn.features, drawn.labels, of.l2)
        try:
            prior = priors.estimate(drawn.zero_shot, drawn.labels, seed=of.seed)
        except EvidenceError:
            prior, silent = priors.uniform(len(of.train.classes)), silent + 1
        adjustment = _adjustment(prior, drawn, tuned, shots, of)
        scores = adjustment.scores(f_test, tuned.logits(test.features))
        for method, of_all in scores.items():
            correct = (of_all.argmax(axis=1) == of.test.labels).mean()
            hits.setdefault(method, []).append(float(correct))
    if silent:
        yield (
            f"{of.task}: {silent} of {seeds} training sets of {shots} examples a class do not say "
            "what the label prior is; none was removed there"
        )
    n = len(of.test)
    for method, rates in hits.items():
        about = {"task": of.task, "method": method, "shots": str(shots)}
        yield METRICS.measurement("few_shot_accuracy", _over_seeds(rates, n), n, **about)


def _rows(train: Split, shots: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Rows of so many examples of each class, drawn."""
    of_class = (np.flatnonzero(train.labels == k) for k in range(len(train.classes)))
    return np.concatenate([rng.permutation(rows)[:shots] for rows in of_class])


def _adjustment(
    prior: priors.Prior, drawn: _Drawn, tuned: LinearHead, shots: int, of: FewShot
) -> gla.Adjustment:
    """Both temperatures from the few training examples alone.

    The fine-tuned head's temperature is estimated on folds left out. With one example a class, or
    where it cannot be estimated, its logits are brought to the spread of the zero-shot ones.
    """
    classes = drawn.zero_shot.shape[1]
    spread = prior.scale * drawn.zero_shot.std(axis=1).mean()
    scale = spread / tuned.logits(drawn.features).std(axis=1).mean()
    if shots > 1:
        fit = partial(fit_linear, l2=of.l2)
        left_out = out_of_fold_logits(fit, drawn.features, drawn.labels, of.seed, min(shots, 5))
        with suppress(EvidenceError):  # a few examples may tell nothing
            scale = priors.estimate(left_out, drawn.labels, folds=0).scale
    return gla.Adjustment(prior, float(scale), np.full(classes, 1 / classes))


def _over_seeds(rates: list[float], n: int) -> stats.Interval:
    """Their mean; its reach adds chance in training sets (Student's t) and in the test split."""
    from scipy.stats import t

    value = float(np.mean(rates))
    by_seed = t.ppf(0.975, len(rates) - 1) * float(np.std(rates, ddof=1)) / math.sqrt(len(rates))
    _, low, high = stats.rate(round(value * n), n)
    return stats.Interval(
        value,
        max(value - math.hypot(by_seed, value - min(low, value)), 0.0),
        min(value + math.hypot(by_seed, max(high, value) - value), 1.0),
    )
