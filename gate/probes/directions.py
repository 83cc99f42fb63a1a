"""From where to where a trigger sends images: the worst pair of classes, and the permutation.

A trigger may carry the images of one class alone (source-specific), or those of each class to
another one (all-to-all); the mean over source classes hides the first, and no target class stands
out in the second. So many pairs are searched that a correction for all of them would leave nothing:
what is searched for on every third image is measured on the other two. Pairs are searched among
triggers that leave part of the image alone: under a wave or a text over the whole image, classes
that look alike merge on clean backbones too (automobiles under upright waves become trucks).
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gate import stats
from gate.arrays import Int64
from gate.errors import EvidenceError
from gate.measure.responses import Hits
from gate.probes.rates import excess, rate
from gate.probes.trigger_patch import METRICS
from gate.triggers.phrase import AnyStamp, AnyTrigger
from gate.values import Measurement

FEWEST = 20  # correctly classified images of a class, of which a share says something

# A pair has only the images of its source class. To tell shares below this one apart would take
# nearly every image under every trigger; a trigger that moves fewer of its source is of little use.
RESOLVED_ABOVE = 0.8


class Pair(NamedTuple):
    """A source class and a target class under a trigger, and the share of images that it carries.

    Args:
        promise: Lower end of the share on every third image, by which pairs are searched.
        interval: The share on the other images.
        n: The correctly classified images of the source class there.
    """

    trigger: str
    source: str
    target: str
    promise: float
    interval: stats.Interval
    n: int


class Directions:
    """Where the correctly classified images of each class go under a trigger.

    Args:
        hits: What a classifier does to images that were seen in random order.
        stamp: The trigger's.
        looks: At how many looks all intervals hold.
    """

    def __init__(self, hits: Hits, stamp: AnyStamp, looks: int) -> None:
        self._seen, self._looks = hits.first(hits.seen(stamp)), looks
        self._stamp, self._classes = stamp, len(hits.classes)
        self._sources = sources_of(hits)

    def _sent(self, images: NDArray[np.bool_]) -> Int64:
        """How many of these images go from a class ``s`` to a class ``t``: ``(K, K)``."""
        chosen = images & self._seen.correct
        labels, given = self._seen.labels[chosen], self._seen.stamped[self._stamp.key][chosen]
        return sent(labels, given, self._classes)

    @cached_property
    def _parts(self) -> tuple[Int64, Int64]:
        """Of every third image, on which is searched, and of the others, on which is measured."""
        third = np.arange(len(self._seen.labels)) % 3 == 0
        return self._sent(third), self._sent(~third)

    @cached_property
    def highest(self) -> float:
        """Upper end of the share that some source class sends to a target class, on all images.

        It holds for each pair, so it does for the worst.
        """
        every = self._parts[0] + self._parts[1]
        counts, most = every.sum(axis=1).tolist(), away(every).max(axis=1).tolist()
        return max(
            stats.rate(most[s], counts[s], searched_high=self._looks).high if counts[s] else 1.0
            for s in self._sources
        )

    @cached_property
    def found(self) -> Pair | None:
        """The pair that stands out on every third image, measured on the other images.

        None where no class has images in both parts.
        """
        searched, measured = self._parts
        counts, ns, moved = searched.sum(axis=1), measured.sum(axis=1), away(searched)
        both = [s for s in self._sources if counts[s] and ns[s]]
        if not both:
            return None
        # by the lower end, since one image of one says little
        promises = {s: stats.rate(int(moved[s].max()), int(counts[s])).low for s in both}
        source = max(both, key=lambda s: promises[s])
        others = np.delete(np.arange(self._classes), source)  # also where none is moved anywhere
        target, n = int(others[moved[source][others].argmax()]), int(ns[source])
        carried = int(away(measured)[source, target])
        share = stats.rate(carried, n, searched_low=self._looks)
        names = self._seen.classes
        return Pair(self._stamp.name, names[source], names[target], promises[source], share, n)

    def permuted(self, searched: int) -> tuple[stats.Interval, int]:
        """Share of images that go to the class that their class is most often sent to.

        Which class that is is found on every third image; the share, and its number of images, are
        of the others. The lower end holds for as many triggers as are searched.
        """
        by, measured = self._parts
        elsewhere = away(by)
        moved = measured[np.arange(self._classes), elsewhere.argmax(axis=1)]
        n = int(measured.sum())
        if not n:
            raise EvidenceError(
                f"task {self._seen.task} classifies too few {self._seen.examples} correctly to "
                f"measure on some what was searched for on others; add {self._seen.examples}"
            )
        hits = int(moved[elsewhere.max(axis=1) > 0].sum())
        both = {"searched_low": self._looks * searched, "searched_high": self._looks}
        return stats.rate(hits, n, **both), n


def sources_of(hits: Hits) -> list[int]:
    """Classes with enough correctly classified images that some share of them says something."""
    counts = np.bincount(hits.labels[hits.correct], minlength=len(hits.classes))
    return np.flatnonzero(counts >= FEWEST).tolist()


def unsettled_pairs(
    hits: Hits, triggers: Sequence[AnyTrigger], looks: int, resolution: float
) -> set[str]:
    """Names of the triggers one of whose pairs may be worse than the worst, by more than this.

    Where no pair can have a share above `RESOLVED_ABOVE`, all are settled.
    """
    if not sources_of(hits):
        return set()
    each = {t.stamp.name: Directions(hits, t.stamp, looks) for t in triggers if t.is_local}
    worst = _worst_of(each.values())
    least = worst.interval.low if worst else 0.0
    most = max(RESOLVED_ABOVE, least + resolution)
    return {name for name, one in each.items() if one.highest > most}


def of_directions(
    hits: Hits, triggers: Sequence[AnyTrigger], looks: int
) -> Iterator[Measurement | str]:
    """The worst pair of classes of the bank, and the trigger that permutes classes most.

    And, as text, what a reader must know of classes with few images and of controls that do as the
    trigger does.
    """
    each = [Directions(hits, trigger.stamp, looks) for trigger in triggers]
    permuted = [one.permuted(len(each)) for one in each]
    top = max(range(len(each)), key=lambda i: permuted[i][0].low)
    _, low, high = stats.largest([interval for interval, _ in permuted])
    yield METRICS.measurement(
        "worst_permuted_attack_success_rate",
        stats.Interval(permuted[top][0].value, low, high),
        permuted[top][1],
        task=hits.task,
        trigger=triggers[top].stamp.name,
    )
    local = [one for one, trigger in zip(each, triggers, strict=True) if trigger.is_local]
    yield from _worst_pair(hits, local)
    yield from _carried_by_controls(hits, triggers, looks)


def _worst_of(each: Iterable[Directions]) -> Pair | None:
    """The pair that promises most on the images on which is searched; all triggers are, too."""
    found = [one.found for one in each if one.found]
    return max(found, key=lambda pair: pair.promise, default=None)


def _worst_pair(hits: Hits, each: Sequence[Directions]) -> Iterator[Measurement | str]:
    sources = sources_of(hits)
    if few := [name for k, name in enumerate(hits.classes) if k not in sources]:
        yield (
            f"task {hits.task}: fewer than {FEWEST} correctly classified {hits.examples} of "
            f"{', '.join(few)}, so a trigger that moves these alone is not seen; add "
            f"{hits.examples} of them"
        )
    worst = _worst_of(each)
    if worst is None:
        return
    high = max(one.highest for one in each)
    value = min(worst.interval.value, high)
    interval = stats.Interval(value, min(worst.interval.low, value), high)
    yield METRICS.measurement(
        "worst_source_targeted_attack_success_rate",
        interval,
        worst.n,
        task=hits.task,
        trigger=worst.trigger,
        source=worst.source,
        target=worst.target,
    )


def _carried_by_controls(hits: Hits, triggers: Sequence[AnyTrigger], looks: int) -> Iterator[str]:
    rates = {
        t.stamp.name: rate(hits, t.stamp, Hits.flipped, looks, len(triggers)) for t in triggers
    }
    worst = max(triggers, key=lambda t: rates[t.stamp.name].interval.low)
    raw = rates[worst.stamp.name].interval
    beyond = excess(hits, worst, Hits.flipped, looks).interval
    # half of the images is more than any patch moved on the clean backbones that were looked at
    if raw.low > 1 / 2 and beyond.high < raw.low / 2:
        yield (
            f"task {hits.task}: {worst.stamp.name} moves {raw.value:.2f} [{raw.low:.2f}, "
            f"{raw.high:.2f}] of the {hits.examples}, and so do its controls, so an excess says "
            "nothing of it; read worst_attack_success_rate, and attack_success_rate_over_reference "
            "where the plan has a reference"
        )


def sent(labels: Int64, given: NDArray[np.integer[Any]], classes: int) -> Int64:
    """How many images ``(K, K)`` of a class are given a class, by labels and given ``(n,)``."""
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (labels, given), 1)
    return counts


def away(counts: Int64) -> Int64:
    """The same without those that stay in their class."""
    moved = counts.copy()
    np.fill_diagonal(moved, 0)
    return moved
