"""Which label prior does a classifier on this backbone carry, and does removing it help?

What it measures: the label prior of the nearest-class-mean head, a stand-in for a zero-shot head,
as shares with standard errors; how far it is from uniform; and what generalized logit adjustment
(GLA) of the linear head by that prior changes in accuracy, on the same test images. A task with a
remedy has the same prior and no gain: GLA would undo the remedy.
Control: the uniform prior; the plain linear head.
Why it matters: a head inherits the prior, and rare classes pay for it.
Blind spots: it says how a classifier leans, not how often a class stood in the pretraining data;
imbalance in the features themselves cannot be mended on logits.
Source: Zhu et al. 2023, arXiv 2310.08106.
"""

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from gate import priors, stats
from gate.errors import PlanError
from gate.head import LinearHead, fit_linear, fit_nearest_class_mean, out_of_fold_logits
from gate.values import Measurement, Value

if TYPE_CHECKING:
    from gate.plan import Task
    from gate.priors import Prior
    from gate.trial import Trial

_Z = 1.959964  # a 95 % interval of a normal estimate


class LabelPrior(Value):
    """Which tasks to measure; unless some are named, all with a head on frozen features."""

    tasks: tuple[str, ...] | None = None


def measure(trial: "Trial", settings: LabelPrior) -> Iterator[Measurement]:
    """The prior of each task's classes, its distance to uniform, and the gain by GLA."""
    for name, task in trial.tasks(settings.tasks).items():
        if settings.tasks is None and not task.fits_head:
            continue
        head = None
        if task.remedy:
            prior = estimate(trial, task)
        else:
            prior, head = calibrate(trial, name)
        train, test = trial.split(str(task.train)), trial.split(task.test)
        for label, share, error in zip(train.classes, prior.shares, prior.errors, strict=True):
            value, reach = float(share), _Z * float(error)
            bounds = stats.Interval(value, max(value - reach, 0.0), min(value + reach, 1.0))
            yield Measurement.of(
                "label_prior", bounds, len(train), "fraction", task=name, **{"class": label}
            )
        distance = stats.Interval(*priors.distance_to_uniform(prior, trial.plan.seed))
        yield Measurement.of(
            "total_variation_to_uniform", distance, len(train), "fraction", task=name
        )
        if head is None:
            continue
        plain = trial.predictions(task) == test.labels  # (N,)
        calibrated = head.predict(trial.features(task.test)) == test.labels
        gain = stats.paired_difference(
            both=int((calibrated & plain).sum()),
            first=int((calibrated & ~plain).sum()),
            second=int((~calibrated & plain).sum()),
            n=len(test),
        )
        yield Measurement.of("accuracy_gain", gain, len(test), "difference of fractions", task=name)


def estimate(trial: "Trial", task: "Task") -> "Prior":
    """The prior of a task's classes, from logits of training images by heads fitted without them.

    The nearest-class-mean head reads plain features, whatever the task's own head was given.
    """
    train = trial.split(str(task.train))
    features = trial.features(train.name)
    logits = out_of_fold_logits(fit_nearest_class_mean, features, train.labels, trial.plan.seed)
    return priors.estimate(logits, train.labels)


def require_no_remedy(name: str, task: "Task") -> None:
    """Refuse to calibrate a head that was given a remedy.

    Raises:
        PlanError: It was; says which.
    """
    if task.remedy:
        raise PlanError(
            f"tasks.{name}: GLA adds a nearest-class-mean head on plain features to the task's "
            f"head, which would undo {task.remedy}; use the head as it is, or calibrate from a "
            f"plan whose tasks have no {task.remedy}"
        )


def calibrate(trial: "Trial", name: str) -> "tuple[Prior, LinearHead]":
    """The prior of a task's classes, and the task's head with both priors removed (GLA).

    Prior and temperatures come from logits of training images by heads fitted without them.

    Raises:
        PlanError: The task's classifier is not a head on frozen features, or has a remedy that a
            second head on plain features would undo.
    """
    task = trial.plan.tasks[name]
    require_no_remedy(name, task)
    plain, seed = trial.head(task), trial.plan.seed
    train = trial.split(str(task.train))
    features, labels = trial.features(train.name), train.labels
    l2 = task.head.l2 if task.head != "own" else 1.0
    fine_tuned = out_of_fold_logits(partial(fit_linear, l2=l2), features, labels, seed)
    prior = estimate(trial, task)
    head = priors.adjusted(
        fit_nearest_class_mean(features, labels),
        prior,
        plain,
        priors.estimate(fine_tuned, labels).scale,
        np.bincount(labels) / len(labels),
    )
    return prior, head
