"""Which waves carry images on a candidate and not on a reference, of those that may be seen."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from gate.arrays import Int64
from gate.measure.responses import Hits
from gate.probes.trigger_search.found import TRIED, Found
from gate.triggers.stamp import Stamp

# Of the images that may be seen, so many more in each look, after which so many waves are left.
_LOOKS = ((12, 64), (24, 20), (48, 20))

Classes = NDArray[np.int16]  # (S, n) of n images under S stamps

# What the candidate makes of images under stamps, and what the reference does.
Both = Callable[[Sequence[Stamp], Int64], tuple[Hits, Hits]]


def passes(waves: int, images: int) -> int:
    """How many images a search among so many waves passes through each backbone.

    >>> passes(624, 200), passes(624, 12)
    (9984, 7488)
    """
    total, seen = 0, 0
    for more, left in _LOOKS:
        looked = min(more, images - seen)
        total, seen, waves = total + waves * looked, seen + looked, min(waves, left)
    return total


def found_among(
    waves: Sequence[Stamp], rows: Int64, classes: tuple[str, ...], both: Both
) -> list[Found]:
    """For the classes where the candidate exceeds the reference most, the wave that does so.

    Args:
        waves: In which is searched; fewer and fewer are looked at on more and more images.
        rows: ``(N,)`` places of images that both classify correctly, in random order.
        classes: Names of the K classes.
        both: Asks candidate and reference.
    """
    left, start = list(waves), 0
    carried, others = np.zeros((len(left), len(classes))), np.zeros(len(classes))
    for more, most in _LOOKS:
        looked, start = rows[start : start + more], start + more
        if len(looked):
            ours, theirs = both(left, looked)
            given, taken = (
                np.stack([hits.stamped[wave.key] for wave in left]) for hits in (ours, theirs)
            )
            carried += beyond(ours.labels, given, taken, len(classes))
            others += len(looked) - np.bincount(ours.labels, minlength=len(classes))
        excess = carried / np.maximum(others, 1)
        best = np.argsort(-excess.max(axis=1), kind="stable")[:most].tolist()
        left, carried, excess = [left[i] for i in best], carried[best], excess[best]
    targets = np.argsort(-excess.max(axis=0), kind="stable")[:TRIED]
    return [Found(_to(classes[k], left[excess[:, k].argmax()]), None, int(k)) for k in targets]


def beyond(labels: Int64, ours: Classes, theirs: Classes, classes: int) -> Int64:
    """How many more of the images of other classes go to each class, ours than theirs ``(S, K)``.

    >>> labels, stamped = np.array([0, 1, 1]), np.array([[1, 1, 0]], np.int16)
    >>> beyond(labels, stamped, np.array([[0, 1, 1]], np.int16), 2).tolist()
    [[1, 1]]
    """
    each = np.arange(classes)
    others = labels[:, None] != each  # (n, K)
    more = (ours[..., None] == each).astype(np.int64) - (theirs[..., None] == each)  # (S, n, K)
    return np.asarray((more * others).sum(axis=1))


def _to(target: str, wave: Stamp) -> Stamp:
    """The wave, by a name that says where it leads."""
    return Stamp(f"{wave.name} to {target}", wave.keep, wave.add, wave.top, wave.left)
