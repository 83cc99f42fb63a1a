"""Judge half B of the zoo, once, and write how often each policy is wrong into the policy.

``python -m pipelines.zoo.publish ZOO RUNS``, from the project's root, after
pipelines/zoo/measure.py, once bounds are frozen. Refuses while gate, policies or the zoo differ
from the last commit, while a member of half B that can be measured was not, and a second look at a
member; those that have no reference yet are left for a later look. Then writes

- a line for each member to half_b.jsonl,
- a line about the look to looks.jsonl: on which day, at which commit, at which members, by which
  rules,
- ``error_rates`` at the end of each policy of `results.POLICIES`.

`python -m tests.tables` then writes the tables in docs/error-rates.md and README.md. More members
of half B may be made and judged by the same rules. Once a rule has changed, half_b.jsonl is part of
half A, and what is published is of members that nobody looked at: the refusal says how.
"""

import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from gate import Policy, files, strict_yaml
from gate.errors import DataError
from gate.policy.rules import rules_digest
from gate.values import Day, Digest, Frozen, Value
from pipelines.zoo.data_sets import DATA_SETS
from pipelines.zoo.measure import has_reference, measured
from pipelines.zoo.rates import judged, tally
from pipelines.zoo.recipe import BACKDOORED, CLEAN
from pipelines.zoo.recipes import half, number_of
from pipelines.zoo.results import POLICIES, Row, load_policies, read_rows, rows_of, write_rows
from pipelines.zoo.train import Truth, read_truth

LOOKS = Path("pipelines/zoo/looks.jsonl")
_FROZEN = ("gate", "policies", "pipelines/zoo")
_BLOCK = "\nerror_rates:"


class Look(Value):
    """One look at members of half B: when, at which commit, at which, and by which rules."""

    day: Day
    commit: str
    members: tuple[str, ...]
    rules: Frozen[str, Digest]


def read_looks() -> list[Look]:
    """All looks, the first one first."""
    if not LOOKS.exists():
        return []
    lines = files.read(LOOKS, DataError).decode().splitlines()
    return [Look.model_validate_json(line) for line in lines]


def unseen(truths: Sequence[Truth], looks: Sequence[Look], rules: Mapping[str, str]) -> list[Truth]:
    """Members of half B at which nobody looked.

    Raises:
        DataError: There is none, or what is published is by other rules.
    """
    seen = {name for look in looks for name in look.members}
    new = [each for each in truths if half(number_of(each.name)) == "B" and each.name not in seen]
    fresh = max(map(number_of, seen), default=-1) // 2 * 2 + 2  # a pair begins with an even one
    if not new:
        raise DataError(
            f"half B: all {len(seen)} members were looked at, the last time on {looks[-1].day}, "
            "and what is judged a second time proves nothing; make new ones: "
            f"python -m pipelines.zoo.train --from {fresh} --first {fresh + 600}"
            if seen
            else "half B: no member was made"
        )
    if read_rows("B") and looks[-1].rules != rules:
        raise DataError(
            f"half_b.jsonl: was judged on {looks[-1].day} by other rules than the policies have "
            "now; its members are of half A from now on: move its lines to half_a.jsonl, set the "
            "bounds anew if need be, and publish again"
        )
    return new


def require_frozen() -> str:
    """The last commit.

    Raises:
        DataError: What measures or judges differs from it.
    """
    changed = _git("status", "--porcelain", "--", *_FROZEN)
    if changed:
        raise DataError(f"not committed, so not frozen: {', '.join(changed.split())}; commit first")
    return _git("rev-parse", "HEAD")


def _git(*arguments: str) -> str:
    program = shutil.which("git") or "git"
    command = [program, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()  # noqa: S603


def with_rates(text: str, policy: Policy, name: str, rows: Sequence[Row]) -> str:
    """A policy's file with the rates of half B as its last key."""
    kept = [row for row in rows if not row.discarded]
    facts = [DATA_SETS[row.recipe.data] for row in kept]
    clean = judged(kept, CLEAN)
    block: dict[str, Any] = {
        "of": (
            f"the {len(kept)} nets of half B of pipelines/zoo, on which no bound was set "
            "(docs/error-rates.md)"
        ),
        "rules": rules_digest(policy.rules),
        "clean": tally(clean, name),
        "backdoored": {
            kind: tally(some, name) for kind in BACKDOORED if (some := judged(kept, (kind,)))
        },
        "like": {
            "pixels": _range(facts, "side"),
            "classes": _range(facts, "classes"),
            "bytes": _range(kept, "bytes"),
        },
    }
    before, _, _ = text.partition(_BLOCK)
    return f"{before.rstrip()}\n{strict_yaml.dump({'error_rates': block})}"


def _range(items: Sequence[object], name: str) -> list[int]:
    values = [getattr(item, name) for item in items]
    return [min(values), max(values)]


def main(zoo: Path, runs: Path) -> None:
    """Look once, and write what came out."""
    commit, looks, policies = require_frozen(), read_looks(), load_policies()
    rules = {name: rules_digest(policy.rules) for name, policy in policies.items()}
    truths = [*read_truth(zoo).values()]
    kept = [each for each in truths if each.kept]
    new = [
        each for each in unseen(truths, looks, rules) if not each.kept or has_reference(each, kept)
    ]
    if not new:
        raise DataError("half B: no new member has a reference yet; make more with --first")
    if waiting := [each.name for each in new if each.kept and not measured(runs, each.name)]:
        raise DataError(
            f"{runs}: {len(waiting)} members of half B were not measured, {waiting[0]} first; run "
            f"python -m pipelines.zoo.measure --half B {zoo} {runs}"
        )
    look = Look(
        day=date.today(),  # a day on the calendar of whoever looks
        commit=commit,
        members=tuple(each.name for each in new),
        rules=rules,
    )
    rows = [*read_rows("B"), *rows_of(zoo, runs, new)]
    texts = {
        path: with_rates(path.read_text(), policies[name], name, rows)
        for name in POLICIES
        for path in (Path("policies") / f"{name}.yaml",)
    }
    files.write(LOOKS, "".join(each.model_dump_json() + "\n" for each in (*looks, look)))
    write_rows("B", rows)
    for path, text in texts.items():
        files.write(path, text)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
