"""The report for a pull request: what did not pass, and folded away below it all that was found.

What shows without a click takes at most 4 KB: the decision, then a line a finding, failures first.
The whole fits into a comment on GitHub.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from itertools import groupby

from gate.printable import escaped
from gate.reports.attachments import NONE, Attachments
from gate.reports.error_rates import kind_rows, summary, unlike_in_a_line
from gate.reports.findings import LIMITS, remedies, rows, short, tally
from gate.reports.issues import Issue, issues
from gate.values import ErrorRates, Evidence, Verdict, in_words

# what makes code, emphasis, a cell, a formula, a link or a picture; [0.1, 0.2] alone is none
_MARKUP = re.compile(r"[\\`*~|$]|(?<=\])[(\[]|(?<=!)\[")
_MENTION = re.compile(r"@(?=\w)")
_VISIBLE, _WHOLE = 4_096, 65_536  # bytes; GitHub takes as many letters in a comment
_LINES_PER_RULE, _ROWS_PER_PROBE = 3, 100
_LONGEST_LINE, _LONGEST_CELL = 240, 1_000  # letters, before they are escaped
_SENTENCE = 600  # bytes of a sentence beside the findings
_MORE = 120  # bytes of a line that says how many are not shown


def render(
    verdict: Verdict,
    evidence: Sequence[Evidence] = (),
    attachments: Attachments = NONE,
) -> str:
    """The same, with what the candidate is called and the day of the verdict."""
    head = _head(verdict, attachments)
    room = _WHOLE - _VISIBLE
    folded = []
    for table in _tables(verdict, evidence):
        shown = list(_folded(*table, room))
        room -= _bytes(shown)
        folded += shown
    rates = [*_error_rates(verdict)]
    seen = [
        *head,
        LIMITS,
        "",
        "",
        *rates,
        *(line for line in folded if line.startswith("<details>")),
    ]
    lines = _lines(issues(verdict, attachments), _VISIBLE - _bytes(seen))
    return "\n".join([*head, *lines, "", LIMITS, "", *rates, *folded])


def _error_rates(verdict: Verdict) -> Iterator[str]:
    """A line on how often these rules are wrong, and one on how the candidate is unlike."""
    if verdict.error_rates:
        for says in (summary(verdict.error_rates), unlike_in_a_line(verdict)):
            if says:
                yield from (_short(says), "")


def _short(says: str) -> str:
    """A sentence with as many of its letters as fit, once these are escaped."""
    for letters in (_SENTENCE, 300, 150):
        if len((line := plain(_cut(says, letters))).encode()) <= _SENTENCE:
            return line
    return plain(_cut(says, 60))


def _head(verdict: Verdict, attachments: Attachments) -> list[str]:
    named = [
        *([code(_cut(attachments.candidate, 60))] if attachments.candidate else []),
        tally(verdict),
        f"policy {code(_cut(verdict.policy.name, 60))} v{verdict.policy.version} "
        f"`{short(verdict.policy.digest)}`",
        f"backbone `{short(verdict.backbone)}`",
        *([f"{attachments.day}"] if attachments.day else []),
    ]
    return [f"## gate: {verdict.decision.upper()}", "", " · ".join(named), ""]


def _lines(found: Sequence[Issue], room: int) -> Iterator[str]:
    """A line an issue, at most a few of each rule, as long as there is room."""
    left, hidden = room - _MORE, 0
    for (level, outcome, _), group in groupby(found, lambda i: (i.level, i.outcome, i.rule)):
        of_rule = list(group)
        word = "only warns" if level == "warning" else outcome.upper()
        word += f": {outcome}" if level == "warning" else ""
        for issue in of_rule[:_LINES_PER_RULE]:
            says = _cut(f"{issue.title}: {issue.says}", _LONGEST_LINE)
            line = f"- **{word}** {plain(says)}"
            left -= _bytes([line])
            if left < 0:
                hidden += 1
            else:
                yield line
        hidden += max(0, len(of_rule) - _LINES_PER_RULE)
    if hidden:
        yield f"- and {hidden} more that did not pass"


def _tables(
    verdict: Verdict, evidence: Sequence[Evidence]
) -> Iterator[tuple[str, tuple[str, ...], list[tuple[str, ...]], Sequence[str]]]:
    """What is folded away: a summary, a heading, rows, and remarks below them."""
    heading: tuple[str, ...] = ("", "rule", "finding", "why")
    found = [(row.mark, row.title, row.says, row.why) for row in rows(verdict)]
    yield "findings and reasons", heading, list[tuple[str, ...]](found), ()
    if leaves := [(row.mark, row.title, row.says) for row in remedies(verdict, evidence)]:
        yield "after each remedy", ("", "remedy", "what it leaves"), [*leaves], ()
    if verdict.error_rates:
        heading = ("kind", "n", "rejected", "inconclusive", "accepted", "share wrong", "95 %")
        yield "error rates of these rules", heading, [*_kinds(verdict.error_rates)], ()
    for item in evidence:
        measured = [
            (
                m.metric,
                in_words(m.about),
                f"{m.value:.3f}",
                f"{m.low:.3f} .. {m.high:.3f}",
                f"{m.n}",
            )
            for m in item.measurements
        ]
        shown: list[tuple[str, ...]] = [*measured[:_ROWS_PER_PROBE]]
        if (more := len(measured) - _ROWS_PER_PROBE) > 0:
            shown.append((f"and {more} more in the evidence file",))
        heading = ("metric", "about", "value", "95 % interval", "n")
        remarks = [f"{item.probe}: {remark}" for remark in item.remarks]
        yield f"{item.probe}: {len(measured)} measurements", heading, shown, remarks


def _kinds(rates: ErrorRates) -> Iterator[tuple[str, ...]]:
    """A row of each kind of backbone: clean ones that were rejected are wrong, others accepted."""
    for kind, each, wrong in kind_rows(rates):
        counts = (f"{n}" for n in (each.n, each.rejected, each.inconclusive, each.accepted))
        yield kind, *counts, f"{wrong.value:.3f}", f"{wrong.low:.3f} .. {wrong.high:.3f}"


def _folded(
    summary: str,
    heading: tuple[str, ...],
    body: Sequence[tuple[str, ...]],
    remarks: Sequence[str],
    room: int,
) -> Iterator[str]:
    """A table folded away, of as many rows and remarks as there is room for."""
    begins = [
        f"<details><summary>{plain(_cut(summary, 80))}</summary>",
        "",
        cells(*heading),
        f"|{'---|' * len(heading)}",
    ]
    lines = [cells(*row, *[""] * (len(heading) - len(row))) for row in body]
    said = [f"> {plain(_cut(remark, _LONGEST_CELL))}\n" for remark in remarks]
    left = room - _bytes(begins) - 2 * _MORE
    if left < 0:
        return
    yield from begins
    shown = _fitting(lines, left)
    yield from lines[:shown]
    if shown < len(lines):
        yield cells(f"and {len(lines) - shown} more rows", *[""] * (len(heading) - 1))
    yield ""
    told = _fitting(said, left - _bytes(lines[:shown]))
    yield from said[:told]
    if told < len(said):
        yield f"> and {len(said) - told} more remarks\n"
    yield from ("</details>", "")


def _fitting(lines: Sequence[str], room: int) -> int:
    """How many of the first lines there is room for."""
    for at, line in enumerate(lines):
        room -= _bytes([line])
        if room < 0:
            return at
    return len(lines)


def _bytes(lines: Iterable[str]) -> int:
    return sum(len(line.encode()) + 1 for line in lines)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def cells(*content: str) -> str:
    """A row of a table, in which names that come from plans are text and no markup."""
    return f"| {' | '.join(plain(_cut(cell, _LONGEST_CELL)) for cell in content)} |"


def plain(text: str) -> str:
    """Text on one line that is no markup, HTML, link or picture, and calls nobody (@all)."""
    line = escape(escaped(text.replace("\n", " ")), quote=False)
    # an invisible space: where names become mentions, escapes are long undone
    return _MENTION.sub("@&#8203;", _MARKUP.sub(r"\\\g<0>", line))


def code(name: str) -> str:
    """A name as code; as text, where a letter in it might end the code."""
    return f"`{name}`" if re.fullmatch(r"[\w .:/+-]+", name) else plain(name)
