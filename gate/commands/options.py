"""The options that several commands have, and groups of options as one parameter."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from functools import partial, wraps
from hashlib import sha256
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any

import typer

from gate.contact_sheets import ContactSheets
from gate.errors import AdmissionError, EvidenceError, ExitCode, PolicyError
from gate.files import read as read_file
from gate.limits import Limits
from gate.policy.load import load_policy, places
from gate.policy.waivers import Waiver, load_waivers
from gate.printable import require_printable
from gate.reports import Format
from gate.reports.attachments import Attachments, Verbosity
from gate.strict_json import read_json
from gate.values import Verdict

Command = Callable[..., ExitCode]
_SILENCEABLE = {"reject", "inconclusive"}

# options whose value is a file, or a folder
FILE, DIR = partial(typer.Option, metavar="FILE"), partial(typer.Option, metavar="DIR")
PlanFile = Annotated[Path, typer.Argument(metavar="PLAN", help="What is measured, on which data.")]
PolicyFile = Annotated[Path, FILE(help="What is acceptable.")]
VerdictFile = Annotated[Path, typer.Argument(metavar="VERDICT", help="A verdict file.")]
Candidate = Annotated[Path | None, FILE(help="Another candidate in the plan's place.")]
Features = Annotated[Path | None, DIR(help="Where features are kept and found again.")]
WaiverFile = Annotated[Path | None, FILE(help="Dated exceptions to rules.")]
AsOf = Annotated[
    datetime | None,
    typer.Option(formats=["%Y-%m-%d"], help="Judge waivers on this day (UTC), not today."),
]
Shown = Annotated[Format, typer.Option("--format", help="How the result is printed.")]
OutFile = Annotated[Path | None, FILE(help="Write it here, not to stdout.")]


@dataclass(frozen=True, kw_only=True)
class Telling:
    """How much a command tells of a verdict.

    Raises:
        BadParameter: Less and more than usual at once.
    """

    quiet: Annotated[
        bool,
        typer.Option(
            "--quiet", "-q", help="Text: the decision alone, in a line; no progress or remarks."
        ),
    ] = False
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose", "-v", help="Text: also why, next steps, remedies and all that passed."
        ),
    ] = False

    def __post_init__(self) -> None:
        if self.quiet and self.verbose:
            raise typer.BadParameter("--quiet and --verbose: give one of them")

    @property
    def verbosity(self) -> Verbosity:
        """As a report takes it."""
        return "quiet" if self.quiet else "verbose" if self.verbose else "normal"


@dataclass(frozen=True, kw_only=True)
class Judging(Telling):
    """How `run` and `decide` come to a decision, and show it.

    Raises:
        BadParameter: What is to be silenced is no decision that may be.
    """

    waivers: WaiverFile = None
    no_waivers: Annotated[
        bool, typer.Option("--no-waivers", help="Decide as if there were none.")
    ] = False
    as_of: AsOf = None
    exit_zero_on: Annotated[
        str,
        typer.Option(
            metavar="reject,inconclusive",
            help="Exit 0 on these decisions too, for pipelines that read the verdict file.",
        ),
    ] = ""
    output_format: Shown = Format.TEXT

    def __post_init__(self) -> None:
        super().__post_init__()
        if unknown := sorted(self.silenced - _SILENCEABLE):
            raise typer.BadParameter(
                f"--exit-zero-on {unknown[0]!r}: only reject and inconclusive can be silenced"
            )

    @property
    def silenced(self) -> set[str]:
        """The decisions on which the command exits 0 too."""
        return {name.strip() for name in self.exit_zero_on.split(",") if name.strip()}

    @property
    def today(self) -> date:
        """The day on which waivers are judged."""
        return day(self.as_of)

    def load_waivers(self) -> Sequence[Waiver]:
        """The exceptions to rules that hold for this call.

        Raises:
            PolicyError: The file cannot be read, or is not waivers.
        """
        return load_waivers(self.waivers) if self.waivers and not self.no_waivers else ()


@dataclass(frozen=True, kw_only=True)
class Attached:
    """What `report` shows beside a verdict and its evidence.

    Raises:
        BadParameter: The candidate's name is none.
    """

    policy: Annotated[
        Path | None, FILE(help="What judged: findings then name the line of their rule.")
    ] = None
    admission: Annotated[
        Path | None, FILE(help="What the verdict led to; it is named, and not checked.")
    ] = None
    sheets: Annotated[
        Path | None, FILE(help="Contact sheets of `illustrate` or `run`, which HTML shows.")
    ] = None
    champion: Annotated[
        str | None,
        typer.Option(
            metavar="CHAMPION",
            help="What it would replace, as `compare` takes it; HTML shows both.",
        ),
    ] = None
    candidate: Annotated[
        str | None, typer.Option(metavar="NAME", help="What people call the candidate.")
    ] = None
    as_of: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="The day on which the verdict was reached."),
    ] = None

    def __post_init__(self) -> None:
        if self.candidate is None:
            return
        try:
            require_printable(self.candidate, lines=False)
        except ValueError as fault:
            raise typer.BadParameter(f"--candidate {fault}") from fault
        if not self.candidate.strip():
            raise typer.BadParameter("--candidate is empty; give it a name, or leave it out")

    @property
    def files(self) -> tuple[Path | None, ...]:
        """What is read, so that nothing is written over it."""
        from gate.trust.sides import path_of  # it imports cryptography

        champion = path_of(self.champion) if self.champion else None
        return self.policy, self.admission, self.sheets, champion

    def attachments(self, telling: "Telling", verdict: Verdict, *, colour: bool) -> Attachments:
        """What was given, read, if it belongs to a verdict, and how it is told.

        Raises:
            PolicyError: The policy is none, or not the one that the verdict was reached under.
            AdmissionError: The admission is none, or carries another verdict.
            GateError: The champion's evidence cannot be found or read.
        """
        read: dict[str, Any] = {
            "candidate": self.candidate,
            "verbosity": telling.verbosity,
            "colour": colour,
        }
        if self.as_of:
            read["day"] = self.as_of.date()
        if self.policy:
            read |= _policy_of(verdict, self.policy)
        if self.admission:
            read |= _admission_of(verdict, self.admission)
        if self.sheets:
            read["sheets"] = read_json(self.sheets, ContactSheets, EvidenceError)
        if self.champion:
            from gate.trust.sides import evidence_of

            read["champion"] = tuple(evidence_of(self.champion))
        return Attachments(**read)


def _policy_of(verdict: Verdict, path: Path) -> dict[str, Any]:
    """A policy's file and the places of its rules, if the verdict was reached under it."""
    given, judged = load_policy(path).identity, verdict.policy
    if given.digest != judged.digest:
        raise PolicyError(
            f"{path}: this is {given.name} v{given.version} ({given.digest}), and the verdict was "
            f"reached under {judged.name} v{judged.version} ({judged.digest}); "
            "give that policy, or decide again under this one"
        )
    return {"policy_file": (named := from_here(path)), "places": places(named)}


def from_here(path: Path) -> Path:
    """A file below the working folder, as CI names those of a checkout: from there."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _admission_of(verdict: Verdict, path: Path) -> dict[str, Any]:
    """An admission's file and digest, if it carries the verdict."""
    from gate.trust.admission import require_of  # it imports cryptography

    content = read_file(path, AdmissionError)
    require_of(verdict, content)
    return {
        "admission": from_here(path),
        "admission_digest": f"sha256:{sha256(content).hexdigest()}",
    }


class EngineName(StrEnum):
    """Where forward passes happen."""

    IN_PROCESS = "in-process"
    RAY = "ray"


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """How models run: where, and what one may take that holds a program of its own.

    Raises:
        BadParameter: A limit that ends nothing, or every model.
    """

    model_seconds: Annotated[
        float, typer.Option(metavar="S", help="Longest time to open a model, or of one batch.")
    ] = Limits.seconds
    model_memory: Annotated[
        float | None,
        typer.Option(metavar="GIB", help="Its memory; default three quarters of the machine's."),
    ] = Limits.gib
    engine: Annotated[
        EngineName,
        typer.Option(help="Where passes happen: here, or in the workers of a Ray cluster."),
    ] = EngineName.IN_PROCESS

    def __post_init__(self) -> None:
        for name, given, least, most in (
            ("seconds", self.model_seconds, 0.1, 604_800.0),
            ("memory", self.model_memory, 0.5, 65_536.0),
        ):
            if given is not None and not least <= given <= most:
                raise typer.BadParameter(f"--model-{name} {given:g}: from {least:g} to {most:g}")

    @property
    def limits(self) -> Limits:
        """As a backbone takes them."""
        return Limits(self.model_seconds, self.model_memory)


MaxMinutes = Annotated[
    float | None,
    typer.Option(
        metavar="M", help="End looks in time for this; what is not settled then stays so."
    ),
]


def day(as_of: datetime | None) -> date:
    """The day that was asked for, else today in UTC: no waiver ends twice, on two hosts."""
    return as_of.date() if as_of else datetime.now(UTC).date()


def flattened(command: Command) -> Command:
    """The command as typer reads it: each group of options in it stands as the group's fields.

    A group is a dataclass whose fields are annotated as parameters of commands are. In the help
    and on the command line its fields take its place, in their order.
    """
    flat: list[Parameter] = []
    groups = {}
    for each in signature(command).parameters.values():
        if isinstance(each.annotation, type) and is_dataclass(each.annotation):
            groups[each.name] = each.annotation
            flat += signature(each.annotation).parameters.values()
        else:
            flat.append(each.replace(kind=Parameter.KEYWORD_ONLY))

    @wraps(command)
    def called(**arguments: Any) -> ExitCode:
        for name, group in groups.items():
            values = {field.name: arguments.pop(field.name) for field in fields(group)}
            arguments[name] = group(**values)
        return command(**arguments)

    vars(called)["__signature__"] = Signature(flat)
    return called
