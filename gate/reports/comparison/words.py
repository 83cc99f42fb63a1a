"""A comparison in words, which formats for people lay out in their own ways."""

from collections import Counter
from collections.abc import Collection, Iterator

from gate.comparison.values import WORST_FIRST, Comparison, Row
from gate.values import in_words

_LEAST, _MOST = 0.0005, 1_000_000  # outside, numbers are told by their size alone


def tally(comparison: Comparison) -> str:
    """How many rows of each change there are."""
    counts = Counter(row.change for row in comparison.rows)
    told = [f"{counts[change]} {change}" for change in WORST_FIRST[:2]]
    told += [f"{counts[change]} {change}" for change in WORST_FIRST[2:] if counts[change]]
    return f"{', '.join(told)}, of {len(comparison.rows)} rows"


def confidence(comparison: Comparison) -> str:
    """For what worse and better hold, and what chance does to rows one by one."""
    compared = comparison.compared
    if not compared:
        return "No row is comparable, so nothing is called worse or better."
    alone = Counter(row.alone for row in comparison.having("unsettled"))
    beyond = ", ".join(f"{alone[change]} {change}" for change in WORST_FIRST[:3] if alone[change])
    return (
        f"What is called worse or better is so for all {compared} compared rows at once, with 95 % "
        "confidence (Bonferroni). Of the unsettled, beyond their own 95 % interval lie: "
        f"{beyond or 'none'}; of {compared} rows, chance alone would put up to "
        f"{0.05 * compared:.0f} there."
    )


def alone_worse(comparison: Comparison) -> list[Row]:
    """Rows that are worse by their own intervals, and unsettled among all."""
    return [row for row in comparison.having("unsettled") if row.alone == "worse"]


def alone_otherwise(comparison: Comparison) -> list[Row]:
    """Rows that are better or changed by their own intervals, and unsettled among all."""
    return [row for row in comparison.having("unsettled") if row.alone in ("better", "changed")]


def metric(row: Row) -> str:
    """The metric, which way is better, and whether its difference is paired."""
    side = "" if row.better == "neither" else f", {row.better} is better"
    paired = ", paired" if row.difference and row.difference.paired else ""
    return f"{row.probe}.{row.metric}{side}{paired}"


def shared(comparison: Comparison) -> dict[str, str]:
    """The task and the split, where all rows that name one name the same."""
    named = {name: {row.labels.get(name) for row in comparison.rows} for name in ("task", "split")}
    values = {name: each - {None} for name, each in named.items()}
    return {
        name: value for name, each in values.items() if len(each) == 1 for value in each if value
    }


def about(row: Row, told: Collection[str] = ()) -> str:
    """The labels of a row but for those told already; of a worst case where each side found it."""
    ours, theirs = row.candidate.about, row.champion.about
    labels = in_words({name: value for name, value in row.labels.items() if name not in told})
    apart = (f"{name} {ours[name]}, was {theirs[name]}" for name in ours if name not in row.labels)
    return "; ".join(filter(None, (labels, *apart)))


def sides(row: Row) -> str:
    """The number of the champion, and that of the candidate."""
    return f"{number(row.champion.value)} → {number(row.candidate.value)}"


def difference(row: Row) -> str:
    """Candidate minus champion, with its own 95 % interval."""
    if row.difference is None:
        return "not comparable"
    value = row.difference.value
    ends = f"[{number(row.difference.low)}, {number(row.difference.high)}]"
    return f"{'+' if value > 0 else ''}{number(value)} {ends}"


def number(value: float) -> str:
    """A number in few columns.

    >>> number(0.25), number(-1234.5), number(1e300), number(0.00004), number(0)
    ('0.250', '-1234.500', '1.0e+300', '4.0e-05', '0.000')
    """
    shows = value == 0 or _LEAST <= abs(value) < _MOST
    return f"{value:.3f}" if shows else f"{value:.1e}"


def unmatched(comparison: Comparison) -> Iterator[str]:
    """For each side how many measurements it has that the other lacks, by probe."""
    for side in ("candidate", "champion"):
        counts = Counter(each.probe for each in comparison.unmatched if each.side == side)
        if counts:
            listed = ", ".join(f"{count} of {probe}" for probe, count in sorted(counts.items()))
            yield f"only the {side} has measurements: {listed}"
