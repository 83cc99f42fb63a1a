"""The verdict as annotations of GitHub Actions: commands that its runner reads from stdout.

A step shows ten errors, ten warnings and ten notices, so no more are printed; the last of them
says how many are not.
"""

from collections.abc import Sequence

from gate.printable import escaped
from gate.reports.attachments import NONE, Attachments
from gate.reports.findings import tally
from gate.reports.issues import Issue, Level, issues
from gate.values import Evidence, Verdict

_SHOWN = 10  # of each kind, a step
_COMMAND: dict[Level, str] = {"error": "error", "warning": "warning", "note": "notice"}
_LONGEST = 200  # letters of a title


def render(
    verdict: Verdict,
    evidence: Sequence[Evidence] = (),  # noqa: ARG001  # a verdict names its evidence by digest
    attachments: Attachments = NONE,
) -> str:
    """One command a line; the first is a notice of the decision."""
    of = f" on {attachments.candidate}" if attachments.candidate else ""
    lines = [_command("notice", {"title": f"gate: {verdict.decision}{of}"}, tally(verdict))]
    found = issues(verdict, attachments)
    for level, command in _COMMAND.items():
        of_level = [issue for issue in found if issue.level == level]
        room = _SHOWN - (level == "note")  # the decision is a notice, too
        shown = of_level if len(of_level) <= room else of_level[: room - 1]
        lines += [_annotation(command, issue) for issue in shown]
        if more := len(of_level) - len(shown):
            says = f"{more} more findings like these; the report has them all"
            lines.append(_command(command, {"title": f"gate: and {more} more"}, says))
    return "".join(lines)


def _annotation(command: str, issue: Issue) -> str:
    where = {}
    if issue.place:
        where = {"file": issue.place.file.as_posix(), "line": f"{issue.place.line}"}
    name = f"{issue.outcome}: {issue.title}"
    cut = name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
    return _command(command, {**where, "title": cut}, f"{issue.title}: {issue.says}\n{issue.why}")


def _command(command: str, properties: dict[str, str], message: str) -> str:
    """A command, escaped as GitHub's own toolkit does: actions/toolkit, command.ts."""
    listed = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    return f"::{command} {listed}::{_data(message)}\n"


def _data(text: str) -> str:
    shown = escaped(text)  # an older form of command may stand anywhere in a line
    return shown.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
