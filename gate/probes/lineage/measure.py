"""Measures what a backbone has of its ancestor: in its weights, and in what it sees in images."""

from collections.abc import Iterator

import numpy as np

from gate.arrays import Int64
from gate.backbone.backbone import Backbone
from gate.errors import BackboneError, EvidenceError, PlanError
from gate.lineage.pairing import Pair, paired
from gate.measure.bench import Bench
from gate.measure.count import Count
from gate.measure.trial import Trial
from gate.probes.lineage import FEWEST_IMAGES, Lineage, barrier
from gate.probes.lineage.images import by_images
from gate.probes.lineage.weights import by_weights
from gate.values import Measurement


def passes(count: Count, settings: Lineage) -> None:
    """Count what `measure` passes."""
    ancestor = _required(count.bench.ancestor)
    for split in _splits(count, settings):
        rows = _rows(count.bench, split, settings)
        for backbone in (count.bench.backbone, ancestor):
            count.inside(split, len(rows), backbone)
    if settings.barrier:
        barrier.passes(count, count.tasks(settings.tasks), settings.barrier)


def measure(trial: Trial, settings: Lineage) -> Iterator[Measurement | str]:
    """What weights say, then what images say of each test split; what cannot be said, and why.

    Raises:
        PlanError: The plan has no ancestor, or there is no barrier to it and one is asked for.
        EvidenceError: A split has too few images, or features that are the same for all of them.
    """
    ancestor = _required(trial.ancestor)
    rows = {split: _rows(trial.bench, split, settings) for split in _splits(trial, settings)}
    pairs: list[Pair] = []
    try:
        pairs = _pairs(trial.backbone, ancestor)
    except BackboneError as fault:
        yield f"layers are not compared, features alone are: {fault}"
    if ancestor.digest == trial.backbone.digest:
        yield "the ancestor is the candidate itself, byte for byte"
    if pairs:
        yield from by_weights(ancestor.digest, pairs, settings, trial.plan.seed)
    for split, drawn in rows.items():
        yield from by_images(trial, ancestor, split, drawn, pairs)
    if settings.barrier:
        tasks = trial.tasks(settings.tasks)
        yield from barrier.barriers(trial, ancestor.digest, tasks, settings.barrier)


def _required(ancestor: Backbone | None) -> Backbone:
    """The ancestor of a plan.

    Raises:
        PlanError: It has none.
    """
    if ancestor is None:
        raise PlanError(
            "lineage: the plan names no ancestor that the backbone may descend from; describe one "
            "under ancestor, as under backbone, or drop probes.lineage"
        )
    return ancestor


def _splits(asked: Trial | Count, settings: Lineage) -> list[str]:
    """The test splits of the tasks, each once."""
    return list(dict.fromkeys(task.test for task in asked.tasks(settings.tasks).values()))


def _rows(bench: Bench, split: str, settings: Lineage) -> Int64:
    """Places of the images of a split that are passed, drawn by the plan's seed.

    Raises:
        EvidenceError: There are too few.
    """
    there = len(bench.split(split))
    if there < FEWEST_IMAGES:
        raise EvidenceError(
            f"lineage: {split} has {there} {bench.plan.backbone.takes}, and channels are matched "
            f"on {FEWEST_IMAGES} or more; add some, or name tasks with another test split"
        )
    generator = np.random.default_rng(bench.plan.seed)
    return np.sort(generator.permutation(there)[: settings.images])


def _pairs(candidate: Backbone, ancestor: Backbone) -> list[Pair]:
    """Layers of both that stand for one another.

    Raises:
        BackboneError: The layers of one cannot be read, or they are of another architecture.
    """
    ours, theirs = candidate.layers, ancestor.layers
    try:
        return paired(ours, theirs)
    except ValueError as fault:
        raise BackboneError(
            f"{candidate.plan.path} is of another architecture than the ancestor "
            f"{ancestor.plan.path}: {fault}; name an ancestor of the same one, and as features "
            "the same output of both"
        ) from fault
