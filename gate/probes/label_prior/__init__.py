"""Which label prior does a classifier on this backbone carry, and what is removing it worth?

What it measures: the label prior of a task's zero-shot classifier (by class embeddings, prompts or
the backbone's own head; else of the nearest class mean), as shares with intervals; how far it is
from uniform; what removing it changes for examples that it was not estimated on; and what
generalized logit adjustment (GLA) and each simpler method make of the test split, of shifted ones,
of head, medium and tail classes, and of training sets of a few examples a class.
Control: the uniform prior; the fine-tuned head by itself, on the same examples.
Why it matters: a head inherits the prior, and rare classes pay for it.
Blind spots: it says how a classifier leans, not how often a class stood in the pretraining data;
it holds for label shift only, and imbalance in the features themselves cannot be mended on logits:
look at the classes that stay worst.
Source: Zhu et al. 2023, arXiv 2310.08106.
"""

from pydantic import Field

from gate.probes.probe import Metric, Metrics, Probe, ProbeSettings, difference, fraction

_task, _classifier, _method = ("task",), ("task", "method"), ("task", "split", "method")


class LabelPrior(ProbeSettings):
    """Few-shot training sets to measure on, beside the tasks as they stand."""

    few_shot: tuple[int, ...] = Field(
        (), description="Training examples a class; for tasks with a zero_shot classifier."
    )
    seeds: int = Field(5, ge=2, description="Draws of each few-shot training set.")


METRICS = Metrics(
    label_prior=fraction("lower", ("task", "class"), "estimated share of the class in the prior"),
    total_variation_to_uniform=fraction(
        "lower", _task, "share of the prior that would have to move to make it uniform"
    ),
    kl_to_uniform=Metric("nats", "lower", _task, "divergence of the prior from the uniform one"),
    largest_over_smallest=Metric(
        "ratio", "lower", _task, "largest over smallest share of the prior"
    ),
    effective_classes=Metric(
        "classes", "higher", _task, "exponential of the prior's entropy; K if it is uniform"
    ),
    log_loss_gain=Metric(
        "nats", "higher", _task, "fall of the log loss of examples left out, without the prior"
    ),
    balanced_accuracy_gain=difference(
        "higher", _task, "rise of classes' mean accuracy on examples left out, without the prior"
    ),
    accuracy=fraction("higher", _method, "test images classified correctly"),
    balanced_accuracy=fraction("higher", _method, "mean accuracy of the classes"),
    calibration_error=fraction(
        "lower", _method, "expected gap between confidence and accuracy, 15 bins"
    ),
    group_accuracy=fraction(
        "higher",
        (*_method, "group"),
        "mean accuracy of a third of the classes by prior, or by training count if long-tailed",
    ),
    class_accuracy=fraction(
        "higher", (*_classifier, "class"), "accuracy within one class, before and after GLA"
    ),
    worst_class_accuracy=fraction(
        "higher", _classifier, "accuracy of the class where it is lowest"
    ),
    accuracy_gain=difference(
        "higher", _task, "GLA minus the fine-tuned classifier, on the same test examples"
    ),
    tail_classes_gain=difference(
        "higher", _task, "GLA minus the fine-tuned classifier, in the last group of classes"
    ),
    head_classes_loss=difference(
        "lower", _task, "fine-tuned classifier minus GLA, in the first group of classes"
    ),
    few_shot_accuracy=fraction(
        "higher", (*_classifier, "shots"), "accuracy with so many examples a class, mean over draws"
    ),
)
PROBE = Probe(__doc__, LabelPrior, METRICS)
