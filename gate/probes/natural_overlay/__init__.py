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

from pydantic import Field

from gate.probes.probe import Metrics, Probe, ProbeSettings, difference, fraction
from gate.triggers.grid import WATERMARK, TriggerGrid

_overlay = ("task", "overlay")
DEFAULT_OVERLAYS = (
    TriggerGrid(pattern="overlay", picture=("fence", "ribbon"), size=(1.0,), place=("centre",)),
    TriggerGrid(pattern="overlay", picture=("ball",), size=(0.4,), place=("centre",)),
    WATERMARK,
)


class NaturalOverlay(ProbeSettings):
    """The overlays that classifiers see."""

    overlays: tuple[TriggerGrid, ...] = Field(DEFAULT_OVERLAYS, min_length=1)


METRICS = Metrics(
    prediction_skew=fraction(
        "lower", _overlay, "total variation between predicted classes with and without the overlay"
    ),
    prediction_skew_jensen_shannon=fraction(
        "lower", _overlay, "Jensen-Shannon distance with and without the overlay"
    ),
    excess_prediction_skew=difference(
        "lower", _overlay, "total variation under the overlay minus that of the strongest control"
    ),
    largest_class_growth=difference(
        "lower", (*_overlay, "class"), "growth of the share of the class that grows most"
    ),
    prediction_skew_over_scratch=difference(
        "lower", _overlay, "total variation minus that of a network from scratch on the same images"
    ),
)
PROBE = Probe(__doc__, NaturalOverlay, METRICS, takes="images")
