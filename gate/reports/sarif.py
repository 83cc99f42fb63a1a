"""The verdict as SARIF 2.1.0, for code scanning: a result for each finding that is not a pass.

A result stands on the line of its rule, where the policy is at hand. What is waived is a suppressed
result. Rules are those of the policy, and their help is the policy's reason.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from gate import __version__, files
from gate.reports.attachments import NONE, Attachments
from gate.reports.issues import DECISION, Issue, issues, uri
from gate.values import Evidence, Finding, Verdict

_SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)


def render(
    verdict: Verdict,
    evidence: Sequence[Evidence] = (),  # noqa: ARG001  # a verdict names its evidence by digest
    attachments: Attachments = NONE,
) -> str:
    """One run with its rules and results."""
    found = issues(verdict, attachments)
    rules = {finding.rule: _rule(finding) for finding in reversed(verdict.findings)}
    rules = dict(reversed(rules.items()))
    descriptors, places = [*rules.values()], {rule: at for at, rule in enumerate(rules)}
    for issue in found:
        if issue.rule == DECISION and issue.rule not in places:
            places[issue.rule] = len(descriptors)
            descriptors.append(_described(DECISION, issue.title, issue.why, "error"))
    category = "/".join(
        part for part in ("gate", verdict.policy.name, attachments.candidate) if part
    )
    run = {
        "tool": {"driver": {"name": "gate", "version": __version__, "rules": descriptors}},
        "automationDetails": {"id": f"{category}/"},
        "columnKind": "unicodeCodePoints",
        "results": [_result(issue, places[issue.rule]) for issue in found],
        "properties": {
            "decision": verdict.decision,
            "backbone": verdict.backbone,
            "policy": verdict.policy.model_dump(),
            "evidence": dict(verdict.evidence),
        }
        | ({"day": f"{attachments.day}"} if attachments.day else {}),
    }
    return files.json_of({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]})


def _rule(finding: Finding) -> dict[str, Any]:
    level = "error" if finding.severity == "block" else "warning"
    says = f"{finding.metric} of {finding.probe}, {finding.bound}"
    return _described(finding.rule, says, finding.why, level) | {
        "properties": {"tags": [finding.probe], "probe": finding.probe, "metric": finding.metric}
    }


def _described(name: str, says: str, why: str, level: str) -> dict[str, Any]:
    return {
        "id": name,
        "shortDescription": {"text": _text(says)},
        "fullDescription": {"text": _text(why)},
        "help": {"text": _text(why)},
        "defaultConfiguration": {"level": level},
    }


def _result(issue: Issue, index: int) -> dict[str, Any]:
    result = {
        "ruleId": issue.rule,
        "ruleIndex": index,
        "level": issue.level,
        "message": {"text": _text(f"{issue.title}: {issue.says}")},
        "locations": [_location(issue)],
        # GitHub knows a finding again by this one alone, and takes two with the same for one
        "partialFingerprints": {"primaryLocationLineHash": issue.fingerprint},
        "properties": {"outcome": issue.outcome, "about": dict(issue.about)},
    }
    if issue.outcome == "waived":
        accepted = {"kind": "external", "status": "accepted", "justification": issue.says}
        result["suppressions"] = [accepted]
    return result


def _location(issue: Issue) -> Mapping[str, Any]:
    logical = {"logicalLocations": [{"name": issue.rule, "kind": "rule"}]}
    if issue.place is None:
        return logical
    artefact = {"uri": uri(issue.place.file)}
    if not issue.place.file.is_absolute():
        artefact["uriBaseId"] = "%SRCROOT%"
    region = {"startLine": issue.place.line}
    return {"physicalLocation": {"artifactLocation": artefact, "region": region}} | logical


def _text(text: str) -> str:
    """Text of a message: no part of it is a placeholder or a link (sections 3.11.5 and 3.11.6)."""
    return re.sub(r"\](?=\()", "] ", re.sub(r"[{}]", r"\g<0>\g<0>", text))
