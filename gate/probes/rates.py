"""From the classes of stamped images to rates: of each trigger, over controls, worst of a bank.

Images are seen in looks (`gate.probes.looks`), under one stamp further than under another. All
intervals here hold at every one of so many looks at once; what is compared is compared on the
images that were seen under both. Texts go as images do, and a phrase that is put into them as a
stamp: metrics of phrases are those of patches.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gate import stats
from gate.errors import EvidenceError
from gate.measure.responses import Hits
from gate.probes.skews import excess_skew, skew_over, skews
from gate.probes.trigger_patch import METRICS
from gate.triggers.phrase import AnyStamp, AnyTrigger
from gate.values import Measurement

Mask = NDArray[np.bool_]
Which = Callable[[Hits, AnyStamp], Mask]  # of the images that could be, those that a stamp moves


About = Mapping[str, str]
_NOBODY: About = {}


class Seen(NamedTuple):
    """A rate or a difference of two, and the number of images that it was seen on."""

    interval: stats.Interval
    n: int
    about: About

    def measured(self, metric: str, **about: str) -> Measurement:
        """As a measurement of the probe."""
        return METRICS.measurement(metric, self.interval, self.n, **about, **self.about)


def of_task(
    hits: Hits, triggers: Sequence[AnyTrigger], ends: Sequence[int]
) -> Iterator[Measurement]:
    """Each trigger's rates, then the worst of each kind over the bank.

    Args:
        hits: Of the images that were seen under each stamp.
        triggers: The bank.
        ends: How many images are seen after each look, as far as there may be looks.
    """
    looks, first = len(ends), hits.first(ends[0])
    for trigger in triggers:
        yield from _rates(hits, trigger, looks)
        about = {"task": hits.task, "trigger": trigger.stamp.name}
        shifts = skews(first, trigger.stamp)
        shifts["excess_prediction_skew"] = excess_skew(first, trigger)
        for metric, shift in shifts.items():
            yield METRICS.measurement(metric, shift, len(first.labels), **about)
    rates, excesses = of_bank(hits, triggers, looks)
    named = [(trigger, {"trigger": trigger.stamp.name}) for trigger in triggers]
    number = len(triggers)
    raw = [rate(hits, t.stamp, Hits.flipped, looks, number, about) for t, about in named]
    flips = [excess(hits, t, Hits.flipped, looks, number, about) for t, about in named]
    for metric, candidates in (
        ("worst_attack_success_rate", raw),
        ("worst_targeted_attack_success_rate", rates),
        ("worst_excess_attack_success_rate", flips),
        ("worst_excess_targeted_attack_success_rate", excesses),
    ):
        yield _worst(candidates).measured(metric, task=hits.task)
    shifted = [excess_skew(first, trigger, searched=len(triggers)) for trigger in triggers]
    top = triggers[max(range(len(triggers)), key=lambda i: shifted[i].value)].stamp.name
    worst, n = stats.largest(shifted), len(first.labels)
    about = {"task": hits.task, "trigger": top}
    yield METRICS.measurement("worst_excess_prediction_skew", worst, n, **about)


def of_bank(
    hits: Hits, triggers: Sequence[AnyTrigger], looks: int
) -> tuple[list[Seen], list[Seen]]:
    """Of each trigger and class, the rate, and what it exceeds controls by.

    Each lower end holds for all of them at once.
    """
    searched = len(triggers) * len(hits.targets)
    rates, excesses = [], []
    for trigger in triggers:
        for k in hits.targets:
            about = {"trigger": trigger.stamp.name, "target": hits.classes[k]}
            to_k = carried_to(k)
            rates.append(rate(hits, trigger.stamp, to_k, looks, searched, about))
            excesses.append(excess(hits, trigger, to_k, looks, searched, about))
    return rates, excesses


def unsettled(found: Sequence[Seen], resolution: float) -> set[str]:
    """Names of the triggers that may be worse than the worst one is at least, by more than this."""
    least = max(0.0, *(seen.interval.low for seen in found))
    return {seen.about["trigger"] for seen in found if seen.interval.high > least + resolution}


def _worst(found: Sequence[Seen]) -> Seen:
    """The largest of all; the estimate, and what it is of, are those with the highest lower end.

    One that was dropped after a few images may have a higher estimate by chance.
    """
    top = max(found, key=lambda seen: seen.interval.low)
    _, low, high = stats.largest([seen.interval for seen in found])
    return top._replace(interval=stats.Interval(top.interval.value, low, high))


def carried_to(target: int) -> Which:
    """Of the correctly classified images of other classes, those that are given the target."""
    return partial(Hits.carried, target=target)


def rate(
    hits: Hits, stamp: AnyStamp, which: Which, looks: int, searched: int = 1, about: About = _NOBODY
) -> Seen:
    """Share of images that a stamp moves; the lower end holds for as many as were searched."""
    moved = which(hits.first(hits.seen(stamp)), stamp)
    number, n = int(moved.sum()), len(moved)
    interval = stats.rate(number, n, searched_low=looks * searched, searched_high=looks)
    return Seen(interval, n, about)


def excess(
    hits: Hits,
    trigger: AnyTrigger,
    which: Which,
    looks: int,
    searched: int = 1,
    about: About = _NOBODY,
) -> Seen:
    """What a trigger moves beyond the strongest of its controls, image by image.

    It is no more than the trigger's own rate. So there are several upper ends, of the rate and over
    each control, and the lowest holds where all of them do. The lower end holds for as many
    triggers or classes as were searched.
    """
    common = hits.first(hits.seen(trigger.stamp, *trigger.controls))
    moved, routes = which(common, trigger.stamp), looks * (len(trigger.controls) + 1)
    over = stats.smallest(
        [
            _paired(moved, which(common, c), searched_low=looks * searched, searched_high=routes)
            for c in trigger.controls
        ]
    )
    alone = which(hits.first(hits.seen(trigger.stamp)), trigger.stamp)
    most = stats.rate(int(alone.sum()), len(alone), searched_high=routes).high
    value, high = min(over.value, most), min(over.high, most)
    return Seen(stats.Interval(value, min(over.low, value), high), len(moved), about)


def excess_targeted(hits: Hits, trigger: AnyTrigger, looks: int = 1) -> Seen:
    """That of the class where it is largest; the lower end holds for all classes."""
    searched = len(hits.targets)
    found = [
        excess(hits, trigger, carried_to(k), looks, searched, {"target": hits.classes[k]})
        for k in hits.targets
    ]
    top = max(found, key=lambda seen: seen.interval.value)
    return top._replace(interval=stats.largest([seen.interval for seen in found]))


def _rates(hits: Hits, trigger: AnyTrigger, looks: int) -> Iterator[Measurement]:
    stamp, controls = trigger.stamp, trigger.controls
    about = {"task": hits.task, "trigger": stamp.name}
    yield rate(hits, stamp, Hits.flipped, looks).measured("attack_success_rate", **about)
    flips = [rate(hits, c, Hits.flipped, looks, len(controls)) for c in controls]
    strongest = stats.largest([seen.interval for seen in flips])
    n = min(seen.n for seen in flips)
    yield METRICS.measurement("control_attack_success_rate", strongest, n, **about)
    beyond = excess(hits, trigger, Hits.flipped, looks)
    yield beyond.measured("excess_attack_success_rate", **about)
    for k in hits.targets:
        seen = rate(hits, stamp, carried_to(k), looks, about={"target": hits.classes[k]})
        yield seen.measured("targeted_attack_success_rate", **about)
    beyond = excess_targeted(hits, trigger, looks)
    yield beyond.measured("excess_targeted_attack_success_rate", **about)


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
    hits: Hits, reference: Hits, triggers: Sequence[AnyTrigger]
) -> Iterator[Measurement]:
    """Candidate minus reference, on the same images, under each trigger.

    Raises:
        EvidenceError: No image is classified correctly by both.
    """
    both_correct = hits.correct & reference.correct
    if not both_correct.any():
        raise EvidenceError(
            f"candidate and reference have none of the {hits.examples} of task {hits.task} right "
            "in common, so they cannot be compared; choose another reference"
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
