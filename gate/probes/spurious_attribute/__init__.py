"""Does a head on this backbone lean on an attribute that merely goes with the label?

What it measures: accuracy in every group, a group being a (class, attribute value) pair; the worst
group; the gap between the mean of the groups and the worst; their mean as weighted in training; how
well a head reads the attribute off the features; and, from a pool to draw training sets of growing
correlation from, how accuracy against the correlation falls (dose-response).
Control: the mean of the groups, on the same head; training sets of the same size at correlation 0.
Why it matters: a backbone trained where the background went with the label hands the shortcut to
every head whose own training data has the same co-occurrence, and clean accuracy does not show it.
Blind spots: attributes that the data does not name; groups too small for a narrow interval; an
attribute that can be read is not always used; the doses try one assignment of values to classes
and one draw; near-copies of images in the test split make an attribute easier to read.
Source: Sagawa et al. 2020, section 3.1; Salman et al. 2022, section 3; Wang & Russakovsky 2023.
"""

from typing import Literal

from pydantic import Field

from gate.probes.probe import Metrics, Probe, ProbeSettings, difference, fraction

_attribute, _remedy = ("task", "attribute"), ("task", "attribute", "remedy")


class SpuriousAttribute(ProbeSettings):
    """Which attributes to measure, with which training sets and remedies."""

    attributes: tuple[str, ...] = Field(
        min_length=1, description="Columns of attributes that the splits name."
    )
    dose_response: str | None = Field(
        None, description="Split to draw training sets of growing correlation from."
    )
    remedies: tuple[Literal["balanced_groups"], ...] = Field(
        (), description="Measured for each task with a head on frozen features."
    )

    @property
    def training_splits(self) -> tuple[str, ...]:
        """The split to draw training sets from, if there is one."""
        return (self.dose_response,) if self.dose_response else ()


METRICS = Metrics(
    group_accuracy=fraction(
        "higher",
        (*_attribute, "class", "value"),
        "accuracy within one class and value of the attribute",
    ),
    worst_group_accuracy=fraction("higher", _attribute, "accuracy in the group where it is lowest"),
    group_gap=difference("lower", _attribute, "mean of the groups minus the worst group"),
    group_weighted_accuracy=fraction(
        "higher", _attribute, "mean of the groups, weighted by their shares in the training split"
    ),
    attribute_decodability=fraction(
        "lower",
        _attribute,
        "how often a head reads the attribute off the features; groups weigh alike",
    ),
    conflicting_accuracy=fraction(
        "higher", (*_attribute, "correlation"), "accuracy against the correlation of training"
    ),
    dose_response_slope=difference(
        "higher",
        _attribute,
        "change of conflicting accuracy from 0 to 1; negative takes the shortcut",
    ),
    worst_group_accuracy_after_remedy=fraction(
        "higher",
        _remedy,
        "accuracy that a remedy leaves in the group where it is lowest",
        after_remedy_of=("group_accuracy", "worst_group_accuracy"),
    ),
    accuracy_after_remedy=fraction("higher", _remedy, "accuracy that a remedy leaves"),
)
PROBE = Probe(__doc__, SpuriousAttribute, METRICS)
