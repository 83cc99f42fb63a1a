"""Measures label priors, and what removing them is worth."""

from collections.abc import Iterator

import numpy as np

from gate import stats
from gate.arrays import Labels
from gate.data.split import Split
from gate.errors import PlanError
from gate.label_prior import prior as priors
from gate.label_prior.comparison import MethodComparison, by_count, by_prior, compare_methods
from gate.label_prior.imbalance import imbalance_of
from gate.measure.count import Count
from gate.measure.trial import Trial
from gate.plan.plan import Plan
from gate.probes.label_prior import METRICS, LabelPrior
from gate.probes.label_prior.few_shot import FewShot, few_shot
from gate.values import Measurement


def passes(count: Count, settings: LabelPrior) -> None:
    """Count what `measure` passes."""
    for name, task in count.tasks(settings.tasks or _calibratable(count.plan)).items():
        network = count.calibrated(name)
        for split in (task.test, *task.shifted):
            count.of_mean_weights(task, split, network)
            count.both_outputs(split, network)


def measure(trial: Trial, settings: LabelPrior) -> Iterator[Measurement | str]:
    """The prior of each task's classes, how far it leans, and what removing it is worth.

    Raises:
        PlanError: No task can be calibrated, or none has the zero-shot classifier that few-shot
            training sets are for.
        EvidenceError: No estimate.
    """
    tasks = trial.tasks(settings.tasks or _calibratable(trial.plan))
    if settings.few_shot and not any(task.zero_shot for task in tasks.values()):
        raise PlanError(
            "label_prior.few_shot: no task has a zero-shot classifier, and the nearest class mean "
            "of a few examples is none; say which under tasks.NAME.zero_shot"
        )
    seed = trial.plan.seed
    for name, task in tasks.items():
        adjustment, train = trial.calibrated(name).adjustment, trial.split(str(task.train))
        known = trial.split(task.held_out or train.name)
        yield from (f"{name}: {remark}" for remark in priors.remarks(adjustment.prior))
        yield from _prior(name, adjustment.prior, known.classes, len(known), seed)
        groups = _groups(train, adjustment.prior)
        for split in (task.test, *task.shifted):
            labels, wise_ft = trial.split(split).labels, trial.wise_ft_logits(name, split)
            others = {} if wise_ft is None else {"wise_ft": wise_ft}
            comparison = compare_methods(
                adjustment, *trial.both_logits(name, split), labels, groups, others, seed
            )
            sizes = {group: int(np.isin(labels, which).sum()) for group, which in groups.items()}
            yield from _methods(name, split, comparison, len(labels), sizes)
            if split == task.test:
                yield from _gains(name, comparison, known.classes, labels)
        head = trial.zero_shot(name)
        if head and task.head != "own":
            of = FewShot(name, head, train, trial.split(task.test), task.head.l2, seed)
            outputs = trial.outputs(train.name), trial.outputs(task.test)
            for shots in settings.few_shot:
                yield from few_shot(of, *outputs, shots, settings.seeds)


def _calibratable(plan: Plan) -> tuple[str, ...]:
    """Names of the tasks that can be calibrated.

    Raises:
        PlanError: There is none; one line for each.
    """
    obstacles = {name: task.calibration_obstacle for name, task in plan.tasks.items()}
    if all(obstacles.values()):
        lines = [f"tasks.{name}: {obstacle}" for name, obstacle in obstacles.items()]
        raise PlanError("\n".join(["label_prior: none of the tasks can be calibrated", *lines]))
    return tuple(name for name, obstacle in obstacles.items() if not obstacle)


def _prior(
    task: str, prior: priors.Prior, classes: tuple[str, ...], n: int, seed: int
) -> Iterator[Measurement]:
    for label, *share in zip(classes, prior.shares, *prior.bounds, strict=True):
        about, bounds = {"task": task, "class": label}, stats.Interval(*map(float, share))
        yield METRICS.measurement("label_prior", bounds, n, **about)
    imbalance = imbalance_of(prior, seed)
    crossed = prior.cross_fit
    assert crossed  # noqa: S101  # estimate cross-fits unless it is told not to
    intervals = {
        "total_variation_to_uniform": imbalance.total_variation,
        "kl_to_uniform": imbalance.kl,
        "largest_over_smallest": imbalance.largest_over_smallest,
        "effective_classes": imbalance.effective_classes,
        "log_loss_gain": crossed.log_loss_gain,
        "balanced_accuracy_gain": crossed.balanced_accuracy_gain,
    }
    for metric, interval in intervals.items():
        yield METRICS.measurement(metric, interval, n, task=task)


def _groups(train: Split, prior: priors.Prior) -> dict[str, Labels]:
    """By training count where the training set is long-tailed, else by the prior."""
    if train.plan.long_tailed:
        return by_count(np.bincount(train.labels))
    return by_prior(prior.shares)


def _methods(
    task: str, split: str, comparison: MethodComparison, n: int, sizes: dict[str, int]
) -> Iterator[Measurement]:
    for method, one in comparison.methods.items():
        about = {"task": task, "split": split, "method": method}
        for metric in ("accuracy", "balanced_accuracy", "calibration_error"):
            yield METRICS.measurement(metric, getattr(one, metric), n, **about)
        for group, accuracy in one.groups.items():
            about["group"] = group
            yield METRICS.measurement("group_accuracy", accuracy, sizes[group], **about)


def _gains(
    task: str, comparison: MethodComparison, classes: tuple[str, ...], labels: Labels
) -> Iterator[Measurement]:
    for metric in ("accuracy_gain", "tail_classes_gain", "head_classes_loss"):
        yield METRICS.measurement(metric, getattr(comparison, metric), len(labels), task=task)
    counts = np.bincount(labels).tolist()
    for method in ("fine_tuned", "gla"):
        of_classes = comparison.methods[method].classes
        for label, accuracy, count in zip(classes, of_classes, counts, strict=True):
            about = {"task": task, "method": method, "class": label}
            yield METRICS.measurement("class_accuracy", accuracy, count, **about)
        rates = [
            stats.rate(round(accuracy.value * n), n, searched_high=len(classes))
            for accuracy, n in zip(of_classes, counts, strict=True)
        ]
        worst, about = stats.smallest(rates), {"task": task, "method": method}
        yield METRICS.measurement("worst_class_accuracy", worst, min(counts), **about)
