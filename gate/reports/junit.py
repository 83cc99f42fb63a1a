"""The verdict as JUnit XML: a case a finding, for Jenkins, GitLab and whatever else reads tests.

A case fails where its finding keeps the backbone out; its type says how. A warning and a waived
finding are skipped, with what they say as the message: both systems count and show skipped cases
without failing the build, and hide what a passed case prints.
"""

from collections.abc import Mapping, Sequence
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from gate.printable import escaped
from gate.reports.attachments import NONE, Attachments
from gate.reports.findings import short
from gate.reports.issues import DECISION, issues, title
from gate.values import Evidence, Finding, Verdict


def render(
    verdict: Verdict,
    evidence: Sequence[Evidence] = (),  # noqa: ARG001  # a verdict names its evidence by digest
    attachments: Attachments = NONE,
) -> str:
    """One suite, called after the candidate, in the order of the policy's rules."""
    root = Element("testsuites", {"name": "gate"})
    suite = SubElement(
        root, "testsuite", {"name": attachments.candidate or short(verdict.backbone)}
    )
    properties = SubElement(suite, "properties")
    for name, value in _properties(verdict, attachments).items():
        SubElement(properties, "property", {"name": name, "value": value})
    for finding in verdict.findings:
        _case(suite, finding)
    for issue in issues(verdict, attachments):
        if issue.rule == DECISION:
            case = SubElement(suite, "testcase", {"classname": "gate", "name": "decision"})
            _failure(case, issue.outcome, issue.says, issue.why)
    counts = {
        "tests": len(suite.findall("testcase")),
        "failures": len(suite.findall("testcase/failure")),
        "errors": 0,
    }
    for name, count in counts.items():
        root.set(name, str(count))
        suite.set(name, str(count))
    suite.set("skipped", str(len(suite.findall("testcase/skipped"))))
    indent(root)
    content = tostring(root, encoding="unicode")
    return escaped(f'<?xml version="1.0" encoding="UTF-8"?>\n{content}\n')


def _properties(verdict: Verdict, attachments: Attachments) -> Mapping[str, str]:
    found = {
        "decision": verdict.decision,
        "backbone": verdict.backbone,
        "policy": f"{verdict.policy.name} v{verdict.policy.version}",
        "policy digest": verdict.policy.digest,
    }
    return found | ({"day": f"{attachments.day}"} if attachments.day else {})


def _case(suite: Element, finding: Finding) -> None:
    case = SubElement(suite, "testcase", {"classname": finding.probe, "name": title(finding)})
    if finding.blocks:
        _failure(case, finding.outcome, finding.says, finding.why)
    elif finding.outcome != "pass":
        how = "waived" if finding.outcome == "waived" else f"{finding.outcome}, and only warns"
        SubElement(case, "skipped", {"message": f"{how}: {_lines(finding.says)}"})
    else:
        SubElement(case, "system-out").text = _lines(finding.says)


def _failure(case: Element, outcome: str, says: str, why: str) -> None:
    failure = SubElement(case, "failure", {"type": outcome, "message": _lines(says)})
    failure.text = _lines(f"{says}\nwhy: {why}")


def _lines(text: str) -> str:
    """Prose whose lines end as XML's do."""
    return "\n".join(text.splitlines())
