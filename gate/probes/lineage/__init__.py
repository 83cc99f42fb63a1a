"""Is this backbone a fine-tune of the plan's ancestor, or was it trained independently of it?

What it measures: an exact test of independence on weights alone; how far kernels align as they
stand, and after channels were matched by their activations; how far apart the weights are; how
alike both see the same images; and, with `barrier`, how far accuracy falls between both weights.
Control: the test draws orders of hidden channels, under which independent networks are equally
likely; the other numbers have none, so read them beside those of backbones known to be unrelated.
Why it matters: a card may claim an ancestor that the weights do not come from, and a recalled or
unlicensed one may come back under another name.
Blind spots: permuted channels hide an ancestor from the test and from weight_alignment, not from
aligned_weight_alignment; heavy retraining hides it from that too, channels permuted as well from
all of it. Pruned channels, merged or added layers leave no layers to compare. Features are alike in
networks of one kind of data that share no weight: feature_similarity is no test of descent. No
barrier says that both lie in one basin; a true descendant that was retrained for long has one.
Source: Zhu et al. 2025, "Independence Tests for Language Models" (the test); Li et al. 2016,
"Convergent Learning" (matched channels); Kornblith et al. 2019, arXiv 1905.00414 (features);
Neyshabur et al. 2020, arXiv 2008.11687 (what a fine-tune shares with its ancestor).
"""

from functools import partial

from pydantic import Field

from gate.probes.probe import Metric, Metrics, Probe, ProbeSettings, difference, fraction
from gate.values import Value

FEWEST_IMAGES = 100

_cosine = partial(Metric, "cosine", "neither")
_weights, _images = ("ancestor",), ("ancestor", "split")


class Barrier(Value):
    """The barrier between the weights of candidate and ancestor: passes of nine networks."""

    recalibrated_on: str | None = Field(
        None,
        description="Split of training images that BatchNorm takes its statistics of; the task's "
        "training split unless one is named, which a task with head: own lacks.",
    )


class Lineage(ProbeSettings):
    """On how much is measured; the images are those of the tasks' test splits."""

    images: int = Field(
        600, ge=FEWEST_IMAGES, description="Images drawn of each split, on which channels are read."
    )
    permutations: int = Field(
        9999, ge=99, description="Orders of hidden channels that the test of independence draws."
    )
    barrier: Barrier | None = Field(
        None,
        description="Measures the fall of accuracy between both weights, too, on all test images; "
        "both must be weights with an arch.",
    )

    @property
    def training_splits(self) -> tuple[str, ...]:
        """Names of the splits that it takes statistics of, beside those of the tasks."""
        chosen = self.barrier and self.barrier.recalibrated_on
        return (chosen,) if chosen else ()


METRICS = Metrics(
    independence_p_value=fraction(
        "neither", _weights, "p-value of independent training: small where weights correspond"
    ),
    weight_alignment=_cosine(_weights, "mean cosine of kernels in the same place"),
    layer_weight_alignment=_cosine((*_weights, "layer"), "the same, within one layer"),
    relative_parameter_distance=Metric(
        "ratio", "neither", _weights, "of all weights: 0 where equal, about 1 where independent"
    ),
    aligned_weight_alignment=_cosine(
        _images, "mean cosine of kernels whose channels were matched by their activations"
    ),
    layer_aligned_weight_alignment=_cosine((*_images, "layer"), "the same, within one layer"),
    feature_similarity=_cosine(_images, "debiased CKA of the standardised features"),
    layer_feature_similarity=_cosine((*_images, "layer"), "the same, of what a layer gives"),
    interpolation_barrier=difference(
        "neither",
        ("ancestor", "task"),
        "fall of accuracy between the weights of both, below the line between their accuracies",
    ),
)
PROBE = Probe(__doc__, Lineage, METRICS)
