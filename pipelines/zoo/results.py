"""What came out for a member of the zoo: a line of half_a.jsonl or half_b.jsonl.

The files are of this folder. They hold all members, also those that were made and discarded, so
that a reader sees what the rates in docs/error-rates.md are made of.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

from pydantic import Field

from gate import Evidence, Policy, decide, files, load_policy
from gate.errors import DataError
from gate.values import Decision, Digest, Frozen, Value
from pipelines.zoo.measure import COST, measured
from pipelines.zoo.recipe import CLEAN, Kind, Recipe
from pipelines.zoo.recipes import Half, half, number_of
from pipelines.zoo.train import Truth, weights_of

POLICIES = ("cifar", "cifar_reference", "research", "production")
_HERE = Path("pipelines/zoo")
FILES: Mapping[Half, Path] = {"A": _HERE / "half_a.jsonl", "B": _HERE / "half_b.jsonl"}
_NO_WAIVER_MATTERS = date(2026, 1, 1)


class Row(Value):
    """A member: what it is, what was measured at worst, and what each policy decides.

    ``worst`` has of each metric of which a probe reports one number the value and its interval.
    ``decisions`` and ``blocked_by``, the rules that do not pass, are by policy; of half A, not by
    one that asks for what was not measured. Of a discarded member, whose truth says why it is none,
    nothing was measured.
    """

    name: str
    kind: Kind
    recipe: Recipe
    accuracy: float
    own_rates: tuple[float, ...]
    discarded: str = ""
    weights: Digest | None = None
    bytes: int = Field(0, ge=0)
    worst: Frozen[str, tuple[float, float, float]] = Field({})
    decisions: Frozen[str, Decision] = Field({})
    blocked_by: Frozen[str, tuple[str, ...]] = Field({})
    passes: int = Field(0, ge=0)
    seconds: float = Field(0, ge=0)

    @property
    def clean(self) -> bool:
        """Whether nothing was planted."""
        return self.kind in CLEAN


def row_of(zoo: Path, runs: Path, truth: Truth, policies: Mapping[str, Policy]) -> Row:
    """A member's line, by what was measured of it.

    Raises:
        DataError: It is kept, and was not measured.
        GateError: What was measured is no evidence.
    """
    facts = {
        "name": truth.name,
        "kind": truth.kind,
        "recipe": truth.recipe,
        "accuracy": truth.accuracy,
        "own_rates": truth.own_rates,
    }
    if not truth.kept:
        return Row.model_validate({**facts, "discarded": truth.discarded})
    if not measured(runs, truth.name):
        raise DataError(
            f"{runs / truth.name}: not measured; run python -m pipelines.zoo.measure {zoo} {runs}"
        )
    evidence = [
        Evidence.model_validate_json(path.read_bytes())
        for path in sorted((runs / truth.name / "evidence").glob("*.json"))
    ]
    cost = json.loads((runs / truth.name / COST).read_text())
    verdicts = {
        name: decide(policy, evidence, _NO_WAIVER_MATTERS) for name, policy in policies.items()
    }
    found = [m for item in evidence for m in item.measurements if _one_number(m.metric)]
    return Row.model_validate(
        facts
        | {
            "weights": truth.weights,
            "bytes": weights_of(zoo, truth.name).stat().st_size,
            "worst": {
                m.metric: tuple(round(x, 4) for x in (m.value, m.low, m.high)) for m in found
            },
            "decisions": {name: verdict.decision for name, verdict in verdicts.items()},
            "blocked_by": {
                name: tuple(dict.fromkeys(f.rule for f in verdict.findings if f.blocks))
                for name, verdict in verdicts.items()
            },
            "passes": sum(cost["forward_passes"].values()),
            "seconds": round(sum(v for k, v in cost["seconds"].items() if k[:5] == "probe"), 1),
        }
    )


def _one_number(metric: str) -> bool:
    return metric == "accuracy" or metric.startswith("worst_")


def load_policies() -> dict[str, Policy]:
    """The policies that are held against the zoo, by their names."""
    return {name: load_policy(Path("policies") / f"{name}.yaml") for name in POLICIES}


def rows_of(zoo: Path, runs: Path, truths: Sequence[Truth]) -> list[Row]:
    """A line for each member that was measured, or made and discarded."""
    policies = load_policies()
    return [
        row_of(zoo, runs, truth, policies)
        for truth in truths
        if not truth.kept or measured(runs, truth.name)
    ]


def read_rows(of: Half) -> list[Row]:
    """The lines of a half; none where it was not judged yet."""
    path = FILES[of]
    if not path.exists():
        return []
    lines = files.read(path, DataError).decode().splitlines()
    return [Row.model_validate_json(line) for line in lines]


def write_rows(of: Half, rows: Sequence[Row]) -> None:
    """Write the lines of a half, in the order of the members' numbers.

    Raises:
        DataError: One of half A is to stand in half B.
    """
    for row in rows:
        if of == "B" and half(number_of(row.name)) == "A":
            raise DataError(f"{row.name}: of half A, which has been looked at, and not of half B")
    lines = [
        row.model_dump_json(exclude_none=True) + "\n"
        for row in sorted(rows, key=lambda row: number_of(row.name))
    ]
    files.write(FILES[of], "".join(lines))
