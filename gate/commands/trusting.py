"""The commands that issue an admission, check it, and move a registry on its strength.

What knows keys and envelopes imports cryptography, and waits until a command runs.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gate import files
from gate.commands.options import DIR, FILE, PolicyFile, Telling, VerdictFile, day
from gate.commands.results import (
    colours,
    hand_over,
    make_way,
    print_line,
    say_why,
    warn_of_unmatched,
)
from gate.errors import AdmissionError, EvidenceError, ExitCode
from gate.policy.load import load_policy
from gate.policy.waivers import load_waivers
from gate.reports import Format, render
from gate.reports.attachments import Attachments
from gate.strict_json import read_evidence, read_json
from gate.trust.require import Grounds
from gate.values import Verdict

if TYPE_CHECKING:
    from gate.trust.check import Admitted

Artefact = Annotated[Path, typer.Argument(metavar="ARTEFACT", help="What is to be deployed.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check all, and change nothing.")]


def admit(
    verdict: VerdictFile,
    artefact: Annotated[Path, FILE(help="The backbone that was judged.")],
    policy: PolicyFile,
    out: Annotated[Path, FILE(help="The admission.")],
    evidence: Annotated[
        Path | None,
        DIR(help="What the verdict was decided on; by default evidence/ beside VERDICT."),
    ] = None,
    waivers: Annotated[Path | None, FILE(help="Wanted where the verdict leans on one.")] = None,
    key: Annotated[
        Path | None,
        typer.Option(metavar="PEM", envvar="GATE_KEY", help="Private key: Ed25519 or ECDSA P-256."),
    ] = None,
) -> ExitCode:
    """Issue a signed admission if the verdict accepts; else exit with its code, and no file.

    The verdict is decided again from its evidence, and the admission carries all of it.
    """
    from gate.trust.admission import admit as issue

    evidence, today = evidence or verdict.parent / "evidence", day(None)
    make_way(out, verdict, artefact, policy, evidence, waivers, key)
    judged = read_json(verdict, Verdict, EvidenceError)
    if judged.decision != "accept":
        return say_why(judged)
    grounds = Grounds(
        load_policy(policy), read_evidence(evidence), load_waivers(waivers) if waivers else ()
    )
    pem = files.read(key, AdmissionError) if key else None
    files.write(
        out,
        issue(judged, grounds, artefact.name, files.hashed(artefact, AdmissionError), today, pem),
    )
    warn_of_unmatched(grounds.policy, grounds.evidence, today, grounds.waivers)
    print_line(f"{artefact}: admitted by {out}, {'signed' if key else 'unsigned'}")
    return ExitCode.ACCEPT


@dataclass(frozen=True, kw_only=True)
class Demands:
    """What an artefact must show before it is let through."""

    admission: Annotated[Path, FILE(help="Issued by admit.")]
    policy: Annotated[Path | None, FILE(help="It must have been this one.")] = None
    public_key: Annotated[
        list[Path] | None,
        typer.Option(metavar="PEM", help="Who must have signed it; repeat it to allow several."),
    ] = None
    max_age: Annotated[
        int | None, typer.Option(metavar="DAYS", min=0, help="How old an admission may be.")
    ] = None

    def check(self, artefact: Path) -> "Admitted":
        """Verify that the admission admits this artefact, today.

        Raises:
            GateError: It does not, or a file cannot be read.
        """
        from gate.trust.check import check as verify

        return verify(
            files.read(self.admission, AdmissionError),
            files.hashed(artefact, AdmissionError),
            day(None),
            load_policy(self.policy) if self.policy else None,
            [files.read(key, AdmissionError) for key in self.public_key or ()],
            self.max_age,
        )


def check(artefact: Artefact, demands: Demands, telling: Telling) -> ExitCode:
    """Before deployment: exits 0 only if the admission admits this very artefact, today.

    In order: the envelope is well-formed, it is signed by a given key, its subject is this
    artefact, its verdict accepts and follows from the evidence that it carries, its policy is the
    given one, no waiver that it leans on has ended, and it is not too old. With --verbose, the
    verdict that it carries is shown.
    """
    admitted = demands.check(artefact)
    print_line(f"{artefact}: {admitted}")
    if telling.verbose:
        shown = Attachments(verbosity=telling.verbosity, colour=colours())
        hand_over(render(Format.TEXT, admitted.verdict, (), shown), None)
    return ExitCode.ACCEPT


def promote_gto(
    artefact: Artefact,
    name: Annotated[str, typer.Option(help="What the registry calls the artefact.")],
    stage: Annotated[str, typer.Option(help="Where it goes, such as prod.")],
    demands: Demands,
    dry_run: DryRun = False,
) -> ExitCode:
    """Check, then assign a GTO stage to the last commit: a git tag that names the admission.

    What is checked is what that commit holds, in git or in DVC, and not the file in the workspace
    alone.
    """
    from gate.trust import gto

    for line in gto.promote(artefact, demands.check(artefact), name, stage, dry_run):
        print_line(line)
    return ExitCode.ACCEPT


def promote_mlflow(
    artefact: Artefact,
    name: Annotated[str, typer.Option(help="The registered model.")],
    version: Annotated[int, typer.Option(min=1, help="Which of its versions.")],
    alias: Annotated[str, typer.Option(help="What is to point there: champion.")],
    demands: Demands,
    dry_run: DryRun = False,
) -> ExitCode:
    """Check, then point an alias of the MLflow registry (MLFLOW_TRACKING_URI) to a version.

    The version is downloaded first, and must hold the artefact, byte for byte, and nothing else.
    """
    from gate.trust import mlflow

    for line in mlflow.promote(demands.check(artefact), name, version, alias, dry_run):
        print_line(line)
    return ExitCode.ACCEPT
