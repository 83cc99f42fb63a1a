"""Which label prior does a classifier on this backbone carry, and does removing it help?

What it measures: the label prior of the nearest-class-mean head, a stand-in for a zero-shot head,
as shares with standard errors; how far it is from uniform; and what generalized logit adjustment
(GLA) of the linear head by that prior changes in accuracy, on the same test images.
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
from gate.head import LinearHead, fit_linear, fit_nearest_class_mean, out_of_fold_logits
from gate.values import Measurement, Value

if TYPE_CHECKING:
    from gate.plan import Task
    from gate.priors import Prior
    from gate.trial import Trial


class LabelPrior(Value):
    """Which tasks to measure; unless some are named, all with a head on frozen features."""

    tasks: tuple[str, ...] | None = None


def measure(trial: "Trial", settings: LabelPrior) -> Iterator[Measurement]:
    """The prior of each task's classes, its distance to uniform, and the gain by GLA."""
    for name, task in trial.tasks(settings.tasks).items():
        if settings.tasks is None and not task.fits_head:
            continue
        prior, head = calibrate(trial, task)
        train, test = trial.split(str(task.train)), trial.split(task.test)
        for label, *share in zip(train.classes, prior.shares, *prior.bounds, strict=True):
            bounds = stats.Interval(*map(float, share))
            yield Measurement.of(
                "label_prior", bounds, len(train), "fraction", task=name, **{"class": label}
            )
        distance = stats.Interval(*priors.distance_to_uniform(prior, trial.plan.seed))
        yield Measurement.of(
            "total_variation_to_uniform", distance, len(train), "fraction", task=name
        )
        plain = trial.predictions(task) == test.labels  # (N,)
        calibrated = head.predict(trial.features(task.test)) == test.labels
        gain = stats.paired_difference(
            both=int((calibrated & plain).sum()),
            first=int((calibrated & ~plain).sum()),
            second=int((~calibrated & plain).sum()),
            n=len(test),
        )
        yield Measurement.of("accuracy_gain", gain, len(test), "difference of fractions", task=name)


def calibrate(trial: "Trial", task: "Task") -> "tuple[Prior, LinearHead]":
    """The prior of a task's classes, and the task's head with both priors removed (GLA).

    Prior and temperatures come from logits of training images by heads fitted without them.

    Raises:
        PlanError: The task's classifier is not a head on frozen features.
    """
    plain, seed = trial.head(task), trial.plan.seed
    train = trial.split(str(task.train))
    features, labels = trial.features(train.name), train.labels
    l2 = task.head.l2 if task.head != "own" else 1.0
    zero_shot = out_of_fold_logits(fit_nearest_class_mean, features, labels, seed)
    fine_tuned = out_of_fold_logits(partial(fit_linear, l2=l2), features, labels, seed)
    prior = priors.estimate(zero_shot, labels)
    head = priors.adjusted(
        fit_nearest_class_mean(features, labels),
        prior,
        plain,
        priors.estimate(fine_tuned, labels).scale,
        np.bincount(labels) / len(labels),
    )
    return prior, head
