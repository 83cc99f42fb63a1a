"""The command line: parse, one call, exit code. Results on stdout, everything else on stderr."""

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gate import __version__
from gate.errors import AdmissionError, EvidenceError, ExitCode, GateError, PlanError, PolicyError
from gate.values import Decision, Evidence, Verdict

if TYPE_CHECKING:
    from gate.measure.trial import Trial
    from gate.policy.rules import Policy, Waiver
    from gate.trust.check import Admitted

app = typer.Typer(
    name="gate",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
    help="Judges pretrained backbones before they reach a model registry: "
    "plan -> evidence -> verdict -> admission.",
)
policy_app = typer.Typer(no_args_is_help=True, help="For those who edit policies.")
app.add_typer(policy_app, name="policy")
promote_app = typer.Typer(
    no_args_is_help=True, help="Check an admission, and move a registry only if it holds."
)
app.add_typer(promote_app, name="promote")
waiver_app = typer.Typer(no_args_is_help=True, help="For those who answer for waivers.")
app.add_typer(waiver_app, name="waiver")

_CODE: dict[Decision, ExitCode] = {
    "accept": ExitCode.ACCEPT,
    "reject": ExitCode.REJECT,
    "inconclusive": ExitCode.INCONCLUSIVE,
}


class Format(StrEnum):
    """How a result is printed; the exit code is the same for all."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"
    HTML = "html"


class Silenced(StrEnum):
    """What --exit-zero-on may turn into exit code 0."""

    REJECT = "reject"
    INCONCLUSIVE = "inconclusive"


PlanFile = Annotated[Path, typer.Argument(metavar="PLAN", help="What is measured, on which data.")]
PolicyFile = Annotated[Path, typer.Option("--policy", metavar="FILE", help="What is acceptable.")]
Candidate = Annotated[
    Path | None,
    typer.Option("--backbone", metavar="FILE", help="Another candidate in the plan's place."),
]
Features = Annotated[
    Path | None,
    typer.Option("--features", metavar="DIR", help="Where features are kept and found again."),
]
WaiverFile = Annotated[
    Path | None, typer.Option("--waivers", metavar="FILE", help="Dated exceptions to rules.")
]
NoWaivers = Annotated[bool, typer.Option("--no-waivers", help="Decide as if there were none.")]
AsOf = Annotated[
    datetime | None,
    typer.Option("--as-of", formats=["%Y-%m-%d"], help="Judge waivers on this day, not today."),
]
ExitZeroOn = Annotated[
    str,
    typer.Option(
        "--exit-zero-on",
        metavar="reject,inconclusive",
        help="Exit 0 on these decisions too, for pipelines that read the verdict file.",
    ),
]
Artefact = Annotated[Path, typer.Argument(metavar="ARTEFACT", help="What is to be deployed.")]
AdmissionFile = Annotated[
    Path, typer.Option("--admission", metavar="FILE", help="Issued by admit.")
]
PolicyInForce = Annotated[
    Path | None, typer.Option("--policy", metavar="FILE", help="It must have been this one.")
]
PublicKeys = Annotated[
    list[Path] | None,
    typer.Option(
        "--public-key", metavar="PEM", help="Who must have signed it; repeat it to allow several."
    ),
]
MaxAge = Annotated[
    int | None,
    typer.Option("--max-age", metavar="DAYS", min=0, help="How old an admission may be."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check all, and change nothing.")]
Shown = Annotated[Format, typer.Option("--format", help="How the result is printed.")]


@app.command()
def run(
    plan: PlanFile,
    policy: PolicyFile,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where everything goes.")],
    backbone: Candidate = None,
    waivers: WaiverFile = None,
    no_waivers: NoWaivers = False,
    as_of: AsOf = None,
    exit_zero_on: ExitZeroOn = "",
    output_format: Shown = Format.TEXT,
) -> int:
    """Validate, embed, probe, calibrate, decide and report, in one process without DVC.

    DIR then holds evidence/, heads/, features/, validation.json, verdict.json, report.md,
    report.html and run-info.json.
    """
    silenced = _silenced(exit_zero_on)
    from gate.policy.rules import load_policy
    from gate.run import run_all

    for name in ("verdict.json", "report.md", "report.html"):
        _make_way(out / name, plan, policy, backbone, waivers)
    rules, exceptions = load_policy(policy), _waivers(waivers, no_waivers)
    verdict = run_all(
        plan,
        rules,
        out,
        backbone=backbone,
        waivers=exceptions,
        today=_day(as_of),
        show_progress=sys.stderr.isatty(),
    )
    _warn_of_unmatched(rules, _evidence(out / "evidence"), _day(as_of), exceptions)
    return _conclude(verdict, output_format, silenced)


@app.command()
def validate(
    plan: PlanFile,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="JSON of all checks.")
    ] = None,
) -> int:
    """Check the table of each split: columns, labels, groups, duplicates, overlap, balance."""
    from gate.data.expectations import validate as validate_splits
    from gate.measure.trial import Trial
    from gate.plan.plan import load_plan
    from gate.run import require_valid

    if out:
        _make_way(out, plan)
    trial = Trial(load_plan(plan), Path(), show_progress=sys.stderr.isatty())
    validation = validate_splits(trial)
    if out:
        _write(out, validation.to_json())
    require_valid(plan, validation)
    print(f"{len(validation.checks)} checks on {len(trial.plan.splits)} splits passed")
    return ExitCode.ACCEPT


@app.command()
def embed(
    plan: PlanFile,
    features: Annotated[Path, typer.Option("--features", metavar="DIR", help="Where they go.")],
    backbone: Candidate = None,
) -> int:
    """Compute the features of every split that a task uses, once."""
    with _trial(plan, backbone, features) as trial:
        for split in trial.plan.used_splits:
            rows, width = trial.features(split).shape
            if trial.reference:
                trial.features(split, trial.reference)
            print(f"{split}: {rows} images, {width} features")
    return ExitCode.ACCEPT


@app.command()
def probe(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A probe that the plan names.")],
    plan: Annotated[Path, typer.Option("--plan", metavar="PLAN", help="What is measured.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The evidence, as JSON.")],
    backbone: Candidate = None,
    features: Features = None,
) -> int:
    """Run one probe and write its evidence."""
    from gate import probes
    from gate.strict_yaml import nearest

    _make_way(out, plan, backbone)
    with _trial(plan, backbone, features) as trial:
        named = trial.plan.probes.named()
        if name not in named:
            raise PlanError(f"{plan}: no probe {name!r}; {nearest(name, named)}")
        evidence = probes.measure(name, trial)
    _write(out, evidence.to_json())
    print(f"{name}: {len(evidence.measurements)} measurements in {out}")
    return ExitCode.ACCEPT


@app.command()
def calibrate(
    plan: Annotated[
        Path | None,
        typer.Argument(metavar="[PLAN]", help="Its heads; or give logits by the options below."),
    ] = None,
    *,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the results go.")],
    backbone: Candidate = None,
    features: Features = None,
    with_backbone: Annotated[
        bool,
        typer.Option("--with-backbone", help="Also one ONNX file of backbone and head, each."),
    ] = False,
    zero_shot: Annotated[
        Path | None,
        typer.Option("--zero-shot", metavar="FILE", help="(N, K) of a pretrained classifier."),
    ] = None,
    fine_tuned: Annotated[
        Path | None,
        typer.Option("--fine-tuned", metavar="FILE", help="(N, K) of the fine-tuned one."),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            "--labels", metavar="FILE", help="(N,): of samples that neither was fitted on."
        ),
    ] = None,
    train_labels: Annotated[
        Path | None, typer.Option("--train-labels", metavar="FILE", help="Of the fine-tuning set.")
    ] = None,
    train_shares: Annotated[
        Path | None, typer.Option("--train-shares", metavar="FILE", help="Or its K class shares.")
    ] = None,
    test_zero_shot: Annotated[
        Path | None,
        typer.Option(
            "--test-zero-shot", metavar="FILE", help="Samples to adjust; else those above."
        ),
    ] = None,
    test_fine_tuned: Annotated[
        Path | None, typer.Option("--test-fine-tuned", metavar="FILE", help="Of the same samples.")
    ] = None,
    test_labels: Annotated[
        Path | None,
        typer.Option("--test-labels", metavar="FILE", help="To say what the adjustment is worth."),
    ] = None,
) -> int:
    """Remove both label priors (GLA): from a plan's heads, or from files of logits.

    With PLAN, each task's head as safetensors and as ONNX. With --zero-shot and --fine-tuned,
    --labels and --train-labels or --train-shares: DIR/gla.json and the adjusted logits and
    predictions, gla.npz (or as the zero-shot logits are: .safetensors, .csv, .parquet).
    """
    if (plan is None) == (zero_shot is None):
        raise typer.BadParameter("give either PLAN or --zero-shot with its companions")
    if plan:
        files = (fine_tuned, labels, train_labels, train_shares)
        if any((*files, test_zero_shot, test_fine_tuned, test_labels)):
            raise typer.BadParameter("PLAN takes no files of logits or labels; drop one of both")
        from gate.measure.calibrate import require_heads, write_heads

        with _trial(plan, backbone, features) as trial:
            require_heads(trial.plan)
            for path in write_heads(trial, out, with_backbone=with_backbone):
                print(path)
        return ExitCode.ACCEPT
    from gate.label_prior import from_logits
    from gate.label_prior.from_logits import Pair

    if with_backbone:
        raise typer.BadParameter("--with-backbone goes with PLAN; logits have no backbone")
    if zero_shot is None or fine_tuned is None or labels is None:
        raise typer.BadParameter("--zero-shot needs --fine-tuned and --labels")
    train = train_labels or train_shares
    if train is None or (train_labels and train_shares):
        raise typer.BadParameter("give either --train-labels or --train-shares")
    test = None
    if test_zero_shot or test_fine_tuned or test_labels:
        if not (test_zero_shot and test_fine_tuned):
            raise typer.BadParameter("a test set needs --test-zero-shot and --test-fine-tuned")
        test = Pair(test_zero_shot, test_fine_tuned, test_labels)
    known = Pair(zero_shot, fine_tuned, labels)
    for path in from_logits.calibrate(known, train, train is train_labels, test, out):
        print(path)
    return ExitCode.ACCEPT


@app.command()
def prior(
    logits: Annotated[
        Path, typer.Option("--logits", metavar="FILE", help="(N, K), of samples not fitted on.")
    ],
    labels: Annotated[
        Path, typer.Option("--labels", metavar="FILE", help="(N,), whole numbers in 0 .. K-1.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write it here, not to stdout.")
    ] = None,
    clusters: Annotated[
        Path | None,
        typer.Option("--clusters", metavar="FILE", help="(N,): which samples belong together."),
    ] = None,
) -> int:
    """Label prior of a classifier from its logits: K shares with standard errors, as JSON.

    Files are .npy, .npz, .safetensors, .csv or .parquet.
    """
    from gate import files
    from gate.label_prior.from_logits import label_prior

    if out:
        _make_way(out, logits, labels, clusters)
    found = label_prior(logits, labels, clusters)
    for remark in found["remarks"]:
        _say(remark)
    shown = files.json_of(found)
    if out:
        _write(out, shown)
    else:
        sys.stdout.write(shown)
    return ExitCode.ACCEPT


@app.command()
def decide(
    policy: PolicyFile,
    evidence: Annotated[
        Path, typer.Option("--evidence", metavar="DIR", help="Evidence files of one candidate.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The verdict, as JSON.")],
    waivers: WaiverFile = None,
    no_waivers: NoWaivers = False,
    as_of: AsOf = None,
    exit_zero_on: ExitZeroOn = "",
    output_format: Shown = Format.TEXT,
) -> int:
    """Hold the policy against the evidence; the exit code is the verdict's."""
    silenced = _silenced(exit_zero_on)
    from gate import decide as judge
    from gate.policy.rules import load_policy

    _make_way(out, policy, evidence, waivers)
    rules, found = load_policy(policy), _evidence(evidence)
    exceptions = _waivers(waivers, no_waivers)
    verdict = judge(rules, found, _day(as_of), exceptions)
    _write(out, verdict.to_json())
    _warn_of_unmatched(rules, found, _day(as_of), exceptions)
    return _conclude(verdict, output_format, silenced)


@app.command()
def report(
    verdict: Annotated[Path, typer.Argument(metavar="VERDICT", help="A verdict file.")],
    evidence: Annotated[
        Path | None,
        typer.Option(
            "--evidence",
            metavar="DIR",
            help="Adds remedies, to Markdown every measurement, to HTML pictures.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write it here, not to stdout.")
    ] = None,
    output_format: Shown = Format.TEXT,
) -> int:
    """Show a verdict to people. Exits 0 whatever the verdict says."""
    if out:
        _make_way(out, verdict, evidence)
    judged = _verdict(verdict)
    shown = _rendered(judged, output_format, _evidence(evidence) if evidence else (), out is None)
    if out:
        _write(out, shown)
    else:
        sys.stdout.write(shown)
    return ExitCode.ACCEPT


@app.command()
def plots(
    evidence: Annotated[
        Path,
        typer.Argument(
            metavar="EVIDENCE", help="One candidate's evidence: the folder, or label_prior.json."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the pictures go.")],
) -> int:
    """Draw the label prior and what GLA changes, as SVG: TASK-classes, TASK-prior, TASK-groups."""
    from gate import files
    from gate.reports.pictures import pictures

    drawn = pictures(_evidence(evidence))
    if not drawn:
        raise EvidenceError(
            f"{evidence}: nothing to draw: no measurement of the label_prior probe; run it first"
        )
    for name, picture in drawn.items():
        files.write(out / name, picture)
        print(out / name)
    return ExitCode.ACCEPT


@app.command()
def admit(
    verdict: Annotated[Path, typer.Argument(metavar="VERDICT", help="A verdict file.")],
    artefact: Annotated[
        Path, typer.Option("--artefact", metavar="FILE", help="The backbone that was judged.")
    ],
    policy: PolicyFile,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The admission.")],
    evidence: Annotated[
        Path | None,
        typer.Option(
            "--evidence",
            metavar="DIR",
            help="What the verdict was decided on; by default evidence/ beside VERDICT.",
        ),
    ] = None,
    waivers: Annotated[
        Path | None,
        typer.Option("--waivers", metavar="FILE", help="Wanted where the verdict leans on one."),
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option(
            "--key", metavar="PEM", envvar="GATE_KEY", help="Private key: Ed25519 or ECDSA P-256."
        ),
    ] = None,
) -> int:
    """Issue a signed admission if the verdict accepts; else exit with its code, and no file.

    The verdict is decided again from its evidence, and the admission carries all of it.
    """
    from gate.files import hashed, read
    from gate.policy.rules import load_policy
    from gate.trust.admit import admit as issue
    from gate.trust.statement import Grounds

    evidence = evidence or verdict.parent / "evidence"
    _make_way(out, verdict, artefact, policy, evidence, waivers, key)
    judged = _verdict(verdict)
    if judged.decision != "accept":
        return _say_why(judged)
    grounds = Grounds(
        load_policy(policy),
        _evidence(evidence),
        _waivers(waivers, none=False),
    )
    files = hashed(artefact, AdmissionError)
    pem = read(key, AdmissionError) if key else None
    _write(out, issue(judged, grounds, artefact.name, files, _day(None), pem))
    _warn_of_unmatched(grounds.policy, grounds.evidence, _day(None), grounds.waivers)
    print(f"{artefact}: admitted by {out}, {'signed' if key else 'unsigned'}")
    return ExitCode.ACCEPT


@app.command()
def check(
    artefact: Artefact,
    admission: AdmissionFile,
    policy: PolicyInForce = None,
    public_key: PublicKeys = None,
    max_age: MaxAge = None,
) -> int:
    """Before deployment: exits 0 only if the admission admits this very artefact, today.

    In order: the envelope is well-formed, it is signed by a given key, its subject is this
    artefact, its verdict accepts and follows from the evidence that it carries, its policy is the
    given one, no waiver that it leans on has ended, and it is not too old.
    """
    admitted = _checked(artefact, admission, policy, public_key, max_age)
    print(f"{artefact}: {admitted}")
    return ExitCode.ACCEPT


@promote_app.command("gto")
def promote_gto(
    artefact: Artefact,
    name: Annotated[str, typer.Option("--name", help="What the registry calls the artefact.")],
    stage: Annotated[str, typer.Option("--stage", help="Where it goes, such as prod.")],
    admission: AdmissionFile,
    policy: PolicyInForce = None,
    public_key: PublicKeys = None,
    max_age: MaxAge = None,
    dry_run: DryRun = False,
) -> int:
    """Check, then assign a GTO stage to the last commit: a git tag that names the admission.

    What is checked is what that commit holds, in git or in DVC, and not the file in the workspace
    alone.
    """
    from gate.trust import gto

    admitted = _checked(artefact, admission, policy, public_key, max_age)
    for line in gto.promote(artefact, admitted, name, stage, dry_run):
        print(line)
    return ExitCode.ACCEPT


@promote_app.command("mlflow")
def promote_mlflow(
    artefact: Artefact,
    name: Annotated[str, typer.Option("--name", help="The registered model.")],
    version: Annotated[int, typer.Option("--version", min=1, help="Which of its versions.")],
    alias: Annotated[str, typer.Option("--alias", help="What is to point there: champion.")],
    admission: AdmissionFile,
    policy: PolicyInForce = None,
    public_key: PublicKeys = None,
    max_age: MaxAge = None,
    dry_run: DryRun = False,
) -> int:
    """Check, then point an alias of the MLflow registry (MLFLOW_TRACKING_URI) to a version.

    The version is downloaded first, and must hold the artefact, byte for byte, and nothing else.
    """
    from gate.trust import mlflow

    admitted = _checked(artefact, admission, policy, public_key, max_age)
    for line in mlflow.promote(admitted, name, version, alias, dry_run):
        print(line)
    return ExitCode.ACCEPT


@app.command()
def init(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="A new folder in the DVC repository.")
    ] = Path("gating"),
) -> int:
    """Put stages, a plan and a policy into an existing DVC repository; nothing is overwritten."""
    from gate import starter

    for path in starter.write(folder):
        print(path)
    _say(f"now edit what {folder}/plan.yaml marks with EDIT, then: dvc repro {folder}/dvc.yaml")
    return ExitCode.ACCEPT


@app.command("exit-codes")
def exit_codes() -> int:
    """Print what each exit code means."""
    for code in ExitCode:
        print(f"{code.value:>3}  {code.name:<12}  {code.meaning}")
    return ExitCode.ACCEPT


PolicyArgument = Annotated[Path, typer.Argument(metavar="POLICY", help="A policy file.")]


@policy_app.command("lint")
def policy_lint(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Policy files.")],
) -> int:
    """Check that policies are well-formed, and name only what probes measure."""
    from gate.policy.rules import load_policy

    faults = []
    for path in files:
        try:
            policy = load_policy(path)
        except PolicyError as fault:
            faults.append(str(fault))
        else:
            print(f"{path}: {policy.name} v{policy.version}, {len(policy.rules)} rules")
    if faults:
        raise PolicyError("\n".join(faults))
    return ExitCode.ACCEPT


@policy_app.command("schema")
def policy_schema() -> int:
    """Print the JSON Schema of policies, for completion in editors."""
    import json

    from gate.policy.rules import Policy

    print(json.dumps(Policy.model_json_schema(), indent=2))
    return ExitCode.ACCEPT


@policy_app.command("show")
def policy_show(
    file: PolicyArgument,
    resolved: Annotated[
        bool, typer.Option("--resolved", help="Together with all that it extends.")
    ] = False,
) -> int:
    """Print a policy as YAML; what is left at its default is left out."""
    from gate import strict_yaml
    from gate.policy.rules import load_as_written, load_policy

    policy = load_policy(file)  # even as written, nothing faulty is shown
    if resolved:
        print(f"# {policy.identity.digest}, the digest that verdicts name")
    shown = policy if resolved else load_as_written(file)
    print(strict_yaml.dump(shown.model_dump(mode="json", exclude_defaults=True)), end="")
    return ExitCode.ACCEPT


@policy_app.command("test")
def policy_test(
    files: Annotated[list[Path], typer.Argument(metavar="POLICY...", help="Policy files.")],
) -> int:
    """Run the cases in NAME.tests/ beside each NAME.yaml, and print what they covered.

    Exits 1 if a case does not hold, or a rule was not seen both to pass and to fail.
    """
    from gate.policy.cases import run_tests

    failed = []
    for path in files:
        tested = run_tests(path)
        print(tested)
        if not tested.complete:
            failed.append(str(path))
    if failed:
        _say(f"the tests of {', '.join(failed)} fail or are not complete; see above")
        return ExitCode.REJECT
    return ExitCode.ACCEPT


@policy_app.command("diff")
def policy_diff(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="A policy file.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="What it is to become.")],
) -> int:
    """Say in words what gets looser or stricter, what gets looser first. Exits 0 all the same."""
    from gate.policy.diff import differences
    from gate.policy.rules import load_policy

    found = differences(load_policy(old), load_policy(new))
    for change in found:
        print(f"{change.kind:<9} {change.rule}: {change.says}")
    if not found:
        print("no difference but in name and version")
    return ExitCode.ACCEPT


@policy_app.command("backtest")
def policy_backtest(
    file: PolicyArgument,
    evidence: Annotated[
        str, typer.Option("--evidence", metavar="GLOB", help="Folders of evidence, in quotes.")
    ],
    against: Annotated[
        Path | None, typer.Option("--against", metavar="FILE", help="What it is compared with.")
    ] = None,
    as_of: AsOf = None,
) -> int:
    """Decide on past candidates, without waivers; say whose decision differs from another policy's.

    Exits 0 whatever changes.
    """
    from gate.policy.diff import backtest
    from gate.policy.rules import load_policy

    policy = load_policy(file)
    moved = backtest(evidence, load_policy(against) if against else policy, policy, _day(as_of))
    for candidate in moved:
        print(candidate)
    if against:
        changed = sum(candidate.changed for candidate in moved)
        print(f"{changed} of {len(moved)} candidates are decided otherwise than by {against}")
    return ExitCode.ACCEPT


@waiver_app.command("check")
def waiver_check(
    waivers: Annotated[Path, typer.Argument(metavar="WAIVERS", help="A waiver file.")],
    policy: PolicyFile,
    evidence: Annotated[
        list[Path],
        typer.Option("--evidence", metavar="DIR", help="Evidence of a candidate; may be repeated."),
    ],
    as_of: AsOf = None,
) -> int:
    """Check that each waiver is still needed, and lasts no longer than the policy allows."""
    from gate.policy.rules import load_policy, load_waivers
    from gate.policy.waivers import require_matched

    loaded = load_waivers(waivers)
    require_matched(
        load_policy(policy), [_evidence(folder) for folder in evidence], _day(as_of), loaded
    )
    print(f"{waivers}: {len(loaded)} waivers, each of them needed")
    return ExitCode.ACCEPT


def _version(wanted: bool) -> None:
    if wanted:
        print(f"gate {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[  # the callback does it
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print and exit.")
    ] = False,
) -> None:
    pass


# --- what the commands share ----------------------------------------------------------------------


@contextmanager
def _trial(plan: Path, backbone: Path | None, features: Path | None) -> "Iterator[Trial]":
    import tempfile

    from gate.measure.trial import Trial
    from gate.plan.plan import load_plan

    loaded = load_plan(plan, backbone)
    # where nobody keeps features, they last as long as the command
    with tempfile.TemporaryDirectory(prefix="gate-") as folder:
        yield Trial(loaded, features or Path(folder), show_progress=sys.stderr.isatty())


def _evidence(folder: Path) -> list[Evidence]:
    from gate.strict_json import read_evidence

    return read_evidence(folder)


def _verdict(path: Path) -> Verdict:
    from gate.strict_json import read_json

    return read_json(path, Verdict, EvidenceError)


def _waivers(path: Path | None, none: bool) -> "Sequence[Waiver]":
    from gate.policy.rules import load_waivers

    return load_waivers(path) if path and not none else ()


def _checked(
    artefact: Path,
    admission: Path,
    policy: Path | None,
    public_keys: list[Path] | None,
    max_age: int | None,
) -> "Admitted":
    from gate.files import hashed, read
    from gate.policy.rules import load_policy
    from gate.trust.check import check as check_admission

    return check_admission(
        read(admission, AdmissionError),
        hashed(artefact, AdmissionError),
        _day(None),
        load_policy(policy) if policy else None,
        [read(key, AdmissionError) for key in public_keys or ()],
        max_age,
    )


def _warn_of_unmatched(
    policy: "Policy", evidence: Sequence[Evidence], today: date, waivers: "Sequence[Waiver]"
) -> None:
    if not waivers:
        return  # to tell it, all is decided twice more
    from gate.policy.waivers import unmatched

    for name, why in unmatched(policy, evidence, today, waivers).items():
        _say(f"warning: waiver {name} matches nothing: {why}")


def _day(as_of: datetime | None) -> date:
    return as_of.date() if as_of else date.today()  # a waiver ends where people live


def _make_way(out: Path, *inputs: Path | None) -> None:
    """Remove an older result: whatever comes, it does not outlive this call. Inputs do."""
    place = Path(os.path.realpath(out.parent), out.name)
    try:
        for path in (path for path in inputs if path and path.exists()):
            if place.is_relative_to(os.path.realpath(path)) or (
                out.exists() and out.samefile(path)
            ):
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


def _write(path: Path, content: str) -> None:
    from gate import files

    files.write(path, content)


def _silenced(exit_zero_on: str) -> set[str]:
    names = {name.strip() for name in exit_zero_on.split(",") if name.strip()}
    if unknown := sorted(names - {*Silenced}):
        raise typer.BadParameter(
            f"--exit-zero-on {unknown[0]!r}: only reject and inconclusive can be silenced"
        )
    return names


def _conclude(verdict: Verdict, output_format: Format, silenced: set[str]) -> int:
    sys.stdout.write(_rendered(verdict, output_format, (), colours=True))
    code = _say_why(verdict)
    return ExitCode.ACCEPT if verdict.decision in silenced else code


def _say_why(verdict: Verdict) -> int:
    from gate.reports.report import reason

    if verdict.decision != "accept":
        _say(reason(verdict))
    return _CODE[verdict.decision]


def _rendered(verdict: Verdict, output_format: Format, evidence: Any, colours: bool = False) -> str:
    from gate.reports import report as reports

    if output_format is Format.JSON:
        return verdict.to_json()
    if output_format is Format.MARKDOWN:
        return reports.markdown(verdict, evidence)
    if output_format is Format.HTML:
        return reports.html(verdict, evidence)
    terminal = colours and sys.stdout.isatty() and "NO_COLOR" not in os.environ
    return reports.text(verdict, evidence, colour=terminal)


def _say(message: str) -> None:
    print(f"gate: {message}", file=sys.stderr)


def main() -> None:
    """Run a command; every way out has an exit code of the table, and a line that says why."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("gate: %(message)s"))
    log = logging.getLogger("gate")
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    code = _exit_code()
    if code == ExitCode.INTERRUPTED:
        # native threads may be at work still, and Python's own way out can abort under them;
        # every file is whole or absent by now
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _exit_code() -> int:
    try:
        code = int(app(standalone_mode=False) or 0)
        if code == ExitCode.INTERRUPTED:  # typer turns Ctrl-C into this code, and says nothing
            _say("interrupted; run again to complete")
        sys.stdout.flush()
        return code
    except GateError as fault:
        _say(str(fault))
        return fault.exit_code
    except typer.TyperException as fault:
        _say(f"{fault.format_message()} Try --help.")
        return ExitCode.USAGE
    except (SystemExit, BrokenPipeError):  # typer's answer to a closed pipe is 1: rejected
        # nobody reads on; without this, the flush at exit would fail once more
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return ExitCode.ERROR
    except Exception as fault:  # a traceback exits 1, and 1 means rejected
        if "GATE_TRACEBACK" in os.environ:
            import traceback

            traceback.print_exc()
        _say(
            f"unexpected {type(fault).__name__}: {fault}; this is a bug in gate: "
            "set GATE_TRACEBACK=1 to see where, and report it"
        )
        return ExitCode.ERROR
