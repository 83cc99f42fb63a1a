"""Measures what triggers do to classifiers, and what remedies leave of the worst one."""

from collections.abc import Iterator

from gate.backbone.backbone import Backbone
from gate.measure.blocks import require_blocks
from gate.measure.readers import PairwiseCosine
from gate.measure.responses import Hits, Responses
from gate.measure.trial import Trial
from gate.plan.remedies import against_trigger
from gate.probes.trigger_patch import METRICS, TriggerPatch
from gate.probes.trigger_patch.collapse import Collapse, collapses, collapses_over_reference
from gate.probes.trigger_patch.rates import excess_targeted, gaining_class, of_task, over_reference
from gate.triggers.stamp import Stamp, Trigger
from gate.values import Measurement


def measure(trial: Trial, settings: TriggerPatch) -> Iterator[Measurement]:
    """Rates of each task and trigger, their worst over the bank, collapse, and remedies."""
    tasks = trial.tasks(settings.tasks)
    for split in dict.fromkeys(task.test for task in tasks.values()):
        require_blocks("trigger_patch", f"split {split}", len(trial.split(split)))
        tested = {name: task for name, task in tasks.items() if task.test == split}
        triggers = trial.bank(settings.triggers, split)
        responses = trial.responses(split, tested, _stamps(triggers))
        # a reference would have to be trained again for a task that trains weights
        comparable = {name: task for name, task in tested.items() if not task.transfer.trains}
        reference = None
        if trial.reference and comparable:
            stamps = [trigger.stamp for trigger in triggers]
            reference = trial.responses(split, comparable, stamps, trial.reference)
        for name, task in tested.items():
            hits = responses.hits[name]
            yield from of_task(hits, triggers)
            if reference and name in reference.hits:
                yield from over_reference(hits, reference.hits[name], triggers)
            if settings.remedies:
                worst = max(triggers, key=lambda t: excess_targeted(hits, t).value)
                for remedy, variant in against_trigger(task, worst.grid).items():
                    if remedy in settings.remedies:
                        after = trial.responses(split, {name: variant}, _stamps([worst]))
                        yield from _after_remedy(after.hits[name], worst, remedy)
        if trial.backbone.digest in responses.cosines:  # of tasks that train weights it is not
            of_candidate = _collapse_of(trial, split, trial.backbone, responses)
            yield from collapses(of_candidate, triggers, split)
            if reference and trial.reference:
                of_reference = _collapse_of(trial, split, trial.reference, reference)
                yield from collapses_over_reference(of_candidate, of_reference, triggers, split)


def _stamps(triggers: list[Trigger]) -> list[Stamp]:
    return [stamp for trigger in triggers for stamp in (trigger.stamp, *trigger.controls)]


def _collapse_of(trial: Trial, split: str, backbone: Backbone, responses: Responses) -> Collapse:
    unstamped = PairwiseCosine.of_all(trial.features(split, backbone))
    return Collapse(responses.cosines[backbone.digest], unstamped)


def _after_remedy(hits: Hits, trigger: Trigger, remedy: str) -> Iterator[Measurement]:
    """What is left of a trigger, and of accuracy, after a remedy."""
    n, correct = len(hits.labels), int(hits.correct.sum())
    about = {"task": hits.task, "trigger": trigger.stamp.name, "remedy": remedy}
    yield METRICS.rate("accuracy_after_remedy", correct, n, **about)
    about["target"] = hits.classes[gaining_class(hits, trigger)]
    metric = "excess_targeted_attack_success_rate_after_remedy"
    yield METRICS.measurement(metric, excess_targeted(hits, trigger), correct, **about)
