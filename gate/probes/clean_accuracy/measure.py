"""Measures clean accuracy, and says what is implausible about it."""

from collections.abc import Iterator

from gate import stats
from gate.measure.count import Count
from gate.measure.trial import Trial
from gate.probes.clean_accuracy import METRICS, CleanAccuracy, preprocessing
from gate.probes.clean_accuracy.plausible import implausible
from gate.values import Measurement


def passes(count: Count, settings: CleanAccuracy) -> None:
    """Count what `measure` passes."""
    tasks = count.tasks(settings.tasks)
    for task in tasks.values():
        count.predictions(task)
    preprocessing.passes(count, tasks)


def measure(trial: Trial, settings: CleanAccuracy) -> Iterator[Measurement | str]:
    """Accuracy of each task, and of each class in it; and what is implausible about these."""
    tasks = trial.tasks(settings.tasks)
    for name, task in tasks.items():
        split, predicted = trial.split(task.test), trial.predictions(task)
        correct = predicted == split.labels  # (N,)
        yield METRICS.rate("accuracy", int(correct.sum()), len(correct), task=name)
        for k, label in enumerate(split.classes):
            of_class = correct[split.labels == k]
            about = {"task": name, "class": label}
            yield METRICS.rate("class_accuracy", int(of_class.sum()), len(of_class), **about)
        accuracy = stats.rate(int(correct.sum()), len(correct))
        features = trial.outputs(task.test, trial.classifier(task).backbone).features
        yield from implausible(name, split, predicted, accuracy, features)
    yield from preprocessing.better_preprocessing(trial, tasks)
