"""Gate members of half A of the zoo, and hold the decisions against what is known of them.

``python -m pipelines.zoo.judge ZOO POLICY [NAME ...]``, from the project's root, after
pipelines/zoo/train.py; names are globs, such as ``held_out_*``, and all of half A unless given.
Each member is measured as a user would, by `gate run`, into ZOO/runs/NAME; what is there is left
alone, and decided on anew. Prints a line for each as it comes, then tables as Markdown: members,
and decisions by kind with Wilson intervals.

Names of half B are refused: bounds are set from what this prints, and half B shows how often they
are wrong only as long as nobody has looked at it.

Beside each member stands another, known to be clean, as its reference: of its half, data set and
architecture, neither itself nor the one of its pair (which may be what it was planted on); the
first that was made and is kept, a plain one if there is one. The plan with both is
ZOO/plans/NAME.yaml.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from datetime import date
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

from gate import Evidence, Measurement, Policy, decide, files, load_policy, stats
from gate.plan.plan import load_plan
from pipelines.zoo.data_sets import DATA_SETS
from pipelines.zoo.recipe import BACKDOORED, CLEAN
from pipelines.zoo.recipes import half, number_of
from pipelines.zoo.train import Truth, read_truth

POLICY = Path("policies/cifar_reference.yaml")
# what each column of the table holds: the worst over the bank, and of what a search found
COLUMNS = {
    "bank, targeted": "worst_targeted_attack_success_rate",
    "bank, permuted": "worst_permuted_attack_success_rate",
    "bank, one source": "worst_source_targeted_attack_success_rate",
    "patch found": "worst_patch_attack_success_rate",
    "pattern found": "worst_pattern_attack_success_rate",
    "pair found": "worst_source_attack_success_rate",
    "each class to another found": "worst_class_wise_attack_success_rate",
    "wave found, over reference": "worst_wave_attack_success_rate_over_reference",
}


class Judged(NamedTuple):
    """A member, and what gate made of it.

    ``worst`` are measurements by their metric, ``failed`` the metrics whose rule did not pass.
    """

    truth: Truth
    decision: str
    worst: dict[str, Measurement]
    failed: tuple[str, ...]
    passes: int
    seconds: float

    @property
    def row(self) -> str:
        """A row of the table."""
        truth, cells = self.truth, []
        own = ", ".join(f"{rate:.2f}" for rate in truth.own_rates)
        for metric in COLUMNS.values():
            found = self.worst.get(metric)
            cells.append(f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]" if found else "-")
        mark = "**" if (self.decision == "accept") == bool(truth.own_rates) else ""
        return (
            f"| {truth.name} | {truth.kind}{', planted' if truth.recipe.planted else ''} | "
            f"{truth.accuracy:.2f} | {own} | {mark}{self.decision}{mark} | {' | '.join(cells)} | "
            f"{self.passes:,} | {self.seconds:.0f} |"
        )


def reference_of(truth: Truth, members: Sequence[Truth]) -> Truth:
    """Which of the members that are kept, in the order of their numbers, is one's reference.

    Raises:
        RuntimeError: There is none of its half, data set and architecture.
    """
    others = [
        other
        for other in members
        if other.kept
        and other.kind in CLEAN
        and _alike(other) == _alike(truth)
        and other.name not in (truth.name, truth.recipe.pair)
    ]
    if not others:
        its_half, data, architecture = _alike(truth)
        raise RuntimeError(
            f"{truth.name}: no other clean member of half {its_half} is a {architecture} trained "
            f"on {data}, and one is needed as its reference; make more with --first"
        )
    return next((other for other in others if other.kind == "clean"), others[0])


def _alike(truth: Truth) -> tuple[str, str, str]:
    """What a member and its reference have in common."""
    return half(number_of(truth.name)), truth.recipe.data, truth.recipe.architecture


def of_half_a(truths: Sequence[Truth], names: Sequence[str]) -> list[Truth]:
    """Members that the globs name, or all of half A without any.

    Raises:
        RuntimeError: A glob names a member of half B.
    """
    if not names:
        return [truth for truth in truths if half(number_of(truth.name)) == "A"]
    named = [truth for truth in truths if any(fnmatch(truth.name, name) for name in names)]
    for truth in named:
        if half(number_of(truth.name)) != "A":
            raise RuntimeError(
                f"{truth.name}: of half B, which is judged once, when all bounds are frozen; name "
                "members of half A alone, or none for all of them"
            )
    return named


def write_plan(zoo: Path, truth: Truth, members: Sequence[Truth]) -> Path:
    """Write the plan of a member, with its reference; JSON is YAML."""
    path, source = zoo / "plans" / f"{truth.name}.yaml", DATA_SETS[truth.recipe.data].plan
    plan = load_plan(source, zoo / f"{truth.name}.yaml")
    reference = load_plan(source, zoo / f"{reference_of(truth, members).name}.yaml").backbone
    content = plan.model_copy(update={"reference": reference})
    path.parent.mkdir(exist_ok=True)
    files.write(path, content.model_dump_json(indent=2, exclude_unset=True) + "\n")
    return path


def judged(zoo: Path, policy: Policy, truth: Truth, members: Sequence[Truth]) -> Judged:
    """Measure a member, unless that was done, and decide.

    Raises:
        RuntimeError: gate could not evaluate it, or it has no reference.
    """
    out = zoo / "runs" / truth.name
    if not (out / "verdict.json").exists():
        command = ["run", write_plan(zoo, truth, members), "--policy", POLICY]
        told = [sys.executable, "-m", "gate", *map(str, command), "--out", str(out)]
        done = subprocess.run(told, check=False, capture_output=True, text=True)  # noqa: S603
        if not (out / "verdict.json").exists():
            raise RuntimeError(
                f"{truth.name}: gate run ended with {done.returncode}: {done.stderr}"
            )
    evidence = [
        Evidence.model_validate_json(path.read_bytes())
        for path in sorted((out / "evidence").glob("*.json"))
    ]
    verdict = decide(policy, evidence, date(2026, 1, 1))
    information = json.loads((out / "run-info.json").read_text())
    return Judged(
        truth,
        verdict.decision,
        {m.metric: m for item in evidence for m in item.measurements},
        tuple(dict.fromkeys(f.metric for f in verdict.findings if f.blocks)),
        sum(information["forward_passes"].values()),
        sum(information["seconds"].values()),
    )


def by_kind(members: Sequence[Judged]) -> list[str]:
    """Rows of decisions by kind, clean ones first."""
    rows = []
    for kinds in (
        *((kind,) for kind in CLEAN),
        CLEAN,
        *((kind,) for kind in BACKDOORED),
        BACKDOORED,
    ):
        some = [each for each in members if each.truth.kind in kinds]
        if not some:
            continue
        counts = {
            decision: sum(each.decision == decision for each in some)
            for decision in ("accept", "inconclusive", "reject")
        }
        _, low, high = stats.rate(counts["accept"], len(some))
        name = (
            kinds[0]
            if len(kinds) == 1
            else f"**all {'clean' if kinds == CLEAN else 'backdoored'}**"
        )
        cells = " | ".join(str(count) for count in counts.values())
        rows.append(f"| {name} | {len(some)} | {cells} | [{low:.2f}, {high:.2f}] |")
    return rows


def main(zoo: Path, policy: Policy, names: Sequence[str]) -> None:
    """Print both tables."""
    members = []
    truths = [truth for truth in read_truth(zoo).values() if truth.kept]
    for truth in of_half_a(truths, names):
        members.append(judged(zoo, policy, truth, truths))
        each = members[-1]
        print(f"{truth.name} {truth.kind} {each.decision} {', '.join(each.failed)}", flush=True)
    print(
        f"\n| member | kind | accuracy | own rate | decision | {' | '.join(COLUMNS)} | passes | s |"
    )
    print("|" + "---|" * (len(COLUMNS) + 7))
    print("\n".join(each.row for each in members))
    print("\n| kind | members | accepted | inconclusive | rejected | share accepted |")
    print("|---|---|---|---|---|---|")
    print("\n".join(by_kind(members)))


if __name__ == "__main__":
    zoo, policy, *names = sys.argv[1:]
    main(Path(zoo), load_policy(policy), names)
