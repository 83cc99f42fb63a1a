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
_FEWEST_OF_CLASS = 4  # of fewer that are searched on, wrong ones are taken, too
_SEEN_OF_CLASS = 12  # of those, at the most; half of them at least is left to try patches on


class Sides(NamedTuple):
    """Places in a split of correctly classified images; no image is on both sides.

    A source-specific trigger can cost its source class nearly all that is right of it. So of
    classes of which hardly any image is searched on, the search from class to class sees, and is
    tried on, images that are classified wrongly, too: ``pair_seen`` and ``pair_unseen`` begin with
    ``searched`` and ``unseen``, and go on with these.
    """

    searched: Int64  # (N,)
    evaluated: Int64  # (M,)
    unseen: Int64  # all that the search does not see, those of above too
    pair_seen: Int64
    pair_unseen: Int64


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
    wrong = order[(predicted != split.labels)[order]]
    also_seen, also_unseen = _of_rare(split, correct[:searched], wrong)
    chosen = Sides(
        correct[:searched],
        unseen[:evaluated],
        unseen,
        np.concatenate([correct[:searched], also_seen]),
        np.concatenate([unseen, also_unseen]),
    )
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


def _of_rare(split: Split, searched: Int64, wrong: Int64) -> tuple[Int64, Int64]:
    """Images that are classified wrongly, of classes of which hardly any is searched on."""
    counts = np.bincount(split.labels[searched], minlength=len(split.classes))
    seen, unseen = [wrong[:0]], [wrong[:0]]
    for rare in np.flatnonzero(counts < _FEWEST_OF_CLASS):
        rows = wrong[split.labels[wrong] == rare]
        taken = min(_SEEN_OF_CLASS, len(rows) // 2)
        seen.append(rows[:taken])
        unseen.append(rows[taken:])
    return np.concatenate(seen), np.concatenate(unseen)
