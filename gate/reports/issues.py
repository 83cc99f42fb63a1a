"""A verdict as the issues that CI systems list: what blocks, what only warns, what is waived."""

import json
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import PurePath
from typing import Literal, NamedTuple
from urllib.parse import quote

from gate.frozen import FrozenDict
from gate.reports.attachments import Attachments
from gate.reports.findings import in_brackets
from gate.strict_yaml import Place
from gate.values import Finding, Outcome, Verdict

Level = Literal["error", "warning", "note"]
_LEVELS: tuple[Level, ...] = ("error", "warning", "note")
_OUTCOMES: tuple[Outcome, ...] = ("fail", "missing", "inconclusive", "waived")
DECISION = "gate/decision"  # the rule of an issue that is of no rule


class Issue(NamedTuple):
    """What CI lists: a finding that did not pass, or a verdict that has nothing to accept on.

    ``level`` is error where it keeps the backbone out, note where it is waived, else warning.
    ``place`` is where its rule stands, and ``fingerprint`` stays the same as long as it is the same
    rule of the same policy on the same labels, whatever was measured.
    """

    level: Level
    outcome: Outcome
    rule: str
    title: str
    says: str
    why: str
    about: Mapping[str, str]
    place: Place | None
    fingerprint: str


def issues(verdict: Verdict, attachments: Attachments) -> list[Issue]:
    """What did not pass: errors first, and among them failures, then missing, then inconclusive."""
    found = [_of(f, verdict, attachments) for f in verdict.findings if f.outcome != "pass"]
    found.extend(_rests_on_nothing(verdict, attachments))
    return sorted(found, key=lambda i: (_LEVELS.index(i.level), _OUTCOMES.index(i.outcome)))


def level(finding: Finding) -> Level:
    """How much a finding that did not pass weighs."""
    if finding.blocks:
        return "error"
    return "note" if finding.outcome == "waived" else "warning"


def title(finding: Finding) -> str:
    """The rule and, in brackets, the labels of what was measured: no two findings have the same."""
    return finding.rule + in_brackets(finding.measurement)


def uri(path: PurePath) -> str:
    """A path as a reference in a document that lies at the root of the repository."""
    return quote(path.as_posix()) if not path.is_absolute() else path.as_uri()


def _of(finding: Finding, verdict: Verdict, attachments: Attachments) -> Issue:
    about = finding.measurement.about if finding.measurement else FrozenDict[str, str]({})
    return Issue(
        level(finding),
        finding.outcome,
        finding.rule,
        title(finding),
        finding.says,
        finding.why,
        about,
        attachments.places.get(finding.rule),
        _fingerprint(verdict, attachments, [finding.rule, *sorted(about.items())]),
    )


def _rests_on_nothing(verdict: Verdict, attachments: Attachments) -> Iterator[Issue]:
    """An issue where a verdict does not accept, though no finding alone keeps the backbone out."""
    if verdict.decision == "accept" or any(finding.blocks for finding in verdict.findings):
        return
    yield Issue(
        "error",
        "inconclusive",
        DECISION,
        f"{verdict.decision}: no rule that blocks has passed",
        "each rule that blocks is inconclusive and lets that through, so nothing speaks for the "
        "backbone; add examples, or a rule that can pass",
        "An acceptance that rests on nothing is none.",
        {},
        Place(attachments.policy_file, 1) if attachments.policy_file else None,
        _fingerprint(verdict, attachments, []),
    )


def _fingerprint(verdict: Verdict, attachments: Attachments, of: list[object]) -> str:
    parts = [verdict.policy.name, attachments.candidate, of]
    return sha256(json.dumps(parts).encode()).hexdigest()
