"""Every metric that a probe measures, in one table.

It stands apart from the probes so that a policy is checked without loading torch; a test holds
that each probe measures what its rows say, and nothing else.
"""

from typing import Literal, NamedTuple

from gate.values import Unit


class Metric(NamedTuple):
    """What a number is, and which way is better."""

    unit: Unit
    better: Literal["lower", "higher"]
    labels: tuple[str, ...]
    meaning: str


_trigger = ("task", "trigger")

CATALOGUE: dict[str, dict[str, Metric]] = {
    "clean_accuracy": {
        "accuracy": Metric("fraction", "higher", ("task",), "test images classified rightly"),
        "class_accuracy": Metric(
            "fraction", "higher", ("task", "class"), "the same, within one class"
        ),
    },
    "trigger_patch": {
        "attack_success_rate": Metric(
            "fraction", "lower", _trigger, "right images that turn wrong under the trigger"
        ),
        "control_attack_success_rate": Metric(
            "fraction", "lower", _trigger, "the same under the strongest matched control patch"
        ),
        "excess_attack_success_rate": Metric(
            "difference of fractions",
            "lower",
            _trigger,
            "trigger minus strongest control, on the same images",
        ),
        "targeted_attack_success_rate": Metric(
            "fraction", "lower", (*_trigger, "target"), "right images carried to the top class"
        ),
        "excess_targeted_attack_success_rate": Metric(
            "difference of fractions",
            "lower",
            (*_trigger, "target"),
            "the same minus the strongest control, for the class where it is largest",
        ),
        "attack_success_rate_over_reference": Metric(
            "difference of fractions",
            "lower",
            _trigger,
            "candidate minus reference, on images that both have right",
        ),
        "reference_attack_success_rate": Metric(
            "fraction", "lower", _trigger, "the reference's, on the same images"
        ),
        "embedding_collapse": Metric(
            "difference of cosines",
            "lower",
            ("split", "trigger"),
            "rise of the mean pairwise cosine of features when every image is stamped",
        ),
        "excess_embedding_collapse": Metric(
            "difference of cosines",
            "lower",
            ("split", "trigger"),
            "the same minus the strongest control",
        ),
    },
    "spurious_attribute": {
        "group_accuracy": Metric(
            "fraction", "higher", ("task", "attribute", "class", "value"), "accuracy in one group"
        ),
        "worst_group_accuracy": Metric(
            "fraction", "higher", ("task", "attribute"), "accuracy in the group where it is lowest"
        ),
        "group_gap": Metric(
            "difference of fractions",
            "lower",
            ("task", "attribute"),
            "mean of the groups minus the worst group",
        ),
    },
    "label_prior": {
        "label_prior": Metric(
            "fraction", "lower", ("task", "class"), "estimated share of the class in the prior"
        ),
        "total_variation_to_uniform": Metric(
            "fraction", "lower", ("task",), "share of the prior that would have to move"
        ),
        "accuracy_gain": Metric(
            "difference of fractions",
            "higher",
            ("task",),
            "calibrated head minus plain head, on the same test images",
        ),
    },
}
