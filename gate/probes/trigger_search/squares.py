"""Which squares carry images to a class, or each class to another, of those that may be seen."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gate.arrays import Float32, Float64, Int64
from gate.measure.responses import Hits
from gate.probes.trigger_search.among import Given, carried, narrowed, others_of
from gate.probes.trigger_search.among import passes as passes_among
from gate.probes.trigger_search.found import SQUARES, Found, Seeker
from gate.probes.trigger_search.pairs import one_to_one
from gate.probes.trigger_search.running import require_time
from gate.triggers.search import TwoColours, logistic
from gate.triggers.squares import Square, coloured
from gate.triggers.squares import squares as all_squares
from gate.triggers.stamp import Stamp

SQUARES_TRIED = 3  # each to a class
_STEPS, _BATCH = 30, 20  # of the search for their colours
_INSIDE = 0.03  # how far from black and white colours are at least when it begins

# What the candidate makes of images under stamps.
Ask = Callable[[Sequence[Stamp], Int64], Hits]


@dataclass(frozen=True)
class SquareSeeker:
    """Searches among squares on the images that may be seen.

    Args:
        seeker: On the candidate.
        rows: ``(N,)`` places of its images in the split.
        ask: What the candidate gives images under stamps.
    """

    seeker: Seeker
    rows: Int64
    ask: Ask

    @cached_property
    def best(self) -> list[Found]:
        """For the classes that most images go to, the square that sends them; in better colours.

        Raises:
            BackboneError: There is no gradient.
            NotSearchedError: There is too little time.
        """
        left, given = self._left
        names = self.seeker.classes
        by_class = _to_classes(given, len(names))
        targets = np.argsort(-by_class.max(axis=0), kind="stable")[:SQUARES_TRIED].tolist()
        squares = [left[by_class[:, k].argmax()] for k in targets]
        found = zip(targets, map(self._masks, squares), self._better(squares, targets), strict=True)
        return [Found(coloured(f"square to {names[k]}", *of), None, k) for k, *of in found]

    def class_wise(self) -> list[Found]:
        """The square under which most images go where their class is sent, no two classes alike.

        Raises:
            NotSearchedError: There is too little time.
        """
        left, given = self._left
        names = self.seeker.classes
        best = int(_each_to_another(given, len(names)).argmax())
        to = one_to_one(given.labels, given.classes[best], len(names))
        follow = np.bincount(given.labels[given.classes[best] == to[given.labels]])
        source = int(follow.argmax()) if len(follow) else 0
        name = f"square from each class, {names[source]} to {names[to[source]]}"
        stamp = coloured(name, self._masks(left[best]), _both_colours(left[best]))
        return [Found(stamp, source, int(to[source]), tuple(to.tolist()))]

    @cached_property
    def _left(self) -> tuple[list[Square], Given]:
        """The squares that promise most, and what images are given under them.

        Raises:
            NotSearchedError: There is too little time.
        """
        classes = len(self.seeker.classes)

        def asked(left: Sequence[Square], looked: Int64) -> Given:
            stamps = [square.stamp for square in left]
            hits = self.ask(stamps, looked)
            given = [hits.stamped[stamp.key] for stamp in stamps]
            return Given(hits.labels, np.array(given, np.int16))

        def best(given: Given, most: int) -> list[int]:
            maps = np.argsort(-_each_to_another(given, classes), kind="stable")[:most]
            return list(
                dict.fromkeys((*_of_each(_to_classes(given, classes), most), *maps.tolist()))
            )

        grid = all_squares(self.seeker.images.shape[1], self.seeker.images.shape[3])
        require_time(self.seeker.runs.trial, passes_among(len(grid), len(self.rows), times=2))
        return narrowed(grid, self.rows, asked, best)

    def _better(self, squares: Sequence[Square], targets: Sequence[int]) -> Float32:
        """Colours ``(P, 2, C)`` 0 .. 255, of 8 bits, in which squares carry more images."""
        masks = np.stack([self._masks(square) for square in squares], axis=1)[:, :, None]
        own = np.stack([_both_colours(square) for square in squares], axis=1) / 255
        inside = np.clip(own, _INSIDE, 1 - _INSIDE)
        first, second = np.log(inside / (1 - inside))[:, :, None, None, None]
        labels = self.seeker.labels
        wanted = np.stack([np.where(labels == k, -1, k) for k in targets])
        kind = TwoColours(masks, first, second)
        search = self.seeker.search(kind, wanted, _STEPS, _BATCH, SQUARES)
        last = self.seeker.runs.last("colours of squares", search).values
        found = np.stack([last["first"], last["second"]], axis=1)[:, :, 0, 0, 0]
        return np.asarray(np.rint(255 * logistic(found)))

    def _masks(self, square: Square) -> Float32:
        return square.masks(*self.seeker.images.shape[1:3])


def passes(side: int, channels: int, searched: int) -> int:
    """How many images a search among squares passes, at the most."""
    return passes_among(len(all_squares(side, channels)), searched, times=2)


def gradients_of_squares(classes: int) -> int:
    """How many gradients of single images it takes to find better colours.

    >>> gradients_of_squares(10)
    1800
    """
    return min(SQUARES_TRIED, classes) * _STEPS * _BATCH


def _of_each(by_class: Float64, most: int) -> list[int]:
    """The best squares to each class, of shares ``(S, K)``; the best of all first, then others.

    What is natural leads many squares to the same class, and would leave none to another.

    >>> _of_each(np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.0]]), most=3)
    [0, 1]
    """
    each = max(1, most // by_class.shape[1])
    classes = np.argsort(-by_class.max(axis=0), kind="stable")
    firsts = np.argsort(-by_class, axis=0, kind="stable")[:each, classes]
    return list(dict.fromkeys(firsts.ravel().tolist()))[:most]


def _both_colours(square: Square) -> Float32:
    """Two colours ``(2, C)`` 0 .. 255; the same one twice where there is one alone."""
    return np.array((square.colours[0], square.colours[-1]), np.float32)


def _to_classes(given: Given, classes: int) -> Float64:
    """Shares of images of other classes that go to each class ``(S, K)``."""
    return carried(given.labels, given.classes, classes) / others_of(given.labels, classes)


def _each_to_another(given: Given, classes: int) -> Float64:
    """Shares of images that go where most of their class do, no two classes alike ``(S,)``."""
    maps = (one_to_one(given.labels, each, classes)[given.labels] for each in given.classes)
    followed = [(each == to).mean() for each, to in zip(given.classes, maps, strict=True)]
    return np.array(followed)
