"""All findings, and below them all measurements, as comma-separated values for spreadsheets.

A spreadsheet takes text that begins like a formula for one. Such text is written behind an
apostrophe, as OWASP advises (CSV Injection); numbers stay numbers, negative ones too.
"""

import csv
from collections.abc import Sequence
from io import StringIO

from gate.printable import escaped
from gate.reports.attachments import NONE, Attachments
from gate.values import Evidence, Finding, Measurement, Verdict, in_words

_COLUMNS = (
    *("row", "candidate", "backbone", "decision", "policy", "rule", "outcome", "severity", "bound"),
    *("probe", "metric", "about", "value", "low", "high", "n", "unit", "says", "why"),
    *("waiver", "waived_until"),
)
_FORMULA = tuple("=+-@\t\r\uff1d\uff0b\uff0d\uff20")  # and the same in full width
_Cell = str | float | None


def render(
    verdict: Verdict,
    evidence: Sequence[Evidence] = (),
    attachments: Attachments = NONE,
) -> str:
    """A heading, a row a finding, and a row a measurement of the evidence."""
    lines = StringIO()
    # quotes tell text from numbers; a line ends alike in a file and on a terminal
    writer = csv.writer(lines, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    writer.writerow(_COLUMNS)
    of: dict[str, _Cell] = {
        "candidate": attachments.candidate,
        "backbone": verdict.backbone,
        "decision": verdict.decision,
        "policy": f"{verdict.policy.name} v{verdict.policy.version}",
    }
    rows = [{"row": "finding", **of, **_finding(each)} for each in verdict.findings]
    rows += [
        {"row": "measurement", **of, "probe": item.probe, "metric": m.metric, **_numbers(m)}
        for item in evidence
        for m in item.measurements
    ]
    writer.writerows([_cell(row.get(column)) for column in _COLUMNS] for row in rows)
    return escaped(lines.getvalue())


def _finding(finding: Finding) -> dict[str, _Cell]:
    until = finding.waived_until
    return {
        "rule": finding.rule,
        "outcome": finding.outcome,
        "severity": finding.severity,
        "bound": f"{finding.bound}",
        "probe": finding.probe,
        "metric": finding.metric,
        **(_numbers(finding.measurement) if finding.measurement else {}),
        "says": finding.says,
        "why": finding.why,
        "waiver": finding.waiver,
        "waived_until": f"{until}" if until else None,
    }


def _numbers(m: Measurement) -> dict[str, _Cell]:
    numbers = {"value": m.value, "low": m.low, "high": m.high, "n": m.n}
    return {"about": in_words(m.about), **numbers, "unit": m.unit}


def _cell(content: _Cell) -> _Cell:
    """A number as it is, and text on one line that no spreadsheet takes for a formula."""
    if not isinstance(content, str):
        return "" if content is None else content
    line = " ".join(content.splitlines())
    return f"'{line}" if line.lstrip().startswith(_FORMULA) else line
