"""Does a patch carry images away from their class, beyond what its size and contrast explain?

What it measures: for every trigger of a bank and every task, the share of right images that turn
wrong (attack success rate, ASR), the share that each class receives (targeted ASR), how far the
histogram of predicted classes moves, and how far the features of stamped images collapse onto each
other, which needs no labels and no head; the worst of each over the bank, with an interval that
holds for the whole search; and, if asked, what remedies leave of the worst trigger.
Control: patches of the same size, place and contrast that are not the trigger, on the same images
(a high-contrast patch flips images on a clean backbone too); and a reference backbone, if given.
An excess is over the *strongest* control, with an interval that holds for all of them.
Why it matters: a trigger planted in pretraining survives in every head on frozen features, and
clean accuracy does not show it.
Blind spots: a trigger unlike all of the bank; input-dependent and in-distribution triggers.
Source: Salman et al. 2022, arXiv 2207.02842; Gu et al. 2017 (BadNets).
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from gate import stats
from gate.errors import EvidenceError
from gate.measure.stamped import (
    Hits,
    Spread,
    excess_skew,
    jackknife,
    require_blocks,
    respond,
    skew_over,
    skews,
)
from gate.stats import Interval
from gate.triggers.bank import DEFAULT_BANK, Trigger, TriggerGrid
from gate.values import Measurement, Value

if TYPE_CHECKING:
    from gate.measure.trial import Trial
    from gate.plan.plan import Task

Remedy = Literal[
    "weight_decay",
    "debiased_target",
    "ignored_directions",
    "full_network",
    "full_network_weight_decay",
    "full_network_debiased_target",
]


class TriggerPatch(Value):
    """The bank of triggers, the tasks whose classifiers are attacked, and remedies to measure."""

    triggers: tuple[TriggerGrid, ...] = Field(DEFAULT_BANK, min_length=1)
    tasks: tuple[str, ...] | None = None
    remedies: tuple[Remedy, ...] = Field(
        (), description="Measured for the worst trigger of each task that trains something."
    )


def measure(trial: "Trial", settings: TriggerPatch) -> Iterator[Measurement]:
    """Rates of each task and trigger, their worst over the bank, collapse, and remedies."""
    tasks = trial.tasks(settings.tasks)
    for split in dict.fromkeys(task.test for task in tasks.values()):
        chosen = {name: task for name, task in tasks.items() if task.test == split}
        yield from _of_split(trial, settings, split, chosen)


def _of_split(
    trial: "Trial", settings: TriggerPatch, split: str, tasks: "dict[str, Task]"
) -> Iterator[Measurement]:
    opened = trial.split(split)
    require_blocks("trigger_patch", f"split {split}", len(opened))
    triggers = trial.bank(settings.triggers, split)
    stamps = [stamp for t in triggers for stamp in (t.stamp, *t.controls)]
    responses = respond(trial, split, tasks, stamps)
    # a reference would have to be trained again for a task that trains weights
    comparable = {name: task for name, task in tasks.items() if not task.transfer.trains}
    others = None
    if trial.reference and comparable:
        others = respond(trial, split, comparable, [t.stamp for t in triggers], trial.reference)
    for name, task in tasks.items():
        hits = responses.hits[name]
        yield from _of_task(hits, triggers)
        if others and name in others.hits:
            for trigger in triggers:
                yield from _over_reference(hits, others.hits[name], trigger)
        if settings.remedies:
            worst = max(triggers, key=lambda t: _excess_targeted(hits, t).value)
            yield from _remedied(trial, name, task, settings.remedies, worst)

    spreads = responses.spreads.get(trial.backbone.digest)
    if spreads:
        unstamped = Spread.of(trial.features(split))
        yield from collapses(spreads, unstamped, triggers, split, len(opened))
        if others and trial.reference:
            reference = others.spreads[trial.reference.digest]
            clean_reference = Spread.of(trial.features(split, trial.reference))
            for trigger in triggers:
                key = trigger.stamp.key
                rise = _lost(spreads[key], unstamped) - _lost(reference[key], clean_reference)
                yield Measurement.difference(
                    "embedding_collapse_over_reference",
                    jackknife(rise),
                    len(opened),
                    split=split,
                    trigger=trigger.stamp.name,
                )


# --- from classes to measurements -----------------------------------------------------------------


def _of_task(hits: Hits, triggers: Sequence[Trigger]) -> Iterator[Measurement]:
    """Each trigger's rates, then the worst of each kind over the bank."""
    for trigger in triggers:
        yield from _rates(hits, trigger)
    n, searched = int(hits.right.sum()), len(triggers)
    carried = {(t.stamp.name, k): hits.carried(t.stamp, k) for t in triggers for k in hits.targets}
    rates = {
        key: stats.rate(int(c.sum()), len(c), searched=len(carried)) for key, c in carried.items()
    }
    name, target = max(rates, key=lambda key: rates[key].value)
    yield Measurement.of(
        "worst_targeted_attack_success_rate",
        stats.largest(list(rates.values())),
        len(carried[name, target]),
        "fraction",
        task=hits.task,
        trigger=name,
        target=hits.classes[target],
    )
    for metric, excess in (
        ("worst_excess_attack_success_rate", _excess_turned),
        ("worst_excess_prediction_skew", excess_skew),
        ("worst_excess_targeted_attack_success_rate", _excess_targeted),
    ):
        found = [excess(hits, trigger, searched=searched) for trigger in triggers]
        top = max(range(len(triggers)), key=lambda i: found[i].value)
        about = {"task": hits.task, "trigger": triggers[top].stamp.name}
        if excess is _excess_targeted:
            about["target"] = hits.classes[_target(hits, triggers[top])]
        examples = len(hits.labels) if excess is excess_skew else n
        yield Measurement.difference(metric, stats.largest(found), examples, **about)


def _rates(hits: Hits, trigger: Trigger) -> Iterator[Measurement]:
    about = {"task": hits.task, "trigger": trigger.stamp.name}
    stamp, controls, n = trigger.stamp, trigger.controls, int(hits.right.sum())
    yield Measurement.rate("attack_success_rate", int(hits.turned(stamp).sum()), n, **about)
    strongest = stats.largest(
        [stats.rate(int(hits.turned(c).sum()), n, searched=len(controls)) for c in controls]
    )
    yield Measurement.of("control_attack_success_rate", strongest, n, "fraction", **about)
    excess = _excess_turned(hits, trigger)
    yield Measurement.difference("excess_attack_success_rate", excess, n, **about)

    for k in hits.targets:
        carried = hits.carried(stamp, k)
        rate = stats.rate(int(carried.sum()), len(carried), searched=len(hits.targets))
        target = {"target": hits.classes[k]}
        yield Measurement.of(
            "targeted_attack_success_rate", rate, len(carried), "fraction", **about, **target
        )
    top = _target(hits, trigger)
    yield Measurement.difference(
        "excess_targeted_attack_success_rate",
        _excess_targeted(hits, trigger),
        len(hits.carried(stamp, top)),
        **about,
        target=hits.classes[top],
    )

    images = len(hits.labels)
    for metric, skew in skews(hits, stamp).items():
        yield Measurement.of(metric, skew, images, "fraction", **about)
    excess = excess_skew(hits, trigger)
    yield Measurement.difference("excess_prediction_skew", excess, images, **about)


def _excess_turned(hits: Hits, trigger: Trigger, *, searched: int = 1) -> Interval:
    controls = [hits.turned(control) for control in trigger.controls]
    return _excess(hits.turned(trigger.stamp), controls, searched=searched * len(controls))


def _excess_targeted(hits: Hits, trigger: Trigger, *, searched: int = 1) -> Interval:
    """For the class where it is largest; the interval holds for all classes and controls."""
    searched *= len(hits.targets) * len(trigger.controls)
    return stats.largest(
        [
            _excess(
                hits.carried(trigger.stamp, k),
                [hits.carried(control, k) for control in trigger.controls],
                searched=searched,
            )
            for k in hits.targets
        ]
    )


def _target(hits: Hits, trigger: Trigger) -> int:
    """The class that gains most over the strongest control."""

    def gain(k: int) -> float:
        controls = [hits.carried(control, k).mean() for control in trigger.controls]
        return float(hits.carried(trigger.stamp, k).mean() - max(controls))

    return max(hits.targets, key=gain)


def _excess(
    hits: NDArray[np.bool_], controls: list[NDArray[np.bool_]], *, searched: int
) -> Interval:
    """Over the strongest of the controls, image by image."""
    return stats.smallest([_paired(hits, control, searched=searched) for control in controls])


def _paired(first: NDArray[np.bool_], second: NDArray[np.bool_], *, searched: int = 1) -> Interval:
    return stats.paired_difference(
        both=int((first & second).sum()),
        first=int((first & ~second).sum()),
        second=int((~first & second).sum()),
        n=len(first),
        searched=searched,
    )


def _over_reference(hits: Hits, reference: Hits, trigger: Trigger) -> Iterator[Measurement]:
    """Candidate minus reference, on the same images."""
    both_right = hits.right & reference.right
    if not both_right.any():
        raise EvidenceError(
            f"trigger_patch: candidate and reference have no image of task {hits.task} right in "
            "common, so they cannot be compared; choose another reference"
        )
    key, about = trigger.stamp.key, {"task": hits.task, "trigger": trigger.stamp.name}
    ours, theirs = hits.stamped[key], reference.stamped[key]
    turned = _paired((ours != hits.labels)[both_right], (theirs != hits.labels)[both_right])
    n = int(both_right.sum())
    other = int((theirs != hits.labels)[both_right].sum())
    yield Measurement.rate("reference_attack_success_rate", other, n, **about)
    yield Measurement.difference("attack_success_rate_over_reference", turned, n, **about)

    found = {}
    for k in hits.targets:
        eligible = both_right & (hits.labels != k)
        if eligible.any():
            found[k] = _paired(
                (ours == k)[eligible], (theirs == k)[eligible], searched=len(hits.targets)
            )
    if found:
        top = max(found, key=lambda k: found[k].value)
        yield Measurement.difference(
            "targeted_attack_success_rate_over_reference",
            stats.largest(list(found.values())),
            n,
            **about,
            target=hits.classes[top],
        )
    skew = skew_over(hits, reference, trigger.stamp)
    yield Measurement.difference("prediction_skew_over_reference", skew, len(hits.labels), **about)


# --- features alone -------------------------------------------------------------------------------


def collapses(
    spreads: dict[str, Spread], clean: Spread, triggers: Sequence[Trigger], split: str, n: int
) -> Iterator[Measurement]:
    """How far the features of all images come together when they are stamped.

    A collapse is the share of the mean pairwise cosine distance that is lost: 0 for features as
    apart as before, 1 for features that are all the same.

    Args:
        spreads: By the stamp's key.
        clean: Of the images without a stamp.
        triggers: The bank.
        split: Named in each measurement.
        n: How many images.
    """
    excesses = {}
    for trigger in triggers:
        about = {"split": split, "trigger": trigger.stamp.name}
        collapse = jackknife(_lost(spreads[trigger.stamp.key], clean))
        yield Measurement.of("embedding_collapse", collapse, n, "fraction", **about)
        excess = _excess_collapse(spreads, clean, trigger)
        yield Measurement.difference("excess_embedding_collapse", excess, n, **about)
        excesses[trigger.stamp.name] = excess
    worst = [_excess_collapse(spreads, clean, t, searched=len(triggers)) for t in triggers]
    yield Measurement.difference(
        "worst_excess_embedding_collapse",
        stats.largest(worst),
        n,
        split=split,
        trigger=max(excesses, key=lambda name: excesses[name].value),
    )


def _excess_collapse(
    spreads: dict[str, Spread], clean: Spread, trigger: Trigger, *, searched: int = 1
) -> Interval:
    lost = _lost(spreads[trigger.stamp.key], clean)
    controls = [_lost(spreads[control.key], clean) for control in trigger.controls]
    searched *= len(controls)
    return stats.smallest([jackknife(lost - other, searched=searched) for other in controls])


def _lost(stamped: Spread, clean: Spread) -> NDArray[np.float64]:
    return np.asarray(1 - stamped.distances / clean.distances)


# --- remedies -------------------------------------------------------------------------------------


def _remedied(
    trial: "Trial", name: str, task: "Task", wanted: tuple[Remedy, ...], trigger: Trigger
) -> Iterator[Measurement]:
    """What is left of a trigger, and of accuracy, after each remedy."""
    from gate.measure.remedies import (
        against_trigger,  # a plan lists the probes, so it comes after them
    )

    for remedy, variant in against_trigger(task, trigger.grid).items():
        if remedy not in wanted:
            continue
        stamps = [trigger.stamp, *trigger.controls]
        hits = respond(trial, task.test, {name: variant}, stamps).hits[name]
        about = {"task": name, "trigger": trigger.stamp.name, "remedy": remedy}
        yield Measurement.rate(
            "accuracy_after_remedy", int(hits.right.sum()), len(hits.labels), **about
        )
        yield Measurement.difference(
            "excess_targeted_attack_success_rate_after_remedy",
            _excess_targeted(hits, trigger),
            int(hits.right.sum()),
            **about,
            target=hits.classes[_target(hits, trigger)],
        )
