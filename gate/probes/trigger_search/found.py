"""What is searched for, and what becomes of it: from goals to triggers that can be stamped."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gate.arrays import Float32, Int64
from gate.measure.responses import Hits
from gate.probes.directions import sent
from gate.probes.trigger_search import TriggerSearch
from gate.probes.trigger_search.running import NotSearchedError, Runs, differentiable
from gate.triggers.search import (
    Colours,
    Patches,
    PatchesFrom,
    Patterns,
    Search,
    State,
    goals_left,
    logistic,
    opaque,
)
from gate.triggers.stamp import Stamp

TRIED, PAIRS_TRIED = 2, 3  # triggers that are tried of each search
_MOST_PAIRS = 132  # that are searched: those of 12 classes
# what is made opaque of a mask, of an image; from one class to another any patch of 1 % carries
_PIXELS, _PAIR_PIXELS = 0.0125, 0.004
_PATTERN_BATCH = 8
_COLOUR_STEPS, _COLOUR_BATCH = 30, 20
_CLASS_WISE_STEPS = 50
_PATCHES, _PATTERNS, _PAIRS, _COLOURS, _CLASS_WISE = range(5)  # each search draws by itself

Limits = tuple[tuple[float, int], ...]


class Found(NamedTuple):
    """A trigger that was found; ``source`` is None where it carries images of all other classes."""

    stamp: Stamp
    source: int | None
    target: int


@dataclass(frozen=True)
class Seeker:
    """Searches for triggers on the images that may be seen.

    Args:
        runs: On the classifier.
        images: ``(N, H, W, C)`` in 0 .. 1.
        labels: ``(N,)`` their classes, which the classifier gives them.
        classes: Names of the K classes.
        sources: Those of which images are seen and others are not, so that both is possible: to
            search for a patch from them, and to try it.
        settings: How long.
        batch: Images per forward and backward pass.
        seed: Of all that is drawn.
    """

    runs: Runs
    images: Float32
    labels: Int64
    classes: tuple[str, ...]
    sources: tuple[int, ...]
    settings: TriggerSearch
    batch: int
    seed: int

    def patches(self) -> list[Found]:
        """Opaque patches of the classes where masks are smallest, the smallest first."""
        targets = to_each(self.labels, len(self.classes))
        limits = limits_of_classes(len(self.classes))
        search = self._patches(targets, self.settings.batch, _PATCHES, limits)
        last = self.runs.last("patches", search)
        smallest = search.ranked(last)[:TRIED]
        stamps = self._opaque("patches", _PIXELS, last.only(smallest), targets)
        goals = last.goals[smallest]
        return [
            Found(_stamp(f"patch to {self.classes[k]}", *stamp), None, int(k))
            for k, stamp in zip(goals, stamps, strict=True)
        ]

    def patterns(self) -> list[Found]:
        """The faintest patterns, the faintest first, at half the size that the median class needs.

        They are rounded to 8 bits.
        """
        targets = to_each(self.labels, len(self.classes))
        search = Search(
            Patterns(),
            differentiable(self.runs.classifier, self.batch),
            self.images,
            targets,
            self.settings.steps,
            _PATTERN_BATCH,
            (self.seed, _PATTERNS),
        )
        last = self.runs.last("patterns", search)
        sizes = search.kind.sizes(last.found)
        wanted, found = np.median(sizes) / 2, []
        for k in search.ranked(last)[:TRIED]:
            added = np.rint(255 * last.found["added"][k, 0] * (wanted / sizes[k]))
            keep = np.ones((*added.shape[:2], 1), np.float32)
            name = f"pattern to {self.classes[k]}"
            found.append(Found(Stamp(name, keep, added.astype(np.float32), 0, 0), None, int(k)))
        return found

    def pairs(self) -> list[Found]:
        """Opaque patches from one class to another, of the pairs where masks are smallest.

        Raises:
            NotSearchedError: There are too many pairs, or no class to send images from.
        """
        pairs, targets, last = self._smallest_pairs
        few = last.only(np.arange(min(PAIRS_TRIED, len(last.goals))))
        stamps = self._opaque("pairs", _PAIR_PIXELS, few, targets)
        found = []
        for goal, stamp in zip(few.goals, stamps, strict=True):
            source, target = pairs[goal]
            name = f"patch from {self.classes[source]} to {self.classes[target]}"
            found.append(Found(_stamp(name, *stamp), source, target))
        return found

    def class_wise(self, ask: Callable[[Sequence[Stamp]], Hits]) -> list[Found]:
        """Opaque patches that send each class to one other, the best first.

        The smallest masks from one class to another are searched on, on images of all classes: each
        is wanted in the class that the patch sends most of its class to, one to one.

        Args:
            ask: Gives the classes of the images that may be seen, under stamps.

        Raises:
            NotSearchedError: As for pairs.
        """
        pairs, targets, last = self._smallest_pairs
        state, maps = last, np.zeros((len(last.goals), len(self.classes)), np.int64)
        stamps: list[Stamp] = []
        for again in (False, True):
            if again:
                targets = maps[:, self.labels]
                search = Search(
                    PatchesFrom(state.found["mask"], state.found["pattern"]),
                    differentiable(self.runs.classifier, self.batch),
                    self.images,
                    targets,
                    _CLASS_WISE_STEPS,
                    _COLOUR_BATCH,
                    (self.seed, _CLASS_WISE),
                )
                state = self.runs.last("patches from each class to another", search)
            opaque_ones = self._opaque("class-wise patches", _PIXELS, state, targets)
            stamps = [
                _stamp(f"patch from each class, {self.classes[s]} to {self.classes[t]}", *stamp)
                for (s, t), stamp in zip(
                    (pairs[goal] for goal in last.goals), opaque_ones, strict=True
                )
            ]
            hits = ask(stamps)
            maps = np.stack(
                [
                    one_to_one(hits.labels, hits.stamped[each.key], len(self.classes))
                    for each in stamps
                ]
            )
        shares = [
            (hits.stamped[each.key] == to[hits.labels]).mean()
            for each, to in zip(stamps, maps, strict=True)
        ]
        best = np.argsort(np.negative(shares), kind="stable")[:TRIED]
        return [Found(stamps[i], *pairs[last.goals[i]]) for i in best]

    @cached_property
    def _smallest_pairs(self) -> tuple[list[tuple[int, int]], Int64, State]:
        """Pairs of classes, the targets of each, and the five with the smallest masks, in order."""
        if not pairs_searched(classes := len(self.classes)):
            raise NotSearchedError(
                f"{classes * (classes - 1):,} pairs of {classes} classes are more than the "
                f"{_MOST_PAIRS} that can be searched side by side; keep fewer classes in a split "
                "of their own"
            )
        if not (pairs := pairs_of(self.sources, classes)):
            raise NotSearchedError(
                "no class has correctly classified images both to search a patch from it on and to "
                "try it on; add images"
            )
        targets = np.stack([np.where(self.labels == source, to, -1) for source, to in pairs])
        limits = limits_of_pairs(len(pairs))
        search = self._patches(targets, self.settings.batch // 2, _PAIRS, limits)
        last = self.runs.last("patches from class to class", search)
        return pairs, targets, last.only(search.ranked(last))

    def _patches(self, targets: Int64, batch: int, draw: int, limits: Limits) -> Search:
        of = differentiable(self.runs.classifier, self.batch)
        seed = (self.seed, draw)
        return Search(Patches(), of, self.images, targets, self.settings.steps, batch, seed, limits)

    def _opaque(
        self, what: str, share: float, state: State, targets: Int64
    ) -> Iterable[tuple[Float32, Float32]]:
        """Opaque masks ``(H, W, 1)`` and patterns ``(H, W, C)`` of the goals of a state."""
        pixels = max(1, round(share * self.images.shape[1] * self.images.shape[2]))
        masks = opaque(state.found["mask"], pixels)
        search = Search(
            Colours(masks, state.found["pattern"]),
            differentiable(self.runs.classifier, self.batch),
            self.images,
            targets[state.goals],
            _COLOUR_STEPS,
            _COLOUR_BATCH,
            (self.seed, _COLOURS),
        )
        patterns = logistic(self.runs.last(f"colours of {what}", search).values["pattern"])
        return zip(masks[:, 0], patterns[:, 0], strict=True)


def _stamp(name: str, mask: Float32, pattern: Float32) -> Stamp:
    """A stamp of an opaque mask ``(H, W, 1)`` and a pattern ``(H, W, C)``, in colours of 8 bits."""
    return Stamp(name, 1 - mask, mask * np.rint(255 * pattern), 0, 0)


def gradients(classes: int, settings: TriggerSearch) -> int:
    """How many gradients of single images all searches of a task take."""

    def of_patches(goals: int, limits: Limits) -> int:
        return sum(
            goals_left(goals, limits, step / settings.steps) for step in range(settings.steps)
        )

    pairs = pairs_searched(classes)
    in_pairs = of_patches(pairs, limits_of_pairs(pairs)) * (settings.batch // 2)
    tried = min(TRIED, classes) + min(PAIRS_TRIED, pairs)
    colours = tried * _COLOUR_STEPS * _COLOUR_BATCH
    seeds = goals_left(pairs, limits_of_pairs(pairs), 1)
    class_wise = seeds * (_CLASS_WISE_STEPS + 2 * _COLOUR_STEPS) * _COLOUR_BATCH
    in_patterns = classes * settings.steps * _PATTERN_BATCH
    in_patches = of_patches(classes, limits_of_classes(classes)) * settings.batch
    return in_patches + in_patterns + in_pairs + class_wise + colours


def class_wise_passes(classes: int, images: int) -> int:
    """How many images the search for patches from each class to another passes, of so many."""
    pairs = pairs_searched(classes)
    return 2 * goals_left(pairs, limits_of_pairs(pairs), 1) * images


def one_to_one(labels: Int64, stamped: NDArray[np.int16], classes: int) -> Int64:
    """The other class ``(K,)`` of each class, no two the same, that most images are sent to.

    Shares of classes count alike, however many images they have.

    >>> one_to_one(np.array([0, 0, 0, 1, 1, 2]), np.array([1, 1, 2, 2, 1, 0], np.int16), 3).tolist()
    [1, 2, 0]
    """
    # scipy takes long to import, and estimates do without it
    from scipy.optimize import linear_sum_assignment

    counts = sent(labels, stamped, classes)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    np.fill_diagonal(shares, -1)
    return np.asarray(linear_sum_assignment(-shares)[1], np.int64)


def pairs_searched(classes: int) -> int:
    """How many pairs of so many classes are searched: all, or none where these are too many.

    >>> pairs_searched(10), pairs_searched(100)
    (90, 0)
    """
    pairs = classes * (classes - 1)
    return pairs if pairs <= _MOST_PAIRS else 0


def limits_of_classes(classes: int) -> Limits:
    """All for 30 % of the steps, then the half of smaller masks, from 50 % on three."""
    return ((0.3, max(3, (classes + 1) // 2)), (0.5, 3))


def limits_of_pairs(pairs: int) -> Limits:
    """All for 20 % of the steps, then half, a sixth, and from 60 % on five."""
    return ((0.2, max(5, pairs // 2)), (0.4, max(5, pairs // 6)), (0.6, 5))


def pairs_of(sources: Iterable[int], classes: int) -> list[tuple[int, int]]:
    """Pairs of a source and another class.

    >>> pairs_of([0, 2], 3)
    [(0, 1), (0, 2), (2, 0), (2, 1)]
    """
    return [(source, to) for source in sources for to in range(classes) if to != source]


def to_each(labels: Int64, classes: int) -> Int64:
    """Targets ``(K, N)``: each class for the images of all others, -1 for its own.

    >>> to_each(np.array([0, 1]), 2).tolist()
    [[-1, 0], [1, -1]]
    """
    each = np.arange(classes)[:, None]
    return np.where(labels == each, -1, each)
