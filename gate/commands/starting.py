"""The commands for those who start."""

from pathlib import Path
from typing import Annotated

import typer

from gate import starter
from gate.commands.results import print_line, say
from gate.errors import ExitCode


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


def exit_codes() -> ExitCode:
    """Print what each exit code means."""
    for code in ExitCode:
        print_line(f"{code.value:>3}  {code.name:<12}  {code.meaning}")
    return ExitCode.ACCEPT
