"""The report for a terminal: a line a finding in at most 100 columns, what blocks first.

Names are shortened in the middle where a line has no room for them, numbers and bounds never.
Names and sentences are escaped before they are laid out, and lines once more: one that is broken
may begin with what a CI system reads as a command.

A quiet report is its first line: the decision, and the finding that carries it. A verbose one also
has, of what did not pass, why and what next; what passed, one by one; error
rates by kind of attack; and with evidence, what each remedy that was measured leaves of a failure,
and what the probes remarked.
"""

from collections.abc import Iterator, Sequence
from io import StringIO
from typing import NamedTuple

from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from gate.printable import escaped
from gate.reports.attachments import NONE, Attachments
from gate.reports.error_rates import NONE_PUBLISHED, kind_rows, summary, unlike_in_a_line
from gate.reports.findings import (
    LIMITS,
    SHOWN_PER_RULE,
    carrying,
    grouped,
    in_brackets,
    mark,
    next_step,
    remedies,
    short,
    tally,
    title,
)
from gate.values import Bound, Evidence, Finding, Measurement, Verdict, in_words

WIDTH = 100  # columns of a terminal
_MOST_COLUMNS = (24, 16, 9)  # of value, bound and n; what takes more has a line of its own
_MOST = 1_000_000  # from here on, numbers are told by their size alone
_INDENT = 4
_STYLE = {"fail": "bold red", "waived": "magenta", "pass": "green", "": "dim"}
_NUMBERS = 4  # the parts of a line from here on
_HEADER = ("rule", "about", "value [95 % interval]", "bound", "n")
_LEAST = 20  # columns, below which a name says nothing
_MORE = "-v says why, what next and what passed; `gate explain RULE` what a rule asks and measures."


def render(
    verdict: Verdict,
    evidence: Sequence[Evidence] = (),
    attachments: Attachments = NONE,
) -> str:
    """The report, as long and as colourful as the attachments say."""
    text = printed(verdict, evidence, attachments).export_text(styles=attachments.colour)
    return escaped("\n".join(line.rstrip() for line in text.splitlines()) + "\n", colours=True)


def printed(
    verdict: Verdict, evidence: Sequence[Evidence], attachments: Attachments = NONE
) -> Console:
    """A console that the report was printed on, to export it."""
    # whatever the process's own terminal is: one that is dumb would make it 80 columns
    console = Console(
        file=StringIO(), record=True, width=WIDTH, force_terminal=False, legacy_windows=False
    )
    shared = _shared(verdict)
    _print_head(console, verdict)
    if attachments.verbosity == "quiet":
        return console
    _print_identity(console, verdict, shared)
    _print_findings(console, verdict, shared, verbose=attachments.verbosity == "verbose")
    if attachments.verbosity == "verbose":
        _print_more(console, verdict, evidence)
    console.print(Text(LIMITS, style="dim"))
    _print_error_rates(console, verdict, verbose=attachments.verbosity == "verbose")
    if attachments.verbosity == "normal":
        console.print(Text(_MORE, style="dim"))
    return console


def _shared(verdict: Verdict) -> dict[str, str]:
    """The labels that all measurements of a report have, where there are several."""
    about = [set(f.measurement.about.items()) for f in verdict.findings if f.measurement]
    return dict(sorted(set.intersection(*about))) if len(about) > 1 else {}


class _Line(NamedTuple):
    """What is told of a finding, or of several: each part is on one line, and escaped."""

    mark: str
    style: str
    rule: str
    about: str = ""
    value: str = ""
    bound: str = ""
    n: str = ""

    @property
    def fits(self) -> bool:
        """Whether its numbers take no more columns than usual, and leave some for names."""
        return all(
            len(cell) <= most for cell, most in zip(self[_NUMBERS:], _MOST_COLUMNS, strict=True)
        )


def _line(finding: Finding, shared: dict[str, str], about: str = "") -> _Line:
    """A finding's line; its labels are told but for those that all share, or something else is."""
    m = finding.measurement
    only_warns = not finding.blocks and finding.outcome not in ("pass", "waived")
    if not about and m:
        about = in_words({name: m.about[name] for name in m.about if name not in shared})
    until = f"until {finding.waived_until}" if finding.waived_until else ""
    told = filter(None, ("only warns" if only_warns else until, about))
    return _Line(
        mark(finding.outcome),
        "yellow" if only_warns else _STYLE.get(finding.outcome, "bold yellow"),
        _in_one_line(finding.rule),
        _in_one_line(", ".join(told)),
        _interval(m),
        _sign(finding.bound),
        "" if m is None else f"{m.n}" if m.n < _MOST else f"≥ {_MOST}",
    )


def _print_head(console: Console, verdict: Verdict) -> None:
    """The decision, and the finding that carries it."""
    style = {"accept": "bold green", "reject": "bold red"}.get(verdict.decision, "bold yellow")
    decision = f"{verdict.decision.upper()}  "
    finding = carrying(verdict)
    if not finding:
        _print_line(console, (decision, style), tally(verdict))
        return
    says = f": {_interval(finding.measurement)}, wanted {finding.bound}"
    room = WIDTH - len(decision) - len(says)
    rule = _in_one_line(finding.rule)
    if room < _LEAST:
        _print_line(console, (decision, style), shortened(rule, WIDTH - len(decision)))
        _print_paragraph(console, says.removeprefix(": "))
        return
    left = room - cell_len(rule)
    about = _in_one_line(in_brackets(finding.measurement)) if left >= _LEAST else ""
    shown = f"{shortened(rule, room)}{says}{shortened(about, max(left, 1))}"
    _print_line(console, (decision, style), shown)


def _print_identity(console: Console, verdict: Verdict, shared: dict[str, str]) -> None:
    """What was judged, by what."""
    if verdict.decision != "accept":
        _print_line(console, tally(verdict))
    digests = f"{short(verdict.policy.digest)}  backbone {short(verdict.backbone)}"
    policy = _in_one_line(f"policy {verdict.policy.name} v{verdict.policy.version}")
    _print_line(console, (f"{shortened(policy, WIDTH - 1 - len(digests))} {digests}", "dim"))
    if shared:
        about = _in_one_line(in_words(shared))
        _print_line(console, (shortened(f"all about {about}", WIDTH), "dim"))


def _print_findings(
    console: Console, verdict: Verdict, shared: dict[str, str], *, verbose: bool
) -> None:
    """A table of findings, and below each what is to be told of it besides."""
    told, reasons = [*_told(verdict, shared, verbose=verbose)], set[str]()
    widths = _widths([line for line, _ in told])
    _print_line(console, (" ".ljust(widths[0]) + _columns(_HEADER, widths[1:]), "dim"))
    for line, finding in told:
        lead, names, numbers = line.mark.ljust(widths[0]), line[2:_NUMBERS], line[_NUMBERS:]
        if line.fits:
            _print_line(console, (lead, line.style), _columns(names + numbers, widths[1:]))
        else:
            _print_line(console, (lead, line.style), _columns(names, widths[1:3]))
            _print_paragraph(console, "  ".join(numbers))
        if not (verbose and finding):
            continue
        if any(cell_len(name) > width for name, width in zip(names, widths[1:3], strict=True)):
            _print_paragraph(console, title(finding) + in_brackets(finding.measurement))
        if finding.outcome != "pass":
            _print_paragraph(console, next_step(finding))
            if finding.rule not in reasons:
                _print_paragraph(console, f"why: {finding.why}")
            reasons.add(finding.rule)


def _told(
    verdict: Verdict, shared: dict[str, str], *, verbose: bool
) -> Iterator[tuple[_Line, Finding | None]]:
    """Each line of the report, with the one finding that it is of, if it is of one."""
    for findings in grouped(verdict):
        first, outcome = findings[0], findings[0].outcome
        if outcome == "pass" and not verbose and len(findings) > 1:
            yield _line(first, shared, f"the worst of {len(findings)}"), None
            continue
        shown = findings if verbose else findings[:SHOWN_PER_RULE]
        yield from ((_line(finding, shared), finding) for finding in shown)
        if more := len(findings) - len(shown):
            yield _Line("", _STYLE[""], f"and {more} more {outcome}"), None


def _widths(lines: Sequence[_Line]) -> list[int]:
    """The columns of a line's parts: numbers get what they need, and names share the rest."""
    marks = max(len(line.mark) for line in lines) + 1
    usual = [line[_NUMBERS:] for line in lines if line.fits]
    numbers = [max(map(len, cells)) for cells in zip(_HEADER[2:], *usual, strict=True)]
    room = WIDTH - marks - sum(numbers) - 8
    rules = max(cell_len(rule) for rule in (_HEADER[0], *(line.rule for line in lines)))
    about = max(cell_len(about) for about in (_HEADER[1], *(line.about for line in lines)))
    rule = min(rules, max(room * 4 // 7, room - about))
    return [marks, rule, min(about, room - rule), *numbers]


def _columns(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Names and numbers under each other."""
    shown = (shortened(cell, width) for cell, width in zip(cells, widths, strict=True))
    return "  ".join(
        cell + " " * (width - cell_len(cell)) for cell, width in zip(shown, widths, strict=True)
    )


def _print_more(console: Console, verdict: Verdict, evidence: Sequence[Evidence]) -> None:
    """What remedies leave, and what probes remarked."""
    if leaves := list(remedies(verdict, evidence)):
        console.print(Text("\nAfter each remedy that was measured:", style="bold"))
        for row in leaves:
            style = _STYLE.get(row.outcome or "", "bold yellow")
            name = shortened(_in_one_line(row.title), WIDTH - len(row.mark) - 1)
            _print_line(console, (f"{row.mark} ", style), name)
            _print_paragraph(console, row.says)
    for item in evidence:
        for remark in item.remarks:
            _print_paragraph(console, f"{item.probe}: {remark}", indent=0)


def _print_error_rates(console: Console, verdict: Verdict, *, verbose: bool) -> None:
    """How often these rules are wrong, and whether that says something of this candidate."""
    rates = verdict.error_rates
    if rates is None:
        console.print(Text(NONE_PUBLISHED, style="dim"))
        return
    _print_paragraph(console, summary(rates), indent=0)
    for row in kind_rows(rates) if verbose else ():
        decided = row.decisions
        counts = (
            f": {decided.rejected} rejected, {decided.inconclusive} inconclusive, "
            f"{decided.accepted} accepted; wrong {row.says}"
        )
        kind = shortened(_in_one_line(row.kind), max(WIDTH - _INDENT - len(counts), _LEAST))
        _print_line(console, f"{'':{_INDENT}}{kind}{counts}")
    _print_paragraph(console, unlike_in_a_line(verdict), indent=0)


def _print_line(console: Console, *parts: str | tuple[str, str]) -> None:
    console.print(Text.assemble(*parts), soft_wrap=True)


def _print_paragraph(console: Console, sentence: str, indent: int = _INDENT) -> None:
    if not sentence:
        return
    # on the right, room for a colon that is escaped because it begins a line
    console.print(Padding(Text(escaped(sentence)), (0, 5, 0, indent)))


def _sign(bound: Bound) -> str:
    """A bound in few columns.

    >>> _sign(Bound(at_least=0.5, decide_on="point"))
    '≥ 0.5 (point)'
    """
    words = {"at most": "≤", "at least": "≥", "by the point estimate": "(point)"}
    shown = f"{bound}"
    for word, sign in words.items():
        shown = shown.replace(word, sign)
    return shown


def _interval(m: Measurement | None) -> str:
    """A value with its interval, three numbers of at most eleven columns.

    >>> _interval(Measurement(metric="m", value=0.25, low=-1234.5, high=1e300, n=1, unit="nats"))
    '0.250 [-1234.500, 1.000e+300]'
    """
    if m is None:
        return "not measured"
    value, low, high = (
        f"{number:.3f}" if abs(number) < _MOST else f"{number:.3e}"
        for number in (m.value, m.low, m.high)
    )
    return f"{value} [{low}, {high}]"


def shortened(text: str, columns: int) -> str:
    """Text of one line in at most so many columns, at least one: it loses its middle.

    >>> shortened("trigger_patch.worst_attack_success_rate", 20)
    'trigger_patch.w…rate'
    >>> shortened("猫" * 20, 10)
    '猫猫…猫猫'
    """
    if cell_len(text) <= columns:
        return text
    ends = min(columns // 4, 4)  # metrics end alike: what tells them apart stands before
    head, tail = text[: columns - 1 - ends], text[len(text) - ends :]
    while cell_len(short := f"{head}…{tail}") > columns:
        head, tail = (head[:-1], tail) if len(head) > len(tail) else (head, tail[1:])
    return short


def _in_one_line(text: str) -> str:
    return escaped(text).replace("\n", "\\n").replace("\t", "\\t")
