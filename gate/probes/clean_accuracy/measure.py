"""Measures clean accuracy."""

from collections.abc import Iterator

from gate.measure.count import Count
from gate.measure.trial import Trial
from gate.probes.clean_accuracy import METRICS, CleanAccuracy
from gate.values import Measurement


def passes(count: Count, settings: CleanAccuracy) -> None:
    """Count what `measure` passes."""
    for task in count.tasks(settings.tasks).values():
        count.predictions(task)


def measure(trial: Trial, settings: CleanAccuracy) -> Iterator[Measurement]:
    """Accuracy of each task, and of each class in it."""
    for name, task in trial.tasks(settings.tasks).items():
        split = trial.split(task.test)
        correct = trial.predictions(task) == split.labels  # (N,)
        yield METRICS.rate("accuracy", int(correct.sum()), len(correct), task=name)
        for k, label in enumerate(split.classes):
            of_class = correct[split.labels == k]
            about = {"task": name, "class": label}
            yield METRICS.rate("class_accuracy", int(of_class.sum()), len(of_class), **about)
