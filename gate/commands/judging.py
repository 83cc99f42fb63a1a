"""The commands that hold a policy against evidence, and show what came of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from gate import files
from gate.commands.options import (
    DIR,
    FILE,
    Attached,
    Judging,
    OutFile,
    PolicyFile,
    Shown,
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
from gate.reports.pictures import pictures
from gate.strict_json import read_evidence, read_json
from gate.values import Evidence, Verdict, digest_of


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
    warn_of_unmatched(rules, measured, judging.today, waivers)
    return conclude(verdict, judging, policy)


def report(
    verdict: VerdictFile,
    evidence: Annotated[
        Path | None, DIR(help="Adds remedies, to Markdown every measurement, to HTML pictures.")
    ] = None,
    out: OutFile = None,
    output_format: Shown = Format.TEXT,
    *,
    attached: Attached,
) -> ExitCode:
    """Show a verdict to people and to CI. Exits 0 whatever the verdict says."""
    if out:
        make_way(out, verdict, evidence, attached.policy, attached.admission)
    judged = read_json(verdict, Verdict, EvidenceError)
    measured, beside = _evidence_of(judged, evidence), attached.attachments(judged)
    shown = render(output_format, judged, measured, beside, colour=not out and colours())
    hand_over(shown, out, output_format)
    return ExitCode.ACCEPT


def _evidence_of(verdict: Verdict, folder: Path | None) -> Sequence[Evidence]:
    """The evidence in a folder, if the verdict was reached on it; none where there is no folder.

    Raises:
        EvidenceError: It cannot be read, or the verdict was reached on other evidence of a probe.
    """
    measured = read_evidence(folder) if folder else ()
    for item in measured:
        judged = verdict.evidence.get(item.probe, "none")
        if digest_of(item) != judged:
            raise EvidenceError(
                f"{folder}: evidence of probe {item.probe} is {digest_of(item)}, and the verdict "
                f"was reached on {judged}; give the evidence that was judged, or decide again"
            )
    return measured


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
