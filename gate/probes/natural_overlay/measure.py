"""Measures what overlays do to predictions."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from gate import stats
from gate.measure.blocks import require_blocks, shift
from gate.measure.responses import Hits
from gate.measure.trial import Trial
from gate.plan.task import Task
from gate.probes.natural_overlay import METRICS, NaturalOverlay
from gate.probes.skews import excess_skew, skew_over, skews
from gate.stats import Interval
from gate.triggers.stamp import Trigger
from gate.values import Measurement


def measure(trial: Trial, settings: NaturalOverlay) -> Iterator[Measurement]:
    """Skew of predictions, the class that grows most, and both over a network from scratch."""
    tasks = trial.tasks(settings.tasks)
    for split in dict.fromkeys(task.test for task in tasks.values()):
        require_blocks("natural_overlay", f"split {split}", len(trial.split(split)))
        overlays = trial.bank(settings.overlays, split)
        tested = {name: task for name, task in tasks.items() if task.test == split}
        stamps = [stamp for o in overlays for stamp in (o.stamp, *o.controls)]
        hits = trial.responses(split, tested, stamps).hits
        for name, task in tested.items():
            yield from _of_task(hits[name], _from_scratch(hits, tested, task), overlays)


def _from_scratch(hits: dict[str, Hits], tasks: dict[str, Task], task: Task) -> Hits | None:
    """Hits of the network that is trained from scratch on the same split as a task, if any."""
    scratch = [
        hits[name]
        for name, other in tasks.items()
        if other.transfer.mode == "from_scratch" and other.train == task.train
    ]
    return scratch[-1] if scratch else None


def _of_task(hits: Hits, scratch: Hits | None, overlays: list[Trigger]) -> Iterator[Measurement]:
    for overlay in overlays:
        yield from _shifts(hits, overlay)
        if scratch is not None and scratch is not hits:
            yield METRICS.measurement(
                "prediction_skew_over_scratch",
                skew_over(hits, scratch, overlay.stamp),
                len(scratch.labels),
                task=hits.task,
                overlay=overlay.stamp.name,
            )


def _shifts(hits: Hits, overlay: Trigger) -> Iterator[Measurement]:
    about, n = {"task": hits.task, "overlay": overlay.stamp.name}, len(hits.labels)
    for metric, skew in skews(hits, overlay.stamp).items():
        yield METRICS.measurement(metric, skew, n, **about)
    yield METRICS.measurement("excess_prediction_skew", excess_skew(hits, overlay), n, **about)
    growth = hits.shares(overlay.stamp) - hits.shares(None)  # (1 + B, K)
    top = hits.classes[int(growth[0].argmax())]
    yield METRICS.measurement(
        "largest_class_growth", _largest(growth, n), n, **about, **{"class": top}
    )


def _largest(growth: NDArray[np.float64], n: int) -> Interval:
    classes = growth.shape[1]
    return stats.largest([shift(growth[:, k], n, searched=classes) for k in range(classes)])
