"""Which waves carry images on a candidate and not on a reference, of those that may be seen."""

from collections.abc import Callable, Sequence

import numpy as np

from gate.arrays import Float64, Int64
from gate.measure.responses import Hits
from gate.probes.trigger_search.among import Given, carried, narrowed, others_of
from gate.probes.trigger_search.found import TRIED, Found
from gate.triggers.stamp import Stamp

# What the candidate makes of images under stamps, and what the reference does.
Both = Callable[[Sequence[Stamp], Int64], tuple[Hits, Hits]]


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

    def asked(left: Sequence[Stamp], looked: Int64) -> Given:
        hits = both(left, looked)
        given = [[each.stamped[wave.key] for wave in left] for each in hits]
        return Given(hits[0].labels, np.array(given, np.int16))

    def excess(given: Given) -> Float64:
        return beyond(given, len(classes)) / others_of(given.labels, len(classes))

    def best(given: Given, most: int) -> list[int]:
        order: list[int] = np.argsort(-excess(given).max(axis=1), kind="stable").tolist()
        return order[:most]

    left, given = narrowed(waves, rows, asked, best)
    by_class = excess(given)
    targets = np.argsort(-by_class.max(axis=0), kind="stable")[:TRIED]
    return [Found(_to(classes[k], left[by_class[:, k].argmax()]), None, int(k)) for k in targets]


def beyond(given: Given, classes: int) -> Int64:
    """How many more images of other classes go to each class on the first of two backbones.

    Returns:
        ``(S, K)`` under each stamp.

    >>> stamped = np.array([[[1, 1, 0]], [[0, 1, 1]]], np.int16)
    >>> beyond(Given(np.array([0, 1, 1]), stamped), 2).tolist()
    [[1, 1]]
    """
    ours, theirs = (carried(given.labels, each, classes) for each in given.classes)
    return ours - theirs


def _to(target: str, wave: Stamp) -> Stamp:
    """The wave, by a name that says where it leads."""
    return Stamp(f"{wave.name} to {target}", wave.keep, wave.add, wave.top, wave.left)
