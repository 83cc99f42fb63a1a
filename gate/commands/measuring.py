"""The commands that measure. What they call is heavy to import, and waits until they run."""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gate import files
from gate.commands.options import (
    DIR,
    FILE,
    Candidate,
    EngineName,
    Features,
    Judging,
    ModelOptions,
    PlanFile,
    PolicyFile,
)
from gate.commands.results import conclude, make_way, print_line, warn_of_unmatched
from gate.errors import ExitCode, PlanError
from gate.policy.load import load_policy
from gate.probes import PROBES
from gate.strict_yaml import nearest

if TYPE_CHECKING:
    from gate.measure.passes import MakeEngine
    from gate.measure.trial import Trial

_RESULTS = ("verdict.json", "report.md", "report.html", "validation.json", "run-info.json")


def run(
    plan: PlanFile,
    policy: PolicyFile,
    out: Annotated[Path, DIR(help="Where everything goes.")],
    backbone: Candidate = None,
    *,
    model: ModelOptions,
    judging: Judging,
) -> ExitCode:
    """Validate, embed, probe, calibrate, decide and report, in one process without DVC.

    DIR then holds evidence/, heads/, features/, validation.json, verdict.json, report.md,
    report.html and run-info.json.
    """
    from gate.run import run_all

    with files.claimed(out):
        for name in _RESULTS:
            make_way(out / name, plan, policy, backbone, judging.waivers)
        rules, waivers = load_policy(policy), judging.load_waivers()
        verdict, evidence = run_all(
            plan,
            rules,
            out,
            backbone=backbone,
            limits=model.limits,
            engine=engine_of(model),
            waivers=waivers,
            today=judging.today,
            show_progress=sys.stderr.isatty(),
        )
    warn_of_unmatched(rules, evidence, judging.today, waivers)
    return conclude(verdict, judging)


def validate(
    plan: PlanFile,
    out: Annotated[Path | None, FILE(help="JSON of all checks.")] = None,
) -> ExitCode:
    """Check the table of each split: columns, labels, groups, duplicates, overlap, balance."""
    from gate.run import require_valid, validated

    if out:
        make_way(out, plan)
    with opened(plan) as trial:
        validation = validated(trial.bench)
    if out:
        files.write(out, validation.to_json())
    require_valid(plan, validation)
    print_line(f"{len(validation.checks)} checks on {len(trial.plan.splits)} splits passed")
    return ExitCode.ACCEPT


def embed(
    plan: PlanFile,
    features: Annotated[Path, DIR(help="Where they go.")],
    backbone: Candidate = None,
    *,
    model: ModelOptions,
) -> ExitCode:
    """Compute the features of every split that a task uses, once."""
    with opened(plan, backbone, features, model) as trial:
        for split in trial.plan.used_splits:
            rows, width = trial.features(split).shape
            if trial.reference:
                trial.features(split, trial.reference)
            print_line(f"{split}: {rows} images, {width} features")
    return ExitCode.ACCEPT


def probe(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help=f"One that the plan names, of {', '.join(PROBES)}."),
    ],
    plan: Annotated[Path, typer.Option(metavar="PLAN", help="What is measured.")],
    out: Annotated[Path, FILE(help="The evidence, as JSON.")],
    backbone: Candidate = None,
    features: Features = None,
    *,
    model: ModelOptions,
) -> ExitCode:
    """Run one probe and write its evidence."""
    from gate.probes.evidence import run_probe

    make_way(out, plan, backbone)
    with opened(plan, backbone, features, model) as trial:
        named = trial.plan.probes.named()
        if name not in named:
            raise PlanError(f"{plan}: no probe {name!r}; {nearest(name, named)}")
        evidence = run_probe(name, trial)
    files.write(out, evidence.to_json())
    print_line(f"{name}: {len(evidence.measurements)} measurements in {out}")
    return ExitCode.ACCEPT


@dataclass(frozen=True, kw_only=True)
class HeadOptions:
    """The options of `calibrate` that go with a plan."""

    backbone: Candidate = None
    features: Features = None
    with_backbone: Annotated[
        bool, typer.Option("--with-backbone", help="Also one ONNX file of backbone and head, each.")
    ] = False


def calibrated_heads(
    plan: Path, out: Path, options: HeadOptions, model: ModelOptions
) -> Iterator[Path]:
    """Write each task's head with both label priors removed; the files, as they are written.

    Raises:
        GateError: The plan names no heads, or they cannot be trained.
    """
    from gate.measure.head_files import require_heads, write_heads

    with opened(plan, options.backbone, options.features, model) as trial:
        require_heads(trial.plan)
        with files.claimed(out):
            yield from write_heads(trial, out, with_backbone=options.with_backbone)


@contextmanager
def opened(
    plan: Path,
    backbone: Path | None = None,
    features: Path | None = None,
    model: ModelOptions | None = None,
) -> "Iterator[Trial]":
    """A trial of the plan's backbone, or of another one in its place.

    Raises:
        PlanError: The plan cannot be read, or is none.
    """
    from gate.measure.bench import Bench
    from gate.measure.trial import Trial
    from gate.plan.plan import load_plan
    from gate.progress import progress_bars

    loaded = load_plan(plan, backbone)
    # where nobody keeps features, they last as long as the command
    with tempfile.TemporaryDirectory(prefix="gate-") as folder:
        bars = progress_bars(sys.stderr.isatty())
        how = model or ModelOptions()
        yield Trial(Bench(loaded, features or Path(folder), bars, how.limits, engine_of(how)))


def engine_of(model: ModelOptions) -> "MakeEngine":
    """The engine that was asked for."""
    if model.engine is EngineName.RAY:
        from gate.measure.ray_engine import OnRay

        return OnRay
    from gate.measure.passes import InProcess

    return InProcess
