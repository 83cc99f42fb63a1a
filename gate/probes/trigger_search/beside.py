"""Triggers that carry images on the candidate, and on a reference not even when they are larger."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from gate import stats
from gate.arrays import Float64, Int64
from gate.backbone.backbone import Backbone
from gate.measure.bench import Bench
from gate.measure.responses import Hits
from gate.measure.trial import Trial
from gate.plan.task import Task
from gate.probes.trigger_search import METRICS, TriggerSearch
from gate.probes.trigger_search.among import passes as passes_among
from gate.probes.trigger_search.found import (
    CLASS_WISE_BESIDE,
    TRIED,
    Found,
    Seeker,
    of_patches,
    of_patterns,
)
from gate.probes.trigger_search.images import FEWEST, Sides
from gate.probes.trigger_search.margins import highest, margins_over_reference
from gate.probes.trigger_search.pairs import (
    PairSeeker,
    Sooner,
    first_of,
    gradients_of_pairs_beside,
    pairs_on,
)
from gate.probes.trigger_search.running import NotSearchedError, require_time
from gate.probes.trigger_search.squares import SQUARES_TRIED, SquareSeeker
from gate.probes.trigger_search.waves import found_among
from gate.triggers.margins import margins
from gate.triggers.stamp import Stamp
from gate.triggers.waves import waves
from gate.triggers.windows import spread
from gate.values import Measurement

_PATCH_ON_REFERENCE = 0.03  # of an image, where what is natural carries as well; ours are smaller
_FEWEST_OF_SOURCE = 4  # images that a window is tried on
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
        seek: Gives what searches on some of the images, on either backbone.
    """

    trial: Trial
    name: str
    task: Task
    chosen: Sides
    seek: Callable[[Backbone, Int64], Seeker]

    def patches(self, ours: Seeker) -> list[Found]:
        """The smallest patches; then the reference's own to the same classes, which are larger.

        Args:
            ours: Searches on the candidate.

        Raises:
            NotSearchedError: As for patterns.
        """
        here, theirs = ours.smallest, self._theirs
        self._right_there("try patches", self.chosen.evaluated)
        found = theirs.patches_to([each.target for each in here], _PATCH_ON_REFERENCE)
        there = {each.target: each for each in found}
        return _named(here, [there[each.target] for each in here])

    def patch_rates(self, found: list[Found]) -> Iterator[Measurement]:
        """Rates of patches to a class, of each backbone under its own, on the same images."""
        yield from self._each_own("patch_attack_success_rate", found)

    def patterns(self, ours: Seeker) -> list[Found]:
        """The faintest patterns; then the reference's own for the same classes, which are longer.

        Args:
            ours: Searches on the candidate.

        Raises:
            NotSearchedError: The reference has too few images right, or there is too little time.
        """
        theirs, faint = self._theirs, ours.faint
        self._right_there("try patterns", self.chosen.evaluated)
        tried = dict(zip(faint.targets[:TRIED], faint.lengths.tolist(), strict=False))
        others = theirs.faint_to([*tried])
        here = [ours.pattern(faint, k, length) for k, length in tried.items()]
        there = [theirs.pattern(others, k, _LONGER * length) for k, length in tried.items()]
        return _named(here, there)

    def pattern_rates(self, found: list[Found]) -> Iterator[Measurement]:
        """Rates of patterns to a class, of each backbone under its own, on the same images."""
        yield from self._each_own("pattern_attack_success_rate", found)

    def pairs(self, ours: PairSeeker) -> list[Found]:
        """Windows from class to class, of the pairs that give way sooner than on the reference.

        Those of the candidate, and after these the reference's own for the same pairs.

        Args:
            ours: Searches on the candidate.

        Raises:
            NotSearchedError: The reference has too few images right; or as `PairSeeker.masks`.
        """
        self._right_there("try windows", self.chosen.evaluated)
        sooner = self._sooner(ours)
        enough = [pair for pair in sooner if len(self._free(*pair)) >= _FEWEST_OF_SOURCE]
        if not enough:
            raise NotSearchedError(
                f"no pair of classes has {_FEWEST_OF_SOURCE} images of its source to try windows "
                "on, that neither backbone gives the target already; add images"
            )
        tried = first_of({pair: sooner[pair] for pair in enough})
        return _named(ours.windows(tried), self._pairs.windows(tried))

    def pair_margins(self, found: list[Found]) -> Iterator[Measurement]:
        """How far ahead windows bring their target, of each backbone under its own.

        Logits of one classifier are larger than those of another, so margins are divided by their
        spread. What a window does to images of other classes is not for its source alone, and half
        of that is taken off: only half, as one that is found does part of what any patch does.
        """
        half, name = len(found) // 2, "source_margin_over_reference"
        split = self.trial.split(self.task.test)
        rows = self._right_there("try windows", self.chosen.evaluated)
        others = [self.seek(backbone, rows) for backbone in self._both]
        spreads = [spread(each.logits(None)) for each in others]
        held, abouts, counts = [], [], []
        for pair in zip(found[:half], found[half:], strict=True):
            source, target = pair[0].source, pair[0].target
            free = self._free(source, target)
            freed = [self.seek(backbone, free) for backbone in self._both]
            rest = (split.labels[rows] != source) & (split.labels[rows] != target)
            more = stats.mean(_further(pair, freed, spreads))
            if rest.sum() > 1:  # of two classes there are no others
                less = stats.mean(_further(pair, others, spreads)[rest])
                more = stats.difference(more, stats.Interval(*(end / 2 for end in less)))
            labels = {"task": self.name, **pair[0].about(split.classes)}
            yield METRICS.measurement(name, more, len(free), **labels)
            low = stats.number_of_many(more, half).low
            held.append(more._replace(low=low))
            abouts.append(labels)
            counts.append(len(free))
        yield _worst(name, held, counts, abouts)

    def _each_own(self, metric: str, found: list[Found]) -> Iterator[Measurement]:
        """Rates of triggers of the candidate, and of as many of the reference after them."""
        half, classes = len(found) // 2, self.trial.split(self.task.test).classes
        twice = list[_Twice]()
        for pair in zip(found[:half], found[half:], strict=True):
            to, rows = pair[0].target, self._free(pair[0].source, pair[0].target)
            here, there = (
                self._answers(backbone, [each.stamp], rows).stamped[each.stamp.key] == to
                for backbone, each in zip(self._both, pair, strict=True)
            )
            twice.append((here, there, pair[0].about(classes)))
        yield from self._over(metric, "_beside_reference", twice)

    def _free(self, source: int | None, target: int) -> Int64:
        """Images that a trigger may carry, which neither backbone gives its target without it.

        All of its source that the search did not see; of one to a class, those that such triggers
        are tried on.
        """
        split = self.trial.split(self.task.test)
        free = split.labels != target
        for given in self._given:
            free &= given != target
        if source is None:
            evaluated = self.chosen.evaluated
            return np.asarray(evaluated[free[evaluated]])
        free[self.chosen.pair_seen] = False
        return np.flatnonzero(free & (split.labels == source))

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
        rows = self._right_there("try patches", self.chosen.unseen)
        ours, theirs = self._hits([each.stamp for each in found], rows)
        twice = [
            (each.followed(ours), each.followed(theirs), each.about(ours.classes)) for each in found
        ]
        yield from self._over("class_wise_attack_success_rate", "_beside_reference", twice)

    @cached_property
    def _theirs(self) -> Seeker:
        """Searches on the reference.

        Raises:
            NotSearchedError: It has too few images right.
        """
        seen = self._right_there("search for triggers", self.chosen.searched)
        return self.seek(self._both[1], seen)

    @cached_property
    def _pairs(self) -> PairSeeker:
        """Searches for pairs on the reference, on images that it has right.

        Raises:
            NotSearchedError: They are too few.
        """
        split = self.trial.split(self.task.test)
        seen = self._right_there("search for triggers", self.chosen.pair_seen)
        unseen = self._right_there("try triggers", self.chosen.pair_unseen)
        pairs = pairs_on(split.labels, split.labels, len(split.classes), seen, unseen)
        return PairSeeker(self.seek(self._both[1], seen), split.labels[seen], pairs)

    def _sooner(self, ours: PairSeeker) -> Sooner:
        """How much sooner pairs give way on the candidate than on the reference.

        Those that are searched for on both, and can be tried.
        """
        first, second = ours.masks, self._pairs.masks
        both = [pair for pair in second.pairs if pair in first.pairs and len(self._free(*pair))]
        if not both:
            raise NotSearchedError(
                "no pair of classes has images, to search on and to try patches on, that neither "
                "backbone gives the target already; add images"
            )
        return {pair: second.size_of(pair) - first.size_of(pair) for pair in both}

    def waves(self) -> list[Found]:
        """Waves that carry more images that may be seen on the candidate than on the reference.

        Raises:
            NotSearchedError: The reference has too few images right, or there is too little time.
        """
        classes = self.trial.split(self.task.test).classes
        if not (stamps := _waves(self.trial.bench)):
            raise NotSearchedError("on images this small there is no wave; use larger ones")
        rows = self._right_there("search among waves", self.chosen.searched)
        self._right_there("try waves", self.chosen.evaluated)
        needed = 2 * (passes_among(len(stamps), len(rows)) + TRIED * len(self.chosen.evaluated))
        require_time(self.trial, needed)
        return found_among(stamps, rows, classes, self._hits)

    def wave_rates(self, found: list[Found]) -> Iterator[Measurement]:
        """Rates of waves to a class, of the candidate and of the reference on the same images."""
        yield from self._over("wave_attack_success_rate", "", self._same_of_both("waves", found))

    def squares(self, ours: SquareSeeker) -> list[Found]:
        """The squares found on the candidate, whose rates the reference has as well.

        Args:
            ours: Searches on the candidate.

        Raises:
            BackboneError: There is no gradient.
            NotSearchedError: The reference has too few images right, or there is too little time.
        """
        self._right_there("try squares", self.chosen.evaluated)
        return _named(ours.best, [])

    def square_rates(self, found: list[Found]) -> Iterator[Measurement]:
        """Rates of squares to a class, of both on the same images."""
        twice = self._same_of_both("squares", found)
        yield from self._over("square_attack_success_rate", "_beside_reference", twice)

    def _same_of_both(self, what: str, found: list[Found]) -> list[_Twice]:
        """What triggers to a class do on both, to images that both classify correctly."""
        rows = self._right_there(f"try {what}", self.chosen.evaluated)
        ours, theirs = self._hits([each.stamp for each in found], rows)
        twice = list[_Twice]()
        for each in found:
            here, there = (hits.carried(each.stamp, each.target) for hits in (ours, theirs))
            twice.append((here, there, each.about(ours.classes)))
        return twice

    def margins(self, ours: Seeker) -> Iterator[Measurement]:
        """How far each class can come ahead of others on the candidate, beyond the reference.

        Args:
            ours: Searches on the candidate.

        Raises:
            NotSearchedError: The reference has too few images right, some class is not reached, or
                there is too little time.
            BackboneError: There is no gradient.
        """
        yield from margins_over_reference(self.name, ours.classes, *highest(ours, self._theirs))

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
        yield _worst(f"{metric}_over_reference", over, counts, about)

    def _right_there(self, what: str, rows: Int64) -> Int64:
        """Those of the images that the reference classifies correctly.

        Raises:
            NotSearchedError: They are too few.
        """
        split, (_, theirs) = self.trial.split(self.task.test), self._given
        right: Int64 = rows[theirs[rows] == split.labels[rows]]
        others = len(right) - np.bincount(split.labels[right], minlength=len(split.classes))
        fewest = int(others.argmin())
        if others[fewest] < FEWEST:
            raise NotSearchedError(
                f"of {len(rows)} images to {what} on, the reference classifies {others[fewest]} "
                f"correctly that are of other classes than {split.classes[fewest]}, and {FEWEST} "
                "are needed; name a reference that serves the task, or add images"
            )
        return right

    @cached_property
    def _given(self) -> tuple[Int64, Int64]:
        """The classes ``(N,)`` that each backbone gives the test images."""
        ours, theirs = (self.trial.predictions(self.task, backbone) for backbone in self._both)
        return ours, theirs

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


def _further(triggers: Sequence[Found], on: Sequence[Seeker], spreads: Sequence[float]) -> Float64:
    """By how much further ahead the target is on the first backbone than on the second ``(N,)``."""
    ours, theirs = (
        margins(seeker.logits(each.stamp), np.full(len(seeker.labels), each.target))[0] / unit
        for each, seeker, unit in zip(triggers, on, spreads, strict=True)
    )
    return np.asarray(ours - theirs).astype(np.float64)


def _worst(
    metric: str,
    of: Sequence[stats.Interval],
    counts: Sequence[int],
    about: Sequence[dict[str, str]],
) -> Measurement:
    """The largest of what was measured; each lower end is corrected for how many there are."""
    top = max(range(len(of)), key=lambda i: of[i])
    return METRICS.measurement(f"worst_{metric}", stats.largest(of), counts[top], **about[top])


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
    """How many images waves, patches, patterns and squares pass through each, at the most."""
    tried = 3 * TRIED + SQUARES_TRIED
    return passes_among(len(_waves(bench)), searched) + tried * evaluated


def gradients_beside(classes: int, settings: TriggerSearch) -> tuple[int, int]:
    """How many more gradients are taken beside a reference, and how many of the reference.

    Those of windows and of margins come besides.

    >>> gradients_beside(10, TriggerSearch())
    (4400, 19600)
    """
    ours, theirs = gradients_of_pairs_beside(classes, settings)
    tried = min(TRIED, classes)
    return ours, theirs + of_patches(tried, settings) + of_patterns(tried, settings)


def _waves(bench: Bench) -> list[Stamp]:
    wanted = bench.backbone.preprocessing  # a reference takes the same size and channels
    return waves(wanted.size, wanted.channels)
