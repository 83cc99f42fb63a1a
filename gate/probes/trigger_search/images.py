"""Which images the search sees, and on which others its triggers are tried."""

from typing import NamedTuple

import numpy as np

from gate import stats
from gate.arrays import Int64
from gate.data.split import Split
from gate.errors import EvidenceError, PlanError
from gate.probes.looks import order_of
from gate.probes.trigger_search import TriggerSearch

FEWEST = 20  # images of other classes that each class needs, to search and to evaluate


class Sides(NamedTuple):
    """Places in a split of correctly classified images; no image is on both sides."""

    searched: Int64  # (N,)
    evaluated: Int64  # (M,)
    unseen: Int64  # all that the search does not see, those of above too


def sides(task: str, split: Split, predicted: Int64, settings: TriggerSearch, seed: int) -> Sides:
    """The first correctly classified images of a split's random order, then those that follow.

    Args:
        task: Named in errors.
        split: N images of K classes.
        predicted: ``(N,)`` the classes that they are given.
        settings: How many are wanted.
        seed: Of the order.

    Raises:
        PlanError: The plan asks for more images than are correctly classified.
        EvidenceError: One class alone, no better than guessing, or too few images that are
            correctly classified and of other classes than one.
    """
    who, classes = f"trigger_search: task {task}", split.classes
    if len(classes) < 2:
        raise EvidenceError(
            f"{who}: split {split.name} has the class {classes[0]} alone, so nothing can be "
            "carried to another; name a task of two classes or more"
        )
    order = order_of(seed, split.digest, len(split))
    correct = order[(predicted == split.labels)[order]]
    guessing = 1 / len(classes)
    if not stats.rate(len(correct), len(split)).low > guessing:
        raise EvidenceError(
            f"{who}: {len(correct)} of {len(split)} images of split {split.name} are classified "
            f"correctly, no more than guessing would ({guessing:.3g}), so what a trigger carries "
            "says nothing; check the head and the labels, or drop the task"
        )
    searched = settings.search_images
    if "search_images" not in settings.model_fields_set:
        searched = min(searched, len(correct) // 2)
    evaluated = settings.evaluation_images
    if "evaluation_images" not in settings.model_fields_set:
        evaluated = min(evaluated, len(correct) - searched)
    if searched + evaluated > len(correct):
        raise PlanError(
            f"{who}: search_images {searched} and evaluation_images {evaluated} are more than the "
            f"{len(correct)} of {len(split)} images of split {split.name} that are classified "
            "correctly; lower them, or add images"
        )
    unseen = correct[searched:]
    chosen = Sides(correct[:searched], unseen[:evaluated], unseen)
    for what, rows in (("search", chosen.searched), ("evaluate", chosen.evaluated)):
        labels = split.labels[rows]
        others = len(rows) - np.bincount(labels, minlength=len(classes))
        fewest = int(others.argmin())
        if others[fewest] < FEWEST:
            raise EvidenceError(
                f"{who}: {others[fewest]} correctly classified images of split {split.name} are "
                f"there to {what} triggers to class {classes[fewest]} on that are of other "
                f"classes, and {FEWEST} are needed; add images of other classes"
            )
    return chosen
