"""The commands for those who start, and what the stages that they start from need."""

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from gate import files, starter
from gate.commands.options import DIR, FILE, Candidate, PlanFile
from gate.commands.results import hand_over, make_way, print_line, say
from gate.errors import ExitCode, PlanError
from gate.printable import escaped


def inspect(
    path: Annotated[
        Path,
        typer.Argument(metavar="PATH", help="A model, or a folder or table of images or texts."),
    ],
    output_format: Annotated[
        Literal["text", "json"], typer.Option("--format", help="How the result is printed.")
    ] = "text",
) -> ExitCode:
    """Say what a model or data holds, and what gate would take it for; nothing of it runs.

    Exits 3 where gate does not take it, and says what to do.
    """
    from gate.inspection.look import look

    facts, text = look(path)
    hand_over(facts.to_json() if output_format == "json" else text, None)
    if facts.refused:
        say(f"{path}: {facts.refused[0]}")
        return ExitCode.ERROR
    return ExitCode.ACCEPT


def init(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="A new folder in the current one.")
    ] = Path("gating"),
    model: Annotated[
        Path | None, FILE(help="The candidate; with --data, a plan and a policy that run.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DATA",
            help="A folder or table of images or texts with labels; with subfolders train and "
            "test, or a split column, or else every second row is for testing.",
        ),
    ] = None,
    test: Annotated[
        Path | None, typer.Option(metavar="DATA", help="What to test on; --data is for training.")
    ] = None,
    policy: Annotated[
        Literal["research", "production"],
        typer.Option(help="Which bounds to start from: for trials in the team, or for users."),
    ] = "research",
) -> ExitCode:
    """Write a plan and a policy with its tests into a new folder; nothing is overwritten.

    With --model and --data both run as they are: what no file says is guessed, with a comment
    beside it, and asked on a terminal. Without, they are to be edited. In a DVC repository there
    are stages for DVC, too.
    """
    if (model is None) != (data is None) or (test and data is None):
        raise typer.BadParameter("--model and --data go together; give both, or none")
    if model and data:
        from gate.starter.own_files import own_files

        written, steps = own_files(folder, model, data, test, policy, _ask)
    else:
        written = starter.write(folder)
        edit = f"now edit what {folder}/plan.yaml marks with EDIT, then: dvc repro"
        steps = [f"{edit} {folder}/dvc.yaml"]
    for path in written:
        print_line(path)
    say("\n".join(steps))
    return ExitCode.ACCEPT


def _ask(question: str, guess: str) -> str:
    """Ask on a terminal, where somebody is there; else the guess."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()) or os.environ.get("CI"):
        return guess
    answer: str = typer.prompt(escaped(f"gate: {question}"), default=guess, err=True)
    return answer.strip()


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
