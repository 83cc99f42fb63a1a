"""What is searched for, and what becomes of it: from goals to triggers that can be stamped."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gate.arrays import Float32, Int64
from gate.measure.responses import Hits
from gate.probes.trigger_search import TriggerSearch
from gate.probes.trigger_search.running import Runs, differentiable
from gate.triggers.search import (
    Colours,
    Kind,
    Patches,
    Search,
    State,
    goals_left,
    logistic,
    opaque,
    patterns_on,
)
from gate.triggers.stamp import Stamp

TRIED = 2  # triggers that are tried of each search for one class
_PIXELS = 0.0125  # of an image: what is made opaque of a mask
_PATTERN_BATCH = 8
_COLOUR_STEPS, _COLOUR_BATCH = 30, 20
# each search draws by itself
_PATCHES, _PATTERNS, PAIRS, _COLOURS, CLASS_WISE, SMALLER_PAIRS, CLASS_WISE_BESIDE = range(7)
MARGINS, SQUARES, WINDOWS = 7, 8, 9

Limits = tuple[tuple[float, int], ...]
_LIMITS_OF_PATTERNS: Limits = ((0.3, 20),)  # of many classes, the faintest twenty go on


class Found(NamedTuple):
    """A trigger that was found; ``source`` is None where it carries images of all other classes.

    ``to`` has for each class the one that it is sent to, of a trigger that sends each to another;
    it was found on the images that the search saw.
    """

    stamp: Stamp
    source: int | None
    target: int
    to: tuple[int, ...] = ()

    def followed(self, hits: Hits) -> NDArray[np.bool_]:
        """Which images ``(N,)`` it carries where ``to`` sends their class."""
        return np.asarray(hits.stamped[self.stamp.key] == np.array(self.to)[hits.labels])

    def about(self, classes: Sequence[str]) -> dict[str, str]:
        """The names of its classes, as measurements have them."""
        source = {} if self.source is None else {"source": classes[self.source]}
        return {**source, "target": classes[self.target]}

    def called(self, name: str) -> "Found":
        """The same, by another name."""
        return self._replace(stamp=replace(self.stamp, name=name))


class Faint(NamedTuple):
    """Patterns over the whole image that carry images of other classes to targets, faintest first.

    ``added`` ``(P, H, W, C)`` is for images in 0 .. 1, and ``lengths`` ``(P,)`` are as a search has
    them: of one value a cell.
    """

    targets: tuple[int, ...]
    added: Float32
    lengths: Float32


@dataclass(frozen=True)
class Seeker:
    """Searches for triggers on the images that may be seen.

    Args:
        runs: On the classifier.
        images: ``(N, H, W, C)`` in 0 .. 1.
        labels: ``(N,)`` their classes.
        classes: Names of the K classes.
        settings: How long.
        batch: Images per forward and backward pass.
        seed: Of all that is drawn.
    """

    runs: Runs
    images: Float32
    labels: Int64
    classes: tuple[str, ...]
    settings: TriggerSearch
    batch: int
    seed: int

    @cached_property
    def smallest(self) -> list[Found]:
        """Opaque patches of the classes where masks are smallest, the smallest first."""
        return self.patches_to(range(len(self.classes)), _PIXELS)

    def patches_to(self, classes: Sequence[int], share: float) -> list[Found]:
        """Opaque patches of a share of the pixels, to those of some classes with small masks."""
        targets = to_each(self.labels, len(self.classes))[list(classes)]
        limits = limits_of_classes(len(classes))
        steps, batch = self.settings.steps, self.settings.batch
        search = self.search(Patches(), targets, steps, batch, _PATCHES, limits)
        last = self.runs.last("patches", search)
        smallest = last.only(search.ranked(last)[:TRIED])
        stamps = self.opaque("patches", share, smallest, targets)
        found = zip((classes[i] for i in smallest.goals.tolist()), stamps, strict=True)
        return [Found(stamped(f"patch to {self.classes[k]}", *of), None, k) for k, of in found]

    def patterns(self) -> list[Found]:
        """The faintest patterns, at half the length that the median class needs.

        Of many classes, that is the median of those that were searched for to the end.
        """
        faint = self.faint
        wanted = float(np.median(faint.lengths)) / 2
        return [self.pattern(faint, k, wanted) for k in faint.targets[:TRIED]]

    @cached_property
    def faint(self) -> Faint:
        """The faintest pattern to each class that was searched for to the end."""
        return self.faint_to(range(len(self.classes)))

    def faint_to(self, classes: Sequence[int]) -> Faint:
        """The faintest pattern to each of some classes; of many, to those of the faintest."""
        targets = to_each(self.labels, len(self.classes))[list(classes)]
        steps, kind = self.settings.steps, patterns_on(*self.images.shape[1:3])
        search = self.search(kind, targets, steps, _PATTERN_BATCH, _PATTERNS, _LIMITS_OF_PATTERNS)
        last = self.runs.last("patterns", search)
        last = last.only(search.ranked(last))
        added = kind.by_pixel(last.found, self.images)[:, 0]
        lengths = kind.sizes(last.found)
        return Faint(tuple(classes[i] for i in last.goals.tolist()), added, lengths)

    def pattern(self, faint: Faint, target: int, length: float) -> Found:
        """One of the patterns at another length, rounded to 8 bits."""
        row = faint.targets.index(target)
        added = np.rint(255 * faint.added[row] * (length / faint.lengths[row]))
        keep = np.ones((*added.shape[:2], 1), np.float32)
        name = f"pattern to {self.classes[target]}"
        return Found(Stamp(name, keep, added.astype(np.float32), 0, 0), None, target)

    def logits(self, stamp: Stamp | None) -> Float32:
        """Of its images, under a stamp that covers them ``(N, K)``."""
        images = self.images
        if stamp is not None:
            images = np.asarray(stamp.keep * images + stamp.add / 255, np.float32)
        return differentiable(self.runs.classifier, self.batch)(images, self.labels)[0]

    def search(
        self, kind: Kind, targets: Int64, steps: int, batch: int, draw: int, limits: Limits = ()
    ) -> Search:
        """A search on the images that may be seen; ``draw`` keeps what it draws from others."""
        of = differentiable(self.runs.classifier, self.batch)
        return Search(kind, of, self.images, targets, steps, batch, (self.seed, draw), limits)

    def opaque(
        self, what: str, share: float, state: State, targets: Int64
    ) -> Iterable[tuple[Float32, Float32]]:
        """Opaque masks ``(H, W, 1)`` and patterns ``(H, W, C)`` of the goals of a state.

        Args:
            what: Names it where progress is shown.
            share: Of the pixels, those where the mask is largest.
            state: Of a search for masks.
            targets: ``(P, N)`` of all goals that the search began with.
        """
        pixels = max(1, round(share * self.images.shape[1] * self.images.shape[2]))
        masks = opaque(state.found["mask"], pixels)
        colours = Colours(masks, state.found["pattern"])
        wanted = targets[state.goals]
        search = self.search(colours, wanted, _COLOUR_STEPS, _COLOUR_BATCH, _COLOURS)
        patterns = logistic(self.runs.last(f"colours of {what}", search).values["pattern"])
        return zip(masks[:, 0], patterns[:, 0], strict=True)


def stamped(name: str, mask: Float32, pattern: Float32) -> Stamp:
    """A stamp of a mask ``(H, W, 1)`` and a pattern ``(H, W, C)``, both in 0 .. 1.

    Colours are rounded to 8 bits.
    """
    return Stamp(name, 1 - mask, mask * np.rint(255 * pattern), 0, 0)


def gradients(classes: int, settings: TriggerSearch) -> int:
    """How many gradients of single images the searches for one class take.

    >>> gradients(10, TriggerSearch())
    15800
    """
    return of_patches(classes, settings) + of_patterns(classes, settings)


def of_patches(classes: int, settings: TriggerSearch) -> int:
    """How many gradients it takes to search for patches to so many classes."""
    steps = _steps_of_all(classes, limits_of_classes(classes), settings)
    return steps * settings.batch + of_colours(min(TRIED, classes))


def of_patterns(classes: int, settings: TriggerSearch) -> int:
    """How many gradients it takes to search for patterns to so many classes.

    >>> of_patterns(10, TriggerSearch()), of_patterns(100, TriggerSearch())
    (8000, 35200)
    """
    return _steps_of_all(classes, _LIMITS_OF_PATTERNS, settings) * _PATTERN_BATCH


def _steps_of_all(classes: int, limits: Limits, settings: TriggerSearch) -> int:
    """How many steps a search takes for all of its classes together."""
    shares = (step / settings.steps for step in range(settings.steps))
    return sum(goals_left(classes, limits, share) for share in shares)


def of_colours(patches: int) -> int:
    """How many gradients it takes to search for the colours of so many opaque patches."""
    return patches * _COLOUR_STEPS * _COLOUR_BATCH


def limits_of_classes(classes: int) -> Limits:
    """All for 30 % of the steps, then the half of smaller masks, from 50 % on three."""
    return ((0.3, max(3, (classes + 1) // 2)), (0.5, 3))


def to_each(labels: Int64, classes: int) -> Int64:
    """Targets ``(K, N)``: each class for the images of all others, -1 for its own.

    >>> to_each(np.array([0, 1]), 2).tolist()
    [[-1, 0], [1, -1]]
    """
    each = np.arange(classes)[:, None]
    return np.where(labels == each, -1, each)
