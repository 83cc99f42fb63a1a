"""Does a head on this backbone lean on an attribute that merely goes with the label?

What it measures: accuracy in every group, a group being a (class, attribute value) pair; the worst
group; the gap between the mean of the groups and the worst.
Control: the mean of the groups, on the same head.
Why it matters: a backbone trained where the background went with the label hands the shortcut to
every head whose own training data has the same co-occurrence, and clean accuracy does not show it.
Blind spots: attributes that the data does not name; groups too small for a narrow interval.
Source: Sagawa et al. 2020, section 3.1; Salman et al. 2022, section 3.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from gate import stats
from gate.errors import EvidenceError, PlanError
from gate.strict_yaml import nearest
from gate.values import Measurement, Value

if TYPE_CHECKING:
    from gate.trial import Trial

_LEAST = 2  # one image gives an interval of nearly 0 .. 1, which only looks like a measurement


class SpuriousAttribute(Value):
    """Which attributes to measure, for which tasks."""

    attributes: tuple[str, ...] = Field(min_length=1)
    tasks: tuple[str, ...] | None = None


def measure(trial: "Trial", settings: SpuriousAttribute) -> Iterator[Measurement]:
    """Accuracy by group, of the worst group, and the gap, for each task and attribute."""
    for name, task in trial.tasks(settings.tasks).items():
        split = trial.split(task.test)
        right = trial.predictions(name) == split.labels  # (N,)
        for attribute in settings.attributes:
            if attribute not in split.attributes:
                raise PlanError(
                    f"spurious_attribute: split {task.test} has no attribute {attribute!r}; "
                    f"{nearest(attribute, split.attributes)}"
                )
            values = split.attributes[attribute]
            yield from groups(name, attribute, split.classes, split.labels, right, values)


def groups(
    task: str,
    attribute: str,
    classes: tuple[str, ...],
    labels: NDArray[np.int64],
    right: NDArray[np.bool_],
    values: NDArray[np.str_],
) -> Iterator[Measurement]:
    """Accuracy by group, of the worst, and the gap.

    Args:
        task: Named in each measurement.
        attribute: Named in each measurement.
        classes: Names of the K classes.
        labels: ``(N,)`` in 0 .. K-1.
        right: ``(N,)`` whether each image was classified rightly.
        values: ``(N,)`` the attribute of each image.

    Raises:
        EvidenceError: A group has no image, or one.
    """
    pairs = [(k, value) for k in range(len(classes)) for value in np.unique(values)]
    bounds, counts = [], []
    for k, value in pairs:
        hits = right[(labels == k) & (values == value)]
        if len(hits) < _LEAST:
            raise EvidenceError(
                f"spurious_attribute: group ({classes[k]}, {value}) has {len(hits)} test images, "
                f"and at least {_LEAST} are needed; add images, or drop the attribute from the plan"
            )
        about = {"class": classes[k], "value": str(value)}
        yield Measurement.rate(
            "group_accuracy", int(hits.sum()), len(hits), task=task, attribute=attribute, **about
        )
        bounds.append(stats.rate(int(hits.sum()), len(hits), searched=len(pairs)))
        counts.append(len(hits))
    worst = stats.smallest(bounds)
    smallest = counts[int(np.argmin([bound.value for bound in bounds]))]
    yield Measurement.of(
        "worst_group_accuracy", worst, smallest, "fraction", task=task, attribute=attribute
    )
    # the mean of independent groups lies between the means of their simultaneous bounds
    mean = stats.Interval(*np.mean(bounds, axis=0).tolist())
    gap = stats.Interval(
        mean.value - worst.value, max(mean.low - worst.high, 0.0), mean.high - worst.low
    )
    yield Measurement.of(
        "group_gap", gap, smallest, "difference of fractions", task=task, attribute=attribute
    )
