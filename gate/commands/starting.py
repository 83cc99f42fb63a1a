"""The commands for those who start, and what the stages that they start from need."""

import os
from pathlib import Path
from typing import Annotated

import typer

from gate import files, starter
from gate.commands.options import DIR, FILE, Candidate, PlanFile
from gate.commands.results import make_way, print_line, say
from gate.errors import ExitCode, PlanError


def init(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="A new folder in the DVC repository.")
    ] = Path("gating"),
) -> ExitCode:
    """Put stages, a plan and a policy into an existing DVC repository; nothing is overwritten."""
    for path in starter.write(folder):
        print_line(path)
    say(f"now edit what {folder}/plan.yaml marks with EDIT, then: dvc repro {folder}/dvc.yaml")
    return ExitCode.ACCEPT


def digests(
    plan: PlanFile,
    out: Annotated[Path, FILE(help="The digests, as JSON.")],
    backbone: Candidate = None,
    watched: Annotated[
        list[Path] | None, DIR(help="What the caller watches itself, left out; may be repeated.")
    ] = None,
) -> ExitCode:
    """Write the digest of every file that a plan names, and how other backbones are read.

    What a stage of DVC measures depends on these, and DVC cannot know them.
    """
    from gate.plan.inputs import inputs
    from gate.plan.plan import load_plan

    make_way(out, plan, backbone)
    loaded = load_plan(plan, backbone)
    seen = [os.path.realpath(path) for path in watched or ()]
    unseen = {
        place: path
        for place, path in inputs(loaded).items()
        if not any(Path(os.path.realpath(path)).is_relative_to(folder) for folder in seen)
    }
    written = {
        "files": {place: files.sha256_of(path, PlanError) for place, path in unseen.items()},
        "reference": loaded.reference.settings if loaded.reference else None,
        "ancestor": loaded.ancestor.settings if loaded.ancestor else None,
    }
    files.write(out, files.json_of(written))
    print_line(f"{out}: {len(unseen)} files")
    return ExitCode.ACCEPT


def exit_codes() -> ExitCode:
    """Print what each exit code means."""
    for code in ExitCode:
        print_line(f"{code.value:>3}  {code.name:<12}  {code.meaning}")
    return ExitCode.ACCEPT
