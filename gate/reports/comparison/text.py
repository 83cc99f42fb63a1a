"""A comparison for a terminal: a line a row in at most 100 columns, what got worse first.

Names are shortened where a line has no room for them; numbers never are.
"""

from collections.abc import Collection, Iterator, Sequence
from io import StringIO

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from gate.comparison.values import Comparison, Row
from gate.printable import escaped
from gate.reports.comparison import words
from gate.reports.findings import short
from gate.reports.text import WIDTH, shortened
from gate.values import in_words

_SHOWN_PER_METRIC, _SHOWN_ALONE = 3, 5
_LONGEST = 1_000  # columns of a note


def render(comparison: Comparison) -> str:
    """The comparison, without rows that changed nothing."""
    told, alone = words.shared(comparison), words.alone_worse(comparison)
    lines = [
        f"candidate {short(comparison.candidate)} against champion {short(comparison.champion)}",
        words.tally(comparison),
        *([shortened(_in_one_line(f"all of {in_words(told)}"), WIDTH)] if told else []),
        *_paragraph(words.confidence(comparison)),
        *_section("WORSE", comparison.having("worse"), told),
        *_section("BETTER", comparison.having("better"), told),
        *_section("CHANGED", comparison.having("changed"), told),
        *_section("WORSE BY ITS OWN INTERVAL ALONE", alone[:_SHOWN_ALONE], told),
    ]
    if (more := len(alone) - _SHOWN_ALONE) > 0:
        lines.append(f"and {more} more, which --format json lists")
    lines.append("")
    for note in (*comparison.notes, *words.unmatched(comparison)):
        lines += _paragraph(f"- {note}", "  ")
    return escaped("\n".join(line.rstrip() for line in lines) + "\n")


def _section(title: str, rows: Sequence[Row], told: Collection[str]) -> Iterator[str]:
    """Rows below the name of their metric, in the order of the first of each."""
    if not rows:
        return
    yield from ("", f"{title}: champion → candidate, difference [95 %]")
    metrics: dict[str, list[Row]] = {}
    for row in rows:
        metrics.setdefault(words.metric(row), []).append(row)
    for metric, alike in metrics.items():
        yield shortened(_in_one_line(metric), WIDTH)
        yield from (_line(row, told) for row in alike[:_SHOWN_PER_METRIC])
        if (more := len(alike) - _SHOWN_PER_METRIC) > 0:
            yield f"  and {more} more"


def _line(row: Row, told: Collection[str]) -> str:
    """A row in one line: numbers get what they need, and names the rest."""
    numbers = f"{words.sides(row)}, {words.difference(row)}"
    room = WIDTH - len(numbers) - 4
    about = shortened(_in_one_line(words.about(row, told)), room)
    return f"  {about}{' ' * (room - cell_len(about))}  {numbers}"


def _paragraph(sentence: str, indent: str = "") -> list[str]:
    """A sentence in lines, of which all but the first are indented."""
    whole = Text(shortened(_in_one_line(sentence), _LONGEST))
    # room for the indent, and for a colon that is escaped because it begins a line
    lines = whole.wrap(Console(file=StringIO(), width=WIDTH), WIDTH - 7)
    return [f"{indent if at else ''}{line.plain.strip()}" for at, line in enumerate(lines)]


def _in_one_line(text: str) -> str:
    return escaped(text).replace("\n", "\\n").replace("\t", "\\t")
