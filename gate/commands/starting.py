"""The commands for those who start, and what the stages that they start from need."""

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from gate import files, starter
from gate.commands.options import DIR, FILE, Candidate, PlanFile
from gate.commands.results import hand_over, make_way, print_line, say
from gate.errors import BackboneError, DataError, ExitCode, PlanError
from gate.printable import escaped

if TYPE_CHECKING:
    from gate.inspection.facts import DataFacts, ModelFacts
    from gate.starter.proposed import Proposal
    from gate.starter.shipped import Shipped


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
    from gate.inspection.data import inspect_data
    from gate.inspection.model import inspect_model, is_model
    from gate.inspection.text import data_text, model_text
    from gate.limits import Limits

    facts: ModelFacts | DataFacts
    if files.exists(path) and is_model(path):
        facts = inspect_model(path, Limits())
        text = model_text(facts)
    else:
        facts = inspect_data(path).facts
        text = data_text(facts)
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
    if model is None and data is None and test is None:
        for path in starter.write(folder):
            print_line(path)
        say(f"now edit what {folder}/plan.yaml marks with EDIT, then: dvc repro {folder}/dvc.yaml")
        return ExitCode.ACCEPT
    if model is None or data is None:
        raise typer.BadParameter("--model and --data go together; give both, or none")
    starter.require_free(folder)
    proposal = _proposed(model, data, test)
    texts, line = _tried(folder, proposal, policy)
    if stages := starter.in_repository():
        places = {"data": proposal.data[0], **({"test": test} if test else {})}
        texts = {"dvc.yaml": starter.stages(folder.name, model, places), **texts}
        texts |= starter.IGNORED
    for path in starter.put(folder, texts):
        print_line(path)
    say(line)
    plan = f"{folder}/plan.yaml"
    say(f"look at what {plan} says of guesses, then:")
    say(f"  gate run {plan} --policy {folder}/policy.yaml --out out")
    if stages:
        say(f"  or: dvc repro {folder}/dvc.yaml:report")
    else:
        say("no DVC repository here; for stages of DVC: dvc init, then the same with a new folder")
    return ExitCode.ACCEPT


def _proposed(model: Path, data: Path, test: Path | None) -> "Proposal":
    """What a plan may be.

    Raises:
        GateError: The model or the data cannot be read or are refused; says what inspect says.
    """
    from gate.inspection.data import inspect_data
    from gate.inspection.model import inspect_model
    from gate.limits import Limits
    from gate.starter.proposed import propose

    facts = inspect_model(model, Limits())
    if facts.refused:
        raise BackboneError(f"{model}: {facts.refused[0]}")
    found = {"data": (data, inspect_data(data))}
    if test:
        found["test"] = (test, inspect_data(test))
    for path, each in found.values():
        if each.facts.refused:
            raise DataError(f"{path}: {each.facts.refused[0]}")
    return propose(facts, model, found, _ask)


def _tried(folder: Path, proposal: "Proposal", bounds: "Shipped") -> tuple[dict[str, str], str]:
    """Texts of a plan that was tried and of its policy, and what the plan costs.

    Triggers are searched for by gradient only where there is one and it does not take long.
    """
    from gate.limits import Limits
    from gate.starter.shipped import Measured, policy_files
    from gate.starter.tried import tried

    name, no_search = folder.name, proposal.search_obstacle
    with tempfile.TemporaryDirectory(prefix="gate-") as place:
        plan = Path(place, "plan.yaml")
        files.write(plan, proposal.plan(name, searches=not no_search))
        trial = tried(plan, Limits())
        no_search = no_search or trial.no_search
        text = proposal.plan(
            name,
            searches=not no_search,
            no_search="" if proposal.texts else no_search,
            slow=trial.slow,
        )
        line = trial.line
        if trial.slow:
            files.write(plan, text)
            line = tried(plan, Limits()).line
    probes = proposal.probes(searches=not no_search)
    if proposal.texts:
        bounds = "text"
    elif bounds == "production" and proposal.attributes:
        bounds = "production_groups"
    measured = Measured(frozenset(probes), len(proposal.classes), proposal.of_a_class)
    return {"plan.yaml": text, **policy_files(bounds, name, measured)}, line


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
