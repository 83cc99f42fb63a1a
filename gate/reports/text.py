"""The report for a terminal: what did not pass, and the worst of what did, rule by rule.

Names and sentences are escaped before they are laid out, and lines once more: one that is broken
may begin with what a CI system reads as a command.

With evidence, what each remedy that was measured leaves of a failed finding.
"""

from collections.abc import Iterable, Sequence
from io import StringIO

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from gate.printable import escaped
from gate.reports.findings import LIMITS, Row, remedies, rows, short, tally
from gate.values import Evidence, Verdict

_WIDTH = 110  # letters
_STYLE = {"fail": "bold red", "waived": "magenta", "pass": "green", None: "dim"}


def render(verdict: Verdict, evidence: Sequence[Evidence] = ()) -> str:
    """The report without colours, for a file or a log."""
    return _trimmed(printed(verdict, evidence, _WIDTH).export_text())


def coloured(verdict: Verdict, evidence: Sequence[Evidence] = ()) -> str:
    """The report with the escape sequences by which a terminal shows colours."""
    return _trimmed(printed(verdict, evidence, _WIDTH, colour=True).export_text(styles=True))


def printed(
    verdict: Verdict, evidence: Sequence[Evidence], width: int, *, colour: bool = False
) -> Console:
    """A console that the report was printed on, in lines of ``width`` letters, to export it."""
    console = Console(file=StringIO(), force_terminal=colour, width=width, record=True)
    style = {"accept": "bold green", "reject": "bold red"}.get(verdict.decision, "bold yellow")
    policy = f"policy {escaped(verdict.policy.name)} v{verdict.policy.version}"
    identity = f"{policy} {short(verdict.policy.digest)}  backbone {short(verdict.backbone)}"
    head = (verdict.decision.upper(), style), f"  {tally(verdict)}\n", (identity, "dim")
    console.print(Text.assemble(*head))
    _print(console, rows(verdict))
    if leaves := list(remedies(verdict, evidence)):
        console.print(Text("\nAfter each remedy that was measured:", style="bold"))
        _print(console, leaves)
    for item in evidence:
        for remark in item.remarks:
            console.print(Text(escaped(f"{item.probe}: {remark}")))
    console.print(Text(LIMITS, style="dim"))
    return console


def _print(console: Console, lines: Iterable[Row]) -> None:
    for row in lines:
        style = _STYLE.get(row.outcome, "bold yellow")
        console.print(Text.assemble((f"{row.mark:<12} ", style), escaped(row.title)))
        if row.says:
            console.print(Padding(Text(escaped(row.says)), (0, 0, 0, 5)))


def _trimmed(text: str) -> str:
    return escaped("\n".join(line.rstrip() for line in text.splitlines()) + "\n", colours=True)
