"""What is wanted: rules and waivers, read from YAML files that people edit."""

import math
from collections.abc import Iterable
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import (
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from gate import strict_yaml
from gate.errors import PolicyError
from gate.policy.catalogue import CATALOGUE, RANGES
from gate.values import (
    Bound,
    Day,
    DecideOn,
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


class Loosening(Value):
    """Why an extending policy asks less than the one that it extends, and who agreed."""

    reason: Sentence
    approved_by: Sentence

    def __str__(self) -> str:
        return f"{self.reason} (approved by {self.approved_by})"


class Rule(Value):
    """A bound on one metric; every matching measurement must hold it."""

    model_config = ConfigDict(json_schema_extra=lambda schema: schema.update(_metrics_by_probe()))

    name: str | None = Field(None, description="How findings and waivers call it.")
    probe: str = Field(
        description="Which probe measures the metric.",
        json_schema_extra={"enum": list(CATALOGUE)},
    )
    metric: str = Field(description="Which of its metrics is bounded.")
    where: Labels = Field(default={}, description="Labels that a measurement must carry; globs.")
    # strict: YAML reads `no` as a boolean and `1e-3` as text; neither is a number
    at_most: float | None = Field(
        None, strict=True, description="Held against the interval's upper end."
    )
    at_least: float | None = Field(
        None, strict=True, description="Held against the interval's lower end."
    )
    at_most_over_reference: float | None = Field(
        None,
        strict=True,
        description="How much more than the plan's reference backbone has, measured in pairs.",
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
    why: Sentence = Field(description="The reason for the rule and for its number.")
    loosen: Loosening | None = Field(
        None, description="Lets this rule ask less than the one of its name that it replaces."
    )

    @field_validator("probe")
    @classmethod
    def _known_probe(cls, probe: str) -> str:
        if probe not in CATALOGUE:
            raise ValueError(_unknown("probe", probe, CATALOGUE))
        return probe

    @field_validator("metric")
    @classmethod
    def _known_metric(cls, metric: str, given: ValidationInfo) -> str:
        probe = given.data.get("probe")
        if probe and metric not in CATALOGUE[probe]:
            raise ValueError(_unknown(f"metric of {probe}", metric, CATALOGUE[probe]))
        return metric

    @field_validator("where")
    @classmethod
    def _known_labels(cls, where: Labels, given: ValidationInfo) -> Labels:
        probe, metric = given.data.get("probe"), given.data.get("metric")
        if probe and metric:
            for label in where:
                if label not in CATALOGUE[probe][metric].labels:
                    known = CATALOGUE[probe][metric].labels
                    raise ValueError(_unknown(f"label of {metric}", label, known))
        return where

    @model_validator(mode="after")
    def _sound(self) -> Self:
        bounds = (self.at_most, self.at_least, self.at_most_over_reference)
        if sum(bound is not None for bound in bounds) != 1:
            raise ValueError(
                "state exactly one of at_most and at_least, or else at_most_over_reference"
            )
        if self.relative and self.at_most_over_reference is None:
            raise ValueError("relative goes with at_most_over_reference, and with nothing else")
        metrics = CATALOGUE[self.probe].keys()
        if not metrics >= {*self.read}:
            known = [name for name in metrics if metrics >= {*_paired(name, self.relative)}]
            raise ValueError(
                f"{self.metric} of {self.probe} is not measured against a reference"
                f"{' as a share of it' if self.relative else ''}; "
                f"these are: {', '.join(known) or 'none'}"
            )
        unit, better = CATALOGUE[self.probe][self.read[0]][:2]
        if (self.at_least is None) != (better == "lower"):
            wanted = "at_most" if better == "lower" else "at_least"
            raise ValueError(
                f"{self.metric} is better when {better}, so bound it by {wanted}; "
                "the bound given would refuse good backbones and accept bad ones"
            )
        least, most = RANGES.get(unit, (-math.inf, math.inf))
        if not self.relative and not least <= self.bound.number <= most:
            raise ValueError(
                f"{self.bound}: {self.metric} is a {unit}, from {least} to {most}; write 5 % as "
                "0.05"
            )
        return self

    @property
    def id(self) -> str:
        """Its name, or ``probe.metric`` where it has none."""
        return self.name or f"{self.probe}.{self.read[0]}"

    @property
    def read(self) -> tuple[str, ...]:
        """The metric that is bounded, and for a relative bound the one that it is a share of."""
        if self.at_most_over_reference is None:
            return (self.metric,)
        return _paired(self.metric, self.relative)

    @property
    def bound(self) -> Bound:
        """The number that measurements are held against, and how."""
        return Bound(
            at_most=self.at_most if self.at_most is not None else self.at_most_over_reference,
            at_least=self.at_least,
            decide_on=self.decide_on,
            min_n=self.min_n,
        )

    def applies_to(self, measurement: Measurement) -> bool:
        """Whether a measurement of its probe is one that this rule bounds."""
        return measurement.metric == self.read[0] and matches(measurement.about, self.where)


def _paired(metric: str, relative: bool) -> tuple[str, ...]:
    """A metric's paired difference, candidate minus reference, and what it is a share of."""
    difference = f"{metric}_over_reference"
    return (difference, f"reference_{metric}") if relative else (difference,)


Kind = Literal["looser", "unclear", "stricter", "reworded"]


class Change(NamedTuple):
    """One way in which a policy differs from another, in words.

    ``unclear`` is what may let more through and less through as well: other labels, another metric.
    """

    kind: Kind
    rule: str
    says: str


def changes(old: Rule, new: Rule) -> list[Change]:
    """How a rule differs from the one that it replaces.

    >>> whole = {"probe": "clean_accuracy", "metric": "accuracy", "why": "because"}
    >>> changes(Rule(at_least=0.8, **whole), Rule(at_least=0.7, **whole))[0].says
    'at least 0.8 -> at least 0.7'
    """
    found: list[Change] = []

    def note(stricter: bool | None, says: str) -> None:
        kind: Kind = "unclear" if stricter is None else "stricter" if stricter else "looser"
        found.append(Change(kind, new.id, says))

    if (old.probe, old.read, old.where) != (new.probe, new.read, new.where):
        note(None, f"{_measured(old)} -> {_measured(new)}")
    was, now = old.bound.number, new.bound.number
    if (old.at_least is None) != (new.at_least is None):
        note(None, f"{old.bound} -> {new.bound}")
    elif was != now:
        note((now > was) == (new.at_least is not None), f"{old.bound} -> {new.bound}")
    if old.severity != new.severity:
        note(new.severity == "block", f"severity {old.severity} -> {new.severity}")
    before, after = ((rule.decide_on, rule.on_inconclusive) for rule in (old, new))
    if before != after:
        parts = [
            f"{name} {was} -> {now}"
            for name, was, now in zip(("decide_on", "on_inconclusive"), before, after, strict=True)
            if was != now
        ]
        note(_stricter(before, after), ", ".join(parts))
    if old.min_n != new.min_n:
        more = (new.min_n or 0) > (old.min_n or 0)
        note(more, f"min_n {old.min_n or 'none'} -> {new.min_n or 'none'}")
    if old.why != new.why:
        found.append(Change("reworded", new.id, f"why: {new.why}"))
    if old.loosen != new.loosen:
        says = f"loosen: {old.loosen or 'none'} -> {new.loosen or 'none'}"
        found.append(Change("reworded", new.id, says))
    if not found and digest_of(old) != digest_of(new):
        found.append(Change("reworded", new.id, "written otherwise, and asks the same"))
    return found


def compared(old: Iterable[Rule], new: Iterable[Rule]) -> list[Change]:
    """How the rules of one policy differ from those of another; they are told apart by their id.

    Where no rule that blocks has to be settled, what is open is not accepted only because nothing
    carries the acceptance. A rule that begins to block might carry it: that is no tightening.
    """
    before, after = ({rule.id: rule for rule in rules} for rules in (old, new))
    found = [
        Change("looser", name, f"the rule is gone: {_asked(rule)}")
        for name, rule in before.items()
        if name not in after
    ]
    for name, rule in after.items():
        if name in before:
            found += changes(before[name], rule)
        else:
            found.append(Change("stricter", name, f"a new rule: {_asked(rule)}"))
    blocked = {name for name, rule in before.items() if rule.severity == "block"}
    blocks = {name: rule for name, rule in after.items() if rule.severity == "block"}
    if not any(blocks[name].on_inconclusive == "block" for name in blocked & blocks.keys()):
        says = (
            "it blocks only now, and an acceptance may rest on it alone, for no rule that blocked "
            "before has to be settled; set on_inconclusive: block on one that did"
        )
        found += [Change("unclear", name, says) for name in blocks if name not in blocked]
    return found


def _stricter(before: tuple[DecideOn, Severity], after: tuple[DecideOn, Severity]) -> bool | None:
    """Which way of settling what an interval leaves open lets less through, if either does.

    A point fails what a warning lets through, and passes what it leaves open, on which alone
    nothing is accepted: hence None.
    """
    if ("bound", "block") in (before, after):
        return after == ("bound", "block")
    return after[1] == "block" if before[0] == after[0] else None


def _asked(rule: Rule) -> str:
    return f"{rule.probe}.{rule.read[0]} {rule.bound}, {rule.severity}"


def _measured(rule: Rule) -> str:
    labels = ", ".join(f"{name} {glob}" for name, glob in rule.where.items())
    share = " as a share of the reference" if rule.relative else ""
    return f"{rule.probe}.{rule.read[0]}{share}{f' ({labels})' if labels else ''}"


class WaiverTerms(Value):
    """What a policy asks of waivers."""

    longest_days: int = Field(
        ge=1, strict=True, description="The furthest from today that a waiver's last day may lie."
    )


class Policy(Value):
    """Rules under a name and a version. A policy without rules is refused."""

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
    rules: tuple[Rule, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _sound(self) -> Self:
        ids = [rule.id for rule in self.rules]
        for twice in sorted({name for name in ids if ids.count(name) > 1}):
            raise ValueError(f"two rules are called {twice!r}; give each a name of its own")
        if self.extends is None and all(rule.severity == "warn" for rule in self.rules):
            raise ValueError("no rule blocks, so nothing could be rejected; set severity: block")
        return self

    @property
    def identity(self) -> PolicyIdentity:
        """Name, version and digest; comments and layout do not change them."""
        return PolicyIdentity(name=self.name, version=self.version, digest=digest_of(self))

    def require_short(self, waiver: "Waiver", today: date) -> None:
        """Refuse a waiver that lasts longer than this policy lets any last.

        Raises:
            PolicyError: Its last day lies further away than ``waivers.longest_days``.
        """
        days = (waiver.expires - today).days
        if self.waivers and days > self.waivers.longest_days:
            raise PolicyError(
                f"waiver {waiver.id} lasts until {waiver.expires}, {days} days from {today}, and "
                f"policy {self.name} lets none last longer than {self.waivers.longest_days}; "
                "shorten it, and renew it when it ends"
            )


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
    expires: Day = Field(description="The last day on which it holds.")

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
    """Read a policy file, and whatever it extends, into one whole policy.

    Raises:
        PolicyError: Missing, not YAML, empty, with an unknown key, probe, metric or label, looser
            than what it extends, or loosening though it extends nothing; the message names the
            file, the place in it and the nearest known name.
    """
    return _load(Path(path), ())


def load_as_written(path: str | Path) -> Policy:
    """Read a policy file and nothing that it extends: for showing, not for deciding.

    Raises:
        PolicyError: As for :func:`load_policy`.
    """
    return strict_yaml.load(Path(path), Policy, PolicyError)


def _load(path: Path, extending: tuple[Path, ...]) -> Policy:
    if path.resolve() in extending:
        raise PolicyError(f"{path}: extends itself, by way of {extending[-1]}; break the circle")
    document = strict_yaml.read(path, Policy, PolicyError)
    if document.value.extends is None:
        for index, rule in enumerate(document.value.rules):
            if rule.loosen:
                raise PolicyError(
                    f"{document.place('rules', index)}: {rule.id} says loosen, and "
                    f"{document.value.name} extends nothing that it could ask less than; "
                    "drop loosen, or say what the policy extends"
                )
        return document.value
    base = path.parent / document.value.extends
    if not base.is_file():
        raise PolicyError(
            f"{document.place('extends')}: no policy file {base}; "
            "the path is relative to the file that says extends"
        )
    return _tightened(document, _load(base, (*extending, path.resolve())))


def _tightened(document: strict_yaml.Document[Policy], base: Policy) -> Policy:
    """The whole policy that a document and the one that it extends make up."""
    policy = document.value
    old = {rule.id: rule for rule in base.rules}
    own = {rule.id: rule for rule in policy.rules}
    found = compared(base.rules, (old | own).values())
    for index, rule in enumerate(policy.rules):
        place = document.place("rules", index)
        weaker = [
            change.says
            for change in found
            if change.rule == rule.id and change.kind in ("looser", "unclear")
        ]
        if weaker and not rule.loosen:
            raise PolicyError(
                f"{place}: {rule.id} asks less than in {base.name}, or something else: "
                f"{'; '.join(weaker)}; tighten it, give the rule a name of its own, "
                "or say loosen: {reason: ..., approved_by: ...}"
            )
        if rule.loosen and not weaker:
            raise PolicyError(f"{place}: {rule.id} loosens nothing of {base.name}; drop loosen")
    rules = old | {name: _handed_down(old.get(name), rule) for name, rule in own.items()}
    said = {name: getattr(policy, name) for name in policy.model_fields_set - {"extends", "rules"}}
    for name in sorted(said.keys() - {"name", "version", "about"}):
        if not _as_strict(name, getattr(base, name), said[name]):
            raise PolicyError(
                f"{document.place(name)}: {name} asks less than in {base.name}; "
                "an extending policy may only tighten it"
            )
    kept = {name: getattr(base, name) for name in base.model_fields_set - {"extends", "about"}}
    try:
        return Policy(**{**kept, **said, "rules": tuple(rules.values())})
    except ValidationError as fault:
        says = fault.errors()[0]["msg"].removeprefix("Value error, ")
        raise PolicyError(f"{document.path}: together with {base.name}: {says}") from fault


def _handed_down(old: Rule | None, new: Rule) -> Rule:
    """A rule with the words by which the one that it replaces was loosened: they stay for good."""
    if old is None or old.loosen is None:
        return new
    both = [old.loosen, *([new.loosen] if new.loosen else [])]
    loosen = {
        "reason": "; then ".join(one.reason for one in both),
        "approved_by": "; then ".join(one.approved_by for one in both),
    }
    return Rule.model_validate({**new.model_dump(), "loosen": loosen})


def _as_strict(name: str, old: object, new: object) -> bool:
    """Whether what stands beside the rules asks as much as before; any other change is refused."""
    if name == "waivers" and isinstance(new, WaiverTerms):
        return not isinstance(old, WaiverTerms) or new.longest_days <= old.longest_days
    return new == old or (name, new) == ("allow_unsigned", False)


def load_waivers(path: str | Path) -> tuple[Waiver, ...]:
    """Read a waiver file.

    Raises:
        PolicyError: As for a policy.
    """
    return strict_yaml.load(Path(path), Waivers, PolicyError).waivers


def _unknown(what: str, name: str, known: Iterable[str]) -> str:
    return f"unknown {what} {name!r}; {strict_yaml.nearest(name, known)}"


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
