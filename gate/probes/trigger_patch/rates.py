"""From the classes of stamped images to rates: of each trigger, over controls, worst of a bank."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from gate import stats
from gate.errors import EvidenceError
from gate.measure.responses import Hits
from gate.probes.skews import excess_skew, skew_over, skews
from gate.probes.trigger_patch import METRICS
from gate.triggers.stamp import Stamp, Trigger
from gate.values import Measurement

Mask = NDArray[np.bool_]


def of_task(hits: Hits, triggers: Sequence[Trigger]) -> Iterator[Measurement]:
    """Each trigger's rates, then the worst of each kind over the bank."""
    for trigger in triggers:
        yield from _rates(hits, trigger)
    yield _worst_targeted(hits, triggers)
    for metric, excess in (
        ("worst_excess_attack_success_rate", _excess_flipped),
        ("worst_excess_prediction_skew", excess_skew),
        ("worst_excess_targeted_attack_success_rate", excess_targeted),
    ):
        intervals = [excess(hits, trigger, searched=len(triggers)) for trigger in triggers]
        top = triggers[max(range(len(triggers)), key=lambda i: intervals[i].value)]
        about = {"task": hits.task, "trigger": top.stamp.name}
        if excess is excess_targeted:
            about["target"] = hits.classes[gaining_class(hits, top)]
        n = len(hits.labels) if excess is excess_skew else int(hits.correct.sum())
        yield METRICS.measurement(metric, stats.largest(intervals), n, **about)


def _worst_targeted(hits: Hits, triggers: Sequence[Trigger]) -> Measurement:
    carried = {(t.stamp.name, k): hits.carried(t.stamp, k) for t in triggers for k in hits.targets}
    rates = {
        key: stats.rate(int(c.sum()), len(c), searched_low=len(carried))
        for key, c in carried.items()
    }
    name, target = max(rates, key=lambda key: rates[key].value)
    about = {"task": hits.task, "trigger": name, "target": hits.classes[target]}
    worst, n = stats.largest(list(rates.values())), len(carried[name, target])
    return METRICS.measurement("worst_targeted_attack_success_rate", worst, n, **about)


def _rates(hits: Hits, trigger: Trigger) -> Iterator[Measurement]:
    about = {"task": hits.task, "trigger": trigger.stamp.name}
    stamp, controls, n = trigger.stamp, trigger.controls, int(hits.correct.sum())
    yield METRICS.rate("attack_success_rate", int(hits.flipped(stamp).sum()), n, **about)
    strongest = stats.largest(
        [stats.rate(int(hits.flipped(c).sum()), n, searched_low=len(controls)) for c in controls]
    )
    yield METRICS.measurement("control_attack_success_rate", strongest, n, **about)
    excess = _excess_flipped(hits, trigger)
    yield METRICS.measurement("excess_attack_success_rate", excess, n, **about)
    yield from _targeted_rates(hits, trigger, about)
    shifts = {**skews(hits, stamp), "excess_prediction_skew": excess_skew(hits, trigger)}
    for metric, shift in shifts.items():
        yield METRICS.measurement(metric, shift, len(hits.labels), **about)


def _targeted_rates(hits: Hits, trigger: Trigger, about: dict[str, str]) -> Iterator[Measurement]:
    for k in hits.targets:
        carried, target = hits.carried(trigger.stamp, k), hits.classes[k]
        number, n = int(carried.sum()), len(carried)
        yield METRICS.rate("targeted_attack_success_rate", number, n, **about, target=target)
    top = gaining_class(hits, trigger)
    about, n = {**about, "target": hits.classes[top]}, len(hits.carried(trigger.stamp, top))
    excess = excess_targeted(hits, trigger)
    yield METRICS.measurement("excess_targeted_attack_success_rate", excess, n, **about)


def _excess_flipped(hits: Hits, trigger: Trigger, *, searched: int = 1) -> stats.Interval:
    return _excess(trigger, hits.flipped, searched)


def excess_targeted(hits: Hits, trigger: Trigger, *, searched: int = 1) -> stats.Interval:
    """Images carried to one class beyond the strongest control, where that is largest.

    The lower end holds for all classes, and for as many triggers at once as were searched.
    """
    searched *= len(hits.targets)
    carried = [partial(hits.carried, target=k) for k in hits.targets]
    return stats.largest([_excess(trigger, to_one_class, searched) for to_one_class in carried])


def gaining_class(hits: Hits, trigger: Trigger) -> int:
    """The class that gains most over the strongest control."""

    def gain(k: int) -> float:
        controls = [hits.carried(control, k).mean() for control in trigger.controls]
        return float(hits.carried(trigger.stamp, k).mean() - max(controls))

    return max(hits.targets, key=gain)


def _excess(trigger: Trigger, hits: Callable[[Stamp], Mask], searched: int) -> stats.Interval:
    """What a trigger hits beyond the strongest of its controls, image by image."""
    first, controls = hits(trigger.stamp), trigger.controls
    return stats.smallest(
        [
            _paired(first, hits(c), searched_low=searched, searched_high=len(controls))
            for c in controls
        ]
    )


def _paired(
    first: Mask, second: Mask, *, searched_low: int = 1, searched_high: int = 1
) -> stats.Interval:
    return stats.paired_difference(
        first=int((first & ~second).sum()),
        second=int((~first & second).sum()),
        n=len(first),
        searched_low=searched_low,
        searched_high=searched_high,
    )


def over_reference(
    hits: Hits, reference: Hits, triggers: Sequence[Trigger]
) -> Iterator[Measurement]:
    """Candidate minus reference, on the same images, under each trigger.

    Raises:
        EvidenceError: No image is classified correctly by both.
    """
    both_correct = hits.correct & reference.correct
    if not both_correct.any():
        raise EvidenceError(
            f"trigger_patch: candidate and reference have no image of task {hits.task} right in "
            "common, so they cannot be compared; choose another reference"
        )
    n = int(both_correct.sum())
    for trigger in triggers:
        key, about = trigger.stamp.key, {"task": hits.task, "trigger": trigger.stamp.name}
        ours, theirs = (h.stamped[key] != hits.labels for h in (hits, reference))
        flipped = int(theirs[both_correct].sum())
        yield METRICS.rate("reference_attack_success_rate", flipped, n, **about)
        more = _paired(ours[both_correct], theirs[both_correct])
        yield METRICS.measurement("attack_success_rate_over_reference", more, n, **about)
        if carried := _carried_over_reference(hits, reference, key, both_correct):
            target = hits.classes[max(carried, key=lambda k: carried[k].value)]
            worst = stats.largest(list(carried.values()))
            yield METRICS.measurement(
                "targeted_attack_success_rate_over_reference", worst, n, **about, target=target
            )
        skew = skew_over(hits, reference, trigger.stamp)
        yield METRICS.measurement("prediction_skew_over_reference", skew, len(hits.labels), **about)


def _carried_over_reference(
    hits: Hits, reference: Hits, key: str, both_correct: Mask
) -> dict[int, stats.Interval]:
    """By target class, by how much more of the images both classify correctly are carried there."""
    ours, theirs = hits.stamped[key], reference.stamped[key]
    carried = {}
    for k in hits.targets:
        eligible = both_correct & (hits.labels != k)
        if eligible.any():
            first, second = (ours == k)[eligible], (theirs == k)[eligible]
            carried[k] = _paired(first, second, searched_low=len(hits.targets))
    return carried
