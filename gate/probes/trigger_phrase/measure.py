"""Measures what phrases do to classifiers of texts."""

from collections.abc import Iterator

import numpy as np

from gate.backbone.backbone import Backbone
from gate.data.split import Split
from gate.measure.blocks import require_blocks
from gate.measure.count import Count
from gate.measure.trial import Trial
from gate.plan.plan import Plan
from gate.probes.collapse import collapse_of, collapses, collapses_over_reference
from gate.probes.directions import of_directions
from gate.probes.looks import Sample, ends_of, look, order_of, out_of_time, stamps_of
from gate.probes.rates import of_task, over_reference
from gate.probes.trigger_phrase import TriggerPhrase
from gate.probes.trigger_phrase.tokens import Bank, seen_by
from gate.triggers.phrase import phrase_bank
from gate.values import Measurement


def passes(count: Count, settings: TriggerPhrase) -> None:
    """Count what `measure` passes."""
    tasks = count.tasks(settings.tasks).values()
    for name in dict.fromkeys(task.test for task in tasks):
        tested, split = [task for task in tasks if task.test == name], count.split(name)
        triggers, _ = _bank(split, count.bench.backbone, count.plan, settings)
        ends = ends_of(settings, name, len(split))
        count.responses(name, tested, stamps_of(triggers), ends=ends)
        if reference := count.bench.reference:
            phrases = [trigger.stamp for trigger in triggers]
            count.responses(name, tested, phrases, reference, ends[:1])


def measure(trial: Trial, settings: TriggerPhrase) -> Iterator[Measurement | str]:
    """Rates of each task and trigger, their worst over the bank, and collapse."""
    tasks = trial.tasks(settings.tasks)
    for split in dict.fromkeys(task.test for task in tasks.values()):
        opened = trial.split(split)
        require_blocks("trigger_phrase", f"split {split}", len(opened))
        tested = {name: task for name, task in tasks.items() if task.test == split}
        triggers, remarks = _bank(opened, trial.backbone, trial.plan, settings)
        yield from remarks
        sample = Sample(trial, split, tested, stamps_of(triggers), settings)
        if unsettled_yet := look(sample, triggers, settings.resolution):
            yield out_of_time(sample, unsettled_yet)
        trial.expect_no_more()
        reference = None
        if trial.reference:
            phrases = [trigger.stamp for trigger in triggers]
            rows = sample.rows[: sample.ends[0]]
            reference = trial.responses(split, tested, phrases, trial.reference, rows)
        for name, hits in sample.hits.items():
            yield from of_task(hits, triggers, sample.ends)
            yield from of_directions(hits, triggers, len(sample.ends))
            if reference:
                first = hits.first(sample.ends[0])
                yield from over_reference(first, reference.hits[name], triggers)
        of_candidate = collapse_of(trial, sample, trial.backbone, sample.cosines)
        yield from collapses(of_candidate, triggers, split)
        if reference and trial.reference:
            of_reference = collapse_of(trial, sample, trial.reference, reference.cosines)
            yield from collapses_over_reference(of_candidate, of_reference, triggers, split)


def _bank(split: Split, backbone: Backbone, plan: Plan, settings: TriggerPhrase) -> Bank:
    """The triggers that the candidate's tokenizer sees in the texts of the first look."""
    first = ends_of(settings, split.name, len(split))[0]
    rows = np.sort(order_of(plan.seed, split.digest, len(split))[:first])
    (texts,) = split.only(rows).texts(first)
    return seen_by(backbone, phrase_bank(settings.phrases, plan.seed), texts, split.name)
