"""The commands that hold a policy against evidence, and show what came of it."""

import os
from collections.abc import Callable
from functools import partial
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
    Telling,
)
from gate.commands.results import (
    colours,
    conclude,
    hand_over,
    make_way,
    print_line,
    warn_of_unmatched,
)
from gate.comparison.compare import compare as hold_against
from gate.errors import AdmissionError, EvidenceError, ExitCode
from gate.policy.decide import decide as judge
from gate.policy.load import load_policy
from gate.reports import Format, render
from gate.reports.attachments import Attachments
from gate.reports.comparison import ComparisonFormat
from gate.reports.comparison import render as render_comparison
from gate.reports.pictures import DRAWINGS, pictures
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
    return conclude(verdict, measured, judging, policy)


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...",
            help="A verdict file, or a folder that `gate run` wrote; of an index, all.",
        ),
    ],
    evidence: Annotated[
        Path | None, DIR(help="Adds remedies, to Markdown every measurement, to HTML pictures.")
    ] = None,
    out: OutFile = None,
    output_format: Shown = Format.TEXT,
    index: Annotated[
        bool, typer.Option("--index", help="One HTML page over all runs, linked to theirs.")
    ] = False,
    *,
    attached: Attached,
    telling: Telling,
) -> ExitCode:
    """Show a verdict to people and to CI. Exits 0 whatever the verdict says."""
    verdicts = [_verdict_in(run) for run in runs]
    _require_one_or_an_index(verdicts, out, output_format, index=index)
    measured = evidence or _evidence_in(runs[0])
    if out:
        make_way(out, *verdicts, measured, *attached.files)
    if index:
        shown = _index(verdicts, out, attached)
    else:
        beside = partial(attached.attachments, telling, colour=not out and colours())
        shown = _report(verdicts[0], measured, output_format, beside)
    hand_over(shown, out, Format.HTML if index else output_format)
    return ExitCode.ACCEPT


def _require_one_or_an_index(
    verdicts: list[Path], out: Path | None, shown_as: Format, *, index: bool
) -> None:
    """Refuse what says neither: several runs, or an index in a format or a place that is not its.

    Raises:
        BadParameter: One of these.
    """
    if len(verdicts) > 1 and not index:
        raise typer.BadParameter(f"{len(verdicts)} runs: one at a time, or all with --index")
    if index and shown_as not in (Format.TEXT, Format.HTML):
        raise typer.BadParameter(f"--index is a page of HTML; drop --format {shown_as}")
    if (
        index
        and out
        and any(out.absolute() == v.absolute().with_name("report.html") for v in verdicts)
    ):
        raise typer.BadParameter(f"{out} is the page of one of the runs; write the index elsewhere")


def _verdict_in(run: Path) -> Path:
    """The verdict's file: what was named, or of a folder the one in it."""
    return run / "verdict.json" if run.is_dir() else run


def _evidence_in(run: Path) -> Path | None:
    """The evidence beside a folder's verdict, if there is some."""
    return run / "evidence" if (run / "evidence").is_dir() else None


def _report(
    verdict: Path,
    evidence: Path | None,
    shown_as: Format,
    beside: Callable[[Verdict], Attachments],
) -> str:
    """One verdict in a format, with what there is beside it."""
    judged = read_json(verdict, Verdict, EvidenceError)
    measured = read_evidence(evidence) if evidence else ()
    return render(shown_as, judged, measured, beside(judged))


def _index(verdicts: list[Path], out: Path | None, attached: Attached) -> str:
    """One page over all verdicts, with links to pages beside them as seen from where it lies."""
    from gate.reports.index import Run, index_page

    here, rows = out.parent if out else Path(), []
    folders = [verdict.absolute().parent for verdict in verdicts]
    apart = len({folder.name for folder in folders}) == len(folders)
    for verdict, folder in zip(verdicts, folders, strict=True):
        page = verdict.with_name("report.html")
        link = Path(os.path.relpath(page, here)).as_posix() if page.exists() else None
        read = read_json(verdict, Verdict, EvidenceError)
        rows.append(Run(folder.name if apart else str(verdict.parent), read, link))
    return index_page(rows, attached.as_of.date() if attached.as_of else None)


def compare(
    candidate: Annotated[
        str, typer.Argument(metavar="CANDIDATE", help="Its evidence, by file or by name.")
    ],
    champion: Annotated[
        str, typer.Argument(metavar="CHAMPION", help="That of what it would replace.")
    ],
    output_format: Annotated[
        ComparisonFormat, typer.Option("--format", help="How the comparison is printed.")
    ] = ComparisonFormat.TEXT,
    out: OutFile = None,
    public_key: Annotated[
        list[Path] | None,
        typer.Option(metavar="PEM", help="Who must have signed the champion's admission."),
    ] = None,
) -> ExitCode:
    """Hold a candidate's numbers against the champion's. Exits 0 whatever it finds.

    Each side is a folder or a file of evidence, a folder that `gate run` wrote, an admission, or
    what was promoted: gto:NAME@STAGE, mlflow:NAME@ALIAS.
    """
    from gate.trust.sides import evidence_of, path_of  # it imports cryptography

    if out:
        make_way(out, path_of(candidate), path_of(champion), *(public_key or ()))
    keys = [files.read(key, AdmissionError) for key in public_key or ()]
    found = hold_against(evidence_of(candidate), evidence_of(champion, keys))
    hand_over(render_comparison(output_format, found), out)
    return ExitCode.ACCEPT


def plots(
    evidence: Annotated[
        Path,
        typer.Argument(
            metavar="EVIDENCE", help="One candidate's evidence: the folder, or a file of it."
        ),
    ],
    out: Annotated[Path, DIR(help="Where the pictures go.")],
) -> ExitCode:
    """Draw what was measured as SVG, the pictures of the HTML report: TASK-KIND.svg for each."""
    drawn = pictures(read_evidence(evidence))
    if not drawn:
        raise EvidenceError(
            f"{evidence}: nothing to draw: no picture is of what it measured; there are some of "
            f"{', '.join(sorted({drawing.probe for drawing in DRAWINGS}))}"
        )
    for name, picture in drawn.items():
        files.write(out / name, picture)
        print_line(out / name)
    return ExitCode.ACCEPT
