"""Patches from one class to another, and patches that send each class to another one.

Between classes that look alike nearly any patch carries images, on clean backbones too. So masks of
all pairs are searched for side by side, and those pairs are searched on that give way sooner than
was to be expected: from other pairs of the same classes, or from the same pair on a reference.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gate.arrays import Float32, Floats, Int64
from gate.measure.responses import Hits
from gate.probes.directions import sent
from gate.probes.trigger_search import TriggerSearch
from gate.probes.trigger_search.found import (
    CLASS_WISE,
    PAIRS,
    SMALLER_PAIRS,
    WINDOWS,
    Found,
    Seeker,
    of_colours,
    stamped,
)
from gate.probes.trigger_search.running import NotSearchedError, differentiable
from gate.triggers.search import Patches, PatchesFrom, logistic
from gate.triggers.stamp import Stamp
from gate.triggers.windows import gradients as gradients_of_window
from gate.triggers.windows import raised

PAIRS_TRIED = 3
# what is made opaque of a mask, of an image: with more, any patch carries from class to class
_PIXELS, _CLASS_WISE_PIXELS = 0.004, 0.025
_CLASS_WISE_BATCH, _ROUNDS = 20, 2
_JOINED = 5  # masks, of which the mean is a seed of those that send each class to another
_SEEDS = 2
_POLISHES = 10

Pair = tuple[int, int]  # source and target
Sooner = dict[Pair, float]  # how much sooner pairs give way than was to be expected


class Masks(NamedTuple):
    """Of all pairs, the smallest that carry images of the source class to the target.

    ``sizes`` ``(P,)`` are logarithms; ``mask`` and ``pattern`` ``(P, 1, H, W, 1 or C)`` are as a
    search has them, before the logistic function.
    """

    pairs: list[Pair]
    sizes: Floats
    mask: Float32
    pattern: Float32

    def size_of(self, pair: Pair) -> float:
        """Of a pair, as a logarithm."""
        return float(self.sizes[self.pairs.index(pair)])


@dataclass(frozen=True)
class PairSeeker:
    """Searches for patches that do one thing to one class and another to others.

    Args:
        seeker: Searches on the images that may be seen.
        given: ``(N,)`` the classes that these images are given, which may be wrong; no patch is
            searched on one that is given its target without it.
        pairs: Those that can be searched for on some images and tried on others; see `pairs_on`.
    """

    seeker: Seeker
    given: Int64
    pairs: list[Pair]

    @cached_property
    def masks(self) -> Masks:
        """Of all pairs of a source and another class.

        Raises:
            NotSearchedError: There are too many, or no class to send images from; or too little
                time.
        """
        classes, settings = len(self.seeker.classes), self.seeker.settings
        if not pairs_searched(classes, settings):
            raise NotSearchedError(
                f"{classes * (classes - 1):,} pairs of {classes} classes are more than the "
                f"{settings.most_pairs:,} that the plan lets it search; raise most_pairs, and the "
                "search takes longer with every pair"
            )
        if not self.pairs:
            raise NotSearchedError(
                "no pair of classes has images both to search a patch on and to try it on that are "
                "not given the target already; add images"
            )
        steps, batch = _of_masks(settings)
        search = self.seeker.search(Patches(), self._targets(self.pairs), steps, batch, PAIRS)
        found = self.seeker.runs.last("patches from class to class", search).found
        sizes = np.log(search.kind.sizes(found).astype(np.float64))
        return Masks(self.pairs, sizes, found["mask"], found["pattern"])

    @property
    def sooner(self) -> Sooner:
        """How much smaller each mask is than those of like pairs; see `surprises`."""
        found = surprises(self.masks.pairs, self.masks.sizes, len(self.seeker.classes))
        return dict(zip(self.masks.pairs, found.tolist(), strict=True))

    def soonest(self) -> list[Found]:
        """Opaque patches of the pairs that give way soonest; their masks are searched on.

        Raises:
            NotSearchedError: As for masks.
            BackboneError: There is no gradient.
        """
        seeker, pairs = self.seeker, first_of(self.sooner)
        targets, rows = self._targets(pairs), [self.masks.pairs.index(pair) for pair in pairs]
        start = PatchesFrom(self.masks.mask[rows], self.masks.pattern[rows])
        steps, batch = _steps_on(seeker.settings), seeker.settings.batch
        search = seeker.search(start, targets, steps, batch, SMALLER_PAIRS)
        last = seeker.runs.last("smaller patches from class to class", search)
        stamps = seeker.opaque("pairs", _PIXELS, last, targets)
        named = zip(pairs, stamps, strict=True)
        return [Found(stamped(self._name("patch", pair), *of), *pair) for pair, of in named]

    def windows(self, pairs: Sequence[Pair]) -> list[Found]:
        """Opaque windows under which images of each pair's source are ahead by most.

        Raises:
            NotSearchedError: As for masks.
            BackboneError: There is no gradient.
        """
        seeker, masks = self.seeker, self.masks
        of = differentiable(seeker.runs.classifier, seeker.batch)
        _, height, width, _ = seeker.images.shape
        steps = gradients_of_window(height, width, seeker.settings.steps)
        searches = (
            raised(
                of,
                seeker.images[targets >= 0],
                pair[1],
                masks.pattern[masks.pairs.index(pair)],
                seeker.settings.steps,
                [seeker.seed, WINDOWS],
            )
            for pair, targets in zip(pairs, self._targets(pairs), strict=True)
        )
        taken = seeker.runs.shown("windows", steps * len(pairs), chain.from_iterable(searches))
        last = islice(taken, len(steps) - 1, None, len(steps))
        named = zip(pairs, last, strict=True)
        return [Found(stamped(self._name("window", pair), *of), *pair) for pair, of in named]

    def _name(self, what: str, pair: Pair) -> str:
        source, to = (self.seeker.classes[k] for k in pair)
        return f"{what} from {source} to {to}"

    def class_wise(
        self, sooner: Sooner, ask: Callable[[Sequence[Stamp]], Hits], draw: int = CLASS_WISE
    ) -> Found:
        """The opaque patch that sends most images of each class to one other, one to one.

        The map from class to class at first is the one whose pairs give way soonest together; then
        the one that most images follow under the patches that were found for it.

        Args:
            sooner: Of some of the pairs.
            ask: Gives the classes of the images that may be seen, under stamps.
            draw: Keeps what it draws from other searches.

        Raises:
            NotSearchedError: As for masks.
        """
        seeker, names = self.seeker, self.seeker.classes
        to, seeds, start = self._first_map(sooner)
        maps, steps = np.tile(to, (len(seeds), 1)), _steps_on(seeker.settings)
        for _ in range(_ROUNDS):
            targets = self._mapped(maps)
            search = seeker.search(start, targets, steps, _CLASS_WISE_BATCH, draw)
            last = seeker.runs.last("patches from each class to another", search)
            start = PatchesFrom(last.found["mask"], last.found["pattern"])
            soft = zip(logistic(start.mask[:, 0]), logistic(start.pattern[:, 0]), strict=True)
            maps, _ = self._followed(ask, [stamped(str(i), *of) for i, of in enumerate(soft)])
        targets = self._mapped(maps)
        opaque = seeker.opaque("class-wise patches", _CLASS_WISE_PIXELS, last, targets)
        called = [f"patch from each class, {names[s]} to {names[t]}" for s, t in seeds]
        stamps = [stamped(name, *of) for name, of in zip(called, opaque, strict=True)]
        maps, shares = self._followed(ask, stamps)
        best = int(np.argmax(shares))
        return Found(stamps[best], *seeds[best], tuple(maps[best].tolist()))

    def _first_map(self, sooner: Sooner) -> tuple[Int64, list[Pair], PatchesFrom]:
        """A map ``(K,)``, its pairs that give way soonest, and what a search begins with for each.

        That is a pair's own mask, but for the first: the mean of several pairs' masks.
        """
        masks, classes = self.masks, len(self.seeker.classes)
        values = np.full((classes, classes), min(sooner.values()) - 1)  # of other pairs
        values[tuple(np.transpose(list(sooner)))] = list(sooner.values())
        to = matched(values)
        mapped = [pair for pair in sorted(sooner, key=sooner.__getitem__) if to[pair[0]] == pair[1]]
        rows = [masks.pairs.index(pair) for pair in reversed(mapped)]
        joined = joined_masks(masks.mask[rows[:_JOINED]], masks.pattern[rows[:_JOINED]])
        own = rows[1:_SEEDS]
        mask, pattern = (
            np.concatenate([one, of[own]])
            for one, of in zip(joined, (masks.mask, masks.pattern), strict=True)
        )
        return to, [masks.pairs[i] for i in rows[:_SEEDS]], PatchesFrom(mask, pattern)

    def _followed(
        self, ask: Callable[[Sequence[Stamp]], Hits], stamps: Sequence[Stamp]
    ) -> tuple[Int64, Floats]:
        """The map ``(S, K)`` that most images follow under each stamp, and how many do ``(S,)``."""
        hits = ask(stamps)
        given = [hits.stamped[each.key] for each in stamps]
        maps = [one_to_one(hits.labels, each, len(hits.classes)) for each in given]
        shares = [(of == to[hits.labels]).mean() for of, to in zip(given, maps, strict=True)]
        return np.stack(maps), np.array(shares)

    def _targets(self, pairs: Sequence[Pair]) -> Int64:
        """Targets ``(P, N)``: of each pair for the images of its source, -1 for others."""
        labels = self.seeker.labels
        return self._left(np.stack([np.where(labels == source, to, -1) for source, to in pairs]))

    def _mapped(self, maps: Int64) -> Int64:
        """Targets ``(S, N)`` by maps from class to class ``(S, K)``."""
        return self._left(maps[:, self.seeker.labels])

    def _left(self, targets: Int64) -> Int64:
        """Targets ``(P, N)``, but -1 for images that are given theirs already."""
        return np.where(targets == self.given, -1, targets)


def surprises(pairs: Sequence[Pair], sizes: Floats, classes: int) -> Floats:
    """How many times smaller masks are than those of like pairs ``(P,)``, as a logarithm.

    Like pairs are those of the same source, those of the same target, and, as two classes that look
    alike are near to each other both ways, half of what the way back has as well.

    Args:
        pairs: P of them, sources and targets.
        sizes: ``(P,)`` logarithms.
        classes: How many there are.

    >>> pairs = [(source, to) for source in range(4) for to in range(4) if source != to]
    >>> sizes = [float(source + target) for source, target in pairs]  # only class by class
    >>> sizes[pairs.index((1, 3))] -= 2
    >>> found = surprises(pairs, np.array(sizes), 4)
    >>> pairs[found.argmax()], float(found.max().round(2))
    ((1, 3), 2.0)
    """
    at = tuple(np.transpose(pairs))
    left = np.ma.masked_invalid(np.full((classes, classes), np.nan))
    left[at] = sizes
    for _ in range(_POLISHES):
        for axis in (1, 0):
            left -= np.ma.median(left, axis=axis, keepdims=True)  # type: ignore[no-untyped-call]
    back = left.T.filled(0)
    return np.asarray((back / 2 - left)[at], np.float64)


def first_of(sooner: Sooner) -> list[Pair]:
    """The pairs that are tried: those that give way soonest, in this order."""
    return sorted(sooner, key=lambda pair: -sooner[pair])[:PAIRS_TRIED]


def joined_masks(mask: Float32, pattern: Float32) -> tuple[Float32, Float32]:
    """The mean of masks ``(n, 1, H, W, 1)``, and of patterns under them; n becomes 1."""
    shares, colours = logistic(mask), logistic(pattern)
    mean = shares.mean(axis=0, keepdims=True)
    of_colours = (shares * colours).sum(axis=0, keepdims=True) / shares.sum(axis=0, keepdims=True)
    return _logits(mean), _logits(of_colours)


def _logits(shares: Float32) -> Float32:
    within = shares.clip(0.02, 0.98)
    return np.asarray(np.log(within / (1 - within)), np.float32)


def gradients_of_pairs(classes: int, settings: TriggerSearch) -> int:
    """How many gradients of single images the searches for pairs take, without a reference.

    >>> gradients_of_pairs(10, TriggerSearch()), gradients_of_pairs(100, TriggerSearch())
    (22040, 0)
    """
    once = _of_tried(classes, settings) + _class_wise(classes, settings)
    return _of_all(classes, settings) + once


def gradients_of_pairs_beside(classes: int, settings: TriggerSearch) -> tuple[int, int]:
    """How many more they take where there is a reference, and how many of the reference.

    >>> gradients_of_pairs_beside(10, TriggerSearch())
    (4400, 14400)
    """
    return _class_wise(classes, settings), _of_all(classes, settings)


def gradients_of_windows(classes: int, height: int, width: int, settings: TriggerSearch) -> int:
    """How many gradients of single images each backbone takes; as many again at the most.

    >>> gradients_of_windows(10, 32, 32, TriggerSearch())
    7608
    """
    each = sum(gradients_of_window(height, width, settings.steps))
    return pairs_tried(classes, settings) * each


def _of_all(classes: int, settings: TriggerSearch) -> int:
    steps, batch = _of_masks(settings)
    return pairs_searched(classes, settings) * steps * batch


def _of_tried(classes: int, settings: TriggerSearch) -> int:
    tried = pairs_tried(classes, settings)
    return tried * _steps_on(settings) * settings.batch + of_colours(tried)


def _class_wise(classes: int, settings: TriggerSearch) -> int:
    seeds = _seeds(classes, settings)
    return seeds * _ROUNDS * _steps_on(settings) * _CLASS_WISE_BATCH + of_colours(seeds)


def _of_masks(settings: TriggerSearch) -> tuple[int, int]:
    """Steps and images a step, where masks of all pairs are searched for."""
    return round(0.8 * settings.steps), max(2, settings.batch // 6)


def _steps_on(settings: TriggerSearch) -> int:
    """Steps of a search that goes on from masks that were found."""
    return round(0.4 * settings.steps)


def pairs_tried(classes: int, settings: TriggerSearch) -> int:
    """How many pairs of so many classes are tried."""
    return min(PAIRS_TRIED, pairs_searched(classes, settings))


def class_wise_passes(classes: int, settings: TriggerSearch, searched: int, tried: int) -> int:
    """How many images the search for a patch from each class to another passes, and its trial."""
    seeds = _seeds(classes, settings)
    return (_ROUNDS + 1) * seeds * searched + tried if seeds else 0


def _seeds(classes: int, settings: TriggerSearch) -> int:
    return min(_SEEDS, pairs_searched(classes, settings))


def one_to_one(labels: Int64, stamped: NDArray[np.int16], classes: int) -> Int64:
    """The other class ``(K,)`` of each class, no two the same, that most images are sent to.

    Shares of classes count alike, however many images they have.

    >>> one_to_one(np.array([0, 0, 0, 1, 1, 2]), np.array([1, 1, 2, 2, 1, 0], np.int16), 3).tolist()
    [1, 2, 0]
    """
    counts = sent(labels, stamped, classes)
    return matched(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))


def matched(values: Floats) -> Int64:
    """The other class ``(K,)`` of each class, no two the same, of the largest sum of values.

    >>> matched(np.array([[9, 2, 1], [0, 9, 5], [4, 0, 9]])).tolist()
    [1, 2, 0]
    """
    # scipy takes long to import, and estimates do without it
    from scipy.optimize import linear_sum_assignment

    others = np.array(values, np.float64)
    np.fill_diagonal(others, others.min() - np.ptp(others) * len(others) - 1)  # never the best
    return np.asarray(linear_sum_assignment(-others)[1], np.int64)


def pairs_searched(classes: int, settings: TriggerSearch) -> int:
    """How many pairs of so many classes are searched: all, or none where these are too many.

    >>> pairs_searched(10, TriggerSearch()), pairs_searched(100, TriggerSearch())
    (90, 0)
    """
    pairs = classes * (classes - 1)
    return pairs if pairs <= settings.most_pairs else 0


def pairs_on(labels: Int64, given: Int64, classes: int, *sides: Int64) -> list[Pair]:
    """Pairs of a source and another class that images of every side can be sent by.

    Args:
        labels: ``(N,)`` classes of images.
        given: ``(N,)`` those that they are given; one that is given the target is not sent there.
        classes: How many there are.
        sides: Rows of images.

    >>> labels, given = np.array([0, 0, 1, 1]), np.array([0, 0, 1, 0])
    >>> pairs_on(labels, given, 2, np.array([0, 2]), np.array([1, 3]))
    [(0, 1)]
    """
    sendable = np.ones((classes, classes), bool)
    for rows in sides:
        counts = sent(labels[rows], given[rows], classes)
        sendable &= counts.sum(axis=1, keepdims=True) > counts
    np.fill_diagonal(sendable, val=False)
    return [(source, to) for source, to in np.argwhere(sendable).tolist()]
