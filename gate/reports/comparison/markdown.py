"""A comparison for a pull request: what got worse in a table, all else that moved folded below."""

from collections.abc import Iterator, Sequence

from gate.comparison.values import Comparison, Row
from gate.reports.comparison import words
from gate.reports.findings import short
from gate.reports.markdown import cells, plain
from gate.reports.text import shortened

_SHOWN, _FOLDED, _LONGEST = 10, 30, 160  # rows, and letters: GitHub takes 65,536 in a comment


def render(comparison: Comparison) -> str:
    """The comparison in Markdown; names that come from plans are escaped."""
    folded = {
        "better": comparison.having("better"),
        "changed": comparison.having("changed"),
        "worse by its own interval alone": words.alone_worse(comparison),
        "better or changed by its own interval alone": words.alone_otherwise(comparison),
        "not comparable": comparison.having("not comparable"),
    }
    lines = [
        f"## gate compare: {words.tally(comparison)}",
        "",
        f"candidate `{short(comparison.candidate)}` against champion "
        f"`{short(comparison.champion)}`",
        "",
        words.confidence(comparison),
        "",
    ]
    if worse := comparison.having("worse"):
        lines += [*_table("worse", worse, _SHOWN), ""]
    for title, rows in folded.items():
        if rows:
            summary = f"{len(rows)} {title}"
            lines += [f"<details><summary>{summary}</summary>", ""]
            lines += [*_table(title, rows, _FOLDED), "", "</details>", ""]
    notes = (*comparison.notes, *words.unmatched(comparison))
    return "\n".join([*lines, *(f"- {plain(note)}" for note in notes), ""])


def _table(title: str, rows: Sequence[Row], shown: int) -> Iterator[str]:
    """Rows as a table; how many are not in it, where there are more."""
    yield cells(title, "about", "champion → candidate", "difference, its own 95 % interval")
    yield "|---|---|---|---|"
    for row in rows[:shown]:
        about = shortened(words.about(row), _LONGEST)
        yield cells(words.metric(row), about, words.sides(row), words.difference(row))
    if (more := len(rows) - shown) > 0:
        yield cells(f"and {more} more", "", "", "")
