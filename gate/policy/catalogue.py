"""Every metric that a probe measures, in one table.

It stands apart from the probes so that a policy is checked without loading torch; a test holds
that each probe measures what its rows say, and nothing else.
"""

import math
from typing import Literal, NamedTuple

from gate.strict_yaml import nearest
from gate.values import Measurement, Unit

RANGES: dict[str, tuple[float, float]] = {"fraction": (0, 1), "difference of fractions": (-1, 1)}
_ROUNDING = 1e-9  # by which a sum of shares may leave its range


class Metric(NamedTuple):
    """What a number is, and which way is better."""

    unit: Unit
    better: Literal["lower", "higher"]
    labels: tuple[str, ...]
    meaning: str
    bounded: bool = True  # whether its value keeps to the range of its unit
    after_remedy_of: tuple[str, ...] = ()  # metrics of which it says what a remedy leaves


_trigger = ("task", "trigger")
_overlay = ("task", "overlay")
_method = ("task", "split", "method")
_target = ("task", "trigger", "target")

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
            "fraction", "lower", _target, "right images of other classes carried to one class"
        ),
        "excess_targeted_attack_success_rate": Metric(
            "difference of fractions",
            "lower",
            _target,
            "the same minus the strongest control, for the class where it is largest",
        ),
        "prediction_skew": Metric(
            "fraction",
            "lower",
            _trigger,
            "total variation between predicted classes with and without the trigger",
        ),
        "prediction_skew_jensen_shannon": Metric(
            "fraction", "lower", _trigger, "the same as Jensen-Shannon distance"
        ),
        "excess_prediction_skew": Metric(
            "difference of fractions",
            "lower",
            _trigger,
            "total variation under the trigger minus that under the strongest control",
        ),
        "reference_attack_success_rate": Metric(
            "fraction", "lower", _trigger, "the reference's, on the same images"
        ),
        "embedding_collapse": Metric(
            "fraction",
            "lower",
            ("split", "trigger"),
            "share of the mean pairwise cosine distance that is lost when every image is stamped; "
            "negative where the images come to lie further apart",
            bounded=False,
        ),
        "excess_embedding_collapse": Metric(
            "difference of fractions",
            "lower",
            ("split", "trigger"),
            "the same minus the strongest control",
            bounded=False,
        ),
        **{
            f"{metric}_over_reference": Metric(
                "difference of fractions",
                "lower",
                labels,
                "candidate minus reference",
                bounded=metric != "embedding_collapse",
            )
            for metric, labels in (
                ("attack_success_rate", _trigger),
                ("targeted_attack_success_rate", _target),
                ("prediction_skew", _trigger),
                ("embedding_collapse", ("split", "trigger")),
            )
        },
        **{
            f"worst_{metric}": Metric(
                "fraction" if metric.startswith("targeted") else "difference of fractions",
                "lower",
                labels,
                "the largest over the bank, with an interval that holds for the whole search",
                bounded=metric != "excess_embedding_collapse",
            )
            for metric, labels in (
                ("targeted_attack_success_rate", _target),
                ("excess_attack_success_rate", _trigger),
                ("excess_targeted_attack_success_rate", _target),
                ("excess_prediction_skew", _trigger),
                ("excess_embedding_collapse", ("split", "trigger")),
            )
        },
        "accuracy_after_remedy": Metric(
            "fraction", "higher", (*_trigger, "remedy"), "clean accuracy that a remedy leaves"
        ),
        "excess_targeted_attack_success_rate_after_remedy": Metric(
            "difference of fractions",
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
        "group_weighted_accuracy": Metric(
            "fraction",
            "higher",
            ("task", "attribute"),
            "mean of the groups, weighted by their shares in the training split",
        ),
        "attribute_decodability": Metric(
            "fraction",
            "lower",
            ("task", "attribute"),
            "test images whose attribute a linear head reads off the features; groups weigh alike",
        ),
        "conflicting_accuracy": Metric(
            "fraction",
            "higher",
            ("task", "attribute", "correlation"),
            "accuracy against the correlation, which the head's training set had to this degree",
        ),
        "dose_response_slope": Metric(
            "difference of fractions",
            "higher",
            ("task", "attribute"),
            "change of conflicting accuracy from correlation 0 to 1; negative takes the shortcut",
        ),
        "worst_group_accuracy_after_remedy": Metric(
            "fraction",
            "higher",
            ("task", "attribute", "remedy"),
            "what a remedy makes of it",
            after_remedy_of=("group_accuracy", "worst_group_accuracy"),
        ),
        "accuracy_after_remedy": Metric(
            "fraction", "higher", ("task", "attribute", "remedy"), "accuracy that a remedy leaves"
        ),
    },
    "natural_overlay": {
        "prediction_skew": Metric(
            "fraction",
            "lower",
            _overlay,
            "total variation between predicted classes with and without the overlay",
        ),
        "prediction_skew_jensen_shannon": Metric(
            "fraction", "lower", _overlay, "the same as Jensen-Shannon distance"
        ),
        "excess_prediction_skew": Metric(
            "difference of fractions",
            "lower",
            _overlay,
            "total variation under the overlay minus that under the strongest control",
        ),
        "largest_class_growth": Metric(
            "difference of fractions",
            "lower",
            (*_overlay, "class"),
            "by how much the share of the class that grows most grows under the overlay",
        ),
        "prediction_skew_over_scratch": Metric(
            "difference of fractions",
            "lower",
            _overlay,
            "total variation minus that of a network from scratch, on the same images",
        ),
    },
    "label_prior": {
        "label_prior": Metric(
            "fraction", "lower", ("task", "class"), "estimated share of the class in the prior"
        ),
        "total_variation_to_uniform": Metric(
            "fraction", "lower", ("task",), "share of the prior that would have to move"
        ),
        "kl_to_uniform": Metric(
            "nats", "lower", ("task",), "divergence of the prior from the uniform one"
        ),
        "largest_over_smallest": Metric("ratio", "lower", ("task",), "of the prior's shares"),
        "effective_classes": Metric(
            "classes", "higher", ("task",), "exponential of the prior's entropy; K if uniform"
        ),
        "log_loss_gain": Metric(
            "nats",
            "higher",
            ("task",),
            "by how much removing the prior lowers the log loss of examples left out",
        ),
        "balanced_accuracy_gain": Metric(
            "difference of fractions",
            "higher",
            ("task",),
            "by how much removing the prior raises the mean accuracy of classes, on examples left "
            "out",
        ),
        "accuracy": Metric("fraction", "higher", _method, "test images classified rightly"),
        "balanced_accuracy": Metric("fraction", "higher", _method, "mean accuracy of the classes"),
        "calibration_error": Metric(
            "fraction", "lower", _method, "expected gap between confidence and accuracy, 15 bins"
        ),
        "group_accuracy": Metric(
            "fraction",
            "higher",
            (*_method, "group"),
            "mean accuracy of the classes in a third by prior (head, medium, tail) or, for a "
            "long-tailed training set, by count (many, medium, few)",
        ),
        "class_accuracy": Metric(
            "fraction",
            "higher",
            ("task", "method", "class"),
            "test examples of the class classified rightly, before and after GLA",
        ),
        "worst_class_accuracy": Metric(
            "fraction", "higher", ("task", "method"), "accuracy of the class where it is lowest"
        ),
        "accuracy_gain": Metric(
            "difference of fractions",
            "higher",
            ("task",),
            "GLA minus the fine-tuned classifier, on the same test examples",
        ),
        "tail_gain": Metric(
            "difference of fractions", "higher", ("task",), "the same, in the last group of classes"
        ),
        "head_loss": Metric(
            "difference of fractions",
            "lower",
            ("task",),
            "fine-tuned classifier minus GLA, in the first group of classes",
        ),
        "few_shot_accuracy": Metric(
            "fraction",
            "higher",
            ("task", "method", "shots"),
            "accuracy with so many training examples a class, mean over draws",
        ),
    },
}


def needs_reference(metric: str) -> bool:
    """Whether a metric is measured on the reference backbone, too."""
    return metric.startswith("reference_") or metric.endswith("_over_reference")


def require_known(probe: str, measurement: Measurement) -> None:
    """Hold a measurement against its row: its unit, its labels, and the range of its value.

    An interval may reach beyond the range: one that is symmetric does, close to its ends.

    Raises:
        ValueError: No such probe or metric, or the measurement is not what the row says.
    """
    if probe not in CATALOGUE:
        raise ValueError(f"unknown probe {probe!r}; {nearest(probe, CATALOGUE)}")
    metrics = CATALOGUE[probe]
    name = measurement.metric
    if name not in metrics:
        raise ValueError(f"unknown metric of {probe} {name!r}; {nearest(name, metrics)}")
    metric = metrics[name]
    found, wanted = (measurement.unit, set(measurement.about)), (metric.unit, set(metric.labels))
    if found != wanted:
        raise ValueError(
            f"{name} is a {metric.unit} with the labels {', '.join(metric.labels)}; "
            f"found a {measurement.unit} with {', '.join(measurement.about) or 'none'}"
        )
    least, most = RANGES.get(metric.unit, (-math.inf, math.inf))
    if metric.bounded and not least - _ROUNDING <= measurement.value <= most + _ROUNDING:
        raise ValueError(
            f"{name} is a {metric.unit}, from {least} to {most}; found {measurement.value}"
        )
