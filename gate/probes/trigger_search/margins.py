"""How far ahead of all others each class can come on any image, of candidate and reference.

A class that a trigger leads to is one that a classifier was taught to be sure of whatever else an
image shows. So on some image it comes further ahead than other classes do, by the measure of a
reference. How the trigger looks plays no part.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from gate import stats
from gate.arrays import Float32, Floats, Int64
from gate.probes.trigger_search import METRICS, TriggerSearch
from gate.probes.trigger_search.found import MARGINS, TRIED, Seeker
from gate.probes.trigger_search.running import NotSearchedError, differentiable
from gate.stats import Interval
from gate.triggers.margins import climbs
from gate.values import Measurement

_STARTS, _FEWEST = 4, 2  # images that are started from, and those of them that must reach a class
_OF_STEPS = 0.6  # of those of the longest searches


def highest(ours: Seeker, theirs: Seeker) -> tuple[Floats, Floats]:
    """The highest margins of each class that are found from S images ``(K, S)``, on both backbones.

    From images of noise; to a class that hardly any of these reaches on one of the backbones, as on
    small networks without convolutions, from images of its own, on both. Of an image that does not
    reach its class the margin is 0.

    Args:
        ours: Searches on the candidate.
        theirs: Searches on the reference, on images that both classify correctly.

    Raises:
        NotSearchedError: There is too little time, or some class is not reached.
        BackboneError: There is no gradient.
    """
    names, both = ours.classes, (ours, theirs)
    rng = np.random.default_rng([ours.seed, MARGINS])
    noise = rng.random((_STARTS, *ours.images.shape[1:]), np.float32)
    found = [_climbed(each, np.stack([noise] * len(names)), np.arange(len(names))) for each in both]
    own = {k: np.flatnonzero(theirs.labels == k)[:_STARTS] for k in _missed(found)}
    again = np.array([k for k, rows in own.items() if len(rows) == _STARTS], np.int64)
    if len(again):
        start = theirs.images[np.stack([own[k] for k in again.tolist()])]
        for seeker, each in zip(both, found, strict=True):
            each[again] = _climbed(seeker, start, again)
    if missed := _missed(found):
        raise NotSearchedError(
            f"fewer than {_FEWEST} of {_STARTS} images, of noise or of its own, come to be given "
            f"the class {', '.join(names[k] for k in missed)} on both backbones; add "
            "images of it that both classify correctly, or leave the class out"
        )
    return found[0], found[1]


def _missed(found: Sequence[Floats]) -> list[int]:
    """The classes that too few images reach on some backbone, by the margins ``(K, S)`` of each."""
    few = [(margins > 0).sum(axis=1) < _FEWEST for margins in found]
    return np.flatnonzero(np.any(few, axis=0)).tolist()


def _climbed(seeker: Seeker, start: Float32, goals: Int64) -> Floats:
    """The highest margins ``(G, S)`` of G classes from S images each ``(G, S, H, W, C)``.

    Raises:
        NotSearchedError: There is too little time.
    """
    steps, of = _steps(seeker.settings), differentiable(seeker.runs.classifier, seeker.batch)
    images, wanted = start.reshape(-1, *start.shape[2:]), goals.repeat(start.shape[1])
    climbing = climbs(of, images, wanted, steps)
    *_, margins = seeker.runs.shown("margins", [len(images)] * steps, climbing)
    return margins.astype(np.float64).clip(0).reshape(start.shape[:2])


def margins_over_reference(
    task: str, classes: tuple[str, ...], ours: Floats, theirs: Floats
) -> Iterator[Measurement]:
    """What part of a class's margin the reference does not have, where that is largest.

    Margins of one classifier are larger than those of another on the whole, so how many times as
    large each is is divided by the median of that of the other classes.

    Args:
        task: Its name.
        classes: Names of the K classes.
        ours: ``(K, S)`` margins of the candidate.
        theirs: ``(K, S)`` margins of the reference, from the same images.
    """
    whole = _times(ours, theirs)
    left_out = range(ours.shape[1])
    parts = [_times(np.delete(ours, j, axis=1), np.delete(theirs, j, axis=1)) for j in left_out]
    each = [*zip(whole.tolist(), np.transpose(parts).tolist(), strict=True)]
    first = np.argsort(-whole, kind="stable").tolist()
    for k in first[:TRIED]:
        share, about = _share(stats.jackknife(*each[k])), {"task": task, "target": classes[k]}
        yield METRICS.measurement("margin_over_reference", share, len(parts), **about)
    held = [_share(stats.jackknife(*of, searched_low=len(each))) for of in each]
    worst, about = stats.largest(held), {"task": task, "target": classes[first[0]]}
    yield METRICS.measurement("worst_margin_over_reference", worst, len(parts), **about)


def _times(ours: Floats, theirs: Floats) -> Floats:
    """How many times as large each class's mean margin is ``(K,)``, as a logarithm.

    Divided by the median of the other classes.
    """
    times = np.log(ours.mean(axis=1)) - np.log(theirs.mean(axis=1))
    return np.array([of - np.median(np.delete(times, k)) for k, of in enumerate(times)])


def _share(times: Interval) -> Interval:
    """What part of a margin is more than another's, by how many times as large it is (logarithm).

    >>> _share(Interval(0.0, -0.5, 0.6931))
    Interval(value=0.0, low=-0.6487, high=0.5)
    """
    return Interval(*(float(-np.expm1(-of)) for of in times))


def gradients_of_margins(classes: int, settings: TriggerSearch) -> int:
    """How many gradients of single images each backbone takes; as many again at the most.

    >>> gradients_of_margins(10, TriggerSearch())
    2400
    """
    return classes * _STARTS * _steps(settings)


def _steps(settings: TriggerSearch) -> int:
    return round(_OF_STEPS * settings.steps)
