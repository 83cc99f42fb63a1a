"""What is wanted: a policy's rules, each a bound on a metric of the catalogue."""

import hashlib
import json
import math
import re
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, ValidationInfo, field_validator, model_validator

from gate.policy.catalogue import CATALOGUE, RANGES, needs_reference, require_name
from gate.values import (
    About,
    Bound,
    DecideOn,
    ErrorRates,
    Evidence,
    ExtendedValue,
    Measurement,
    PolicyIdentity,
    Severity,
    Value,
    digest_of,
    repeated,
)

Names = AbstractSet[tuple[str, str]]
_NO_NAMES: Names = frozenset()
_ALL = re.compile(r"[*?]*[*][*?]*")


def names_in(evidence: Sequence[Evidence]) -> Names:
    """The names that stand in the evidence: each label with a value that it has."""
    return {pair for item in evidence for m in item.measurements for pair in m.about.items()}


def matches(about: dict[str, str], where: dict[str, str], names: Names = _NO_NAMES) -> bool:
    """Whether the labels fit: each label of ``where`` must be present and match.

    A value that is a name matches itself and nothing else; any other is a glob.

    Args:
        about: The labels of a measurement.
        where: What is asked of them.
        names: Labels with values that are names.

    >>> matches({"task": "digits", "trigger": "yellow"}, {"trigger": "*"})
    True
    >>> matches({"task": "digits"}, {"trigger": "*"})
    False
    >>> where, names = {"group": "[ab]"}, {("group", "[ab]")}
    >>> matches({"group": "a"}, where), matches({"group": "a"}, where, names)
    (True, False)
    >>> matches({"group": "[ab]"}, where, names)
    True
    """
    return all(
        name in about
        and (
            about[name] == wanted
            or ((name, wanted) not in names and fnmatchcase(about[name], wanted))
        )
        for name, wanted in where.items()
    )


# YAML reads `no` as a boolean and `1e-3` as text; neither is a number
Number = Annotated[float, Field(strict=True)]
Sentence = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


Required = Literal["attribute", "reference"]


class Loosening(Value):
    """Why an extending policy asks less than the one that it extends, and who agreed."""

    reason: Sentence
    approved_by: Sentence

    def __str__(self) -> str:
        return f"{self.reason} (approved by {self.approved_by})"


class Rule(ExtendedValue, json_schema_extra=lambda schema: schema.update(_metrics_by_probe())):
    """A bound on one metric; every matching measurement must hold it."""

    later_keys = frozenset({"requires"})

    name: str | None = Field(None, description="How findings and waivers call it.")
    probe: str = Field(
        description="Which probe measures the metric.", json_schema_extra={"enum": list(CATALOGUE)}
    )
    metric: str = Field(description="Which of its metrics is bounded.")
    where: About = Field(
        default={}, description="Labels that a measurement must carry: names, or else globs."
    )
    at_most: Number | None = Field(None, description="Held against the interval's upper end.")
    at_least: Number | None = Field(None, description="Held against the interval's lower end.")
    at_most_over_reference: Number | None = Field(
        None, description="How much more than the plan's reference backbone has, measured in pairs."
    )
    relative: bool = Field(
        False, strict=True, description="at_most_over_reference is a share of what it has."
    )
    min_n: int | None = Field(
        None, ge=1, strict=True, description="Fewer examples cannot pass: they are inconclusive."
    )
    decide_on: DecideOn = Field(
        "bound", description="'point' leaves the interval out of account; it only ranks."
    )
    on_inconclusive: Severity = Field(
        "block", description="'warn' lets through what is neither settled nor missing."
    )
    severity: Severity = Field("block", description="'warn' shows a failure and does not block.")
    requires: Required | None = Field(
        None,
        description="What a plan must offer for it to be measured: where none does, it only warns.",
    )
    why: Sentence = Field(description="The reason for the rule and for its number.")
    loosen: Loosening | None = Field(
        None, description="Lets this rule ask less than the one of its name that it replaces."
    )

    @field_validator("probe")
    @classmethod
    def _known_probe(cls, probe: str) -> str:
        require_name("probe", probe, CATALOGUE)
        return probe

    @field_validator("metric")
    @classmethod
    def _known_metric(cls, metric: str, info: ValidationInfo) -> str:
        probe = info.data.get("probe")
        if probe:
            require_name(f"metric of {probe}", metric, CATALOGUE[probe])
        return metric

    @field_validator("where")
    @classmethod
    def _known_labels(cls, where: About, info: ValidationInfo) -> About:
        probe, metric = info.data.get("probe"), info.data.get("metric")
        if probe and metric:
            for label in where:
                require_name(f"label of {metric}", label, CATALOGUE[probe][metric].labels)
        return where

    @model_validator(mode="after")
    def _one_bound(self) -> Self:
        if [self.at_most, self.at_least, self.at_most_over_reference].count(None) != 2:
            raise ValueError(
                "state exactly one of at_most and at_least, or else at_most_over_reference"
            )
        if self.relative and self.at_most_over_reference is None:
            raise ValueError("relative goes with at_most_over_reference, and with nothing else")
        return self

    @model_validator(mode="after")
    def _measured_in_pairs(self) -> Self:
        if self.at_most_over_reference is None:
            return self
        metrics = CATALOGUE[self.probe].keys()
        paired = [name for name in metrics if f"{name}_over_reference" in metrics]
        if self.relative:
            paired = [name for name in paired if f"reference_{name}" in metrics]
        if self.metric not in paired:
            raise ValueError(
                f"{self.metric} of {self.probe} is not measured against a reference"
                f"{' as a share of it' if self.relative else ''}; "
                f"these are: {', '.join(paired) or 'none'}"
            )
        return self

    @model_validator(mode="after")
    def _bounds_its_bad_side(self) -> Self:
        unit, better = CATALOGUE[self.probe][self.measured_metric][:2]
        wanted = "at_most" if better == "lower" else "at_least"
        if better != "neither" and (self.at_least is None) != (wanted == "at_most"):
            raise ValueError(
                f"{self.metric} is better when {better}, so bound it by {wanted}; "
                "the bound given would refuse good backbones and accept bad ones"
            )
        least, most = RANGES.get(unit, (-math.inf, math.inf))
        if not self.relative and not least <= self.bound.number <= most:
            says = f"{self.bound}: {self.metric} is a {unit}, from {least} to {most}"
            raise ValueError(f"{says}; write 5 % as 0.05")
        return self

    @model_validator(mode="after")
    def _requires_what_it_needs(self) -> Self:
        metric = self.measured_metric
        labels = CATALOGUE[self.probe][metric].labels
        if self.requires == "attribute" and "attribute" not in labels:
            raise ValueError(
                f"requires: attribute, and {metric} of {self.probe} is about none: its labels are "
                f"{', '.join(labels)}; drop requires"
            )
        if self.requires == "reference" and not needs_reference(self.probe, metric):
            raise ValueError(
                f"requires: reference, and {metric} of {self.probe} is measured without one; "
                "drop requires"
            )
        return self

    @property
    def id(self) -> str:
        """Its name, or ``probe.metric`` where it has none."""
        return self.name or f"{self.probe}.{self.measured_metric}"

    @property
    def measured_metric(self) -> str:
        """The metric that is held against the bound: of a pair of backbones, its difference."""
        paired = self.at_most_over_reference is not None
        return f"{self.metric}_over_reference" if paired else self.metric

    @property
    def denominator(self) -> str | None:
        """The metric that a relative bound is a share of: the reference's own."""
        return f"reference_{self.metric}" if self.relative else None

    @property
    def bound(self) -> Bound:
        """The number that measurements are held against, and how."""
        most = self.at_most if self.at_most is not None else self.at_most_over_reference
        return Bound(
            at_most=most, at_least=self.at_least, decide_on=self.decide_on, min_n=self.min_n
        )

    def offered_by(self, evidence: Iterable[Evidence]) -> bool:
        """Whether evidence has what it requires: an attribute of any measurement, or a reference.

        Evidence of every probe counts: a plan that offers it to one could offer it to all.
        """
        if self.requires == "attribute":
            return any("attribute" in m.about for item in evidence for m in item.measurements)
        if self.requires == "reference":
            return any(item.reference is not None for item in evidence)
        return True

    def applies_to(self, measurement: Measurement, names: Names = _NO_NAMES) -> bool:
        """Whether a measurement of its probe is one that this rule bounds.

        Args:
            measurement: Of its probe.
            names: Those in the evidence. A glob that matches everything stays one all the same:
                else who calls a class ``*`` would take all others out of the rule.
        """
        literal = {pair for pair in names & self.where.items() if not _ALL.fullmatch(pair[1])}
        fits = matches(measurement.about, self.where, literal)
        return measurement.metric == self.measured_metric and fits


class WaiverTerms(Value):
    """What a policy asks of waivers."""

    longest_days: int = Field(
        ge=1, strict=True, description="The furthest from today that a waiver's last day may lie."
    )


class Policy(ExtendedValue):
    """Rules under a name and a version. A policy without rules is refused."""

    later_keys = frozenset({"error_rates"})

    name: str = Field(min_length=1)
    version: int = Field(ge=1, strict=True)
    about: str = Field("", description="The intended use, in a sentence or two.")
    extends: str | None = Field(
        None, description="Another policy file, relative to this one; its rules may be tightened."
    )
    allow_unsigned: bool = Field(
        False, strict=True, description="Whether an admission without a signature is good enough."
    )
    waivers: WaiverTerms | None = Field(None, description="Without it, a waiver may last for ever.")
    error_rates: ErrorRates | None = Field(
        None, description="How often these rules were wrong on backbones of known truth."
    )
    rules: tuple[Rule, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _sound(self) -> Self:
        for twice in repeated(rule.id for rule in self.rules):
            raise ValueError(f"two rules are called {twice!r}; give each a name of its own")
        if self.extends is None and all(rule.severity == "warn" for rule in self.rules):
            raise ValueError("no rule blocks, so nothing could be rejected; set severity: block")
        return self

    @property
    def identity(self) -> PolicyIdentity:
        """Name, version and digest; comments and layout do not change them."""
        return PolicyIdentity(name=self.name, version=self.version, digest=digest_of(self))

    @property
    def known_error_rates(self) -> ErrorRates | None:
        """Its error rates, if they are of the rules that it has; of others they say nothing."""
        stated = self.error_rates
        return stated if stated and stated.rules == rules_digest(self.rules) else None


def rules_digest(rules: Iterable[Rule]) -> str:
    """SHA-256 of all that rules decide by: every key but ``why`` and ``loosen``, in any order."""
    asked = (rule.model_dump_json(exclude={"why", "loosen"}) for rule in rules)
    return "sha256:" + hashlib.sha256(json.dumps(sorted(asked)).encode()).hexdigest()


def _metrics_by_probe() -> dict[str, Any]:
    """For editors: which metrics each probe has."""
    return {
        "allOf": [
            {
                "if": {"properties": {"probe": {"const": probe}}},
                "then": {"properties": {"metric": {"enum": list(metrics)}}},
            }
            for probe, metrics in CATALOGUE.items()
        ]
    }
