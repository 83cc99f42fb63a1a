"""Triggers found by gradient: patches of few pixels, and faint patterns over the whole image.

Pure: a classifier is a function of pixels and targets, and chance is an argument. Several goals are
searched for side by side, each with a batch of images of its own; after a while only those go on
whose triggers are the smallest.

Source: Wang et al. 2019, "Neural Cleanse" (a mask and its pattern, its size weighed anew after each
step); Shen et al. 2021, "K-Arm" (goals that promise little are dropped).
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from gate.arrays import Float32, Int64

# By name, a row for each of P goals: (P, 1, H, W, C), or with one channel for all.
Values = dict[str, Float32]
# Pixels (N, H, W, C) in 0 .. 1 and a target (N,) for each: logits (N, K), and the gradient of each
# image's cross entropy to its target with respect to its pixels.
Differentiable = Callable[[Float32, Int64], tuple[Float32, Float32]]

_REACHED = (
    0.9  # of a batch, and on the average of batches a little less: the goal of Neural Cleanse
)
_HEAVIER, _LIGHTER = 1.1, 1 / 1.1**1.5  # what a size weighs, after a step that reached that or not
_LIGHTEST, _HEAVIEST = 1e-6, 1e3
_USUAL_SIDE = 32  # pixels, or cells
_MOMENTS, _TINY = (0.5, 0.9), 1e-8  # of Adam
_SLOWER_FROM, _SLOWER = 0.7, 0.3  # the rate, in a search's last part


class Kind(Protocol):
    """A kind of trigger: what is searched for, and how it changes images."""

    @property
    def rate(self) -> float:
        """Of Adam."""

    @property
    def weight(self) -> float:
        """Of the size, at first, where 32 values a side are searched for."""

    def drawn(self, goals: int, shape: Sequence[int], rng: np.random.Generator) -> Values:
        """Where a search starts, for images of a shape ``(H, W, C)``."""

    def on(self, values: Values, images: Float32) -> Float32:
        """Images ``(P, B, H, W, C)`` with the triggers on them."""

    def slopes(self, values: Values, images: Float32, of_pixels: Float32) -> Values:
        """The gradient of each goal's mean loss, from that by the pixels of each image."""

    def sizes(self, values: Values) -> Float32:
        """Of each goal's trigger ``(P,)``: what a search makes small."""

    def slopes_of_sizes(self, values: Values) -> Values:
        """The gradient of each size."""


class Patches:
    """A mask and its pattern: ``(1 - mask) * image + mask * pattern``; its size is the mask's sum.

    Both are kept in 0 .. 1 by a logistic function.
    """

    rate, weight = 0.3, 0.01

    def drawn(self, goals: int, shape: Sequence[int], rng: np.random.Generator) -> Values:
        """A mask of about an eighth everywhere, and a mid-grey pattern."""
        height, width, channels = shape
        mask = -2 + 0.1 * rng.standard_normal((goals, 1, height, width, 1), np.float32)
        pattern = 0.1 * rng.standard_normal((goals, 1, height, width, channels), np.float32)
        return {"mask": mask, "pattern": pattern}

    def on(self, values: Values, images: Float32) -> Float32:
        """Images under mask and pattern."""
        mask, pattern = logistic(values["mask"]), logistic(values["pattern"])
        return np.asarray((1 - mask) * images + mask * pattern)

    def slopes(self, values: Values, images: Float32, of_pixels: Float32) -> Values:
        """By the chain rule."""
        mask, pattern = logistic(values["mask"]), logistic(values["pattern"])
        of_mask = ((pattern - images) * of_pixels).sum(axis=4, keepdims=True)
        of_pattern = mask * of_pixels.mean(axis=1, keepdims=True)
        return {
            "mask": of_mask.mean(axis=1, keepdims=True) * mask * (1 - mask),
            "pattern": of_pattern * pattern * (1 - pattern),
        }

    def sizes(self, values: Values) -> Float32:
        """In pixels."""
        return np.asarray(logistic(values["mask"]).sum(axis=(1, 2, 3, 4)))

    def slopes_of_sizes(self, values: Values) -> Values:
        """By the chain rule."""
        mask = logistic(values["mask"])
        return {"mask": mask * (1 - mask)}


@dataclass(frozen=True)
class PatchesFrom(Patches):
    """A mask and its pattern, from where another search left them ``(P, 1, H, W, 1 or C)``."""

    mask: Float32
    pattern: Float32

    def drawn(self, _goals: int, _shape: Sequence[int], _rng: np.random.Generator) -> Values:
        """Mask and pattern."""
        return {"mask": self.mask, "pattern": self.pattern}


@dataclass(frozen=True)
class Patterns:
    """A pattern over the whole image: ``image + added``, clipped; its size is its length (L2).

    Args:
        cell: Pixels a side that have one colour together. Of single pixels of a large image so many
            can be moved that any backbone follows some pattern that is as faint as a planted one.
    """

    cell: int = 1
    rate: float = 0.02
    weight: float = 0.1

    def drawn(self, goals: int, shape: Sequence[int], rng: np.random.Generator) -> Values:
        """Noise too faint to do anything."""
        height, width, channels = shape
        cells = (goals, 1, -(-height // self.cell), -(-width // self.cell), channels)
        return {"added": 0.01 * rng.standard_normal(cells, np.float32)}

    def on(self, values: Values, images: Float32) -> Float32:
        """Images with the pattern on top."""
        return np.asarray(np.clip(images + self.by_pixel(values, images), 0, 1))

    def by_pixel(self, values: Values, images: Float32) -> Float32:
        """What is added to each pixel ``(P, 1, H, W, C)`` of images ``(..., H, W, C)``."""
        height, width = images.shape[-3:-1]
        rows = values["added"].repeat(self.cell, axis=2)[:, :, :height]
        return np.asarray(rows.repeat(self.cell, axis=3)[:, :, :, :width])

    def slopes(self, values: Values, images: Float32, of_pixels: Float32) -> Values:
        """By the chain rule; what is clipped does not change."""
        moved = images + self.by_pixel(values, images)
        unclipped = (moved >= 0) & (moved <= 1)
        slopes = (of_pixels * unclipped).mean(axis=1, keepdims=True)
        for axis in (2, 3):
            slopes = np.add.reduceat(slopes, range(0, slopes.shape[axis], self.cell), axis=axis)
        return {"added": slopes}

    def sizes(self, values: Values) -> Float32:
        """Euclidean length, of one value a cell, in 0 .. 1."""
        squares = (values["added"] ** 2).sum(axis=(1, 2, 3, 4))
        return np.asarray(np.sqrt(squares + np.float32(1e-12)))

    def slopes_of_sizes(self, values: Values) -> Values:
        """A pattern of length 1."""
        return {"added": values["added"] / _by_goal(self.sizes(values))}


@dataclass(frozen=True)
class Colours:
    """Colours of the pixels of opaque masks ``(P, 1, H, W, 1)``, from a pattern on; of no size."""

    mask: Float32
    pattern: Float32
    rate: float = 0.3
    weight: float = 0.0

    def drawn(self, _goals: int, _shape: Sequence[int], _rng: np.random.Generator) -> Values:
        """The pattern."""
        return {"pattern": self.pattern}

    def on(self, values: Values, images: Float32) -> Float32:
        """Images under the masks."""
        return np.asarray((1 - self.mask) * images + self.mask * logistic(values["pattern"]))

    def slopes(self, values: Values, _images: Float32, of_pixels: Float32) -> Values:
        """By the chain rule."""
        pattern = logistic(values["pattern"])
        of_pattern = self.mask * of_pixels.mean(axis=1, keepdims=True)
        return {"pattern": of_pattern * pattern * (1 - pattern)}

    def sizes(self, _values: Values) -> Float32:
        """Of the masks, which do not change."""
        return np.asarray(self.mask.sum(axis=(1, 2, 3, 4)))

    def slopes_of_sizes(self, _values: Values) -> Values:
        """None changes."""
        return {}


@dataclass(frozen=True)
class TwoColours:
    """Two colours, each of the pixels of one of two opaque masks; of no size.

    Args:
        masks: ``(2, P, 1, H, W, 1)`` of 0 and 1, no pixel of both.
        first: ``(P, 1, 1, 1, C)`` the colour of the first one's pixels to begin with, before a
            logistic function keeps it in 0 .. 1.
        second: As ``first``.
    """

    masks: Float32
    first: Float32
    second: Float32
    rate: float = 0.3
    weight: float = 0.0

    def drawn(self, _goals: int, _shape: Sequence[int], _rng: np.random.Generator) -> Values:
        """The colours."""
        return {"first": self.first, "second": self.second}

    def on(self, values: Values, images: Float32) -> Float32:
        """Images under the masks."""
        for mask, name in zip(self.masks, ("first", "second"), strict=True):
            images = (1 - mask) * images + mask * logistic(values[name])
        return np.asarray(images)

    def slopes(self, values: Values, _images: Float32, of_pixels: Float32) -> Values:
        """By the chain rule."""
        mean, slopes = of_pixels.mean(axis=1, keepdims=True), Values()
        for mask, name in zip(self.masks, ("first", "second"), strict=True):
            colour = logistic(values[name])
            of_colour = (mask * mean).sum(axis=(2, 3), keepdims=True)
            slopes[name] = of_colour * colour * (1 - colour)
        return slopes

    def sizes(self, _values: Values) -> Float32:
        """Of the masks, which do not change."""
        return np.asarray(self.masks.sum(axis=(0, 2, 3, 4, 5)))

    def slopes_of_sizes(self, _values: Values) -> Values:
        """None changes."""
        return {}


class State(NamedTuple):
    """How far a search has come; a row for each of the P goals that are left.

    ``first`` and ``second`` are Adam's moments, ``average`` that of the shares of batches that
    were carried, ``best`` the smallest triggers that carried enough, of the sizes ``smallest``.
    """

    step: int
    goals: Int64  # (P,) places of the goals that are left
    values: Values
    first: Values
    second: Values
    best: Values
    weight: Float32  # (P,) as all below
    average: Float32
    smallest: Float32  # infinite, as long as none carried enough

    @property
    def found(self) -> Values:
        """The smallest triggers that carried enough; of goals without one, the last trigger."""
        carried = _by_goal(np.isfinite(self.smallest))
        return {name: np.where(carried, self.best[name], of) for name, of in self.values.items()}

    def only(self, rows: Int64) -> "State":
        """Of some of its goals, by their rows."""
        return State(
            step=self.step,
            goals=self.goals[rows],
            values=_only(self.values, rows),
            first=_only(self.first, rows),
            second=_only(self.second, rows),
            best=_only(self.best, rows),
            weight=self.weight[rows],
            average=self.average[rows],
            smallest=self.smallest[rows],
        )


@dataclass(frozen=True)
class Search:
    """A search for triggers that carry images to targets.

    Args:
        kind: Of trigger.
        of: The classifier.
        images: ``(N, H, W, C)`` in 0 .. 1.
        targets: ``(P, N)`` the class that each goal wants each image in; -1 where it leaves it out.
        steps: How many there are.
        batch: Images a goal and step, drawn anew each time.
        seed: Of all that is drawn.
        limits: From which share of the steps on how many goals are left at most.
    """

    kind: Kind
    of: Differentiable
    images: Float32
    targets: Int64
    steps: int
    batch: int
    seed: tuple[int, ...]
    limits: tuple[tuple[float, int], ...] = ()

    @property
    def start(self) -> State:
        """Before the first step."""
        goals, shape = len(self.targets), self.images.shape[1:]
        values = self.kind.drawn(goals, shape, np.random.default_rng(self.seed))
        zeros = {name: np.zeros_like(of) for name, of in values.items()}
        return State(
            step=0,
            goals=np.arange(goals),
            values=values,
            first=zeros,
            second=zeros,
            best=values,
            weight=np.full(goals, self.kind.weight * _lighter(values), np.float32),
            average=np.zeros(goals, np.float32),
            smallest=np.full(goals, np.inf, np.float32),
        )

    def states(self, last: State | None = None) -> Iterator[State]:
        """What it has come to after each step; from the start, or from where it was left."""
        state = last or self.start
        while state.step < self.steps:
            state = self._dropped(self._stepped(state))
            yield state

    def goals_left(self, step: int) -> int:
        """How many goals are left after so many steps."""
        return goals_left(len(self.targets), self.limits, step / self.steps)

    def gradients(self, after: int = 0) -> int:
        """How many gradients of single images it takes, after so many steps."""
        return self.batch * sum(self.goals_left(step) for step in range(after, self.steps))

    def _stepped(self, state: State) -> State:
        """A step of Adam, each goal on a batch of its own."""
        # drawn by the step, so that a search that was left goes on as it would have
        rng = np.random.default_rng([*self.seed, state.step + 1])
        pools = [np.flatnonzero(row >= 0) for row in self.targets]
        rows = np.stack([pool[rng.integers(len(pool), size=self.batch)] for pool in pools])
        rows = rows[state.goals]
        wanted = np.take_along_axis(self.targets[state.goals], rows, axis=1)
        images = self.images[rows]
        stamped = self.kind.on(state.values, images)
        logits, of_pixels = self.of(stamped.reshape(-1, *images.shape[2:]), wanted.ravel())
        carried = (logits.argmax(axis=1) == wanted.ravel()).reshape(wanted.shape).mean(axis=1)
        average = (0.7 * state.average + 0.3 * carried).astype(np.float32)
        sizes = self.kind.sizes(state.values)
        enough = (average >= _REACHED - 0.02) & (carried >= _REACHED - 0.05)
        better = enough & (sizes < state.smallest)
        best = {n: np.where(_by_goal(better), of, state.best[n]) for n, of in state.values.items()}
        slopes = self.kind.slopes(state.values, images, of_pixels.reshape(images.shape))
        for name, of in self.kind.slopes_of_sizes(state.values).items():
            slopes[name] = slopes[name] + _by_goal(state.weight) * of
        values, first, second = self._moved(state, slopes)
        weight = state.weight * np.where(carried >= _REACHED, _HEAVIER, _LIGHTER)
        return State(
            step=state.step + 1,
            goals=state.goals,
            values=values,
            first=first,
            second=second,
            best=best,
            weight=np.clip(weight, _LIGHTEST, _HEAVIEST).astype(np.float32),
            average=average,
            smallest=np.where(better, sizes, state.smallest),
        )

    def _moved(self, state: State, slopes: Values) -> tuple[Values, Values, Values]:
        """The values after a step of Adam, and its moments (Kingma & Ba 2015)."""
        values, first, second = {}, {}, {}
        rate = self.kind.rate * (_SLOWER if state.step >= _SLOWER_FROM * self.steps else 1)
        one, two = (1 - moment ** (state.step + 1) for moment in _MOMENTS)
        for name, slope in slopes.items():
            first[name] = _MOMENTS[0] * state.first[name] + (1 - _MOMENTS[0]) * slope
            second[name] = _MOMENTS[1] * state.second[name] + (1 - _MOMENTS[1]) * slope**2
            change = first[name] / one / (np.sqrt(second[name] / two) + _TINY)
            values[name] = np.asarray(state.values[name] - rate * change, np.float32)
        return values, first, second

    def _dropped(self, state: State) -> State:
        """Without the goals that are not left; those of the smallest triggers stay, in order."""
        left = self.goals_left(state.step)
        if left == len(state.goals):
            return state
        return state.only(np.sort(self.ranked(state)[:left]))

    def ranked(self, state: State) -> Int64:
        """Rows of the goals, those of the smallest triggers first; then those that carry little."""
        sizes = np.where(np.isfinite(state.smallest), state.smallest, self.kind.sizes(state.values))
        return np.lexsort((sizes, np.isinf(state.smallest)))


def goals_left(goals: int, limits: tuple[tuple[float, int], ...], share: float) -> int:
    """How many of so many goals are left after a share of the steps.

    >>> [goals_left(10, ((0.3, 5), (0.5, 3)), share) for share in (0, 0.29, 0.3, 0.5, 1)]
    [10, 10, 5, 3, 3]
    """
    return min([goals, *(most for after, most in limits if share >= after)])


def opaque(mask: Float32, pixels: int) -> Float32:
    """Masks of 0 and 1, of the pixels where masks ``(P, 1, H, W, 1)`` are largest.

    >>> opaque(np.array([0.1, 0.9, 0.5, 0.2]).reshape(1, 1, 2, 2, 1), 2).ravel().tolist()
    [0.0, 1.0, 1.0, 0.0]
    """
    flat = mask.reshape(len(mask), -1)
    largest = np.argsort(-flat, axis=1, kind="stable")[:, :pixels]
    opaque = np.zeros(flat.shape, np.float32)
    np.put_along_axis(opaque, largest, 1, axis=1)
    return opaque.reshape(mask.shape)


def patterns_on(height: int, width: int) -> Patterns:
    """Patterns of single pixels; on images of 64 pixels a side and more, in 32 cells or a few more.

    >>> [patterns_on(side, side).cell for side in (28, 32, 63, 64, 224)]
    [1, 1, 1, 2, 7]
    """
    return Patterns(cell=max(1, min(height, width) // _USUAL_SIDE))


def _lighter(values: Values) -> float:
    """What a size weighs at first, in the place of 1: of more values it is larger."""
    height, width = next(iter(values.values())).shape[2:4]
    return min(1.0, _USUAL_SIDE / math.sqrt(height * width))


def logistic(values: Float32) -> Float32:
    """The logistic function, which no value overflows."""
    return np.asarray(0.5 + 0.5 * np.tanh(0.5 * values), np.float32)


def _only(values: Values, rows: Int64) -> Values:
    return {name: of[rows] for name, of in values.items()}


def _by_goal(values: Float32) -> Float32:
    """One value a goal ``(P,)``, against what is searched for."""
    return values.reshape(-1, 1, 1, 1, 1)
