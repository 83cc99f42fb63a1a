"""The report for a pull request: findings, and below them every measurement."""

import re
from collections.abc import Iterator, Sequence
from html import escape

from gate.printable import escaped
from gate.reports.findings import LIMITS, remedies, rows, short, tally
from gate.values import Evidence, Verdict, in_words

# what makes code, emphasis, a cell, a formula, a link or a picture; [0.1, 0.2] alone is none
_MARKUP = re.compile(r"[\\`*~|$]|(?<=\])[(\[]|(?<=!)\[")
_MENTION = re.compile(r"@(?=\w)")
_ROWS_PER_PROBE = 100  # keeps it under the 64 KiB that a pull-request comment may have


def render(verdict: Verdict, evidence: Sequence[Evidence] = ()) -> str:
    """The report in Markdown; names that come from plans are escaped."""
    lines = [
        f"## gate: {verdict.decision.upper()}",
        "",
        f"{tally(verdict)} · policy {_code(verdict.policy.name)} v{verdict.policy.version} "
        f"`{short(verdict.policy.digest)}` · backbone `{short(verdict.backbone)}`",
        "",
        "| | rule | finding | why |",
        "|---|---|---|---|",
        *(_cells(row.mark, row.title, row.says, row.why) for row in rows(verdict)),
        "",
    ]
    if leaves := list(remedies(verdict, evidence)):
        lines += ["| | remedy | what it leaves |", "|---|---|---|"]
        lines += [_cells(row.mark, row.title, row.says) for row in leaves]
        lines.append("")
    for item in evidence:
        lines += _measurements(item)
    return "\n".join([*lines, LIMITS, ""])


def _measurements(evidence: Evidence) -> Iterator[str]:
    """A table of what a probe measured, folded away, and its remarks."""
    measured = evidence.measurements
    yield f"<details><summary>{_text(evidence.probe)}: {len(measured)} measurements</summary>"
    yield ""
    yield "| metric | about | value | 95 % interval | n |"
    yield "|---|---|---|---|---|"
    for m in measured[:_ROWS_PER_PROBE]:
        interval = f"{m.low:.3f} .. {m.high:.3f}"
        yield _cells(m.metric, in_words(m.about), f"{m.value:.3f}", interval, f"{m.n}")
    if (more := len(measured) - _ROWS_PER_PROBE) > 0:
        yield _cells(f"and {more} more in the evidence file", "", "", "", "")
    yield from ("", "</details>", "")
    for remark in evidence.remarks:
        yield f"> {_text(evidence.probe)}: {_text(remark)}\n"


def _cells(*cells: str) -> str:
    """A row of a table, in which names that come from plans are text and no markup."""
    return f"| {' | '.join(map(_text, cells))} |"


def _text(text: str) -> str:
    """Text on one line that is no markup, HTML, link or picture, and calls nobody (@all)."""
    line = escape(escaped(text.replace("\n", " ")), quote=False)
    # an invisible space: where names become mentions, escapes are long undone
    return _MENTION.sub("@&#8203;", _MARKUP.sub(r"\\\g<0>", line))


def _code(name: str) -> str:
    """A name as code; as text, where a letter in it might end the code."""
    return f"`{name}`" if re.fullmatch(r"[\w .:/+-]+", name) else _text(name)
