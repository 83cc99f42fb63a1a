"""Measures what overlays do to predictions."""

from collections.abc import Iterator

from gate import stats
from gate.measure.blocks import require_blocks, shift
from gate.measure.count import Count
from gate.measure.responses import Hits
from gate.measure.trial import Trial
from gate.plan.task import Task
from gate.probes.natural_overlay import METRICS, NaturalOverlay
from gate.probes.skews import excess_skew, skew_over, skews
from gate.triggers.stamp import Stamp, Trigger
from gate.values import Measurement


def passes(count: Count, settings: NaturalOverlay) -> None:
    """Count what `measure` passes."""
    tasks = count.tasks(settings.tasks).values()
    for split in dict.fromkeys(task.test for task in tasks):
        tested = [task for task in tasks if task.test == split]
        count.responses(split, tested, _stamps(count.bank(settings.overlays, split)))


def measure(trial: Trial, settings: NaturalOverlay) -> Iterator[Measurement]:
    """Skew of predictions, the class that grows most, and both over a network from scratch."""
    tasks = trial.tasks(settings.tasks)
    for split in dict.fromkeys(task.test for task in tasks.values()):
        require_blocks("natural_overlay", f"split {split}", len(trial.split(split)))
        overlays = trial.bank(settings.overlays, split)
        tested = {name: task for name, task in tasks.items() if task.test == split}
        hits = trial.responses(split, tested, _stamps(overlays)).hits
        for name, task in tested.items():
            scratch = _from_scratch(hits, tested, task)
            for overlay in overlays:
                yield from _shifts(hits[name], scratch, overlay)


def _stamps(overlays: list[Trigger]) -> list[Stamp]:
    return [stamp for overlay in overlays for stamp in (overlay.stamp, *overlay.controls)]


def _from_scratch(hits: dict[str, Hits], tasks: dict[str, Task], task: Task) -> Hits | None:
    """Hits of the network that is trained from scratch on the same split as a task, if any."""
    scratch = [
        hits[name]
        for name, other in tasks.items()
        if other.transfer.mode == "from_scratch" and other.train == task.train
    ]
    return scratch[-1] if scratch else None


def _shifts(hits: Hits, scratch: Hits | None, overlay: Trigger) -> Iterator[Measurement]:
    about, n = {"task": hits.task, "overlay": overlay.stamp.name}, len(hits.labels)
    shifts = {**skews(hits, overlay.stamp), "excess_prediction_skew": excess_skew(hits, overlay)}
    for metric, interval in shifts.items():
        yield METRICS.measurement(metric, interval, n, **about)
    growth = (hits.shares(overlay.stamp) - hits.shares(None)).T  # (K, 1 + B)
    top = {"class": hits.classes[int(growth[:, 0].argmax())]}
    largest = stats.largest([shift(of_class, n, searched_low=len(growth)) for of_class in growth])
    yield METRICS.measurement("largest_class_growth", largest, n, **about, **top)
    if scratch is not None and scratch is not hits:
        skew = skew_over(hits, scratch, overlay.stamp)
        yield METRICS.measurement("prediction_skew_over_scratch", skew, n, **about)
