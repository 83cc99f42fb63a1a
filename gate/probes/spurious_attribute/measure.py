"""Measures how a head leans on attributes."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from gate.data.split import Split
from gate.errors import PlanError
from gate.measure.count import Count
from gate.measure.trial import Trial
from gate.plan.remedies import against_attribute
from gate.plan.task import Task
from gate.probes.spurious_attribute import METRICS, SpuriousAttribute
from gate.probes.spurious_attribute.groups import Groups, accuracies
from gate.probes.spurious_attribute.heads import Images, decodability, dose_response
from gate.stats import Interval
from gate.strict_yaml import nearest
from gate.values import Measurement

# which group each image of some splits is in: labels and values (N,), by split
_Members = dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]]


def passes(count: Count, settings: SpuriousAttribute) -> None:
    """Count what `measure` passes."""
    for task in count.tasks(settings.tasks).values():
        count.predictions(task)
        for attribute in settings.attributes:
            for remedy, variant in against_attribute(task, attribute).items():
                if remedy in settings.remedies:
                    count.predictions(variant)
        if task.fits_head:
            count.outputs(task.test)
            if settings.dose_response is not None:
                count.outputs(settings.dose_response)


def measure(trial: Trial, settings: SpuriousAttribute) -> Iterator[Measurement]:
    """Accuracy by group, decodability, and dose-response if asked for, by task and attribute.

    Raises:
        PlanError: A split lacks an attribute, or the pool does not suit a task.
        EvidenceError: An attribute has one value, or there are too few images; says where.
    """
    tasks = trial.tasks(settings.tasks)
    pool = settings.dose_response
    if pool is not None:
        _require_pool(trial, tasks, pool)
    for name, task in tasks.items():
        correct = trial.predictions(task) == trial.split(task.test).labels  # (N,)
        train = trial.split(task.train) if task.train else None
        named = [trial.split(split) for split in filter(None, (task.test, pool))]
        for attribute in settings.attributes:
            about = {"task": name, "attribute": attribute}
            groups, members = _members(named, train, attribute)
            labels, values = members[task.test]
            in_train = members.get(train.name) if train else None
            trained = groups.tally(*in_train) if in_train else None
            yield from accuracies(about, groups, labels, values, correct, trained)
            for remedy, variant in against_attribute(task, attribute).items():
                if remedy in settings.remedies:
                    after, said = trial.predictions(variant) == labels, {**about, "remedy": remedy}
                    of_groups = accuracies(said, groups, labels, values, after, None)
                    yield from _after_remedy(said, after, of_groups)
            if task.head == "own" or not task.fits_head:
                continue  # what follows is about heads on frozen features
            l2, seed = task.head.l2, trial.plan.seed
            images = Images(task.test, trial.features(task.test), labels, values)
            yield decodability(about, groups, images, l2, seed)
            if pool is not None:
                source = Images(pool, trial.features(pool), *members[pool])
                yield from dose_response(about, groups, source, images, l2, seed)


def _members(splits: list[Split], train: Split | None, attribute: str) -> tuple[Groups, _Members]:
    """The groups of splits that have an attribute; the training split need not have it.

    Raises:
        PlanError: A split has no such attribute.
    """
    columns = {split.name: _column(split, attribute) for split in splits}
    if train and attribute in train.attributes:
        splits = [*splits, train]
        columns[train.name] = train.attributes[attribute]
    # of every split: a value that no test image has makes an empty group, which is refused
    values = np.unique(np.concatenate(list(columns.values())))
    places = {name: np.searchsorted(values, column) for name, column in columns.items()}
    members = {split.name: (split.labels, places[split.name]) for split in splits}
    return Groups(splits[0].classes, tuple(values.tolist())), members


def _after_remedy(
    about: dict[str, str], correct: NDArray[np.bool_], of_groups: Iterator[Measurement]
) -> Iterator[Measurement]:
    """Accuracy, and that of the worst group, after a remedy."""
    yield METRICS.rate("accuracy_after_remedy", int(correct.sum()), len(correct), **about)
    for m in of_groups:
        if m.metric == "worst_group_accuracy":
            worst = Interval(m.value, m.low, m.high)
            yield METRICS.measurement("worst_group_accuracy_after_remedy", worst, m.n, **about)


def _column(split: Split, attribute: str) -> NDArray[np.str_]:
    attributes = split.attributes
    if attribute not in attributes:
        raise PlanError(
            f"spurious_attribute: split {split.name} has no attribute {attribute!r}; "
            f"{nearest(attribute, attributes)}"
        )
    return attributes[attribute]


def _require_pool(trial: Trial, tasks: dict[str, Task], pool: str) -> None:
    """Refuse a split to draw training sets from that does not suit the tasks.

    Raises:
        PlanError: There is none of that name, a task is tested on it, or its classes are others.
    """
    who, known = "spurious_attribute.dose_response", trial.plan.splits
    if pool not in known:
        raise PlanError(f"{who}: unknown split {pool!r}; {nearest(pool, known)}")
    for name, task in tasks.items():
        if pool == task.test:
            raise PlanError(
                f"{who}: task {name} is tested on split {pool}, so no head may be fitted on it; "
                "name another split"
            )
        classes, wanted = trial.split(pool).classes, trial.split(task.test).classes
        if classes != wanted:
            raise PlanError(
                f"{who}: split {pool} has classes {', '.join(classes)}, and task {name} has "
                f"{', '.join(wanted)}; name a split with the same classes, or only tasks that "
                "have them"
            )
