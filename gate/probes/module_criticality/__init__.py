"""Which modules carry what the backbone learnt after its ancestor, or after its initialisation?

What it measures: one module at a time is rewound to the weights of the ancestor, or to the initial
ones, and the rest kept: the fall of a task's accuracy on the same images, and the worst module.
Control: the network as it is, whose BatchNorm statistics are taken anew as those of each other are.
Why it matters: a fine-tune that leans on its first layers shares little with its ancestor; modules
whose rewinding costs nothing were handed on as they were.
Blind spots: modules that stand in for each other fall only together; it says where something was
learnt and not what; channels that somebody permuted make every module fall, though nothing was
learnt there.
Source: Neyshabur, Sedghi and Zhang 2020, arXiv 2008.11687; Chatterji, Neyshabur and Sedghi 2020,
"The intriguing role of module criticality in the generalization of deep networks" (path norm).
"""

from typing import Literal, Self

from pydantic import Field, model_validator

from gate.probes.probe import Metric, Metrics, Probe, ProbeSettings, difference
from gate.values import Value, repeated

_module = ("task", "module")


class PathNorm(Value):
    """The measure mu of each module: many passes, for reports."""

    rise: float = Field(
        0.1, gt=0, description="Of the training loss that noise may cause, in nats."
    )
    draws: int = Field(5, ge=3, description="Of noise, at each of up to 66 places a module.")
    images: int = Field(250, ge=100, description="Of the training split, of which the loss is.")


class ModuleCriticality(ProbeSettings):
    """Which modules are rewound, to what, and what becomes of BatchNorm."""

    to: Literal["ancestor", "initial"] = Field(
        "ancestor",
        description="Whose weights a module is rewound to: the ancestor's, or those that the "
        "factory of the architecture draws under the plan's seed.",
    )
    modules: tuple[str, ...] = Field(
        (), description="Names of submodules; all children that have parameters, unless some are."
    )
    batch_norm: Literal["recalibrated", "kept"] = Field(
        "recalibrated",
        description="Whether BatchNorm statistics are taken anew for each network, the one as it "
        "is among them, or stay as they are in the weights, those of a rewound module rewound.",
    )
    recalibrated_on: str | None = Field(
        None,
        description="Split of training images for that; the task's training split unless one is "
        "named, which a task with head: own lacks.",
    )
    path_norm: PathNorm | None = Field(None, description="Measures mu, too, for reports.")

    @model_validator(mode="after")
    def _names_each_once(self) -> Self:
        if twice := repeated(self.modules):
            raise ValueError(f"modules: {twice[0]} stands twice; name each once")
        return self

    @property
    def training_splits(self) -> tuple[str, ...]:
        """Names of the splits that it takes statistics of, beside those of the tasks."""
        return (self.recalibrated_on,) if self.recalibrated_on else ()


METRICS = Metrics(
    accuracy_fall=difference(
        "lower", _module, "accuracy as it is minus accuracy with the module rewound, same images"
    ),
    worst_accuracy_fall=difference(
        "lower", _module, "the largest over modules, with an interval that holds for the search"
    ),
    path_norm=Metric(
        "ratio",
        "lower",
        _module,
        "squared distance from the origin over the variance of the noise that the module bears; "
        "for reports and not for policies: it is read off a grid, and its interval is of the draws "
        "of noise alone",
    ),
)
PROBE = Probe(__doc__, ModuleCriticality, METRICS)
