"""How far accuracy falls on the straight line between the weights of candidate and ancestor."""

from collections.abc import Iterator, Mapping

from gate.measure.count import Count
from gate.measure.interpolation import SHARES, barrier
from gate.measure.trial import Trial
from gate.plan.task import Task
from gate.probes.lineage import METRICS, Barrier
from gate.values import Measurement


def passes(count: Count, tasks: Mapping[str, Task], settings: Barrier) -> None:
    """Count what `barriers` passes."""
    count.interpolated(_with_plain_heads(tasks), len(SHARES), settings.recalibrated_on)


def barriers(
    trial: Trial, ancestor: str, tasks: Mapping[str, Task], settings: Barrier
) -> Iterator[Measurement | str]:
    """The barrier of each task whose head can be had at both ends, and where it was found.

    Args:
        trial: Passes the images.
        ancestor: Its digest.
        tasks: By name.
        settings: What BatchNorm takes its statistics of.

    Raises:
        PlanError: One of both is not given as weights with an arch; they are of two architectures;
            no task has a head that both share.
        EvidenceError: Fewer than a hundred images.
    """
    tasks = _with_plain_heads(tasks)
    classes = trial.interpolated(tasks, SHARES, settings.recalibrated_on)
    for name, task in tasks.items():
        correct = classes[name] == trial.split(task.test).labels
        found = barrier(correct, SHARES, trial.plan.seed)
        about = {"ancestor": ancestor, "task": name}
        yield METRICS.measurement("interpolation_barrier", found.height, found.n, **about)
        yield (
            f"{name}: on one half of the images accuracy fell most at {found.share:g} of the way "
            f"to the ancestor; the barrier is that of the other half, there"
        )


def _with_plain_heads(tasks: Mapping[str, Task]) -> dict[str, Task]:
    """The tasks whose heads can be had at both ends; all, to be refused, where none can."""
    return {name: t for name, t in tasks.items() if t.has_plain_head} or dict(tasks)
