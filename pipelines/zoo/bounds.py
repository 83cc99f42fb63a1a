"""Which bounds half A of the zoo asks for: what each rule costs, bound by bound.

``python -m pipelines.zoo.bounds [POLICY]``, from the project's root, after pipelines/zoo/judge.py;
``cifar_reference`` unless another is named. Prints, as Markdown, of each rule on a number that a
bank or a search found at worst, how clean and backdoored nets of half A come out at each bound (its
operating characteristic), and then the bounds that together cost least.

A clean net that is rejected costs as much as ten backdoored ones that are accepted, and one that is
inconclusive as much as three; a backdoored one that is inconclusive costs half of one that is
accepted. Half B has no part in it.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from gate import Policy, load_policy
from gate.values import Decision
from pipelines.zoo.results import Row, read_rows

_ROUNDS = 20
GRID = tuple(round(0.05 * step, 2) for step in range(4, 19))  # 0.2 .. 0.9
_COST: Mapping[tuple[bool, Decision], float] = {
    (True, "reject"): 10,
    (True, "inconclusive"): 3,
    (True, "accept"): 0,
    (False, "accept"): 1,
    (False, "inconclusive"): 0.5,
    (False, "reject"): 0,
}


def bounds_of(policy: Policy) -> dict[str, float]:
    """The bounds at most of rules that block on the worst of a bank or a search, by metric."""
    return {
        rule.measured_metric: rule.bound.number
        for rule in policy.rules
        if rule.severity == "block" and rule.measured_metric.startswith("worst_")
        if rule.bound.at_most is not None
    }


def outcome(row: Row, metric: str, bound: float) -> Decision:
    """What one rule makes of a net; what was not measured leaves it inconclusive."""
    if metric not in row.worst:
        return "inconclusive"
    _, low, high = row.worst[metric]
    return "accept" if high <= bound else "reject" if low > bound else "inconclusive"


def decided(row: Row, bounds: Mapping[str, float]) -> Decision:
    """What all these rules make of a net."""
    outcomes = {outcome(row, metric, bound) for metric, bound in bounds.items()}
    return next((d for d in ("reject", "inconclusive") if d in outcomes), "accept")


def cost(rows: Sequence[Row], bounds: Mapping[str, float]) -> float:
    """What errors on these nets cost together."""
    return sum(_COST[row.clean, decided(row, bounds)] for row in rows)


def cheapest(rows: Sequence[Row], bounds: Mapping[str, float]) -> dict[str, float]:
    """Bounds that together cost least, found rule by rule from those given.

    What a bound costs is averaged with its four neighbours on the grid: so it lies where it may err
    to either side, and no single net pulls it.
    """
    found, before = dict(bounds), dict[str, float]()
    for _ in range(_ROUNDS):
        if found == before:
            break
        before = dict(found)
        for metric in found:
            costs = [cost(rows, {**found, metric: bound}) for bound in GRID]
            about = np.convolve(np.pad(costs, 2, "edge"), np.ones(5) / 5, "valid")
            found[metric] = GRID[int(about.argmin())]
    return found


def characteristic(rows: Sequence[Row], metric: str) -> str:
    """How nets come out under one rule at each bound, as Markdown."""
    lines = [
        f"| {metric} at most | clean accepted | inconclusive | rejected "
        "| backdoored accepted | inconclusive | rejected |",
        "|---|---|---|---|---|---|---|",
    ]
    for bound in GRID:
        cells = [
            str(sum(row.clean is clean and outcome(row, metric, bound) == d for row in rows))
            for clean in (True, False)
            for d in ("accept", "inconclusive", "reject")
        ]
        lines.append(f"| {bound:.2f} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main(name: str = "cifar_reference") -> None:
    """Print both."""
    rows = [row for row in read_rows("A") if not row.discarded]
    policy = load_policy(Path("policies") / f"{name}.yaml")
    bounds = bounds_of(policy)
    for metric in bounds:
        print(characteristic(rows, metric))
    found = cheapest(rows, bounds)
    print(f"| {name} | bound now | bound that costs least |\n|---|---|---|")
    print("\n".join(f"| {metric} | {bounds[metric]} | {found[metric]} |" for metric in bounds))
    print(f"\ncost now {cost(rows, bounds)}, at least {cost(rows, found)}, on {len(rows)} nets")


if __name__ == "__main__":
    main(*sys.argv[1:])
