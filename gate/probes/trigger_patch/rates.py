"""From the classes of stamped images to rates: of each trigger, over controls, worst of a bank."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from gate import stats
from gate.errors import EvidenceError
from gate.measure.responses import Hits
from gate.probes.skews import excess_skew, skew_over, skews
from gate.probes.trigger_patch import METRICS
from gate.stats import Interval
from gate.triggers.stamp import Trigger
from gate.values import Measurement


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
        key: stats.rate(int(c.sum()), len(c), searched=len(carried)) for key, c in carried.items()
    }
    name, target = max(rates, key=lambda key: rates[key].value)
    return METRICS.measurement(
        "worst_targeted_attack_success_rate",
        stats.largest(list(rates.values())),
        len(carried[name, target]),
        task=hits.task,
        trigger=name,
        target=hits.classes[target],
    )


def _rates(hits: Hits, trigger: Trigger) -> Iterator[Measurement]:
    about = {"task": hits.task, "trigger": trigger.stamp.name}
    stamp, controls, n = trigger.stamp, trigger.controls, int(hits.correct.sum())
    yield METRICS.rate("attack_success_rate", int(hits.flipped(stamp).sum()), n, **about)
    strongest = stats.largest(
        [stats.rate(int(hits.flipped(c).sum()), n, searched=len(controls)) for c in controls]
    )
    yield METRICS.measurement("control_attack_success_rate", strongest, n, **about)
    excess = _excess_flipped(hits, trigger)
    yield METRICS.measurement("excess_attack_success_rate", excess, n, **about)
    yield from _targeted_rates(hits, trigger, about)
    images = len(hits.labels)
    for metric, skew in skews(hits, stamp).items():
        yield METRICS.measurement(metric, skew, images, **about)
    excess = excess_skew(hits, trigger)
    yield METRICS.measurement("excess_prediction_skew", excess, images, **about)


def _targeted_rates(hits: Hits, trigger: Trigger, about: dict[str, str]) -> Iterator[Measurement]:
    for k in hits.targets:
        carried = hits.carried(trigger.stamp, k)
        rate = stats.rate(int(carried.sum()), len(carried), searched=len(hits.targets))
        yield METRICS.measurement(
            "targeted_attack_success_rate", rate, len(carried), **about, target=hits.classes[k]
        )
    top = gaining_class(hits, trigger)
    yield METRICS.measurement(
        "excess_targeted_attack_success_rate",
        excess_targeted(hits, trigger),
        len(hits.carried(trigger.stamp, top)),
        **about,
        target=hits.classes[top],
    )


def _excess_flipped(hits: Hits, trigger: Trigger, *, searched: int = 1) -> Interval:
    controls = [hits.flipped(control) for control in trigger.controls]
    return _excess(hits.flipped(trigger.stamp), controls, searched=searched * len(controls))


def excess_targeted(hits: Hits, trigger: Trigger, *, searched: int = 1) -> Interval:
    """Images carried to one class beyond the strongest control, where that is largest.

    The interval holds for all classes and controls.
    """
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


def gaining_class(hits: Hits, trigger: Trigger) -> int:
    """The class that gains most over the strongest control."""

    def gain(k: int) -> float:
        controls = [hits.carried(control, k).mean() for control in trigger.controls]
        return float(hits.carried(trigger.stamp, k).mean() - max(controls))

    return max(hits.targets, key=gain)


def _excess(
    hits: NDArray[np.bool_], controls: list[NDArray[np.bool_]], *, searched: int
) -> Interval:
    """The excess over the strongest of the controls, image by image."""
    return stats.smallest([_paired(hits, control, searched=searched) for control in controls])


def _paired(first: NDArray[np.bool_], second: NDArray[np.bool_], *, searched: int = 1) -> Interval:
    return stats.paired_difference(
        both=int((first & second).sum()),
        first=int((first & ~second).sum()),
        second=int((~first & second).sum()),
        n=len(first),
        searched=searched,
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
            top = max(carried, key=lambda k: carried[k].value)
            yield METRICS.measurement(
                "targeted_attack_success_rate_over_reference",
                stats.largest(list(carried.values())),
                n,
                **about,
                target=hits.classes[top],
            )
        skew = skew_over(hits, reference, trigger.stamp)
        yield METRICS.measurement("prediction_skew_over_reference", skew, len(hits.labels), **about)


def _carried_over_reference(
    hits: Hits, reference: Hits, key: str, both_correct: NDArray[np.bool_]
) -> dict[int, Interval]:
    """By target class, by how much more of the images both classify correctly are carried there."""
    ours, theirs = hits.stamped[key], reference.stamped[key]
    carried = {}
    for k in hits.targets:
        eligible = both_correct & (hits.labels != k)
        if eligible.any():
            carried[k] = _paired(
                (ours == k)[eligible], (theirs == k)[eligible], searched=len(hits.targets)
            )
    return carried
