"""The commands on label priors. What they call imports numpy, and waits until they run."""

from collections.abc import Iterable
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Annotated

import typer

from gate import files
from gate.commands.measuring import HeadOptions, calibrated_heads
from gate.commands.options import DIR, FILE, ModelOptions, OutFile
from gate.commands.results import hand_over, make_way, print_line, say
from gate.errors import ExitCode


def prior(
    logits: Annotated[Path, FILE(help="(N, K), of samples not fitted on.")],
    labels: Annotated[Path, FILE(help="(N,), whole numbers in 0 .. K-1.")],
    out: OutFile = None,
    clusters: Annotated[Path | None, FILE(help="(N,): which samples belong together.")] = None,
) -> ExitCode:
    """Label prior of a classifier from its logits: K shares with standard errors, as JSON.

    Files are .npy, .npz, .safetensors, .csv or .parquet.
    """
    from gate.label_prior.from_logits import label_prior

    if out:
        make_way(out, logits, labels, clusters)
    estimate = label_prior(logits, labels, clusters)
    for remark in estimate["remarks"]:
        say(remark)
    hand_over(files.json_of(estimate), out)
    return ExitCode.ACCEPT


@dataclass(frozen=True, kw_only=True)
class LogitsOptions:
    """The options of `calibrate` that go with files of logits."""

    zero_shot: Annotated[Path | None, FILE(help="(N, K) of a pretrained classifier.")] = None
    fine_tuned: Annotated[Path | None, FILE(help="(N, K) of the fine-tuned one.")] = None
    labels: Annotated[Path | None, FILE(help="(N,): of samples that neither was fitted on.")] = None
    train_labels: Annotated[Path | None, FILE(help="Of the fine-tuning set.")] = None
    train_shares: Annotated[Path | None, FILE(help="Or its K class shares.")] = None
    test_zero_shot: Annotated[Path | None, FILE(help="Samples to adjust; else those above.")] = None
    test_fine_tuned: Annotated[Path | None, FILE(help="Of the same samples.")] = None
    test_labels: Annotated[Path | None, FILE(help="To say what the adjustment is worth.")] = None


def calibrate(
    plan: Annotated[
        Path | None,
        typer.Argument(metavar="[PLAN]", help="Its heads; or give logits by the options below."),
    ] = None,
    *,
    out: Annotated[Path, DIR(help="Where the results go.")],
    head: HeadOptions,
    model: ModelOptions,
    logits: LogitsOptions,
) -> ExitCode:
    """Remove both label priors (GLA): from a plan's heads, or from files of logits.

    With PLAN, each task's head as safetensors and as ONNX. With --zero-shot and --fine-tuned,
    --labels and --train-labels or --train-shares: DIR/gla.json and the adjusted logits and
    predictions, gla.npz (or as the zero-shot logits are: .safetensors, .csv, .parquet).
    """
    if (plan is None) == (logits.zero_shot is None):
        raise typer.BadParameter("give either PLAN or --zero-shot with its companions")
    if plan and any(astuple(logits)):
        raise typer.BadParameter("PLAN takes no files of logits or labels; drop one of both")
    if not plan and head.with_backbone:
        raise typer.BadParameter("--with-backbone goes with PLAN; logits have no backbone")
    for path in calibrated_heads(plan, out, head, model) if plan else adjusted_logits(logits, out):
        print_line(path)
    return ExitCode.ACCEPT


def adjusted_logits(options: LogitsOptions, out: Path) -> Iterable[Path]:
    """Write the logits with both label priors removed; the files.

    Raises:
        BadParameter: A file that belongs to those that there are was left out.
        GateError: A file cannot be read, or does not fit the others.
    """
    from gate.label_prior.from_logits import AdjustmentFiles, LogitFiles, adjust_logits

    if options.zero_shot is None or options.fine_tuned is None or options.labels is None:
        raise typer.BadParameter("--zero-shot needs --fine-tuned and --labels")
    if bool(options.train_labels) == bool(options.train_shares):
        raise typer.BadParameter("give either --train-labels or --train-shares")
    test = None
    if options.test_zero_shot or options.test_fine_tuned or options.test_labels:
        if not (options.test_zero_shot and options.test_fine_tuned):
            raise typer.BadParameter("a test set needs --test-zero-shot and --test-fine-tuned")
        test = LogitFiles(options.test_zero_shot, options.test_fine_tuned, options.test_labels)
    known = LogitFiles(options.zero_shot, options.fine_tuned, options.labels)
    inputs = AdjustmentFiles(known, options.train_labels, options.train_shares, test)
    return adjust_logits(inputs, out)
