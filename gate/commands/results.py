"""What commands do with results: make way for them, print or write them, say what they mean.

All that gate prints goes through here: what would steer a terminal or a CI system is escaped.
"""

import logging
import os
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TextIO

import typer

from gate import files
from gate.commands.options import Judging, from_here
from gate.errors import ExitCode, GateError
from gate.policy.load import places
from gate.policy.rules import Policy
from gate.policy.unmatched import unmatched
from gate.policy.waivers import Waiver
from gate.printable import escaped
from gate.reports import Format, reason, render
from gate.reports.attachments import Attachments
from gate.values import Evidence, Verdict


def say(message: str) -> None:
    """Tell people something that is no result."""
    print(escaped(f"gate: {message}"), file=sys.stderr)


def print_line(line: object) -> None:
    """Print a line of a result, or several."""
    print(escaped(f"{line}"))


def make_way(out: Path, *inputs: Path | None) -> None:
    """Remove an older result: whatever comes, it does not outlive this call. Inputs do.

    Raises:
        BadParameter: The result would be written over an input, or is no file.
        GateError: The older result cannot be removed.
    """
    place = Path(os.path.realpath(out.parent), out.name)
    try:
        for path in (path for path in inputs if path and files.exists(path)):
            lies_in = place.is_relative_to(os.path.realpath(path))
            if lies_in or (out.exists() and out.samefile(path)):
                raise typer.BadParameter(
                    f"{out} is, or lies in, {path}, which is read; write it somewhere else"
                )
        if out.exists() and not out.is_file():
            raise typer.BadParameter(f"{out} is a folder or a device; name a file to write")
        out.unlink(missing_ok=True)
    except OSError as fault:
        raise GateError(
            f"{out}: cannot be removed: {fault.strerror}; an older result would outlive this call; "
            "remove it, or choose another place"
        ) from fault


def hand_over(content: str, out: Path | None, shown_as: Format = Format.TEXT) -> None:
    """Write a result to a file, or to stdout where there is none.

    There it is escaped, but for a format that is made of commands and has escaped what it quotes.
    """
    if out:
        files.write(out, content)
    else:
        sys.stdout.write(content if shown_as.commands else escaped(content, colours=colours()))


def quieten() -> None:
    """Say nothing more of progress, and make no remarks."""
    logging.getLogger("gate").setLevel(logging.CRITICAL)


def conclude(
    verdict: Verdict, evidence: Sequence[Evidence], judging: Judging, policy: Path
) -> ExitCode:
    """Print a verdict and say why it blocks; its exit code, where that is not silenced.

    Args:
        verdict: What was decided.
        evidence: On what; it is shown where much is to be told.
        judging: How to show it.
        policy: The file that judged; a pipe, which cannot be read twice, has no lines to name.
    """
    named, form = from_here(policy), judging.output_format
    measured, read = evidence if judging.verbose else (), named.is_file()
    beside = Attachments(
        policy_file=named if read else None,
        places=places(named) if read else {},
        verbosity=judging.verbosity,
        colour=colours(),
    )
    hand_over(render(form, verdict, measured, beside), None, form)
    code = say_why(verdict)
    return ExitCode.ACCEPT if verdict.decision in judging.silenced else code


def say_why(verdict: Verdict) -> ExitCode:
    """Say why a verdict blocks, if it does; its exit code."""
    if verdict.decision != "accept":
        say(reason(verdict))
    return ExitCode[verdict.decision.upper()]


def warn_of_unmatched(
    policy: Policy, evidence: Sequence[Evidence], today: date, waivers: Sequence[Waiver]
) -> None:
    """Warn of each waiver that lets nothing through."""
    if not waivers:
        return  # to tell it, all is decided twice more
    for name, why in unmatched(policy, evidence, today, waivers).items():
        say(f"warning: waiver {name} matches nothing: {why}")


def colours() -> bool:
    """Whether stdout shows colours to somebody who wants them (https://no-color.org)."""
    return steers(sys.stdout) and not os.environ.get("NO_COLOR")


def steers(stream: TextIO) -> bool:
    """Whether a stream is a terminal that is steered by escape sequences."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"
