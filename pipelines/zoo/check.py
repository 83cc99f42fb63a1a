"""Hold gate against members of fresh seeds: do its errors lie within the published intervals?

``python -m pipelines.zoo.check [--from N] [--workers N] OUT``, from the project's root; needs
../shared/data, and takes half an hour on two cores. Makes thirteen clean and thirteen backdoored
members that are in neither half, measures them, and decides by ``policies/cifar_reference.yaml``.
Exits 1 where so many of the clean ones are not accepted, or so few of the backdoored ones are
rejected, that it has a chance of less than 1 % even at the end of the published intervals: a change
of a probe, a bank or a policy has then moved the rates, and they are to be measured anew. A kind
of which half B has no net has no published rate, so its members count for nothing; the others are
held against all of their kinds together. Members are photographs of ten classes on two small
architectures.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from gate.errors import DataError
from pipelines.zoo.data_sets import load_material
from pipelines.zoo.measure import has_reference, measure_all
from pipelines.zoo.rates import decided, judged
from pipelines.zoo.recipe import BACKDOORED, CLEAN, Kind, Recipe
from pipelines.zoo.recipes import recipe
from pipelines.zoo.results import Row, read_rows, rows_of
from pipelines.zoo.train import fill, read_truth, settle

POLICY = "cifar_reference"
FRESH = 10_000  # far beyond both halves
_ARCHITECTURES = ("conv4", "conv4_narrow")
_ROUND = 4 * 455  # blocks of two pairs, after which data, architecture and kind are as before
_EACH = 13
_MORE = 8  # pairs at a time, until so many are kept
_CHANCE = 0.01


def pairs(start: int) -> Iterator[tuple[Recipe, Recipe]]:
    """Pairs of a clean member and a backdoored one: of each kind one, then of each a second one.

    Args:
        start: An even number, from which one round of all that a recipe may combine is looked at.
    """
    of_kind: dict[Kind, list[tuple[Recipe, Recipe]]] = {kind: [] for kind in BACKDOORED}
    for number in range(start, start + _ROUND, 2):
        clean, backdoored = recipe(number), recipe(number + 1)
        if clean.data == "cifar10" and clean.architecture in _ARCHITECTURES:
            of_kind[backdoored.kind].append((clean, backdoored))
    for of_each in zip(*of_kind.values(), strict=False):
        yield from of_each


def at_least(chances: Sequence[float], hits: int) -> float:
    """How likely so many or more of independent events of these chances happen.

    >>> round(at_least([0.5, 0.5], 1), 2), at_least([0.1], 0)
    (0.75, 1.0)
    """
    numbers = np.ones(1)
    for chance in chances:
        numbers = np.convolve(numbers, [1 - chance, chance])
    return float(min(numbers[hits:].sum(), 1))


def moved(fresh: Sequence[Row], published: Sequence[Row]) -> Iterator[str]:
    """A sentence for each rate that lies outside what was published.

    Args:
        fresh: Members of fresh seeds, judged.
        published: Those of half B.

    Raises:
        DataError: Half B has no net of any kind that a fresh backdoored member is of.
    """
    clean = judged(fresh, CLEAN)
    wrong = sum(row.decisions[POLICY] != "accept" for row in clean)
    of = judged(published, CLEAN)
    highest = decided(of, POLICY, "inconclusive", "reject").high
    if at_least([highest] * len(clean), wrong) < _CHANCE:
        yield (
            f"{wrong} of {len(clean)} clean members are not accepted; published is at most "
            f"{highest:.2f}"
        )
    of_kinds = judged(published, [row.kind for row in judged(fresh, BACKDOORED)])
    if not of_kinds:
        raise DataError("half B has no net of any of these kinds; make and publish more members")
    held = judged(fresh, [row.kind for row in of_kinds])
    # of one kind half B has so few that their interval alone would let all be missed
    most = 1 - decided(of_kinds, POLICY, "reject").low
    missed = sum(row.decisions[POLICY] != "reject" for row in held)
    if at_least([most] * len(held), missed) < _CHANCE:
        yield (
            f"{missed} of {len(held)} backdoored members are not rejected; published is for "
            f"these kinds together at most {most:.2f}"
        )


def made(out: Path, start: int, workers: int) -> list[Row]:
    """Lines of so many clean and backdoored members as the check is of, made and measured.

    Args:
        out: A folder for the members and what is measured of them; what is there is used.
        start: The first number that is tried.
        workers: Processes.
    """
    drawn, members = pairs(start), list[Recipe]()
    while True:
        members += [member for pair in islice(drawn, _MORE) for member in pair]
        fill(out, members, load_material, workers)
        truths = [truth for truth in read_truth(out).values() if truth.kept]
        able = [each for each in truths if has_reference(each, truths)]
        sides = [
            [each for each in able if (each.kind in CLEAN) is clean] for clean in (True, False)
        ]
        if min(map(len, sides)) >= _EACH:
            break
    chosen = [truth for side in sides for truth in side[:_EACH]]
    measure_all(out, out / "runs", chosen, truths, workers)
    return rows_of(out, out / "runs", chosen)


def main() -> int:
    """Command line; 0 where nothing moved."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--from", dest="start", type=int, default=FRESH, metavar="N", help="even")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes; 1")
    arguments = parser.parse_args()
    if arguments.start % 2 or arguments.start < FRESH:
        parser.error(f"--from: must be even and at least {FRESH}, beyond both halves")
    settle()
    rows = made(arguments.out, arguments.start, arguments.workers)
    for row in rows:
        print(row.name, row.kind, row.decisions[POLICY], ", ".join(row.blocked_by[POLICY]))
    faults = [*moved(rows, read_rows("B"))]
    print(*(faults or ["all within the published intervals"]), sep="\n")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
