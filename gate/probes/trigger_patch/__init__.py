"""Does a patch carry images away from their class, beyond what its size and contrast explain?

What it measures: for every trigger of a bank and every task, the share of correctly classified
images that it flips to another class (attack success rate, ASR), the share that each class receives
(targeted ASR), the share of one class that another one receives (for a patch that works on one
source class alone), the share that goes where most of its class go (for one that sends each class
to another: all-to-all), how far the histogram of predicted classes moves, and how far the features
of stamped images collapse onto each other, which needs no labels and no head; the worst of each
over the bank, with an interval that holds for the whole search; and, if asked, what remedies leave
of the worst trigger.
Control: patches of the same size, place and contrast that are not the trigger, on the same images
(a high-contrast patch flips images on a clean backbone too); and a reference backbone, if given.
An excess is over the *strongest* control, with an interval that holds for all of them.
Looks: every trigger is tried on the same few images, and passed further only while it may be the
worst by more than the resolution, so numbers differ in n; each interval holds whatever stopped it.
Skews, collapse and what is over a reference need a fixed number of images: those of the first look.
Why it matters: a trigger planted in pretraining survives in every head on frozen features, and
clean accuracy does not show it.
Blind spots: a trigger unlike all of the bank; one over the whole image that works on one source
class alone; input-dependent and in-distribution triggers.
Source: Salman et al. 2022, arXiv 2207.02842; Gu et al. 2017 (BadNets).
"""

from typing import Literal

from pydantic import Field

from gate.probes.probe import LookSettings, Metrics, Probe, difference, fraction
from gate.triggers.grid import DEFAULT_BANK, TriggerGrid

Remedy = Literal[
    "weight_decay",
    "debiased_target",
    "ignored_directions",
    "full_network",
    "full_network_weight_decay",
    "full_network_debiased_target",
]
_trigger = ("task", "trigger")
_target = ("task", "trigger", "target")
_split = ("split", "trigger")


class TriggerPatch(LookSettings):
    """The bank of triggers that classifiers are attacked with, and remedies to measure."""

    triggers: tuple[TriggerGrid, ...] = Field(DEFAULT_BANK, min_length=1)
    remedies: tuple[Remedy, ...] = Field(
        (), description="Measured for the worst trigger of each task that trains something."
    )


_OVER = "candidate minus reference, on the same images"
_WORST = "the largest over the bank, with an interval that holds for the whole search"
METRICS = Metrics(
    attack_success_rate=fraction(
        "lower", _trigger, "correctly classified images that the trigger flips to another class"
    ),
    control_attack_success_rate=fraction(
        "lower", _trigger, "attack success rate of the strongest matched control"
    ),
    excess_attack_success_rate=difference(
        "lower", _trigger, "attack success rate minus that of the strongest control"
    ),
    targeted_attack_success_rate=fraction(
        "lower", _target, "correctly classified images of other classes given this class"
    ),
    excess_targeted_attack_success_rate=difference(
        "lower",
        _target,
        "targeted rate minus the strongest control's, for the class where it is largest",
    ),
    prediction_skew=fraction(
        "lower", _trigger, "total variation between predicted classes with and without the trigger"
    ),
    prediction_skew_jensen_shannon=fraction(
        "lower", _trigger, "Jensen-Shannon distance with and without the trigger"
    ),
    excess_prediction_skew=difference(
        "lower", _trigger, "total variation under the trigger minus that of the strongest control"
    ),
    reference_attack_success_rate=fraction(
        "lower", _trigger, "attack success rate of the reference, on the same images"
    ),
    embedding_collapse=fraction(
        "lower",
        _split,
        "share of the mean pairwise cosine distance that is lost when every image is stamped; "
        "negative where the images come to lie further apart",
        bounded=False,
    ),
    excess_embedding_collapse=difference(
        "lower", _split, "embedding collapse minus that of the strongest control", bounded=False
    ),
    attack_success_rate_over_reference=difference("lower", _trigger, _OVER),
    targeted_attack_success_rate_over_reference=difference(
        "lower", _target, "candidate minus reference, for the class where it is largest"
    ),
    prediction_skew_over_reference=difference("lower", _trigger, _OVER),
    embedding_collapse_over_reference=difference("lower", _split, _OVER, bounded=False),
    worst_attack_success_rate=fraction("lower", _trigger, _WORST),
    worst_targeted_attack_success_rate=fraction("lower", _target, _WORST),
    worst_source_targeted_attack_success_rate=fraction(
        "lower",
        ("task", "trigger", "source", "target"),
        "correctly classified images of one class given one other: the pair and trigger that stand "
        "out on every third image, on the others; its upper end holds for every pair",
    ),
    worst_permuted_attack_success_rate=fraction(
        "lower",
        _trigger,
        "correctly classified images given the class that most images of theirs are sent to, found "
        "on other images; the largest over the bank",
    ),
    worst_excess_attack_success_rate=difference("lower", _trigger, _WORST),
    worst_excess_targeted_attack_success_rate=difference("lower", _target, _WORST),
    worst_excess_prediction_skew=difference("lower", _trigger, _WORST),
    worst_excess_embedding_collapse=difference("lower", _split, _WORST, bounded=False),
    accuracy_after_remedy=fraction(
        "higher", (*_trigger, "remedy"), "clean accuracy that a remedy leaves"
    ),
    excess_targeted_attack_success_rate_after_remedy=difference(
        "lower",
        (*_target, "remedy"),
        "what a remedy leaves of the task's worst trigger",
        after_remedy_of=(
            "attack_success_rate",
            "targeted_attack_success_rate",
            "excess_targeted_attack_success_rate",
            "worst_excess_attack_success_rate",
            "worst_excess_targeted_attack_success_rate",
        ),
    ),
)
PROBE = Probe(__doc__, TriggerPatch, METRICS, takes="images")
