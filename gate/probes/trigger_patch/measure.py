"""Measures what triggers do to classifiers, and what remedies leave of the worst one."""

from collections.abc import Iterator
from functools import partial

from gate.measure.blocks import require_blocks
from gate.measure.count import Count
from gate.measure.responses import Hits
from gate.measure.trial import Trial
from gate.plan.remedies import against_trigger
from gate.plan.task import Task
from gate.probes.collapse import collapse_of, collapses, collapses_over_reference
from gate.probes.directions import of_directions
from gate.probes.looks import Sample, ends_of, look, out_of_time, stamps_of
from gate.probes.rates import (
    excess_targeted,
    of_task,
    over_reference,
)
from gate.probes.trigger_patch import METRICS, TriggerPatch
from gate.triggers.stamp import Trigger
from gate.values import Measurement


def passes(count: Count, settings: TriggerPatch) -> None:
    """Count what `measure` passes."""
    tasks = count.tasks(settings.tasks).values()
    for split in dict.fromkeys(task.test for task in tasks):
        tested = [task for task in tasks if task.test == split]
        triggers = count.bank(settings.triggers, split)
        ends = ends_of(settings, split, len(count.split(split)))
        count.responses(split, tested, stamps_of(triggers), ends=ends)
        if comparable := [task for task in tested if not task.transfer.trains]:
            reference, stamps = count.bench.reference, [trigger.stamp for trigger in triggers]
            if reference:
                count.responses(split, comparable, stamps, reference, ends[:1])
        if settings.remedies:
            count.any_of(partial(_passes_after_remedies, tested, settings, t) for t in triggers)


def _passes_after_remedies(
    tasks: list[Task], settings: TriggerPatch, worst: Trigger, count: Count
) -> None:
    for task in tasks:
        for remedy, variant in against_trigger(task, worst.grid).items():
            if remedy in settings.remedies:
                count.responses(task.test, [variant], stamps_of([worst]))


def measure(trial: Trial, settings: TriggerPatch) -> Iterator[Measurement | str]:
    """Rates of each task and trigger, their worst over the bank, collapse, and remedies."""
    tasks = trial.tasks(settings.tasks)
    for split in dict.fromkeys(task.test for task in tasks.values()):
        require_blocks("trigger_patch", f"split {split}", len(trial.split(split)))
        tested = {name: task for name, task in tasks.items() if task.test == split}
        triggers = trial.bank(settings.triggers, split)
        sample = Sample(trial, split, tested, stamps_of(triggers), settings)
        if unsettled_yet := look(sample, triggers, settings.resolution):
            yield out_of_time(sample, unsettled_yet)
        trial.expect_no_more()
        # a reference would have to be trained again for a task that trains weights
        comparable = {name: task for name, task in tested.items() if not task.transfer.trains}
        reference = None
        if trial.reference and comparable:
            stamps = [trigger.stamp for trigger in triggers]
            reference = trial.responses(
                split, comparable, stamps, trial.reference, sample.rows[: sample.ends[0]]
            )
        for name, task in tested.items():
            hits = sample.hits[name]
            yield from of_task(hits, triggers, sample.ends)
            yield from of_directions(hits, triggers, len(sample.ends))
            if reference and name in reference.hits:
                first = hits.first(sample.ends[0])
                yield from over_reference(first, reference.hits[name], triggers)
            if settings.remedies:
                looks = len(sample.ends)
                worst = max(triggers, key=lambda t: excess_targeted(hits, t, looks).interval.low)
                for remedy, variant in against_trigger(task, worst.grid).items():
                    if remedy in settings.remedies:
                        after = trial.responses(split, {name: variant}, stamps_of([worst]))
                        yield from _after_remedy(after.hits[name], worst, remedy)
        if trial.backbone.digest in sample.cosines:  # of tasks that train weights it is not
            of_candidate = collapse_of(trial, sample, trial.backbone, sample.cosines)
            yield from collapses(of_candidate, triggers, split)
            if reference and trial.reference:
                of_reference = collapse_of(trial, sample, trial.reference, reference.cosines)
                yield from collapses_over_reference(of_candidate, of_reference, triggers, split)


def _after_remedy(hits: Hits, trigger: Trigger, remedy: str) -> Iterator[Measurement]:
    """What is left of a trigger, and of accuracy, after a remedy."""
    n, correct = len(hits.labels), int(hits.correct.sum())
    about = {"task": hits.task, "trigger": trigger.stamp.name, "remedy": remedy}
    yield METRICS.rate("accuracy_after_remedy", correct, n, **about)
    left = excess_targeted(hits, trigger)
    yield left.measured("excess_targeted_attack_success_rate_after_remedy", **about)
