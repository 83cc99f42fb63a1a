"""Does this backbone give a task anything over the same architecture without pretraining?

What it measures: for each task, accuracy with the backbone and with the same architecture at random
initialisation, under block shuffle (one fixed permutation of blocks for all images, in training and
test), and the relative drop, 1 - random / pretrained. A task with a head on frozen features has a
head fitted on either; one that names transfer: full_network is trained from the weights and from
scratch, and has its optimisation speed, the mean training accuracy over the epochs, measured too.
Control: the random initialisation itself, on the same images, shuffles and seeds.
Why it matters: a backbone that gives a task no more than random features is a cost and a risk for
nothing. What is left of the gain under small blocks is not made of shapes, but of statistics of
pixels, or, in training, of a better start.
Blind spots: heads on random features are weaker than networks trained from scratch, so a drop on
frozen features flatters the backbone; one schedule of training; few seeds. Batch normalisation
stays as it is drawn. ONNX and torch.export hold weights and not how they were drawn: there
clean_accuracy says what a head reaches, and shared_mistakes what changes against a reference.
Source: Neyshabur, Sedghi, Zhang 2020, arXiv 2008.11687, section 3.1, who give the drop in per cent.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from gate.probes.probe import Metric, Metrics, Probe, ProbeSettings, difference, fraction
from gate.values import repeated

_about = ("task", "block")
Block = Annotated[int, Field(ge=1, strict=True)] | Literal["values", "none"]


class FeatureReuse(ProbeSettings):
    """Which blocks are shuffled, and how often networks are drawn.

    Unless some are named, tasks are those with a head on frozen features and without a remedy; one
    with full_network transfer is trained twice for every block and seed, and must be named.
    """

    blocks: tuple[Block, ...] | None = Field(
        None,
        min_length=1,
        description="Sides of shuffled blocks in pixels of the backbone's input, each a divisor of "
        "its side; 'none' shuffles nothing, and 'values' all values. By default values, 1, the "
        "first divisor from the root of the side on, and none.",
    )
    seeds: int = Field(
        3, ge=3, le=20, description="How often initialisation, shuffle and training are drawn."
    )

    @model_validator(mode="after")
    def _each_once(self) -> "FeatureReuse":
        if twice := repeated(self.blocks or ()):
            raise ValueError(f"blocks: {twice[0]} stands twice; name each once")
        return self


METRICS = Metrics(
    relative_drop=Metric(
        "relative difference",
        "higher",
        _about,
        "share of the accuracy that is lost with random initialisation in the backbone's place",
    ),
    pretrained_accuracy=fraction("higher", _about, "mean accuracy with the backbone over seeds"),
    random_accuracy=fraction(
        "higher", _about, "mean accuracy with random initialisation over seeds"
    ),
    optimisation_speed=fraction(
        "higher", _about, "mean training accuracy over the epochs, from the backbone's weights"
    ),
    optimisation_speed_over_random=difference(
        "higher", _about, "optimisation speed minus that of training from scratch"
    ),
)
PROBE = Probe(__doc__, FeatureReuse, METRICS, takes="images")
