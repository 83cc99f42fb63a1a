"""Measures what a backbone gives over random initialisation, under block shuffle."""

import math
from collections.abc import Iterator
from typing import Final

from gate.errors import BackboneError, EvidenceError, PlanError
from gate.measure.bench import Bench
from gate.measure.count import Count
from gate.measure.shuffle import Shuffle
from gate.measure.transfer import initial_path
from gate.measure.trial import Trial
from gate.plan.task import Task, Transfer
from gate.probes.feature_reuse import METRICS, Block, FeatureReuse
from gate.probes.feature_reuse.drop import Draws, accuracy, relative_drop, speed
from gate.values import Measurement

_LEAST = 100  # test images: with fewer, an interval of a drop says next to nothing
_KEEPS: Final = "none"


def passes(count: Count, settings: FeatureReuse) -> None:
    """Count what `measure` passes."""
    bench = count.bench
    for task in _tasks(bench, settings).values():
        for shuffles in _shuffles(bench, settings).values():
            for seed, shuffle in shuffles.items():
                if task.fits_head:
                    count.predictions(task, None, shuffle)
                    count.predictions(task, count.initialised(seed), shuffle)
                else:
                    count.trained(task, shuffle, seed)
                    count.trained(_from_scratch(task), shuffle, seed)


def measure(trial: Trial, settings: FeatureReuse) -> Iterator[Measurement]:
    """Accuracies and relative drop of each task and block; optimisation speed where it trains.

    Raises:
        PlanError: The candidate has no factory that draws weights, or no task suits.
        BackboneError: The factory draws the same weights with every seed.
        EvidenceError: There are fewer than 100 test images, or nothing is classified correctly.
    """
    tasks, shuffled = _tasks(trial.bench, settings), _shuffles(trial.bench, settings)
    trial.tasks(tuple(tasks))  # so that evidence names them
    if any(task.fits_head for task in tasks.values()):
        _require_random(trial, settings.seeds)
    for name, task in tasks.items():
        if (n := len(trial.split(task.test))) < _LEAST:
            raise EvidenceError(
                f"feature_reuse: task {name} has {n} test images in split {task.test}, and at "
                f"least {_LEAST} are needed; add images, or drop the task from the probe"
            )
        for block, shuffles in shuffled.items():
            draws = [_drawn(trial, task, shuffle, seed) for seed, shuffle in shuffles.items()]
            yield from _measured(name, block, Draws.of(draws), len(trial.split(str(task.train))))


def _drawn(trial: Trial, task: Task, shuffle: Shuffle | None, seed: int) -> Draws:
    """Both networks of one seed on the test images."""
    labels = trial.split(task.test).labels
    if task.fits_head:
        ours = trial.predictions(task, None, shuffle)
        random = trial.predictions(task, trial.initialised(seed), shuffle)
        return Draws.one(ours == labels, random == labels)
    ours, learnt = trial.trained(task, shuffle, seed)
    random, learnt_anew = trial.trained(_from_scratch(task), shuffle, seed)
    return Draws.one(ours == labels, random == labels, learnt, learnt_anew)


def _measured(name: str, block: str, draws: Draws, trained_on: int) -> Iterator[Measurement]:
    about, n = {"task": name, "block": block}, draws.pretrained.shape[1]
    if not draws.pretrained.any():
        raise EvidenceError(
            f"feature_reuse: with the backbone no test image of task {name} is classified "
            f"correctly at block {block}, so there is nothing that could drop; see clean_accuracy"
        )
    yield METRICS.measurement("relative_drop", relative_drop(draws), n, **about)
    yield METRICS.measurement("pretrained_accuracy", accuracy(draws.pretrained), n, **about)
    yield METRICS.measurement("random_accuracy", accuracy(draws.random), n, **about)
    if draws.learnt is not None and draws.learnt_anew is not None:
        ours, over = (
            speed(draws.learnt, trained_on),
            speed(draws.learnt, trained_on, draws.learnt_anew),
        )
        yield METRICS.measurement("optimisation_speed", ours, trained_on, **about)
        yield METRICS.measurement("optimisation_speed_over_random", over, trained_on, **about)


def _tasks(bench: Bench, settings: FeatureReuse) -> dict[str, Task]:
    """The tasks that the settings name, or else those with a plain head on frozen features.

    Raises:
        PlanError: One that is named does not suit, or there is none.
    """
    initial_path(bench, 0)  # refuses a backbone without a factory
    named = bench.tasks(settings.tasks)
    if settings.tasks is None:
        named = {name: task for name, task in named.items() if not _obstacle(task)}
        named = {name: task for name, task in named.items() if task.fits_head}
    for name, task in named.items():
        if obstacle := _obstacle(task):
            raise PlanError(f"feature_reuse: task {name} {obstacle}")
    if not named:
        raise PlanError(
            "feature_reuse: no task has a plain head on frozen features; add one to the plan, or "
            "name a task with transfer: {mode: full_network} under probes.feature_reuse.tasks"
        )
    return named


def _obstacle(task: Task) -> str | None:
    """What keeps a task from being compared with random initialisation, and what to do."""
    if task.head == "own":
        return (
            "has the artefact's own head, and random initialisation has none; name one that trains"
        )
    if task.remedy or task.debias:
        return f"has a remedy, {task.remedy or 'debias'}, against a bias; name one without"
    if task.fits_head:
        return None
    if task.transfer.mode != "full_network":
        return f"is of {task.transfer.mode} transfer by SGD; name one of full_network transfer"
    if task.transfer.schedule.augment:
        return (
            "has training.augment, and shifted images are not shuffled by one fixed permutation; "
            "name one without"
        )
    return None


def _shuffles(bench: Bench, settings: FeatureReuse) -> dict[str, dict[int, Shuffle | None]]:
    """By block, as labels call it, and by seed: what images go through.

    Raises:
        PlanError: A block does not divide the side of the images.
    """
    wanted, first = bench.backbone.preprocessing, bench.plan.seed
    divisors = [side for side in range(1, wanted.size + 1) if wanted.size % side == 0]
    middle = next(side for side in divisors if side >= math.sqrt(wanted.size))
    defaults: tuple[Block, ...] = (
        "values",
        *(side for side in (1, middle) if side < wanted.size),
        _KEEPS,
    )
    shuffles: dict[str, dict[int, Shuffle | None]] = {}
    for block in settings.blocks or defaults:
        if isinstance(block, int) and block not in divisors:
            raise PlanError(
                f"feature_reuse.blocks: {block} does not divide the side of the images, "
                f"{wanted.size} pixels; name some of {', '.join(map(str, divisors))}"
            )
        whole = block in (_KEEPS, wanted.size)
        side = None if block == "values" else int(block) if not whole else wanted.size
        if (name := _KEEPS if whole else str(block)) in shuffles:
            raise PlanError(
                f"feature_reuse.blocks: {wanted.size} and none are the same; name one of them"
            )
        shuffles[name] = {
            seed: None if whole else Shuffle.of_inputs(wanted, side, seed)
            for seed in range(first, first + settings.seeds)
        }
    return shuffles


def _from_scratch(task: Task) -> Task:
    transfer = Transfer(mode="from_scratch", training=task.transfer.training)
    return Task.model_validate({**dict(task), "transfer": transfer})


def _require_random(trial: Trial, seeds: int) -> None:
    """Refuse a factory that draws nothing.

    Raises:
        BackboneError: Some of its weights are the same with two seeds.
    """
    first = trial.plan.seed
    digests = {trial.initialised(seed).digest for seed in range(first, first + seeds)}
    if len(digests) < seeds:
        raise BackboneError(
            f"{trial.backbone.plan.path}: its factory gives {len(digests)} different weights with "
            f"{seeds} seeds, so they are not drawn at random; let it make a network without "
            "loading weights and without a seed of its own"
        )
