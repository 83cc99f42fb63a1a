"""Decide on half A of the zoo, from which bounds are set; half B is for publish.py.

``python -m pipelines.zoo.judge ZOO RUNS``, from the project's root, after pipelines/zoo/measure.py.
Decides by each policy of `results.POLICIES` on each member of half A that was measured, and on
those of a half B that was looked at before, whose lines stand in half_a.jsonl. Writes a line for
each there, and prints the decisions by kind as Markdown. Lines of other members stay.
"""

import sys
from pathlib import Path

from pipelines.zoo.rates import by_kind
from pipelines.zoo.recipes import half, number_of
from pipelines.zoo.results import POLICIES, read_rows, rows_of, write_rows
from pipelines.zoo.train import read_truth


def main(zoo: Path, runs: Path) -> None:
    """Write the lines and print the tables."""
    before = {row.name: row for row in read_rows("A")}
    looked_at = [
        truth
        for name, truth in read_truth(zoo).items()
        if half(number_of(name)) == "A" or name in before
    ]
    rows = list({**before, **{row.name: row for row in rows_of(zoo, runs, looked_at)}}.values())
    write_rows("A", rows)
    for policy in POLICIES:
        print(f"\n{policy}\n\n{by_kind(rows, policy)}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
