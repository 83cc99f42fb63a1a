"""Triggers that carry images on the candidate, and on a reference not even when they are larger."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from gate import stats
from gate.arrays import Int64
from gate.backbone.backbone import Backbone
from gate.measure.bench import Bench
from gate.measure.responses import Hits
from gate.measure.trial import Trial
from gate.plan.task import Task
from gate.probes.trigger_search import METRICS, TriggerSearch
from gate.probes.trigger_search.found import (
    CLASS_WISE_BESIDE,
    TRIED,
    Found,
    Seeker,
    of_patterns,
)
from gate.probes.trigger_search.images import FEWEST, Sides
from gate.probes.trigger_search.pairs import (
    PIXELS_BESIDE,
    PIXELS_ON_REFERENCE,
    PairSeeker,
    Sooner,
    first_of,
    gradients_of_pairs_beside,
)
from gate.probes.trigger_search.running import NotSearchedError
from gate.probes.trigger_search.waves import found_among
from gate.probes.trigger_search.waves import passes as passes_of_waves
from gate.triggers.stamp import Stamp
from gate.triggers.waves import waves
from gate.values import Measurement

_LONGER = 1.5  # the pattern of the reference, where what is natural carries as well then

# Which of some images a trigger carries on the candidate, which on the reference, and to where.
_Twice = tuple[NDArray[np.bool_], NDArray[np.bool_], dict[str, str]]


@dataclass(frozen=True)
class Beside:
    """What triggers do to images of a task on the candidate and, beside it, on the reference.

    Args:
        trial: Passes them.
        name: The task's.
        task: Whose classifiers are tried.
        chosen: Which images may be seen, and which are not.
        seeker: What searches on some of the images, on either backbone.
    """

    trial: Trial
    name: str
    task: Task
    chosen: Sides
    seeker: Callable[[Backbone, Int64, Int64], PairSeeker]

    def patterns(self, ours: Seeker) -> list[Found]:
        """The faintest patterns; then the reference's own for the same classes, which are longer.

        Args:
            ours: Searches on the candidate.

        Raises:
            NotSearchedError: The reference has too few images right, or there is too little time.
        """
        theirs, faint = self._theirs.seeker, ours.faint
        self._right_on_both("try patterns", self.chosen.evaluated)
        tried = dict(zip(faint.targets[:TRIED], faint.lengths.tolist(), strict=False))
        others = theirs.faint_to([*tried])
        here = [ours.pattern(faint, k, length) for k, length in tried.items()]
        there = [theirs.pattern(others, k, _LONGER * length) for k, length in tried.items()]
        return _named(here, there)

    def pattern_rates(self, found: list[Found]) -> Iterator[Measurement]:
        """Rates of patterns to a class, of each backbone under its own, on the same images."""
        yield from self._each_own("pattern_attack_success_rate", found)

    def pairs(self, ours: PairSeeker) -> list[Found]:
        """Patches from class to class, of the pairs that give way sooner than on the reference.

        Those of the candidate, and after these a larger one of the reference's own for each.

        Args:
            ours: Searches on the candidate.

        Raises:
            NotSearchedError: The reference has too few images right; or as `PairSeeker.masks`.
        """
        tried = first_of(self._sooner(ours))
        return _named(
            ours.patches(tried, PIXELS_BESIDE), self._theirs.patches(tried, PIXELS_ON_REFERENCE)
        )

    def pair_rates(self, found: list[Found]) -> Iterator[Measurement]:
        """Rates from class to class, of each backbone under its own patch, on the same images."""
        yield from self._each_own("source_attack_success_rate", found)

    def _each_own(self, metric: str, found: list[Found]) -> Iterator[Measurement]:
        """Rates of triggers of the candidate, and of as many of the reference after them."""
        half, classes = len(found) // 2, self.trial.split(self.task.test).classes
        twice = list[_Twice]()
        for pair in zip(found[:half], found[half:], strict=True):
            to, rows = pair[0].target, self._free(pair[0])
            here, there = (
                self._answers(backbone, [each.stamp], rows).stamped[each.stamp.key] == to
                for backbone, each in zip(self._both, pair, strict=True)
            )
            twice.append((here, there, pair[0].about(classes)))
        yield from self._over(metric, "_beside_reference", twice)

    def _free(self, found: Found) -> Int64:
        """Images that a trigger may carry, which neither backbone gives its target without it.

        All of its source that the search did not see; of one to a class, those that such triggers
        are tried on.
        """
        split = self.trial.split(self.task.test)
        free = split.labels != found.target
        for backbone in self._both:
            free &= self.trial.predictions(self.task, backbone) != found.target
        if found.source is None:
            evaluated = self.chosen.evaluated
            return np.asarray(evaluated[free[evaluated]])
        free[self.chosen.searched] = False
        return np.flatnonzero(free & (split.labels == found.source))

    def class_wise(self, ours: PairSeeker, ask: Callable[[Sequence[Stamp]], Hits]) -> list[Found]:
        """The patch that sends each class to another, from pairs that give way sooner.

        Args:
            ours: Searches on the candidate.
            ask: Gives the classes of the images that may be seen, under stamps.

        Raises:
            NotSearchedError: As for pairs.
        """
        found = ours.class_wise(self._sooner(ours), ask, CLASS_WISE_BESIDE)
        return [found.called(f"{found.stamp.name} beside the reference")]

    def class_wise_rates(self, found: list[Found]) -> Iterator[Measurement]:
        """Rates of patches that send each class to another, of both on the same images."""
        rows = self._right_on_both("try patches", self.chosen.unseen)
        ours, theirs = self._hits([each.stamp for each in found], rows)
        twice = [
            (each.followed(ours), each.followed(theirs), each.about(ours.classes)) for each in found
        ]
        yield from self._over("class_wise_attack_success_rate", "_beside_reference", twice)

    @cached_property
    def _theirs(self) -> PairSeeker:
        """Searches on the reference.

        Raises:
            NotSearchedError: It has too few images right.
        """
        seen = self._right_on_both("search for triggers", self.chosen.searched)
        unseen = self._right_on_both("try triggers", self.chosen.unseen)
        return self.seeker(self._both[1], seen, unseen)

    def _sooner(self, ours: PairSeeker) -> Sooner:
        """How much sooner pairs give way on the candidate than on the reference.

        Those of the reference, whose images are some of the candidate's.
        """
        first, second = ours.masks, self._theirs.masks
        return {pair: second.size_of(pair) - first.size_of(pair) for pair in second.pairs}

    def waves(self) -> list[Found]:
        """Waves that carry more images that may be seen on the candidate than on the reference.

        Raises:
            NotSearchedError: The reference has too few images right, or there is too little time.
        """
        classes = self.trial.split(self.task.test).classes
        if not (stamps := _waves(self.trial.bench)):
            raise NotSearchedError("on images this small there is no wave; use larger ones")
        rows = self._right_on_both("search among waves", self.chosen.searched)
        self._right_on_both("try waves", self.chosen.evaluated)
        needed = 2 * (passes_of_waves(len(stamps), len(rows)) + TRIED * len(self.chosen.evaluated))
        if not self.trial.bench.progress.has_time_for(needed):
            raise NotSearchedError(
                f"out of time (--max-minutes) before the {needed:,} passes that they take at the "
                "most; allow more"
            )
        return found_among(stamps, rows, classes, self._hits)

    def wave_rates(self, found: list[Found]) -> Iterator[Measurement]:
        """Rates of waves to a class, of the candidate and of the reference on the same images."""
        rows = self._right_on_both("try waves", self.chosen.evaluated)
        ours, theirs = self._hits([each.stamp for each in found], rows)
        twice = list[_Twice]()
        for each in found:
            here, there = (hits.carried(each.stamp, each.target) for hits in (ours, theirs))
            twice.append((here, there, each.about(ours.classes)))
        yield from self._over("wave_attack_success_rate", "", twice)

    def _over(
        self, metric: str, of_candidate: str, twice: Sequence[_Twice]
    ) -> Iterator[Measurement]:
        """Rates of the candidate and of the reference, how far apart they are, and the worst."""
        about, over, counts = [], [], []
        for here, there, which in twice:
            labels, n = {"task": self.name, **which}, len(here)
            yield METRICS.rate(f"{metric}{of_candidate}", int(here.sum()), n, **labels)
            yield METRICS.rate(f"reference_{metric}", int(there.sum()), n, **labels)
            first, second = int((here & ~there).sum()), int((there & ~here).sum())
            more = stats.paired_difference(first, second, n)
            yield METRICS.measurement(f"{metric}_over_reference", more, n, **labels)
            over.append(stats.paired_difference(first, second, n, searched_low=len(twice)))
            about.append(labels)
            counts.append(n)
        top = max(range(len(over)), key=lambda i: over[i])
        name = f"worst_{metric}_over_reference"
        yield METRICS.measurement(name, stats.largest(over), counts[top], **about[top])

    def _right_on_both(self, what: str, rows: Int64) -> Int64:
        """Those of the images, which the candidate classifies correctly, that the reference does.

        Raises:
            NotSearchedError: They are too few.
        """
        split, reference = self.trial.split(self.task.test), self.trial.reference
        theirs = self.trial.predictions(self.task, reference)
        both: Int64 = rows[theirs[rows] == split.labels[rows]]
        others = len(both) - np.bincount(split.labels[both], minlength=len(split.classes))
        fewest = int(others.argmin())
        if others[fewest] < FEWEST:
            raise NotSearchedError(
                f"of {len(rows)} images to {what} on, the reference classifies {others[fewest]} "
                f"correctly that are of other classes than {split.classes[fewest]}, and {FEWEST} "
                "are needed; name a reference that serves the task, or add images"
            )
        return both

    def _hits(self, stamps: Sequence[Stamp], rows: Int64) -> tuple[Hits, Hits]:
        ours, theirs = (self._answers(backbone, stamps, rows) for backbone in self._both)
        return ours, theirs

    def _answers(self, backbone: Backbone, stamps: Sequence[Stamp], rows: Int64) -> Hits:
        tasks = {self.name: self.task}
        return self.trial.responses(self.task.test, tasks, stamps, backbone, rows).hits[self.name]

    @property
    def _both(self) -> tuple[Backbone, Backbone]:
        reference = self.trial.reference
        assert reference is not None  # noqa: S101  # see obstacle
        return self.trial.backbone, reference


def _named(here: list[Found], there: list[Found]) -> list[Found]:
    """Triggers of the candidate, and after them those of the reference."""
    return [
        each.called(f"{each.stamp.name} {where} the reference")
        for where, some in (("beside", here), ("on", there))
        for each in some
    ]


def obstacle(task: Task, reference: Backbone | None) -> str:
    """Why nothing can be tried on the reference beside the candidate; empty if it can."""
    if reference is None:
        return (
            "some carry images on clean backbones as well, so they are tried beside a reference, "
            "and the plan has none; add one that is known to be clean, of the same architecture "
            "and trained on like images"
        )
    if task.transfer.trains:
        return "the task trains weights, and those of the reference would have to be trained too"
    if task.head == "own" and not reference.plan.logits:
        return (
            f"the reference {reference.plan.path} names no logits, and the task takes the "
            "backbone's own head; name them in the plan"
        )
    return ""


def passes_beside(bench: Bench, searched: int, evaluated: int) -> int:
    """How many images waves and patterns pass through each backbone, at the most."""
    return passes_of_waves(len(_waves(bench)), searched) + 2 * TRIED * evaluated


def gradients_beside(classes: int, settings: TriggerSearch) -> tuple[int, int]:
    """How many more gradients are taken beside a reference, and how many of the reference.

    >>> gradients_beside(10, TriggerSearch())
    (7640, 19240)
    """
    ours, theirs = gradients_of_pairs_beside(classes, settings)
    return ours, theirs + of_patterns(min(TRIED, classes), settings)


def _waves(bench: Bench) -> list[Stamp]:
    wanted = bench.backbone.preprocessing  # a reference takes the same size and channels
    return waves(wanted.size, wanted.channels)
