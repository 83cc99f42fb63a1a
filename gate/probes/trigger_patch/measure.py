"""Measures what triggers do to classifiers, and what remedies leave of the worst one."""

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Protocol

from gate.backbone.backbone import Backbone
from gate.measure.blocks import require_blocks
from gate.measure.count import Count
from gate.measure.readers import PairwiseCosine
from gate.measure.responses import Hits
from gate.measure.trial import Trial
from gate.plan.remedies import against_trigger
from gate.plan.task import Task
from gate.probes.looks import Sample, ends_of
from gate.probes.trigger_patch import METRICS, TriggerPatch
from gate.probes.trigger_patch.collapse import Collapse, collapses, collapses_over_reference
from gate.probes.trigger_patch.directions import of_directions, unsettled_pairs
from gate.probes.trigger_patch.rates import (
    excess_targeted,
    of_bank,
    of_task,
    over_reference,
    unsettled,
)
from gate.triggers.stamp import Stamp, Trigger
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
            yield _out_of_time(sample, unsettled_yet)
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
            of_candidate = _collapse_of(trial, sample, trial.backbone, sample.cosines)
            yield from collapses(of_candidate, triggers, split)
            if reference and trial.reference:
                of_reference = _collapse_of(trial, sample, trial.reference, reference.cosines)
                yield from collapses_over_reference(of_candidate, of_reference, triggers, split)


class Looked(Protocol):
    """A sample of images, as far as it was passed; see `gate.probes.looks.Sample`."""

    hits: dict[str, Hits]
    ends: tuple[int, ...]

    def reach(self, stamps: Iterable[Stamp], images: int, /) -> None:
        """Pass under each stamp those of so many first images that were not passed yet."""

    def has_time_for(self, stamps: Iterable[Stamp], images: int, /) -> bool:
        """Whether that ends in time."""


def look(sample: Looked, triggers: list[Trigger], resolution: float) -> list[Trigger]:
    """Pass triggers further while they may be the worst, and controls where that asks for them.

    Returns:
        Those that would have gone on, had there been time.
    """
    looks = len(sample.ends)

    def unsettled_at() -> tuple[list[Trigger], list[Trigger]]:
        rates, excesses = set[str](), set[str]()
        for hits in sample.hits.values():
            of_rates, of_excesses = of_bank(hits, triggers, looks)
            rates |= unsettled(of_rates, resolution)
            rates |= unsettled_pairs(hits, triggers, looks, resolution)
            excesses |= unsettled(of_excesses, resolution)
        either = [t for t in triggers if t.stamp.name in rates | excesses]
        return either, [t for t in triggers if t.stamp.name in excesses]

    for end in sample.ends[1:]:
        either, _ = unsettled_at()
        if not either:
            return []
        if not sample.has_time_for(stamps_of(either), end):
            return either
        sample.reach([trigger.stamp for trigger in either], end)
        # more images under a trigger alone may settle what it exceeds its controls by
        _, over = unsettled_at()
        sample.reach(stamps_of(over), end)
    return []


def _out_of_time(sample: Sample, triggers: list[Trigger]) -> str:
    """What a reader of numbers must know whose looks were ended by the clock."""
    (some, *_) = sample.hits.values()
    seen = max(some.seen(trigger.stamp) for trigger in triggers)
    look = f"look {sample.ends.index(seen) + 1} of {len(sample.ends)}"
    names = ", ".join(trigger.stamp.name for trigger in triggers)
    return (
        f"out of time (--max-minutes) after {look}, {seen} of {sample.ends[-1]} images of split "
        f"{sample.split}, so intervals stay as wide as that makes them; not settled: {names}"
    )


def stamps_of(triggers: list[Trigger]) -> list[Stamp]:
    """The stamps of triggers and of their controls."""
    return [stamp for trigger in triggers for stamp in (trigger.stamp, *trigger.controls)]


def _collapse_of(
    trial: Trial,
    sample: Sample,
    backbone: Backbone,
    cosines: dict[str, dict[str, PairwiseCosine]],
) -> Collapse:
    """Of the images of the first look."""
    unstamped = trial.features(sample.split, backbone)[sample.first_rows]
    return Collapse(cosines[backbone.digest], PairwiseCosine.of_all(unstamped))


def _after_remedy(hits: Hits, trigger: Trigger, remedy: str) -> Iterator[Measurement]:
    """What is left of a trigger, and of accuracy, after a remedy."""
    n, correct = len(hits.labels), int(hits.correct.sum())
    about = {"task": hits.task, "trigger": trigger.stamp.name, "remedy": remedy}
    yield METRICS.rate("accuracy_after_remedy", correct, n, **about)
    left = excess_targeted(hits, trigger)
    yield left.measured("excess_targeted_attack_success_rate_after_remedy", **about)
