"""Looks: images of a split in a random order, passed under a stamp no further than a rate needs.

The first look goes through a few images, each further one through twice as many as all before. How
far a stamp is passed depends on what was seen, so an interval must hold at every look at once: each
of its ends may err in 2.5 % of cases divided by the number of looks (Bonferroni), whatever stops
it. Asking again with undivided ends ("peeking") errs more often; tests show by how much.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from gate.arrays import Int64
from gate.errors import PlanError
from gate.measure.readers import PairwiseCosine
from gate.measure.responses import Hits
from gate.measure.trial import Trial
from gate.plan.task import Task
from gate.probes.directions import unsettled_pairs
from gate.probes.probe import LookSettings
from gate.probes.rates import of_bank, unsettled
from gate.triggers.phrase import AnyStamp, AnyTrigger


class Sample:
    """What classifiers make of the stamped images of a split, as far as these were passed.

    Args:
        trial: Passes them.
        split: N images.
        tasks: By name, all tried on the split.
        stamps: All are passed in the first look.
        settings: How many images it has.

    Raises:
        PlanError: The split has fewer images than the plan wants in the first look.
    """

    def __init__(
        self,
        trial: Trial,
        split: str,
        tasks: dict[str, Task],
        stamps: Sequence[AnyStamp],
        settings: LookSettings,
    ) -> None:
        self._trial, self.split, self._tasks = trial, split, tasks
        opened = trial.split(split)
        self.ends = ends_of(settings, split, len(opened))
        self.rows = order_of(trial.plan.seed, opened.digest, len(opened))
        first = trial.responses(split, tasks, stamps, rows=self.rows[: self.ends[0]])
        self.cosines: dict[str, dict[str, PairwiseCosine]] = first.cosines
        self.hits: dict[str, Hits] = {
            name: replace(
                hits,
                labels=opened.labels[self.rows],
                clean=trial.predictions(tasks[name])[self.rows],
            )
            for name, hits in first.hits.items()
        }

    def _behind(self, stamps: Iterable[AnyStamp], images: int) -> dict[int, dict[str, AnyStamp]]:
        """Stamps by their keys, and by how many images were seen under them, if not as many."""
        (some, *_) = self.hits.values()
        behind: defaultdict[int, dict[str, AnyStamp]] = defaultdict(dict)
        for stamp in stamps:
            if (seen := some.seen(stamp)) < images:
                behind[seen][stamp.key] = stamp
        return behind

    @property
    def first_rows(self) -> Int64:
        """Places in the split of the images of the first look, in ascending order."""
        return np.sort(self.rows[: self.ends[0]])

    def has_time_for(self, stamps: Iterable[AnyStamp], images: int) -> bool:
        """Whether so many first images can be passed in time, at the most under these stamps."""
        missing = sum(
            (images - seen) * len(those) for seen, those in self._behind(stamps, images).items()
        )
        return self._trial.has_time_for(missing * len(self.cosines))

    def reach(self, stamps: Iterable[AnyStamp], images: int) -> None:
        """Pass under each stamp those of so many first images that were not passed yet."""
        for seen, those in sorted(self._behind(stamps, images).items()):
            rows = self.rows[seen:images]
            self._trial.expect(len(rows) * len(those) * len(self.cosines))
            found = self._trial.responses(self.split, self._tasks, [*those.values()], rows=rows)
            for name, more in found.hits.items():
                stamped = dict(self.hits[name].stamped)
                for key, classes in more.stamped.items():
                    stamped[key] = np.concatenate([stamped[key], classes])
                self.hits[name] = replace(self.hits[name], stamped=stamped)


def look_ends(first: int, total: int) -> tuple[int, ...]:
    """How many images are seen after each look.

    >>> look_ends(64, 500)
    (64, 128, 256, 500)
    """
    ends = [first]
    while ends[-1] < total:
        ends.append(min(2 * ends[-1], total))
    return tuple(ends)


def order_of(seed: int, digest: str, total: int) -> Int64:
    """A random order of ``(N,)`` images of a split, the same for each backbone that is tried."""
    content = int.from_bytes(hashlib.sha256(digest.encode()).digest()[:8])
    return np.random.default_rng([seed, content]).permutation(total)


def ends_of(settings: LookSettings, split: str, images: int) -> tuple[int, ...]:
    """How many of a split's images are seen after each look, as its settings want it.

    Raises:
        PlanError: The split has fewer images than the plan wants in the first look.
    """
    first = settings.first_look
    if isinstance(first, int) and first > images and "first_look" in settings.model_fields_set:
        raise PlanError(
            f"first_look: {first} examples, and split {split} has {images}; lower it, or say all"
        )
    return look_ends(min(first, images) if isinstance(first, int) else images, images)


class Looked(Protocol):
    """A sample of images, as far as it was passed; see `Sample`."""

    hits: dict[str, Hits]
    ends: tuple[int, ...]

    def reach(self, stamps: Iterable[AnyStamp], images: int, /) -> None:
        """Pass under each stamp those of so many first images that were not passed yet."""

    def has_time_for(self, stamps: Iterable[AnyStamp], images: int, /) -> bool:
        """Whether that ends in time."""


def look(sample: Looked, triggers: Sequence[AnyTrigger], resolution: float) -> list[AnyTrigger]:
    """Pass triggers further while they may be the worst, and controls where that asks for them.

    Returns:
        Those that would have gone on, had there been time.
    """
    looks = len(sample.ends)

    def unsettled_at() -> tuple[list[AnyTrigger], list[AnyTrigger]]:
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


def out_of_time(sample: Sample, triggers: Sequence[AnyTrigger]) -> str:
    """What a reader of numbers must know whose looks were ended by the clock."""
    (some, *_) = sample.hits.values()
    seen = max(some.seen(trigger.stamp) for trigger in triggers)
    look = f"look {sample.ends.index(seen) + 1} of {len(sample.ends)}"
    names = ", ".join(trigger.stamp.name for trigger in triggers)
    return (
        f"out of time (--max-minutes) after {look}, {seen} of {sample.ends[-1]} {some.examples} of "
        f"split {sample.split}, so intervals stay as wide as that makes them; not settled: {names}"
    )


def stamps_of(triggers: Sequence[AnyTrigger]) -> list[AnyStamp]:
    """The stamps of triggers and of their controls."""
    return [stamp for trigger in triggers for stamp in (trigger.stamp, *trigger.controls)]
