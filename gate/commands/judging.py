"""The commands that hold a policy against evidence, and show what came of it."""

from pathlib import Path
from typing import Annotated

import typer

from gate import files
from gate.commands.options import (
    DIR,
    FILE,
    Judging,
    OutFile,
    PolicyFile,
    Shown,
    Telling,
    VerdictFile,
)
from gate.commands.results import (
    colours,
    conclude,
    hand_over,
    make_way,
    print_line,
    warn_of_unmatched,
)
from gate.errors import EvidenceError, ExitCode
from gate.policy.decide import decide as judge
from gate.policy.load import load_policy
from gate.reports import Format, render
from gate.reports.attachments import Attachments
from gate.reports.pictures import pictures
from gate.strict_json import read_evidence, read_json
from gate.values import Verdict


def decide(
    policy: PolicyFile,
    evidence: Annotated[Path, DIR(help="Evidence files of one candidate.")],
    out: Annotated[Path, FILE(help="The verdict, as JSON.")],
    judging: Judging,
) -> ExitCode:
    """Hold the policy against the evidence; the exit code is the verdict's."""
    make_way(out, policy, evidence, judging.waivers)
    rules, measured = load_policy(policy), read_evidence(evidence)
    waivers = judging.load_waivers()
    verdict = judge(rules, measured, judging.today, waivers)
    files.write(out, verdict.to_json())
    if not judging.quiet:
        warn_of_unmatched(rules, measured, judging.today, waivers)
    return conclude(verdict, measured, judging)


def report(
    verdict: VerdictFile,
    evidence: Annotated[
        Path | None, DIR(help="Adds remedies, to Markdown every measurement, to HTML pictures.")
    ] = None,
    out: OutFile = None,
    output_format: Shown = Format.TEXT,
    *,
    telling: Telling,
) -> ExitCode:
    """Show a verdict to people. Exits 0 whatever the verdict says."""
    if out:
        make_way(out, verdict, evidence)
    judged = read_json(verdict, Verdict, EvidenceError)
    measured = read_evidence(evidence) if evidence else ()
    shown = Attachments(verbosity=telling.verbosity, colour=not out and colours())
    hand_over(render(output_format, judged, measured, shown), out)
    return ExitCode.ACCEPT


def plots(
    evidence: Annotated[
        Path,
        typer.Argument(
            metavar="EVIDENCE", help="One candidate's evidence: the folder, or label_prior.json."
        ),
    ],
    out: Annotated[Path, DIR(help="Where the pictures go.")],
) -> ExitCode:
    """Draw the label prior and what GLA changes, as SVG: TASK-classes, TASK-prior, TASK-groups."""
    drawn = pictures(read_evidence(evidence))
    if not drawn:
        raise EvidenceError(
            f"{evidence}: nothing to draw: no measurement of the label_prior probe; run it first"
        )
    for name, picture in drawn.items():
        files.write(out / name, picture)
        print_line(out / name)
    return ExitCode.ACCEPT
