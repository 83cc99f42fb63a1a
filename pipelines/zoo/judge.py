"""Decide on half A of the zoo, from which bounds are set; half B is for publish.py.

``python -m pipelines.zoo.judge ZOO RUNS``, from the project's root, after pipelines/zoo/measure.py.
Decides by each policy of `results.POLICIES` on each member of half A that was measured, writes a
line for each to half_a.jsonl, and prints the decisions by kind as Markdown. Lines of other members
stay, such as those of a half B that was looked at before.
"""

import sys
from pathlib import Path

from pipelines.zoo.rates import by_kind
from pipelines.zoo.recipes import half, number_of
from pipelines.zoo.results import POLICIES, read_rows, rows_of, write_rows
from pipelines.zoo.train import read_truth


def main(zoo: Path, runs: Path) -> None:
    """Write the lines and print the tables."""
    truths = read_truth(zoo).values()
    rows = rows_of(zoo, runs, [each for each in truths if half(number_of(each.name)) == "A"])
    names = {row.name for row in rows}
    rows += [row for row in read_rows("A") if row.name not in names]
    write_rows("A", rows)
    for policy in POLICIES:
        print(f"\n{policy}\n\n{by_kind(rows, policy)}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
