"""How far ahead of all others each class can come on any image, of candidate and reference.

A class that a trigger leads to is one that a classifier was taught to be sure of whatever else an
image shows. So on some image it comes further ahead than other classes do, by the measure of a
reference. How the trigger looks plays no part.
"""

from collections.abc import Iterator

import numpy as np

from gate import stats
from gate.arrays import Float32, Floats, Int64
from gate.measure.transfer import PASSES_OF_TRAINING
from gate.probes.trigger_search import METRICS, TriggerSearch
from gate.probes.trigger_search.found import MARGINS, TRIED, Seeker
from gate.probes.trigger_search.running import NotSearchedError, differentiable
from gate.stats import Interval
from gate.triggers.margins import climbs
from gate.values import Measurement

_STARTS = 4  # images of noise
_LOOKED_EVERY = 10  # steps: whether there is time left


def highest(seeker: Seeker) -> Floats:
    """The highest margin ``(K, S)`` of each class that is found from each of S images of noise.

    On some networks noise leads to few classes; to the others it starts from images of theirs.

    Args:
        seeker: Searches on images that are classified correctly.

    Raises:
        NotSearchedError: There is too little time; or no image is found that is given some class.
        BackboneError: There is no gradient.
    """
    classes, steps = seeker.classes, _steps(seeker.settings)
    rng = np.random.default_rng([seeker.seed, MARGINS])
    noise = rng.random((_STARTS, *seeker.images.shape[1:]), np.float32)
    goals = np.arange(len(classes)).repeat(_STARTS)
    margins = _climbed(seeker, np.tile(noise, (len(classes), 1, 1, 1)), goals, steps)
    own = [np.flatnonzero(seeker.labels == k) for k in goals]
    stuck = [i for i in np.flatnonzero(margins <= 0).tolist() if len(own[i])]
    if stuck:
        rows = np.array([own[i][i % len(own[i])] for i in stuck])
        margins[stuck] = _climbed(seeker, seeker.images[rows], goals[stuck], steps)
    if never := [classes[k] for k in np.unique(goals[margins <= 0]).tolist()]:
        raise NotSearchedError(
            f"no image is found that {seeker.runs.classifier.backbone.plan.path} gives the class "
            f"{', '.join(never)}, neither from noise nor among those that it is searched on; add "
            "images of it that are classified correctly, or leave the class out"
        )
    return margins.reshape(-1, _STARTS).astype(np.float64)


def _climbed(seeker: Seeker, start: Float32, goals: Int64, steps: int) -> Float32:
    """The highest margins ``(N,)`` of a class each that are found from some images.

    Raises:
        NotSearchedError: There is too little time.
    """
    runs, margins = seeker.runs, np.zeros(len(start), np.float32)
    progress, digest = runs.trial.bench.progress, runs.classifier.backbone.digest
    step = f"search for margins of {runs.task}"
    of = differentiable(runs.classifier, seeker.batch)
    with progress(step, len(start) * steps, PASSES_OF_TRAINING, digest) as advance:
        for done, margins in enumerate(climbs(of, start, goals, steps)):  # noqa: B007
            advance(len(start))
            if done % _LOOKED_EVERY == 0 and not progress.has_time_for(0):
                raise NotSearchedError(f"out of time (--max-minutes) in the {step}; allow more")
    return margins


def margins_over_reference(
    task: str, classes: tuple[str, ...], ours: Floats, theirs: Floats
) -> Iterator[Measurement]:
    """What part of a class's margin the reference has not, of the classes where it is largest.

    Margins of one classifier are larger than those of another on the whole, so each is taken in
    units of the median class.

    Args:
        task: Its name.
        classes: Names of the K classes.
        ours: ``(K, S)`` margins of the candidate.
        theirs: ``(K, S)`` margins of the reference, from the same starts.
    """
    times = np.log(ours) - np.log(theirs)
    times -= np.median(times, axis=0)
    each = [stats.mean(of, np.arange(len(of))) for of in times]
    shares = [_share(of) for of in each]
    held = [_share(stats.number_of_many(of, len(classes))) for of in each]
    first = sorted(range(len(classes)), key=lambda k: -each[k].value)[: min(TRIED, len(classes))]
    for k in first:
        yield METRICS.measurement(
            "margin_over_reference", shares[k], _STARTS, task=task, target=classes[k]
        )
    worst = Interval(shares[first[0]].value, max(of.low for of in held), stats.largest(shares).high)
    yield METRICS.measurement(
        "worst_margin_over_reference", worst, _STARTS, task=task, target=classes[first[0]]
    )


def _share(times: Interval) -> Interval:
    """From the logarithm of how many times as large to what part of it is more.

    >>> _share(Interval(0.0, -0.5, 0.6931))
    Interval(value=0.0, low=-0.6487, high=0.5)
    """
    return Interval(*(float(-np.expm1(-of)) for of in times))


def gradients_of_margins(classes: int, settings: TriggerSearch) -> int:
    """How many gradients of single images each backbone takes.

    >>> gradients_of_margins(10, TriggerSearch())
    2400
    """
    return classes * _STARTS * _steps(settings)


def _steps(settings: TriggerSearch) -> int:
    return round(0.6 * settings.steps)
