"""What is wanted: rules and waivers, read from YAML files that people edit."""

from collections.abc import Iterable
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from gate import strict_yaml
from gate.catalogue import CATALOGUE
from gate.errors import PolicyError
from gate.values import (
    Bound,
    Digest,
    Labels,
    Measurement,
    PolicyIdentity,
    Severity,
    Value,
    digest_of,
)


def matches(about: dict[str, str], where: dict[str, str]) -> bool:
    """Whether the labels fit: each label of ``where`` must be present and match its glob.

    >>> matches({"task": "digits", "trigger": "yellow"}, {"trigger": "*"})
    True
    >>> matches({"task": "digits"}, {"trigger": "*"})
    False
    """
    return all(name in about and fnmatchcase(about[name], glob) for name, glob in where.items())


Sentence = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class Rule(Value):
    """A bound on one metric; every matching measurement must hold it."""

    name: str | None = Field(None, description="How findings and waivers call it.")
    probe: str = Field(description="Which probe measures the metric.")
    metric: str = Field(description="Which of its metrics is bounded.")
    where: Labels = Field(default={}, description="Labels that a measurement must carry; globs.")
    # strict: YAML reads `no` as a boolean and `1e-3` as text; neither is a number
    at_most: float | None = Field(
        None, strict=True, description="Held against the interval's upper end."
    )
    at_least: float | None = Field(
        None, strict=True, description="Held against the interval's lower end."
    )
    severity: Severity = Field("block", description="'warn' shows a failure and does not block.")
    why: Sentence = Field(description="The reason for the rule and for its number.")

    @model_validator(mode="after")
    def _known(self) -> Self:
        _ = self.bound
        if self.probe not in CATALOGUE:
            raise ValueError(_unknown("probe", self.probe, CATALOGUE))
        metrics = CATALOGUE[self.probe]
        if self.metric not in metrics:
            raise ValueError(_unknown(f"metric of {self.probe}", self.metric, metrics))
        metric = metrics[self.metric]
        for label in self.where:
            if label not in metric.labels:
                raise ValueError(_unknown(f"label of {self.metric}", label, metric.labels))
        if (self.at_most is None) == (metric.better == "lower"):
            wanted = "at_most" if metric.better == "lower" else "at_least"
            raise ValueError(
                f"{self.metric} is better when {metric.better}, so bound it by {wanted}; "
                "the bound given would refuse good backbones and accept bad ones"
            )
        return self

    @property
    def id(self) -> str:
        """Its name, or ``probe.metric`` where it has none."""
        return self.name or f"{self.probe}.{self.metric}"

    @property
    def bound(self) -> Bound:
        """The number that measurements are held against."""
        return Bound(at_most=self.at_most, at_least=self.at_least)

    def applies_to(self, measurement: Measurement) -> bool:
        """Whether a measurement of its probe is one that this rule bounds."""
        return measurement.metric == self.metric and matches(measurement.about, self.where)


class Policy(Value):
    """Rules under a name and a version. A policy without rules is refused."""

    name: str = Field(min_length=1)
    version: int = Field(ge=1, strict=True)
    about: str = Field("", description="The intended use, in a sentence or two.")
    allow_unsigned: bool = Field(
        False, strict=True, description="Whether an admission without a signature is good enough."
    )
    rules: tuple[Rule, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _sound(self) -> Self:
        ids = [rule.id for rule in self.rules]
        for twice in sorted({name for name in ids if ids.count(name) > 1}):
            raise ValueError(f"two rules are called {twice!r}; give each a name of its own")
        if all(rule.severity == "warn" for rule in self.rules):
            raise ValueError("no rule blocks, so nothing could be rejected; set severity: block")
        return self

    @property
    def identity(self) -> PolicyIdentity:
        """Name, version and digest; comments and layout do not change them."""
        return PolicyIdentity(name=self.name, version=self.version, digest=digest_of(self))


class Waiver(Value):
    """A dated, named exception for one rule and one backbone.

    >>> from datetime import date
    >>> waiver = Waiver(id="W-1", rule="r", backbone="sha256:" + "0" * 64, reason="known",
    ...                 owner="ml-team", expires=date(2026, 12, 31))
    >>> waiver.holds_on(date(2026, 12, 31)), waiver.holds_on(date(2027, 1, 1))
    (True, False)
    """

    id: str = Field(min_length=1)
    rule: str = Field(min_length=1)
    where: Labels = Field(default={})
    backbone: Digest
    reason: Sentence
    owner: Sentence
    expires: date = Field(description="The last day on which it holds.")

    def holds_on(self, day: date) -> bool:
        """The one place that knows when a waiver ends: it lasts through its last day."""
        return day <= self.expires


class Waivers(Value):
    """A waiver file."""

    waivers: tuple[Waiver, ...]

    @field_validator("waivers")
    @classmethod
    def _each_once(cls, waivers: tuple[Waiver, ...]) -> tuple[Waiver, ...]:
        ids = [waiver.id for waiver in waivers]
        for twice in sorted({name for name in ids if ids.count(name) > 1}):
            raise ValueError(f"two waivers are called {twice!r}")
        return waivers


def load_policy(path: str | Path) -> Policy:
    """Read a policy file.

    Raises:
        PolicyError: Missing, not YAML, empty, or with an unknown key, probe, metric or label; the
            message names the file, the place and the nearest known name.
    """
    return strict_yaml.load(Path(path), Policy, PolicyError)


def load_waivers(path: str | Path) -> tuple[Waiver, ...]:
    """Read a waiver file.

    Raises:
        PolicyError: As for a policy.
    """
    return strict_yaml.load(Path(path), Waivers, PolicyError).waivers


def _unknown(what: str, name: str, known: Iterable[str]) -> str:
    return f"unknown {what} {name!r}; {strict_yaml.nearest(name, known)}"
