"""The commands that measure. What they call is heavy to import, and waits until they run."""

import math
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from gate import files
from gate.commands.options import (
    DIR,
    FILE,
    Candidate,
    EngineName,
    Features,
    Judging,
    MaxMinutes,
    ModelOptions,
    OutFile,
    PlanFile,
    PolicyFile,
)
from gate.commands.results import (
    conclude,
    hand_over,
    make_way,
    print_line,
    quieten,
    say,
    steers,
    warn_of_unmatched,
)
from gate.errors import ExitCode, PlanError
from gate.policy.load import load_policy
from gate.probes import PROBES
from gate.progress import Progress
from gate.strict_json import read_evidence
from gate.strict_yaml import nearest

if TYPE_CHECKING:
    from gate.checkpoints.choice import Choice
    from gate.measure.passes import MakeEngine
    from gate.measure.trial import Trial

_RESULTS = (
    *("verdict.json", "report.md", "report.html"),
    *("contact-sheets.json", "validation.json", "run-info.json"),
)


def run(
    plan: PlanFile,
    policy: PolicyFile,
    out: Annotated[Path, DIR(help="Where everything goes.")],
    backbone: Candidate = None,
    *,
    max_minutes: MaxMinutes = None,
    no_images: Annotated[
        bool, typer.Option("--no-images", help="Draw no contact sheets: the images are private.")
    ] = False,
    model: ModelOptions,
    judging: Judging,
) -> ExitCode:
    """Validate, embed, probe, calibrate, decide and report, in one process without DVC.

    DIR then holds evidence/, heads/, features/, validation.json, verdict.json, report.md,
    report.html, contact-sheets.json and run-info.json.
    """
    from gate.run import run_all

    progress = _progress(max_minutes, quiet=judging.quiet)
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
            progress=progress,
            images=not no_images,
        )
    if not judging.quiet:
        warn_of_unmatched(rules, evidence, judging.today, waivers)
    return conclude(verdict, evidence, judging, policy)


def estimate(
    plan: PlanFile,
    backbone: Candidate = None,
    output_format: Annotated[
        Literal["text", "json"], typer.Option("--format", help="How the result is printed.")
    ] = "text",
    *,
    model: ModelOptions,
) -> ExitCode:
    """Say what `run` would pass, decode and keep, and how long passes take on this machine.

    Looks go as far as what they see asks for: at the least one look of every stamp, at the most
    every stamp on every image.
    """
    from gate.probes import estimate as prices

    with opened(plan, backbone, None, model) as trial:
        found = prices.estimate(trial.bench, trial.plan.probes.named(), calibrates=True)
    hand_over(
        files.json_of(found.as_json()) if output_format == "json" else prices.table(found), None
    )
    return ExitCode.ACCEPT


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
            for other in filter(None, (trial.reference, trial.ancestor)):
                trial.features(split, other)
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
    max_minutes: MaxMinutes = None,
    model: ModelOptions,
) -> ExitCode:
    """Run one probe and write its evidence."""
    from gate.probes.evidence import run_probe
    from gate.run import expect

    make_way(out, plan, backbone)
    with opened(plan, backbone, features, model, max_minutes) as trial:
        named = trial.plan.probes.named()
        if name not in named:
            raise PlanError(f"{plan}: no probe {name!r}; {nearest(name, named)}")
        expect(trial.bench, [name], calibrates=False)
        evidence = run_probe(name, trial)
    files.write(out, evidence.to_json())
    print_line(f"{name}: {len(evidence.measurements)} measurements in {out}")
    return ExitCode.ACCEPT


def illustrate(
    plan: PlanFile,
    evidence: Annotated[Path, DIR(help="What was measured, by the plan as it stands.")],
    out: Annotated[Path, FILE(help="The sheets, as JSON, for `report --sheets`.")],
    backbone: Candidate = None,
    features: Features = None,
    *,
    model: ModelOptions,
) -> ExitCode:
    """Draw contact sheets: the worst triggers, overlays and groups on a few test images.

    Triggers that a search found are read from triggers/ beside the folder of evidence. Texts give
    no sheet, and neither do tasks that train weights.
    """
    from gate.illustration import contact_sheets
    from gate.probes.trigger_search.measure import PICTURES

    make_way(out, plan, evidence, backbone)
    with opened(plan, backbone, features, model) as trial:
        sheets = contact_sheets(trial, read_evidence(evidence), evidence.parent / PICTURES)
    files.write(out, sheets.to_json())
    print_line(f"{len(sheets.sheets)} contact sheets in {out}")
    return ExitCode.ACCEPT


@dataclass(frozen=True, kw_only=True)
class CurveOptions:
    """How `checkpoints` shows the curve of transfer.

    Raises:
        BadParameter: Table and picture would go to the same file.
    """

    out: OutFile = None
    plot: Annotated[Path | None, FILE(help="Also draw it there, as SVG.")] = None
    output_format: Annotated[
        Literal["text", "json"], typer.Option("--format", help="How the result is printed.")
    ] = "text"

    def __post_init__(self) -> None:
        if self.plot and self.plot == self.out:
            raise typer.BadParameter(f"--plot {self.plot}: is --out, too; name two files")

    def make_way(self, *inputs: Path) -> None:
        """Remove older results."""
        for path in filter(None, (self.out, self.plot)):
            make_way(path, *inputs)

    def hand_over(self, choice: "Choice") -> None:
        """Write or print the table, and the picture where one is wanted."""
        from gate.checkpoints.choice import table
        from gate.reports.pictures.transfer_curve import transfer_curve

        if self.plot:
            files.write(self.plot, transfer_curve(choice.plateau))
        hand_over(choice.to_json() if self.output_format == "json" else table(choice), self.out)


def checkpoints(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER",
            help="A row of checkpoints, by their names: files of the plan's format, each read as "
            "the plan's backbone or as NAME.yaml beside it says.",
        ),
    ],
    plan: Annotated[Path, typer.Option(metavar="PLAN", help="On which tasks they transfer.")],
    tolerance: Annotated[
        float, typer.Option(metavar="T", help="How much better another one may be in accuracy.")
    ] = 0.01,
    features: Features = None,
    basin: Annotated[
        bool, typer.Option("--basin", help="Also the loss between its weights and the last one's.")
    ] = False,
    *,
    curve: CurveOptions,
    model: ModelOptions,
) -> ExitCode:
    """Find the earliest checkpoint on the plateau of transfer, by heads on frozen features.

    Exits 0 where there is one, 1 where the last is certainly worse than an earlier one, and 4 where
    test images are too few to tell.
    """
    from gate.checkpoints.measure import choose

    if not 0 < tolerance < 1:
        raise typer.BadParameter(f"--tolerance {tolerance:g}: above 0 and below 1, such as 0.01")
    curve.make_way(plan, folder)
    with opened(plan, None, features, model) as trial:
        choice = choose(trial.bench, plan, folder, tolerance, basin=basin)
    curve.hand_over(choice)
    return _of_plateau(choice)


def _of_plateau(choice: "Choice") -> ExitCode:
    """Say why there is no earliest checkpoint, if so; the exit code."""
    codes = {
        "found": ExitCode.ACCEPT,
        "peak": ExitCode.REJECT,
        "unsettled": ExitCode.INCONCLUSIVE,
    }
    if choice.plateau.earliest is None:
        say(choice.plateau.says)
    return codes[choice.plateau.outcome]


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
    max_minutes: float | None = None,
) -> "Iterator[Trial]":
    """A trial of the plan's backbone, or of another one in its place.

    Raises:
        PlanError: The plan cannot be read, or is none.
    """
    from gate.measure.bench import Bench
    from gate.measure.trial import Trial
    from gate.plan.plan import load_plan

    progress = _progress(max_minutes)
    loaded = load_plan(plan, backbone)
    # where nobody keeps features, they last as long as the command
    with tempfile.TemporaryDirectory(prefix="gate-") as folder:
        how, kept = model or ModelOptions(), features or Path(folder) / "features"
        yield Trial(Bench(loaded, kept, progress, how.limits, engine_of(how)))


def _progress(max_minutes: float | None, *, quiet: bool = False) -> Progress:
    """A bar on a terminal, and else lines; the time that it may take counts from now on.

    Where it is quiet nothing is shown, and what is logged besides is not said either.
    """
    if quiet:
        quieten()
    shown: Literal["bar", "lines"] = "bar" if steers(sys.stderr) else "lines"
    return Progress(None if quiet else shown, math.inf if max_minutes is None else max_minutes)


def engine_of(model: ModelOptions) -> "MakeEngine":
    """The engine that was asked for."""
    if model.engine is EngineName.RAY:
        from gate.measure.ray_engine import OnRay

        return OnRay
    from gate.measure.passes import InProcess

    return InProcess
