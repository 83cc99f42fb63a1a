"""Verdict and evidence for people: the terminal, Markdown, HTML."""

from collections.abc import Iterator, Sequence
from html import escape
from io import StringIO
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from gate.values import Evidence, Measurement, Verdict

if TYPE_CHECKING:
    from rich.console import Console

LIMITS = (
    "A pass says that the triggers, attributes and tasks of the plan showed nothing. "
    "It does not see an unknown, input-dependent or in-distribution trigger."
)
_MARK = {
    "fail": "FAIL",
    "missing": "MISS",
    "inconclusive": "????",
    "waived": "WAIV",
    "pass": "pass",
}
_STYLE = {"fail": "bold red", "waived": "magenta", "pass": "green"}
_SHOWN_PER_RULE = 3
_ROWS_PER_PROBE = 100  # keeps the Markdown under the 64 KiB that a pull-request comment may have


def reason(verdict: Verdict) -> str:
    """One line: the decision, and the finding that carries it.

    The first failed finding of a rejection, the first unsettled one of an inconclusive verdict.
    """
    line = f"{verdict.decision}: {_tally(verdict)}"
    carrying = [
        f for f in verdict.findings if f.blocks and (f.outcome == "fail") == _rejects(verdict)
    ]
    if carrying:
        line += f"; {carrying[0].rule}: {carrying[0].says}{_about(carrying[0].measurement)}"
    return line


def text(
    verdict: Verdict,
    evidence: Sequence[Evidence] = (),
    *,
    colour: bool = False,
    width: int = 110,
) -> str:
    """The report for a terminal: what did not pass, and the worst of what did, rule by rule.

    With evidence, what each remedy that was measured leaves of a failed finding.
    """
    from rich.console import Console

    console = Console(file=StringIO(), force_terminal=colour, width=width, record=True)
    _print(verdict, evidence, console)
    exported = console.export_text(styles=colour)
    return "\n".join(line.rstrip() for line in exported.splitlines()) + "\n"


def html(verdict: Verdict, evidence: Sequence[Evidence] = ()) -> str:
    """The terminal's report as one page that needs nothing else, and below it all pictures."""
    from rich.console import Console

    from gate.reports.pictures import pictures

    console = Console(file=StringIO(), width=130, record=True)
    _print(verdict, evidence, console)
    before, end, after = console.export_html(inline_styles=True).rpartition("</body>")
    # in a page, SVG stands without its XML declaration
    shown = (svg[svg.index(b"<svg") :].decode() for svg in pictures(evidence).values())
    return "".join([before, *(f"<p>{svg}</p>\n" for svg in shown), end, after])


def markdown(verdict: Verdict, evidence: Sequence[Evidence] = ()) -> str:
    """The report for a pull request: findings, and below them every measurement."""
    lines = [
        f"## gate: {verdict.decision.upper()}",
        "",
        f"{_tally(verdict)} · policy `{verdict.policy.name}` v{verdict.policy.version} "
        f"`{_short(verdict.policy.digest)}` · backbone `{_short(verdict.backbone)}`",
        "",
        "| | rule | finding | why |",
        "|---|---|---|---|",
        *(_cells(row.mark, row.rule, row.says, row.why) for row in _rows(verdict)),
        "",
    ]
    if remedies := list(_remedies(verdict, evidence)):
        lines += ["| | remedy | what it leaves |", "|---|---|---|"]
        lines += [_cells(row.mark, row.rule, row.says) for row in remedies]
        lines.append("")
    for item in evidence:
        lines += [
            f"<details><summary>{escape(item.probe)}: "
            f"{len(item.measurements)} measurements</summary>",
            "",
            "| metric | about | value | 95 % interval | n |",
            "|---|---|---|---|---|",
        ]
        lines += [
            _cells(
                m.metric,
                _labels(m.about),
                f"{m.value:.3f}",
                f"{m.low:.3f} .. {m.high:.3f}",
                f"{m.n}",
            )
            for m in item.measurements[:_ROWS_PER_PROBE]
        ]
        if (more := len(item.measurements) - _ROWS_PER_PROBE) > 0:
            lines.append(_cells(f"and {more} more in the evidence file", "", "", "", ""))
        lines += ["", "</details>", ""]
        lines += [f"> {escape(item.probe)}: {escape(remark)}\n" for remark in item.remarks]
    return "\n".join([*lines, LIMITS, ""])


class _Row(NamedTuple):
    mark: str
    style: str
    rule: str
    says: str
    why: str


def _rows(verdict: Verdict) -> Iterator[_Row]:
    """At most a few findings of each rule and outcome; they come worst first."""
    for (rule, outcome), group in groupby(verdict.findings, lambda f: (f.rule, f.outcome)):
        findings = list(group)
        shown = findings[: 1 if outcome == "pass" else _SHOWN_PER_RULE]
        for finding in shown:
            yield _Row(
                _MARK[outcome],
                _STYLE.get(outcome, "bold yellow"),
                rule if finding.severity == "block" else f"{rule} (only warns)",
                finding.says + _about(finding.measurement),
                finding.why,
            )
        if more := len(findings) - len(shown):
            yield _Row("", "dim", f"and {more} more {outcome}", "", "")


def _remedies(verdict: Verdict, evidence: Sequence[Evidence]) -> Iterator[_Row]:
    """What each remedy leaves of what did not pass, held against the same bound."""
    measured = {item.probe: item.measurements for item in evidence}
    done: set[tuple[str, str, str]] = set()
    for finding in verdict.findings:
        if finding.measurement is None or not finding.blocks:
            continue
        about = finding.measurement.about
        metric = f"{finding.metric.removeprefix('worst_excess_')}_after_remedy"
        for m in measured.get(finding.probe, ()):
            same = all(
                about.get(name) == m.about[name]
                for name in ("task", "attribute")
                if name in m.about
            )
            if not same or "remedy" not in m.about or not m.metric.endswith(metric):
                continue
            key = (finding.rule, m.metric, _labels(m.about))
            if key in done:
                continue
            done.add(key)
            outcome = finding.bound.outcome(m)
            accuracy = next(
                a
                for a in measured[finding.probe]
                if a.metric == "accuracy_after_remedy"
                and all(m.about.get(name) == value for name, value in a.about.items())
            )
            yield _Row(
                _MARK[outcome],
                _STYLE.get(outcome, "bold yellow"),
                m.about["remedy"].replace("_", " "),
                f"{m.metric} {m.value:.3f} [{m.low:.3f}, {m.high:.3f}], wanted {finding.bound}, at "
                f"accuracy {accuracy.value:.3f} [{accuracy.low:.3f}, {accuracy.high:.3f}]"
                f"{_about(m)}",
                "",
            )


def _print(verdict: Verdict, evidence: Sequence[Evidence], console: "Console") -> None:
    from rich.padding import Padding
    from rich.text import Text

    style = {"accept": "bold green", "reject": "bold red"}.get(verdict.decision, "bold yellow")
    policy = f"policy {verdict.policy.name} v{verdict.policy.version}"
    console.print(
        Text.assemble(
            (verdict.decision.upper(), style),
            f"  {_tally(verdict)}\n",
            (
                f"{policy} {_short(verdict.policy.digest)}  backbone {_short(verdict.backbone)}",
                "dim",
            ),
        )
    )
    for row in _rows(verdict):
        console.print(Text.assemble((f"{row.mark:<5}", row.style), row.rule))
        if row.says:
            console.print(Padding(Text(row.says), (0, 0, 0, 5)))
    if remedies := list(_remedies(verdict, evidence)):
        console.print(Text("\nAfter each remedy that was measured:", style="bold"))
        for row in remedies:
            console.print(Text.assemble((f"{row.mark:<5}", row.style), row.rule))
            console.print(Padding(Text(row.says), (0, 0, 0, 5)))
    for item in evidence:
        for remark in item.remarks:
            console.print(Text(f"{item.probe}: {remark}"))
    console.print(Text(LIMITS, style="dim"))


def _rejects(verdict: Verdict) -> bool:
    return verdict.decision == "reject"


def _tally(verdict: Verdict) -> str:
    outcomes = [finding.outcome for finding in verdict.findings]
    counts = (f"{outcomes.count(name)} {name}" for name in _MARK if name in outcomes)
    return f"{len(outcomes)} findings: {', '.join(counts)}"


def _about(measurement: Measurement | None) -> str:
    return f" ({_labels(measurement.about)})" if measurement and measurement.about else ""


def _labels(about: dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in about.items())


def _cells(*cells: str) -> str:
    escaped = (escape(cell, quote=False).replace("|", "\\|").replace("\n", " ") for cell in cells)
    return f"| {' | '.join(escaped)} |"


def _short(digest: str) -> str:
    return digest[:19]
