"""Which of many triggers promise most: fewer and fewer are looked at, on more and more images."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from gate.arrays import Int64

# Of the images that may be seen, so many more in each look, after which about so many triggers are
# left.
_LOOKS = ((12, 64), (24, 20), (48, 20))

Classes = NDArray[np.int16]  # (..., S, n) that n images are given under S stamps
_T = TypeVar("_T")


class Given(NamedTuple):
    """What images are given under stamps: ``labels`` ``(n,)`` and ``classes`` ``(..., S, n)``.

    Before the last two there may be an axis of several backbones.
    """

    labels: Int64
    classes: Classes

    def only(self, stamps: Sequence[int]) -> "Given":
        """Under some of the stamps."""
        return Given(self.labels, self.classes[..., list(stamps), :])


def narrowed(
    triggers: Sequence[_T],
    rows: Int64,
    ask: Callable[[Sequence[_T], Int64], Given],
    best: Callable[[Given, int], Sequence[int]],
) -> tuple[list[_T], Given]:
    """The triggers that are left, and what all images that were looked at are given under them.

    Args:
        triggers: In which is searched.
        rows: ``(N,)`` places of images, in random order; one at least.
        ask: What images are given under triggers.
        best: Which of S triggers stay, of what is given under them and how many there may be.
    """
    left, start, seen = list(triggers), 0, list[Given]()
    for more, most in _LOOKS:
        if start < len(rows):
            seen.append(ask(left, rows[start : start + more]))
            start += more
        given = Given(
            np.concatenate([labels for labels, _ in seen]),
            np.concatenate([classes for _, classes in seen], axis=-1),
        )
        stay = best(given, most)
        left, seen = [left[i] for i in stay], [given.only(stay)]
    return left, seen[0]


def passes(triggers: int, images: int, times: int = 1) -> int:
    """How many images it passes through a backbone to look among so many triggers, at the most.

    Args:
        triggers: In which is searched.
        images: That may be seen.
        times: As many triggers stay as there may be, so many times.

    >>> passes(624, 200), passes(624, 12)
    (9984, 7488)
    """
    total, seen = 0, 0
    for more, left in _LOOKS:
        looked = min(more, images - seen)
        total, seen, triggers = (
            total + triggers * looked,
            seen + looked,
            min(triggers, times * left),
        )
    return total


def carried(labels: Int64, given: Classes, classes: int) -> Int64:
    """How many of the images of other classes are given each class, under S stamps ``(S, K)``.

    >>> carried(np.array([0, 1, 1]), np.array([[1, 1, 0]], np.int16), 2).tolist()
    [[1, 1]]
    """
    each = np.arange(classes)
    others = labels[:, None] != each  # (n, K)
    return np.asarray(((given[..., None] == each) & others).sum(axis=1))


def others_of(labels: Int64, classes: int) -> Int64:
    """How many images are of other classes than each ``(K,)``; 1 where there is none.

    >>> others_of(np.array([0, 1, 1]), 3).tolist()
    [2, 1, 3]
    """
    return np.maximum(len(labels) - np.bincount(labels, minlength=classes), 1)
