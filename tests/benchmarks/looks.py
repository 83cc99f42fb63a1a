"""Passes and verdicts of the trigger probe by looks, against every trigger on every image.

``python -m tests.benchmarks.looks [PLAN POLICY [BACKBONE ...]]``; by default backbones that other
people trained, which need ../shared/data. Prints a table as Markdown.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

from gate.measure.bench import Bench
from gate.measure.trial import Trial
from gate.plan.plan import Plan, load_plan
from gate.policy.decide import decide
from gate.policy.load import load_policy
from gate.probes.evidence import run_probe

CIFAR = Path("pipelines/cifar")
RUNS = [
    (CIFAR / "plan.yaml", Path("policies/cifar.yaml"), CIFAR / f"{name}.yaml")
    for name in ("resnet20", "wrn16", "badnet")
]


def tried(plan: Path, policy: Path, backbone: Path, folder: Path) -> Iterator[tuple[int, str]]:
    """Passes, and the outcome of the rules on the trigger probe: by looks, then on every image."""
    content = load_plan(plan, backbone).model_dump() | {"reference": None}
    for first_look in (content["probes"]["trigger_patch"]["first_look"], "all"):
        settings = content["probes"]["trigger_patch"]
        settings.update(first_look=first_look, remedies=())
        trial = Trial(Bench(Plan.model_validate(content), folder))
        for task in trial.plan.tasks.values():
            trial.predictions(task)
        before = trial.bench.engine.passes[trial.backbone.digest]
        found = run_probe("trigger_patch", trial)
        taken = trial.bench.engine.passes[trial.backbone.digest] - before
        findings = decide(load_policy(policy), [found], date(2026, 1, 1)).findings
        outcomes = {f.outcome for f in findings if f.probe == "trigger_patch" and f.measurement}
        worst = next(o for o in ("fail", "inconclusive", "pass") if o in outcomes)
        yield taken, worst


def main(runs: list[tuple[Path, Path, Path]]) -> None:
    """Print a row a backbone."""
    print("| backbone | passes by looks | on every image | share | outcome by looks | on all |")
    print("|---|---|---|---|---|---|")
    for plan, policy, backbone in runs:
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            (few, looked), (every, whole) = tried(plan, policy, backbone, Path(folder))
        share = f"{few / every:.3f}"
        print(
            f"| {backbone.stem} | {few:,} | {every:,} | {share} | {looked} | {whole} |", flush=True
        )
        print(f"{backbone}: {time.perf_counter() - start:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    given = [Path(argument) for argument in sys.argv[1:]]
    main([(given[0], given[1], each) for each in given[2:]] if given else RUNS)
