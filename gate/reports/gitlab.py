"""The verdict as GitLab's code quality report: an issue for each finding that is not a pass.

Its tests report is the JUnit file. GitLab wants a file and a line of every issue: those of the
rule, where the policy is at hand, else the policy's name.
"""

from collections.abc import Sequence
from typing import Any

from gate import files
from gate.reports.attachments import NONE, Attachments
from gate.reports.issues import Issue, issues
from gate.values import Evidence, Verdict

_SEVERITY = {"warning": "minor", "note": "info"}


def render(
    verdict: Verdict,
    evidence: Sequence[Evidence] = (),  # noqa: ARG001  # a verdict names its evidence by digest
    attachments: Attachments = NONE,
) -> str:
    """A list of issues as JSON; an acceptance without warnings and waivers gives an empty one."""
    named = attachments.policy_file.as_posix() if attachments.policy_file else verdict.policy.name
    return files.json_of([_listed(issue, named) for issue in issues(verdict, attachments)])


def _listed(issue: Issue, named: str) -> dict[str, Any]:
    blocking = "blocker" if issue.outcome == "fail" else "critical"
    path, line = (issue.place.file.as_posix(), issue.place.line) if issue.place else (named, 1)
    return {
        "description": f"{issue.outcome}: {issue.title}: {issue.says}",
        "check_name": issue.rule,
        "fingerprint": issue.fingerprint,
        "severity": _SEVERITY.get(issue.level, blocking),
        "location": {"path": path, "lines": {"begin": line}},
    }
