"""How well does a head on this backbone classify images that nobody tampered with?

What it measures: accuracy of the linear head on the test split of each task, overall and by class.
Control: none; the other probes are read beside it, because it does not show a planted bias.
Why it matters: a backbone that gives a task nothing needs no further trial.
Blind spots: triggers and shortcuts; both leave clean accuracy as it is.
Source: Salman et al. 2022, arXiv 2207.02842, section 2.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from gate.values import Measurement, Value

if TYPE_CHECKING:
    from gate.measure.trial import Trial


class CleanAccuracy(Value):
    """Which tasks to measure; all, unless some are named."""

    tasks: tuple[str, ...] | None = None


def measure(trial: "Trial", settings: CleanAccuracy) -> Iterator[Measurement]:
    """Accuracy of each task, and of each class in it."""
    for name, task in trial.tasks(settings.tasks).items():
        split = trial.split(task.test)
        right = trial.predictions(task) == split.labels  # (N,)
        yield Measurement.rate("accuracy", int(right.sum()), len(right), task=name)
        for k, label in enumerate(split.classes):
            of_class = right[split.labels == k]
            yield Measurement.rate(
                "class_accuracy", int(of_class.sum()), len(of_class), task=name, **{"class": label}
            )
