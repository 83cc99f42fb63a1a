"""Measures which mistakes candidate and reference share, and which they do not."""

from collections.abc import Iterator

import numpy as np

from gate import stats
from gate.arrays import Int64
from gate.backbone.backbone import Backbone
from gate.errors import EvidenceError, PlanError
from gate.measure.count import Count
from gate.measure.trial import Trial
from gate.plan.task import Task
from gate.probes.shared_mistakes import METRICS, SharedMistakes
from gate.probes.shared_mistakes.comparison import Comparison
from gate.values import Measurement

_LEAST = 100  # examples: with fewer, a share of a few per cent has an interval from nearly 0


def passes(count: Count, settings: SharedMistakes) -> None:
    """Count what `measure` passes."""
    reference = _required(count.bench.reference)
    compared, _ = _compared(count.tasks(settings.tasks))
    for task in compared.values():
        count.predictions(task)
        count.predictions(task, reference)


def measure(trial: Trial, settings: SharedMistakes) -> Iterator[Measurement | str]:
    """What both say of each task's test examples, by task and by class, and a few of them.

    Raises:
        PlanError: There is no reference, or no task that depends on what was pretrained.
        EvidenceError: There are fewer than 100 examples, or a classifier is constant.
    """
    reference = _required(trial.reference)
    compared, left_out = _compared(trial.tasks(settings.tasks))
    for name in left_out:
        yield f"{name}: trains from scratch, so it says nothing of either backbone; left out"
    for name, task in compared.items():
        split = trial.split(task.test)
        examples = f"{split.plan.kind}s"
        if (n := len(split)) < _LEAST:
            raise EvidenceError(
                f"shared_mistakes: task {name} has {n} test {examples} in split {split.name}, and "
                f"at least {_LEAST} are needed; add {examples}, or drop the task from the probe"
            )
        found = {
            "candidate": trial.predictions(task),
            "reference": trial.predictions(task, reference),
        }
        for whose, predicted in found.items():
            _require_different(name, whose, predicted, split.classes, examples)
        comparison = Comparison(name, split, *found.values())
        yield from _of_all(comparison)
        yield from _of_classes(comparison)
        yield from comparison.examples()


def _required(reference: Backbone | None) -> Backbone:
    if reference is None:
        raise PlanError(
            "shared_mistakes: compares with the plan's reference, and there is none; name the "
            "backbone that is in use under reference, or drop the probe"
        )
    return reference


def _compared(tasks: dict[str, Task]) -> tuple[dict[str, Task], list[str]]:
    """The tasks that depend on what was pretrained, and the names of those that do not.

    Raises:
        PlanError: None does.
    """
    left_out = [name for name, task in tasks.items() if task.transfer.mode == "from_scratch"]
    compared = {name: task for name, task in tasks.items() if name not in left_out}
    if not compared:
        raise PlanError(
            f"shared_mistakes: {', '.join(left_out)}: trained from scratch, a network says nothing "
            "of either backbone; name a task that uses pretrained weights"
        )
    return compared, left_out


def _require_different(
    task: str, whose: str, predicted: Int64, classes: tuple[str, ...], examples: str
) -> None:
    """Refuse a classifier that gives one class for all: it has the mistakes of none."""
    if (predicted == predicted[0]).all():
        raise EvidenceError(
            f"shared_mistakes: the {whose}'s classifier of task {task} gives all {len(predicted)} "
            f"{examples} the class {classes[predicted[0]]!r}, so its mistakes say nothing; see "
            "clean_accuracy, and mend its head, or drop the task from the probe"
        )


def _of_all(of: Comparison) -> Iterator[Measurement | str]:
    n, about = len(of.agree), {"task": of.task}
    both = int((of.ours_wrong & of.theirs_wrong).sum())
    worse, better = int(of.worse.sum()), int(of.better.sum())
    yield METRICS.rate("agreement", int(of.agree.sum()), n, **about)
    if either := both + worse + better:
        yield METRICS.rate("mistake_jaccard", both, either, **about)
    if either > 0 and both < n:
        kappa = stats.kappa(both, worse, better, n)
        yield METRICS.measurement("mistake_kappa", kappa, n, **about)
    else:
        known = "all" if either else "none"
        undefined = "mistake_kappa is" if either else "mistake_jaccard and mistake_kappa are"
        yield (
            f"{of.task}: candidate and reference both get {known} of {n} {of.examples_are} wrong, "
            f"so {undefined} undefined and not measured; try a test split that tells more"
        )
    more = stats.paired_difference(better, worse, n)
    yield METRICS.measurement("accuracy_over_reference", more, n, **about)
    yield METRICS.rate("negative_flip_rate", worse, n, **about)
    yield METRICS.rate("positive_flip_rate", better, n, **about)


def _of_classes(of: Comparison) -> Iterator[Measurement]:
    """The same by class, and of the worst class with ends that hold for all."""
    classes = of.split.classes
    counts, agree, worse, better = of.by_class
    rates, differences = [], []
    for label, n, same, down, up in zip(classes, counts, agree, worse, better, strict=True):
        about = {"task": of.task, "class": label}
        yield METRICS.rate("class_agreement", same, n, **about)
        more = stats.paired_difference(up, down, n)
        yield METRICS.measurement("class_accuracy_over_reference", more, n, **about)
        yield METRICS.rate("class_negative_flip_rate", down, n, **about)
        yield METRICS.rate("class_positive_flip_rate", up, n, **about)
        rates.append(stats.exact_rate(down, n, searched_low=len(classes)))
        differences.append(stats.paired_difference(up, down, n, searched_high=len(classes)))
    lowest = int(np.argmin([difference.value for difference in differences]))
    about = {"task": of.task, "class": classes[lowest]}
    worst = stats.smallest(differences)
    yield METRICS.measurement("worst_class_accuracy_over_reference", worst, counts[lowest], **about)
    most = int(np.argmax([rate.value for rate in rates]))
    about, worst = {"task": of.task, "class": classes[most]}, stats.largest(rates)
    yield METRICS.measurement("worst_class_negative_flip_rate", worst, counts[most], **about)
