"""Which bounds half A of the zoo asks for, rule by rule.

``python -m pipelines.zoo.bounds [POLICY]``, from the project's root, after pipelines/zoo/judge.py;
``cifar_reference`` unless another is named. For each rule that blocks on the worst of a bank or of
a search it prints, as Markdown, how clean and backdoored nets of half A come out at each bound (its
operating characteristic), and then the limits that follow:

- A bound lies above the lower end of every clean net, where there is room: by 0.03, or by 0.06 of a
  metric that was measured on fewer than 100 clean nets. So none is surely beyond it. Clean nets
  beyond every bound are given up, and rejected: no bound that finds anything leaves them room.
- Of the bounds that as many backdoored nets lie surely beyond as beyond the lowest, it is the
  middle one.
- A limit is strict, so that what it leaves inconclusive blocks, where some bound keeps back no more
  than 1 % of clean nets and, with all other rules, no backdoored net is lost by it. Else it rejects
  what lies surely beyond, and warns of the rest.

Half B has no part in it.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from gate import Policy, load_policy
from gate.errors import DataError
from gate.values import Decision
from pipelines.zoo.results import Row, read_rows

_RATIO = "worst_source_margin_over_reference"  # has no largest value
_MARGIN, _MARGIN_OF_FEW, _FEW, _KEPT_BACK = 0.03, 0.06, 100, 0.01


def grid(metric: str) -> list[float]:
    """The bounds that are tried, from 0.1 in steps of 0.05.

    >>> [(len(bounds), bounds[-1]) for bounds in map(grid, ("worst_attack_success_rate", _RATIO))]
    [(18, 0.95), (58, 2.95)]
    """
    return [round(0.05 * step, 2) for step in range(2, 60 if metric == _RATIO else 20)]


class Limit(NamedTuple):
    """A bound at most, and whether what it leaves inconclusive blocks."""

    number: float
    strict: bool = True


def limits_of(policy: Policy) -> dict[str, Limit]:
    """The bounds at most of rules that block on the worst of a bank or a search, by metric."""
    return {
        rule.measured_metric: Limit(rule.bound.number, rule.on_inconclusive == "block")
        for rule in policy.rules
        if rule.severity == "block" and rule.measured_metric.startswith("worst_")
        if rule.bound.at_most is not None
    }


def outcome(row: Row, metric: str, number: float) -> Decision:
    """On which side of a bound a net lies; what was not measured leaves it inconclusive."""
    if metric not in row.worst:
        return "inconclusive"
    _, low, high = row.worst[metric]
    return "reject" if low > number else "inconclusive" if high > number else "accept"


def limits(rows: Sequence[Row], metrics: Sequence[str]) -> dict[str, Limit]:
    """The limits that nets of half A ask for.

    Args:
        rows: Nets of half A; what was not measured on one plays no part.
        metrics: Those that are bounded, each worse when it is larger.

    Raises:
        DataError: One was measured on no clean net.
    """
    found = {metric: Limit(min(_middle(rows, metric, 1)), strict=False) for metric in metrics}
    for metric in metrics:
        for number in _middle(rows, metric, _KEPT_BACK):
            strict = {**found, metric: Limit(number)}
            if _rejected(rows, strict) >= _rejected(rows, found):
                found = strict
    return found


def _middle(rows: Sequence[Row], metric: str, kept_back: float) -> list[float]:
    """The bound of a metric that keeps back such a share of clean nets at most; or none."""
    known = [row for row in rows if metric in row.worst]
    clean = [row.worst[metric] for row in known if row.clean]
    if not clean:
        raise DataError(f"{metric}: was measured on no clean net of half A; measure some")
    bounds = grid(metric)
    room_for = max((low for _, low, _ in clean if low < bounds[-1]), default=0)
    margin = _MARGIN_OF_FEW if len(clean) < _FEW else _MARGIN
    least = min(room_for + margin, bounds[-2])
    fits = [
        number
        for number in bounds
        if number > least and sum(high > number for *_, high in clean) <= kept_back * len(clean)
    ]
    counts = [_rejected(known, {metric: Limit(number)}) for number in fits]
    alike = [number for number, count in zip(fits, counts, strict=True) if count == counts[0]]
    return alike[(len(alike) - 1) // 2 :][:1]


def _rejected(rows: Sequence[Row], limits: Mapping[str, Limit]) -> int:
    """How many backdoored nets lie surely beyond some limit."""
    return sum(
        any(outcome(row, metric, limit.number) == "reject" for metric, limit in limits.items())
        for row in rows
        if not row.clean
    )


def characteristic(rows: Sequence[Row], metric: str) -> str:
    """How nets come out under one rule at each bound, as Markdown."""
    lines = [
        f"| {metric} at most | clean accepted | inconclusive | rejected "
        "| backdoored accepted | inconclusive | rejected |",
        "|---|---|---|---|---|---|---|",
    ]
    for number in grid(metric):
        cells = [
            str(sum(row.clean is clean and outcome(row, metric, number) == d for row in rows))
            for clean in (True, False)
            for d in ("accept", "inconclusive", "reject")
        ]
        lines.append(f"| {number:.2f} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main(name: str = "cifar_reference") -> None:
    """Print both."""
    rows = [row for row in read_rows("A") if not row.discarded]
    now = limits_of(load_policy(Path("policies") / f"{name}.yaml"))
    for metric in now:
        print(characteristic([row for row in rows if metric in row.worst], metric))
    print(f"| {name} | in the policy | half A asks for |\n|---|---|---|")
    for metric, asked in limits(rows, [*now]).items():
        told = (
            f"{number}, inconclusive {'blocks' if strict else 'warns'}"
            for number, strict in (now[metric], asked)
        )
        print(f"| {metric} | {' | '.join(told)} |")


if __name__ == "__main__":
    main(*sys.argv[1:])
