"""Measure members of the zoo, and show nothing of what comes out.

``python -m pipelines.zoo.measure [--half A|B] [--workers N] ZOO RUNS``, from the project's root,
after pipelines/zoo/train.py. The probes of a member's plan run as in `gate run`, and their evidence
goes to RUNS/NAME, with the plan; what is there is left alone. Nothing is decided here, and what
probes remark is not logged, so half B can be measured before bounds are frozen, and stays unseen.

Beside each member stands another, plain and known to be clean, as its reference: of its half, data
set and architecture, neither itself nor the one of its pair (which may be what it was planted on);
the first that was made and is kept. A member waits where there is none: beside a net that learnt
otherwise, as an adversarially trained one, a clean one seems to hide something.
"""

import argparse
import logging
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from gate import files
from gate.measure.bench import Bench
from gate.measure.trial import Trial
from gate.plan.plan import load_plan
from gate.probes.evidence import run_probe
from pipelines.zoo.data_sets import DATA_SETS
from pipelines.zoo.recipe import PLAIN
from pipelines.zoo.recipes import half, number_of
from pipelines.zoo.train import Truth, mapped, read_truth, settle

COST = "run-info.json"  # beside the evidence: passes and seconds


def reference_of(truth: Truth, members: Sequence[Truth]) -> Truth:
    """Which of the members that are kept, in the order of their numbers, is one's reference.

    Raises:
        RuntimeError: There is none of its half, data set and architecture.
    """
    others = [
        other
        for other in members
        if other.kept
        and other.kind in PLAIN
        and _alike(other) == _alike(truth)
        and other.name not in (truth.name, truth.recipe.pair)
    ]
    if not others:
        its_half, data, architecture = _alike(truth)
        raise RuntimeError(
            f"{truth.name}: no other plain clean member of half {its_half} is a {architecture} "
            f"trained on {data}, and one is needed as its reference; make more with --first"
        )
    return others[0]


def _alike(truth: Truth) -> tuple[str, str, str]:
    """What a member and its reference have in common."""
    return half(number_of(truth.name)), truth.recipe.data, truth.recipe.architecture


def has_reference(truth: Truth, members: Sequence[Truth]) -> bool:
    """Whether there is a reference for a member; says so where there is none."""
    try:
        reference_of(truth, members)
    except RuntimeError as fault:
        print(fault, flush=True)
        return False
    return True


def write_plan(zoo: Path, runs: Path, truth: Truth, members: Sequence[Truth]) -> Path:
    """Write the plan of a member, with its reference; JSON is YAML."""
    path, source = runs / truth.name / "plan.yaml", DATA_SETS[truth.recipe.data].plan
    plan = load_plan(source, zoo / f"{truth.name}.yaml")
    reference = load_plan(source, zoo / f"{reference_of(truth, members).name}.yaml").backbone
    content = plan.model_copy(update={"reference": reference})
    files.write(path, content.model_dump_json(indent=2, exclude_unset=True) + "\n")
    return path


def measured(runs: Path, name: str) -> bool:
    """Whether a member was measured to the end."""
    return (runs / name / COST).exists()


def measure(truth: Truth, zoo: Path, runs: Path, members: Sequence[Truth]) -> tuple[str, float]:
    """Run the probes of a member's plan; its name, and the seconds that it took.

    Raises:
        RuntimeError: It has no reference.
        GateError: gate cannot measure it.
    """
    out, plan = runs / truth.name, load_plan(write_plan(zoo, runs, truth, members))
    seconds = {}
    with TemporaryDirectory(prefix="gate-zoo-") as kept:
        bench = Bench(plan, Path(kept) / "features")
        trial = Trial(bench)
        for probe in plan.probes.named():
            started = time.perf_counter()
            evidence = run_probe(probe, trial)
            seconds[f"probe {probe}"] = round(time.perf_counter() - started, 3)
            files.write(out / "evidence" / f"{probe}.json", evidence.to_json())
    opened = {"backbone": bench.backbone, "reference": bench.reference}
    passes = {name: bench.engine.passes[each.digest] for name, each in opened.items() if each}
    files.write(out / COST, files.json_of({"forward_passes": passes, "seconds": seconds}))
    return truth.name, sum(seconds.values())


def _settle() -> None:
    """Let a worker log nothing of what it measures."""
    settle()
    logging.disable(logging.WARNING)


def measure_all(
    zoo: Path, runs: Path, of: Sequence[Truth], members: Sequence[Truth], workers: int
) -> None:
    """Measure those that were not measured yet, and say of each that it was, and no more.

    Those that have no reference yet wait for more members.
    """
    left = [
        truth for truth in of if not measured(runs, truth.name) and has_reference(truth, members)
    ]
    by_member = partial(measure, zoo=zoo, runs=runs, members=members)
    for name, seconds in mapped(by_member, left, workers, _settle):
        print(f"{name} measured, {seconds:.0f} s", flush=True)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("zoo", type=Path, metavar="ZOO")
    parser.add_argument("runs", type=Path, metavar="RUNS")
    parser.add_argument("--half", choices=["A", "B"], help="of both, unless given")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes; 1")
    arguments = parser.parse_args()
    _settle()
    members = [truth for truth in read_truth(arguments.zoo).values() if truth.kept]
    of = [each for each in members if arguments.half in (None, half(number_of(each.name)))]
    measure_all(arguments.zoo, arguments.runs, of, members, arguments.workers)


if __name__ == "__main__":
    main()
