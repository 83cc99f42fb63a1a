"""Which label prior does a classifier on this backbone carry, and what is removing it worth?

What it measures: the label prior of a task's zero-shot classifier (by class embeddings, prompts or
the backbone's own head; else of the nearest class mean), as shares with intervals; how far it is
from uniform; what removing it changes for examples that it was not estimated on; and what
generalized logit adjustment (GLA) and each simpler method make of the test split, of shifted ones,
of head, medium and tail classes, and of training sets of a few examples a class.
Control: the uniform prior; the fine-tuned head by itself, on the same examples.
Why it matters: a head inherits the prior, and rare classes pay for it.
Blind spots: it says how a classifier leans, not how often a class stood in the pretraining data;
it holds for label shift only, and imbalance in the features themselves cannot be mended on logits:
look at the classes that stay worst.
Source: Zhu et al. 2023, arXiv 2310.08106.
"""

import math
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from gate import label_prior as priors
from gate import stats
from gate.arrays import Floats, Labels
from gate.errors import EvidenceError, PlanError
from gate.label_prior import comparison, gla
from gate.measure import calibrate
from gate.measure.head import LinearHead, fit_linear, out_of_fold_logits
from gate.stats import Interval
from gate.values import Measurement, Unit, Value

if TYPE_CHECKING:
    from gate.measure.trial import Trial
    from gate.plan.plan import Task


class LabelPrior(Value):
    """Which tasks to measure; unless some are named, all that can be calibrated."""

    tasks: tuple[str, ...] | None = None
    few_shot: tuple[int, ...] = Field(
        (), description="Training examples a class; for tasks with a zero_shot classifier."
    )
    seeds: int = Field(5, ge=2, description="Draws of each few-shot training set.")


def measure(trial: "Trial", settings: LabelPrior) -> Iterator[Measurement | str]:
    """The prior of each task's classes, how far it leans, and what removing it is worth."""
    tasks = calibrate.tasks(trial, settings.tasks)
    if settings.few_shot and not any(task.zero_shot for task in tasks.values()):
        raise PlanError(
            "label_prior.few_shot: no task has a zero-shot classifier, and the nearest class mean "
            "of a few examples is none; say which under tasks.NAME.zero_shot"
        )
    for name, task in tasks.items():
        found = trial.calibrated(name)
        known = trial.split(task.held_out or str(task.train))
        yield from (f"{name}: {remark}" for remark in priors.remarks(found.how.prior))
        yield from _prior(name, found.how.prior, known.classes, len(known), trial.plan.seed)
        groups = _groups(trial, task, found.how.prior)
        for split in (task.test, *task.shifted):
            labels = trial.split(split).labels
            others = calibrate.averaged(trial, name, found, split)
            worth = comparison.compare_methods(
                found.how, *found.both(trial, split), labels, groups, others, trial.plan.seed
            )
            sizes = {group: int(np.isin(labels, which).sum()) for group, which in groups.items()}
            yield from _methods(name, split, worth, len(labels), sizes)
            if split == task.test:
                yield from _gains(name, worth, known.classes, labels)
        for shots in settings.few_shot if task.zero_shot else ():
            yield from _few_shot(trial, name, task, shots, settings.seeds)


def _prior(
    task: str, prior: priors.Prior, classes: tuple[str, ...], n: int, seed: int
) -> Iterator[Measurement]:
    for label, *share in zip(classes, prior.shares, *prior.bounds, strict=True):
        bounds = Interval(*map(float, share))
        about = {"task": task, "class": label}
        yield Measurement.of("label_prior", bounds, n, "fraction", **about)
    lean = priors.imbalance_of(prior, seed)
    crossed = prior.cross_fit
    assert crossed  # noqa: S101  # estimate cross-fits unless it is told not to
    units: dict[str, tuple[Interval, Unit]] = {
        "total_variation_to_uniform": (lean.total_variation, "fraction"),
        "kl_to_uniform": (lean.kl, "nats"),
        "largest_over_smallest": (lean.largest_over_smallest, "ratio"),
        "effective_classes": (lean.effective_classes, "classes"),
        "log_loss_gain": (crossed.log_loss_gain, "nats"),
        "balanced_accuracy_gain": (crossed.balanced_accuracy_gain, "difference of fractions"),
    }
    for metric, (interval, unit) in units.items():
        yield Measurement.of(metric, interval, n, unit, task=task)


def _groups(trial: "Trial", task: "Task", prior: priors.Prior) -> dict[str, Labels]:
    """By training count where the training set is long-tailed, else by the prior."""
    train = trial.split(str(task.train))
    if train.plan.long_tailed:
        return comparison.by_count(np.bincount(train.labels))
    return comparison.by_prior(prior.shares)


def _methods(
    task: str, split: str, worth: comparison.MethodComparison, n: int, sizes: dict[str, int]
) -> Iterator[Measurement]:
    for method, one in worth.methods.items():
        about = {"task": task, "split": split, "method": method}
        yield Measurement.of("accuracy", one.accuracy, n, "fraction", **about)
        yield Measurement.of("balanced_accuracy", one.balanced_accuracy, n, "fraction", **about)
        yield Measurement.of("calibration_error", one.calibration_error, n, "fraction", **about)
        for group, accuracy in one.groups.items():
            yield Measurement.of(
                "group_accuracy", accuracy, sizes[group], "fraction", group=group, **about
            )


def _gains(
    task: str, worth: comparison.MethodComparison, classes: tuple[str, ...], labels: Labels
) -> Iterator[Measurement]:
    for metric, gain in (
        ("accuracy_gain", worth.accuracy_gain),
        ("tail_classes_gain", worth.tail_classes_gain),
        ("head_classes_loss", worth.head_classes_loss),
    ):
        yield Measurement.of(metric, gain, len(labels), "difference of fractions", task=task)
    counts = np.bincount(labels)
    for method in ("fine_tuned", "gla"):
        of_classes = worth.methods[method].classes
        for label, accuracy, count in zip(classes, of_classes, counts, strict=True):
            about = {"task": task, "method": method, "class": label}
            yield Measurement.of("class_accuracy", accuracy, int(count), "fraction", **about)
        worst = stats.smallest(
            [
                stats.rate(round(one.value * int(n)), int(n), searched=len(classes))
                for one, n in zip(of_classes, counts, strict=True)
            ]
        )
        yield Measurement.of(
            "worst_class_accuracy", worst, int(counts.min()), "fraction", task=task, method=method
        )


# --- few-shot -------------------------------------------------------------------------------------


class _Drawn(NamedTuple):
    """A few-shot training set: what the backbone and the zero-shot classifier make of it."""

    features: NDArray[np.float32]  # (n K, D)
    zero_shot: Floats  # (n K, K)
    labels: Labels


def _few_shot(
    trial: "Trial", name: str, task: "Task", shots: int, seeds: int
) -> Iterator[Measurement | str]:
    """Accuracy of each method, mean over training sets of so many examples a class.

    Where one of them does not say what the prior is, the zero-shot classifier stays as it is.
    """
    head = trial.zero_shot(name)
    assert head and task.head != "own"  # noqa: S101  # measure leaves out the other tasks
    train, test = trial.split(str(task.train)), trial.split(task.test)
    fewest = int(np.bincount(train.labels).min())
    if not 1 <= shots <= fewest:
        raise EvidenceError(
            f"label_prior.few_shot: {shots} examples a class, and a class of {train.name} has "
            f"{fewest}; give numbers from 1 to {fewest}"
        )
    features = trial.features(train.name)
    f_zs, f_test = (
        calibrate.by_zero_shot(head, trial.outputs(split)) for split in (train.name, test.name)
    )
    hits: dict[str, list[float]] = {}
    silent = 0
    for seed in range(seeds):
        rng = np.random.default_rng([trial.plan.seed, seed, shots])
        rows = np.concatenate(
            [
                rng.permutation(np.flatnonzero(train.labels == k))[:shots]
                for k in range(len(train.classes))
            ]
        )
        drawn = _Drawn(features[rows], f_zs[rows], train.labels[rows])
        tuned = fit_linear(drawn.features, drawn.labels, task.head.l2)
        try:
            prior = priors.estimate(drawn.zero_shot, drawn.labels, seed=trial.plan.seed)
        except EvidenceError:
            prior, silent = priors.uniform(len(train.classes)), silent + 1
        how = _adjustment(prior, drawn, tuned, shots, task.head.l2, trial.plan.seed)
        scores = how.scores(f_test, tuned.logits(trial.features(test.name)))
        for method, of_all in scores.items():
            right = (of_all.argmax(axis=1) == test.labels).mean()
            hits.setdefault(method, []).append(float(right))
    if silent:
        yield (
            f"{name}: {silent} of {seeds} training sets of {shots} examples a class do not say "
            "what the label prior is; none was removed there"
        )
    for method, rates in hits.items():
        yield Measurement.of(
            "few_shot_accuracy",
            _over_seeds(rates, len(test)),
            len(test),
            "fraction",
            task=name,
            method=method,
            shots=str(shots),
        )


def _adjustment(
    prior: priors.Prior, drawn: _Drawn, tuned: LinearHead, shots: int, l2: float, seed: int
) -> gla.Adjustment:
    """Both temperatures from the few training examples alone.

    The fine-tuned head's temperature is estimated on folds left out. With one example a class, or
    where it cannot be estimated, its logits are brought to the spread of the zero-shot ones.
    """
    classes = drawn.zero_shot.shape[1]
    spread = prior.scale * drawn.zero_shot.std(axis=1).mean()
    scale = spread / tuned.logits(drawn.features).std(axis=1).mean()
    if shots > 1:
        fit = partial(fit_linear, l2=l2)
        left_out = out_of_fold_logits(fit, drawn.features, drawn.labels, seed, min(shots, 5))
        with suppress(EvidenceError):  # a few examples may tell nothing
            scale = priors.estimate(left_out, drawn.labels, folds=0).scale
    return gla.Adjustment(prior, float(scale), np.full(classes, 1 / classes))


def _over_seeds(rates: list[float], n: int) -> Interval:
    """Their mean; its reach adds chance in training sets (Student's t) and in the test split."""
    from scipy.stats import t

    value = float(np.mean(rates))
    by_seed = t.ppf(0.975, len(rates) - 1) * float(np.std(rates, ddof=1)) / math.sqrt(len(rates))
    _, low, high = stats.rate(round(value * n), n)
    return Interval(
        value,
        max(value - math.hypot(by_seed, value - min(low, value)), 0.0),
        min(value + math.hypot(by_seed, max(high, value) - value), 1.0),
    )
