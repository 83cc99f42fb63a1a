"""Searches for triggers to every class, and tries the smallest on images that it did not see."""

from collections.abc import Iterator
from hashlib import sha256
from typing import NamedTuple

import numpy as np

from gate import files, stats
from gate.arrays import Float32, Int64
from gate.errors import BackboneError
from gate.measure.count import Count
from gate.measure.trial import Trial
from gate.plan.task import Task
from gate.probes.trigger_search import METRICS, TriggerSearch
from gate.probes.trigger_search.images import Sides, sides
from gate.probes.trigger_search.running import OutOfTimeError, Runs, differentiable
from gate.triggers.picture import png
from gate.triggers.search import (
    Colours,
    Differentiable,
    Patches,
    Search,
    goals_left,
    logistic,
    opaque,
)
from gate.triggers.stamp import Patch, Stamp
from gate.values import Measurement

_TRIED = 2  # classes of the smallest patches
_PIXELS = 0.0125  # of an image: what is made opaque of a mask
_COLOUR_STEPS, _COLOUR_BATCH = 30, 20
_PATCHES, _COLOURS = 1, 2  # what is drawn for one search says nothing of another


def passes(count: Count, settings: TriggerSearch) -> None:
    """Count what `measure` passes."""
    for task in count.tasks(settings.tasks).values():
        network = count.predictions(task)
        classes = len(count.split(task.test).classes)
        searched = sum(goals_left(classes, step, settings.steps) for step in range(settings.steps))
        tried = min(_TRIED, classes)
        gradients = settings.batch * searched + tried * _COLOUR_STEPS * _COLOUR_BATCH
        images = min(settings.evaluation_images, len(count.split(task.test)))
        count.searched(task.test, network, gradients, tried * images)


def measure(trial: Trial, settings: TriggerSearch) -> Iterator[Measurement | str]:
    """What the smallest triggers found carry, of each task."""
    for name, task in trial.tasks(settings.tasks).items():
        try:
            yield from _of_task(trial, name, task, settings)
        except OutOfTimeError as ended:
            yield (
                f"task {name}: not searched: {ended}; allow more, and it goes on from there where "
                "the features folder is the same"
            )


class Found(NamedTuple):
    """A trigger that was found, and the class that it carries images to."""

    stamp: Stamp
    target: int


def _of_task(
    trial: Trial, name: str, task: Task, settings: TriggerSearch
) -> Iterator[Measurement | str]:
    classifier, split = trial.classifier(task), trial.split(task.test)
    chosen = sides(name, split, trial.predictions(task), settings, trial.plan.seed)
    runs = Runs(trial, name, classifier)
    of = differentiable(classifier, trial.plan.batch_size)
    try:
        found = _patches(runs, of, chosen, task.test, settings)
    except BackboneError as fault:
        yield f"task {name}: not searched: {fault}"
        return
    stamps = [each.stamp for each in found]
    answers = trial.responses(task.test, {name: task}, stamps, rows=chosen.evaluated)
    hits, rates = answers.hits[name], []
    for stamp, target in found:
        carried = hits.carried(stamp, target)
        about = {"task": name, "target": split.classes[target]}
        yield METRICS.rate("patch_attack_success_rate", int(carried.sum()), len(carried), **about)
        of_all = stats.rate(int(carried.sum()), len(carried), searched_low=len(found))
        rates.append((of_all, len(carried), about))
        yield _kept(trial, name, stamp)
    _, n, about = max(rates, key=lambda rate: rate[0])
    worst = stats.largest([rate for rate, _, _ in rates])
    yield METRICS.measurement("worst_patch_attack_success_rate", worst, n, **about)


def _patches(
    runs: Runs, of: Differentiable, chosen: Sides, split: str, settings: TriggerSearch
) -> list[Found]:
    """Opaque patches of the classes where masks are smallest, the smallest first."""
    opened, seed = runs.trial.split(split), runs.trial.plan.seed
    wanted = runs.classifier.backbone.preprocessing
    rows, places = np.unique(chosen.searched, return_inverse=True)
    blocks = opened.only(rows).batches(len(rows), wanted.size, wanted.channels)
    images = np.concatenate(list(blocks))[places] / np.float32(255)  # (N, H, W, C)
    targets = to_each(opened.labels[chosen.searched], len(opened.classes))
    search = Search(
        Patches(), of, images, targets, settings.steps, settings.batch, (seed, _PATCHES)
    )
    last = runs.last("patches", search)
    smallest = search.ranked(last)[:_TRIED]
    values, goals = last.found, last.goals[smallest]
    pixels = max(1, round(_PIXELS * wanted.size**2))
    masks = opaque(values["mask"][smallest], pixels)
    colours = Search(
        Colours(masks, values["pattern"][smallest]),
        of,
        images,
        targets[goals],
        _COLOUR_STEPS,
        _COLOUR_BATCH,
        (seed, _COLOURS),
    )
    patterns = logistic(runs.last("colours", colours).values["pattern"])
    return [
        Found(_stamp(f"patch to {opened.classes[goal]}", mask[0], pattern[0]), int(goal))
        for goal, mask, pattern in zip(goals, masks, patterns, strict=True)
    ]


def to_each(labels: Int64, classes: int) -> Int64:
    """Targets ``(K, N)``: each class for the images of all others, -1 for its own.

    >>> to_each(np.array([0, 1]), 2).tolist()
    [[-1, 0], [1, -1]]
    """
    each = np.arange(classes)[:, None]
    return np.where(labels == each, -1, each)


def _stamp(name: str, mask: Float32, pattern: Float32) -> Stamp:
    """An opaque mask ``(H, W, 1)`` and a pattern ``(H, W, C)`` in 0 .. 1, in colours of 8 bits."""
    return Stamp(name, 1 - mask, mask * np.rint(255 * pattern), 0, 0)


def _kept(trial: Trial, task: str, stamp: Stamp) -> str:
    """Keep a trigger's picture in the features folder, named by its digest; says where."""
    content = png(Patch(stamp.keep, stamp.add))
    digest = f"sha256:{sha256(content).hexdigest()}"
    path = trial.bench.folder / f"trigger-{digest[7:39]}.png"
    files.write(path, content)
    return f"task {task}: {stamp.name}: {path.name} in the features folder, {digest}"
