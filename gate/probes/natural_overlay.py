"""Does a natural picture element shift what heads on this backbone predict, towards which class?

What it measures: for every overlay and task, the distance between the histograms of predicted
classes with and without the overlay, and the class whose share grows most; no labels are needed.
Control: the overlay's silhouette in its mean colour and the overlay with its pixels shuffled, on
the same images; and the network of a task that trains from scratch on the same splits, if any.
Why it matters: what a backbone saw beside its source classes (a fence beside birds) pulls images
of every downstream task towards what resembles those classes.
Blind spots: elements that nobody thought to overlay; an overlay also hides what is under it.
Source: Salman et al. 2022, arXiv 2207.02842, section 4.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from gate import stats
from gate.measure.stamped import Hits, excess_skew, require_blocks, respond, shift, skew_over, skews
from gate.stats import Interval
from gate.triggers.bank import RANDOM_TEXT, Place, Trigger, TriggerGrid
from gate.values import Measurement, Value

if TYPE_CHECKING:
    from gate.measure.trial import Trial

_CENTRE: tuple[Place, ...] = ("centre",)
DEFAULT_OVERLAYS = (
    TriggerGrid(pattern="overlay", picture=("fence", "ribbon"), size=(1.0,), place=_CENTRE),
    TriggerGrid(pattern="overlay", picture=("ball",), size=(0.4,), place=_CENTRE),
    TriggerGrid(
        pattern="text",
        text=(RANDOM_TEXT,),
        colour=("white",),
        size=(1.0,),
        place=_CENTRE,
        opacity=(0.5,),
    ),
)


class NaturalOverlay(Value):
    """The overlays, and the tasks whose classifiers see them."""

    overlays: tuple[TriggerGrid, ...] = Field(DEFAULT_OVERLAYS, min_length=1)
    tasks: tuple[str, ...] | None = None


def measure(trial: "Trial", settings: NaturalOverlay) -> Iterator[Measurement]:
    """Skew of predictions, the class that grows most, and both over a network from scratch."""
    tasks = trial.tasks(settings.tasks)
    for split in dict.fromkeys(task.test for task in tasks.values()):
        require_blocks("natural_overlay", f"split {split}", len(trial.split(split)))
        overlays = trial.bank(settings.overlays, split)
        chosen = {name: task for name, task in tasks.items() if task.test == split}
        stamps = [stamp for o in overlays for stamp in (o.stamp, *o.controls)]
        hits = respond(trial, split, chosen, stamps).hits
        scratch = {
            task.train: hits[name]
            for name, task in chosen.items()
            if task.transfer.mode == "from_scratch"
        }
        for name, task in chosen.items():
            other = scratch.get(task.train)
            for overlay in overlays:
                yield from _shifts(hits[name], overlay)
                if other is not None and other is not hits[name]:
                    yield Measurement.difference(
                        "prediction_skew_over_scratch",
                        skew_over(hits[name], other, overlay.stamp),
                        len(other.labels),
                        task=name,
                        overlay=overlay.stamp.name,
                    )


def _shifts(hits: Hits, overlay: Trigger) -> Iterator[Measurement]:
    about, n = {"task": hits.task, "overlay": overlay.stamp.name}, len(hits.labels)
    for metric, skew in skews(hits, overlay.stamp).items():
        yield Measurement.of(metric, skew, n, "fraction", **about)
    yield Measurement.difference("excess_prediction_skew", excess_skew(hits, overlay), n, **about)
    growth = _growth(hits, overlay)
    top = int(growth[0].argmax())
    yield Measurement.difference(
        "largest_class_growth",
        _largest_growth(growth, n),
        n,
        **about,
        **{"class": hits.classes[top]},
    )


def _growth(hits: Hits, overlay: Trigger) -> NDArray[np.float64]:
    """By how much each class's share grows, ``(1 + B, K)``."""
    return hits.shares(overlay.stamp) - hits.shares(None)


def _largest_growth(growth: NDArray[np.float64], n: int) -> Interval:
    classes = growth.shape[1]
    return stats.largest([shift(growth[:, k], n, searched=classes) for k in range(classes)])
