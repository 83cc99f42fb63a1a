"""Measures how well each checkpoint of a row transfers: heads on frozen features of tasks."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gate import __version__
from gate.backbone.backbone import Backbone
from gate.checkpoints.choice import Basin, Choice
from gate.checkpoints.plateau import plateau
from gate.checkpoints.row import row_of
from gate.errors import BackboneError, EvidenceError, GateError, PlanError
from gate.measure import embed
from gate.measure.bench import Bench
from gate.measure.first_batch import first_batch
from gate.measure.transfer import classifier
from gate.plan.backbone import BackbonePlan
from gate.plan.task import Task

log = logging.getLogger("gate")

FEWEST = 100  # test images; of fewer, no accuracy is known to a few hundredths


class Checkpoint(NamedTuple):
    """A checkpoint that was opened once and took a batch."""

    plan: BackbonePlan
    digest: str
    versions: dict[str, str]
    passes: int  # of images that nobody passed before
    seconds: float  # of each


def choose(bench: Bench, plan: Path, folder: Path, tolerance: float, *, basin: bool) -> Choice:
    """The earliest checkpoint of a row that transfers as well as any of it.

    One checkpoint is open at a time. Features come from the bench's folder if they are there.

    Args:
        bench: The plan, opened; its own backbone is not.
        plan: The plan's file.
        folder: Holds the checkpoints.
        tolerance: How much better another one may be, as a difference of accuracies.
        basin: Whether the loss between the weights of that one and of the last is measured, too.

    Raises:
        PlanError: No task has a head on plain frozen features; there are no weights between two
            checkpoints, and a basin is wanted.
        EvidenceError: Fewer than two checkpoints or than 100 test images; a head does not converge.
        BackboneError: A checkpoint that cannot be loaded, or two with the same bytes.
    """
    row = row_of(folder, plan)
    tasks, remarks = _on_frozen_features(bench, plan)
    if basin:
        # it imports torch, which takes seconds, and rows of ONNX files do without it
        from gate.checkpoints.basin import require_one_architecture

        require_one_architecture(row)
    splits = dict.fromkeys(split for task in tasks.values() for split in _splits(task))
    checkpoints = {name: _tried(bench, each, splits) for name, each in row.items()}
    _require_distinct(checkpoints)
    _expect(bench, checkpoints, len(tasks))
    correct: dict[str, dict[str, NDArray[np.bool_]]] = {task: {} for task in tasks}
    for name, checkpoint in checkpoints.items():
        for task, right in _correct(bench, checkpoint, tasks).items():
            correct[task][name] = right
        bench.close(checkpoint.plan)
    found = plateau(correct, tolerance)
    basins = tuple(_basins(bench, tasks, row, found.earliest)) if basin else ()
    if basin and not basins:
        remarks = (*remarks, "no basin was measured: no checkpoint before the last was found")
    return Choice(
        plan=bench.plan.name,
        settings={
            "batch_size": bench.plan.batch_size,
            "backbones": {name: each.plan.settings for name, each in checkpoints.items()},
            "tasks": {name: task.settings for name, task in tasks.items()},
        },
        backbones={name: each.digest for name, each in checkpoints.items()},
        data={name: bench.split(name).digest for name in splits},
        seed=bench.plan.seed,
        versions={
            "gate": __version__,
            "numpy": np.__version__,
            "scikit-learn": version("scikit-learn"),
            "scipy": version("scipy"),
            **list(checkpoints.values())[-1].versions,
        },
        plateau=found,
        basins=basins,
        remarks=remarks,
    )


def _basins(
    bench: Bench, tasks: Mapping[str, Task], row: Mapping[str, BackbonePlan], earliest: str | None
) -> Iterator[Basin]:
    """A basin for each task, where a checkpoint before the last was found."""
    from gate.checkpoints.basin import basin  # as above

    last = list(row)[-1]
    if earliest is not None and earliest != last:
        for name, task in tasks.items():
            yield basin(bench, name, task, {each: row[each] for each in (earliest, last)})


def _splits(task: Task) -> tuple[str, str]:
    return str(task.train), task.test


def _on_frozen_features(bench: Bench, plan: Path) -> tuple[dict[str, Task], tuple[str, ...]]:
    """The tasks with a head on plain frozen features, and a remark on each other one.

    Raises:
        PlanError: There is none.
        EvidenceError: One has too few test images.
    """
    obstacles = {name: _obstacle(task) for name, task in bench.plan.tasks.items()}
    remarks = tuple(f"task {name} is left out: {why}" for name, why in obstacles.items() if why)
    chosen = tuple(name for name, why in obstacles.items() if not why)
    if not chosen:
        raise PlanError(
            f"{plan}: no task has a head on plain frozen features, by which checkpoints are "
            f"compared: {'; '.join(f'{name}: {why}' for name, why in obstacles.items())}; add a "
            "task with train and test alone"
        )
    tasks = bench.tasks(chosen)
    for name, task in tasks.items():
        if (found := len(bench.split(task.test))) < FEWEST:
            raise EvidenceError(
                f"{plan}: tasks.{name}: split {task.test} has {found} test images, and a plateau "
                f"takes {FEWEST} or more; add images"
            )
    return tasks, remarks


def _obstacle(task: Task) -> str | None:
    """What keeps a task from comparing checkpoints by heads on plain frozen features."""
    if task.head == "own":
        return "the artefact's own head is tried, and says nothing of transfer"
    if task.transfer.trains:
        return "it trains weights, and no head on frozen features"
    if task.remedy in ("debias", "head.ignore"):
        return f"{task.remedy} stamps images, so its head is on other than plain features"
    return None


# --- one checkpoint after the other ---------------------------------------------------------------


@contextmanager
def _naming(checkpoint: BackbonePlan) -> Iterator[None]:
    """Whatever goes wrong in the block names the checkpoint's file."""
    try:
        yield
    except GateError as fault:
        if str(checkpoint.path) in str(fault):
            raise
        raise type(fault)(f"{checkpoint.path}: {fault}") from fault


def _tried(bench: Bench, described: BackbonePlan, splits: Iterable[str]) -> Checkpoint:
    """A checkpoint, opened, tried on a batch and closed.

    Raises:
        GateError: It cannot be loaded, or does not take a batch.
    """
    with _naming(described):
        backbone = bench.opened(described)
        batch = first_batch(bench, backbone)
        opened = [bench.split(split) for split in splits]
        size = bench.plan.batch_size
        missing = [s for s in opened if not embed.kept(bench.folder, backbone, s, size)]
        tried = Checkpoint(
            described,
            backbone.digest,
            backbone.versions,
            sum(map(len, missing)),
            batch.seconds_of_each(0),
        )
    del backbone, batch  # what is held is not closed
    bench.close(described)
    return tried


def _require_distinct(checkpoints: Mapping[str, Checkpoint]) -> None:
    """Refuse the same bytes under two names.

    Raises:
        BackboneError: Says which.
    """
    seen: dict[str, str] = {}
    for name, checkpoint in checkpoints.items():
        if (first := seen.setdefault(checkpoint.digest, name)) != name:
            raise BackboneError(
                f"{checkpoint.plan.path}: has the same bytes as {first} ({checkpoint.digest}), so "
                "one of both is no checkpoint of its own; take one away"
            )


def _expect(bench: Bench, checkpoints: Mapping[str, Checkpoint], tasks: int) -> None:
    """Say what is passed, and how long that takes."""
    passes = sum(each.passes for each in checkpoints.values())
    seconds = sum(each.passes * each.seconds for each in checkpoints.values())
    log.info(
        "%d checkpoints on %d tasks: %s forward passes", len(checkpoints), tasks, f"{passes:,}"
    )
    of_each = {each.digest: each.seconds for each in checkpoints.values()}
    bench.progress.measured(sum(of_each.values()) / len(of_each), of_each)
    bench.progress.expect(passes, seconds)


def _correct(
    bench: Bench, checkpoint: Checkpoint, tasks: Mapping[str, Task]
) -> dict[str, NDArray[np.bool_]]:
    """By task ``(N,)``: which test images the head on a checkpoint's features gets right.

    Raises:
        GateError: Features are not finite or all the same, or a head does not converge.
    """
    with _naming(checkpoint.plan):
        backbone: Backbone = bench.opened(checkpoint.plan)
        if backbone.digest != checkpoint.digest:
            raise BackboneError(
                f"{checkpoint.plan.path}: changed while the row was measured; run again when "
                "nothing writes to it"
            )
        found = {}
        for task_name, task in tasks.items():
            predicted = classifier(bench, task, backbone).predict(
                bench.outputs(task.test, backbone)
            )
            found[task_name] = predicted == bench.split(task.test).labels
        return found
