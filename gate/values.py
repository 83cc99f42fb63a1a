"""The values that pass along the flow: Measurement, Evidence, Finding, ErrorRates, Verdict.

All are frozen, their dictionaries too, and finite. What follows from something else is checked when
the value is made, so an edited verdict file does not load.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    JsonValue,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from gate import stats
from gate.frozen import FrozenDict, Item, Key, frozen
from gate.printable import require_printable

# fields that are prose, and may have several lines; all other text is names
_SENTENCES = {"about", "reason", "remarks", "says", "why"}


class Value(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False, serialize_by_alias=True):
    """Frozen; unknown keys, NaN, infinity, and text that does not show as what it is are refused.

    Names are of one line.
    """

    @field_validator("*")
    @classmethod
    def _shows(cls, content: object, info: ValidationInfo) -> object:
        _require_shown(content, lines=info.field_name in _SENTENCES)
        return content

    def to_json(self) -> str:
        """Canonical text: the same value gives the same bytes."""
        return self.model_dump_json(indent=2) + "\n"


class ExtendedValue(Value):
    """One that got keys after some were written: such a key is left out where it says nothing.

    So the digests and admissions that are out still hold.
    """

    later_keys: ClassVar[frozenset[str]]

    @model_serializer(mode="wrap")
    def _as_before(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        unsaid = {name for name in self.later_keys if getattr(self, name) in (None, ())}
        return {name: item for name, item in write(self).items() if name not in unsaid}


def _require_shown(content: object, *, lines: bool) -> None:
    """Refuse names and sentences, wherever they stand in a field, that a reader would not see."""
    if isinstance(content, str | Path):  # no file's name has a NUL, and readers raise at one
        require_printable(str(content), lines=lines)
    elif isinstance(content, Mapping):
        for name, item in content.items():
            _require_shown(name, lines=False)
            _require_shown(item, lines=False)
    elif isinstance(content, list | tuple):
        for item in content:
            _require_shown(item, lines=lines)


def digest_of(value: Value) -> str:
    """SHA-256 of a value, whatever the layout of the file that it was read from."""
    return "sha256:" + hashlib.sha256(value.model_dump_json().encode()).hexdigest()


_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def _as_written(day: object) -> object:
    """Refuse what would pass for a day and is none: seconds since 1970, a time on some clock."""
    if type(day) is date or (isinstance(day, str) and _DAY.fullmatch(day)):
        return day
    written = str(day) if isinstance(day, date) else repr(day)
    raise ValueError(f"write the day as 2026-12-31, not {written}")


def _finite(settings: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Refuse what would be written as null, and have its digest: 1e999 is read as infinity."""
    try:
        json.dumps(settings, allow_nan=False)
    except ValueError as fault:
        raise ValueError(
            "a number in them is not finite, such as 1e999; measure again, or write one that is"
        ) from fault
    return settings


Day = Annotated[date, BeforeValidator(_as_written)]
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
Frozen = Annotated[dict[Key, Item], AfterValidator(FrozenDict), Field(validate_default=True)]
About = Annotated[Frozen[str, str], AfterValidator(lambda about: FrozenDict(sorted(about.items())))]
Settings = Annotated[dict[str, JsonValue], AfterValidator(_finite), AfterValidator(frozen)]
Unit = Literal[
    "fraction",
    "difference of fractions",
    "relative difference",
    "nats",
    "ratio",
    "classes",
    "cosine",
]
Outcome = Literal["pass", "fail", "inconclusive", "missing", "waived"]
Decision = Literal["accept", "reject", "inconclusive"]
Severity = Literal["block", "warn"]
DecideOn = Literal["bound", "point"]


class Measurement(Value):
    """One number with its 95 % interval, and what it is about.

    >>> Measurement(metric="accuracy", value=0.9, low=0.8, high=0.95, n=50, unit="fraction").about
    {}
    """

    metric: str
    about: About = {}
    value: float
    low: float
    high: float
    n: int = Field(ge=1)
    unit: Unit

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.low <= self.value <= self.high:
            raise ValueError(
                f"{self.metric}: value {self.value} lies outside its interval "
                f"[{self.low}, {self.high}]"
            )
        return self

    @classmethod
    def of(cls, metric: str, interval: stats.Interval, n: int, unit: Unit, **about: str) -> Self:
        """A measurement from an interval; ``about`` are its labels."""
        value, low, high = interval
        return cls(metric=metric, about=about, value=value, low=low, high=high, n=n, unit=unit)

    @classmethod
    def rate(cls, metric: str, hits: int, n: int, **about: str) -> Self:
        """A share of independent examples, with its Wilson interval."""
        return cls.of(metric, stats.rate(hits, n), n, "fraction", **about)

    @classmethod
    def difference(cls, metric: str, interval: stats.Interval, n: int, **about: str) -> Self:
        """A difference of two fractions, or of shares of a whole."""
        return cls.of(metric, interval, n, "difference of fractions", **about)


def _each_once(measurements: tuple[Measurement, ...]) -> tuple[Measurement, ...]:
    for metric, about in repeated((m.metric, tuple(m.about.items())) for m in measurements):
        raise ValueError(f"{metric} about {dict(about)} stands twice")
    return measurements


Measurements = Annotated[tuple[Measurement, ...], Field(min_length=1), AfterValidator(_each_once)]


class Evidence(ExtendedValue):
    """What one probe measured on one backbone; ``remarks`` say what a reader must know of it."""

    later_keys = frozenset({"bytes"})

    schema_: Literal["gate.evidence/v1"] = Field("gate.evidence/v1", alias="schema")
    probe: str
    settings: Settings
    backbone: Digest
    bytes: int | None = Field(None, ge=0)  # of the backbone's files, those that the digest is of
    reference: Digest | None = None
    data: Frozen[str, Digest] = Field(min_length=1)
    seed: int
    versions: Frozen[str, str]
    measurements: Measurements
    remarks: tuple[str, ...] = ()


class Bound(Value):
    """What a rule asks of a measurement: at most, or at least, a number.

    >>> m = Measurement(metric="accuracy", value=0.9, low=0.8, high=0.95, n=50, unit="fraction")
    >>> [Bound(at_least=bound).outcome(m) for bound in (0.7, 0.88, 0.99)]
    ['pass', 'inconclusive', 'fail']
    >>> Bound(at_least=0.88, decide_on="point").outcome(m), Bound(at_least=0.7, min_n=60).outcome(m)
    ('pass', 'inconclusive')
    """

    at_most: float | None = None
    at_least: float | None = None
    decide_on: DecideOn = "bound"
    min_n: int | None = Field(None, ge=1)

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.at_most is None) == (self.at_least is None):
            raise ValueError("state exactly one of at_most and at_least")
        return self

    @property
    def number(self) -> float:
        """The number that is stated, at most or at least."""
        return self.at_most if self.at_most is not None else self.at_least or 0.0

    def outcome(self, measurement: Measurement) -> Literal["pass", "fail", "inconclusive"]:
        """Where the interval (or the point) lies; only what is wholly on the right side passes.

        Too few examples withhold a pass. They do not excuse a failure: an interval wholly on the
        wrong side is wide enough for them already.
        """
        low, high = measurement.low, measurement.high
        if self.decide_on == "point":
            low = high = measurement.value
        if self.at_most is not None:
            passes, fails = high <= self.at_most, low > self.at_most
        else:
            passes, fails = low >= self.number, high < self.number
        if fails:
            return "fail"
        return "pass" if passes and not self.wants_more_than(measurement.n) else "inconclusive"

    def leaning(self, measurement: Measurement) -> Literal["pass", "fail", "inconclusive"]:
        """Where the point estimate lies, which is where more examples would likely lead."""
        return Bound(at_most=self.at_most, at_least=self.at_least, decide_on="point").outcome(
            measurement
        )

    def wants_more_than(self, n: int) -> bool:
        """Whether so few examples cannot pass."""
        return self.min_n is not None and n < self.min_n

    def __str__(self) -> str:
        point = " by the point estimate" if self.decide_on == "point" else ""
        number = repr(self.number).removesuffix(".0")  # to the last digit: no two bounds look alike
        return f"at {'most' if self.at_most is not None else 'least'} {number}{point}"


class Finding(Value):
    """One rule held against one measurement, or against its absence."""

    rule: str
    probe: str
    metric: str
    severity: Severity
    bound: Bound
    measurement: Measurement | None
    outcome: Outcome
    on_inconclusive: Severity = "block"
    waiver: str | None = None
    waived_until: Day | None = None
    says: str
    why: str

    @model_validator(mode="after")
    def _follows(self) -> Self:
        found = "missing" if self.measurement is None else self.bound.outcome(self.measurement)
        waivable = found in ("fail", "inconclusive")  # a known number, not one that nobody knows
        expected: Outcome = "waived" if self.waiver is not None and waivable else found
        if self.outcome != expected:
            raise ValueError(
                f"{self.rule}: outcome {self.outcome!r} does not follow from its measurement, "
                f"which says {expected!r}"
            )
        if (self.outcome == "waived") != (self.waived_until is not None):
            raise ValueError(f"{self.rule}: waived and its last day go together")
        return self

    @property
    def blocks(self) -> bool:
        """Whether this finding keeps the backbone out."""
        if self.outcome == "inconclusive" and self.on_inconclusive == "warn":
            return False
        return self.severity == "block" and self.outcome not in ("pass", "waived")


Count = Annotated[int, Field(ge=0, strict=True)]
Range = tuple[Count, Count]


class Decisions(Value):
    """How many backbones of one kind a policy accepted, left inconclusive and rejected."""

    accepted: Count
    inconclusive: Count
    rejected: Count

    @model_validator(mode="after")
    def _of_some(self) -> Self:
        if not self.n:
            raise ValueError("decisions on no backbone say nothing of a rate; leave the kind out")
        return self

    @property
    def n(self) -> int:
        """How many backbones these are."""
        return self.accepted + self.inconclusive + self.rejected


class Like(Value):
    """Least and most of what the backbones are that error rates were counted on."""

    pixels: Range = Field(description="Side of the images that they take.")
    classes: Range = Field(description="Classes of their tasks.")
    bytes: Range = Field(description="Of their files.")

    @field_validator("*")
    @classmethod
    def _ordered(cls, ends: Range, info: ValidationInfo) -> Range:
        if ends[0] > ends[1]:
            raise ValueError(
                f"{info.field_name} from {ends[0]} to {ends[1]}: write the least first"
            )
        return ends


class ErrorRates(Value):
    """How often the rules of a policy were wrong, on backbones of known truth.

    ``rules`` is the digest of the rules that judged, as :func:`gate.policy.rules.rules_digest`
    gives it: of other rules, the counts say nothing.
    """

    of: str = Field(min_length=1, description="Which backbones these are, in a sentence.")
    rules: Digest = Field(description="Of the rules that judged; other rules have no rates.")
    clean: Decisions = Field(description="Decisions on clean backbones.")
    backdoored: Frozen[str, Decisions] = Field(
        min_length=1, description="Decisions on backdoored ones, by kind of attack."
    )
    like: Like


class PolicyIdentity(Value):
    """Name, version and digest of the policy that judged."""

    name: str
    version: int
    digest: Digest


class Verdict(ExtendedValue):
    """All findings on one backbone, and the decision that follows from them.

    ``error_rates`` are those of the rules that judged, where some are published; ``unlike`` says
    how the backbone differs from those that they were counted on.
    """

    later_keys = frozenset({"error_rates", "unlike"})

    schema_: Literal["gate.verdict/v1"] = Field("gate.verdict/v1", alias="schema")
    decision: Decision
    backbone: Digest
    policy: PolicyIdentity
    evidence: Frozen[str, Digest] = Field(min_length=1)
    findings: tuple[Finding, ...] = Field(min_length=1)
    valid_until: Day | None = None
    error_rates: ErrorRates | None = None
    unlike: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _follows(self) -> Self:
        if self.decision != (expected := decision(self.findings)):
            raise ValueError(
                f"decision {self.decision!r} does not follow from the findings, "
                f"which say {expected!r}"
            )
        if self.valid_until != (until := last_day(self.findings)):
            raise ValueError(
                f"valid_until {self.valid_until} does not follow from the findings, "
                f"whose waivers end on {until}"
            )
        return self


def repeated(items: Iterable[Item]) -> list[Item]:
    """Those that stand more than once.

    >>> repeated(["a", "b", "a"])
    ['a']
    """
    return [item for item, count in Counter(items).items() if count > 1]


def in_words(labels: Mapping[str, str]) -> str:
    """Labels, or the globs that they must match, in words.

    >>> in_words({"task": "digits", "trigger": "yellow dot"})
    'task digits, trigger yellow dot'
    """
    return ", ".join(f"{name} {value}" for name, value in labels.items())


def worst(findings: Iterable[Finding]) -> dict[str, Outcome]:
    """The outcome of each rule's worst finding, which ``decide`` puts first."""
    outcomes: dict[str, Outcome] = {}
    for finding in findings:
        outcomes.setdefault(finding.rule, finding.outcome)
    return outcomes


def last_day(findings: Iterable[Finding]) -> date | None:
    """Until when a decision stands: the first last day of the waivers that it leans on."""
    days = [f.waived_until for f in findings if f.waived_until and f.severity == "block"]
    return min(days, default=None)


def decision(findings: Iterable[Finding]) -> Decision:
    """Reject if a blocking rule failed; accept only if every blocking rule passed or is waived.

    A rule with ``on_inconclusive: warn`` may also be inconclusive, but some blocking rule must have
    passed or be waived: an acceptance that rests on nothing is none.
    """
    findings = tuple(findings)
    blocking = {finding.outcome for finding in findings if finding.blocks}
    if "fail" in blocking:
        return "reject"
    judged = any(f.severity == "block" and f.outcome in ("pass", "waived") for f in findings)
    return "accept" if judged and not blocking else "inconclusive"
