"""Everything in one process, without DVC: plan -> evidence -> verdict."""

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path

from gate import files
from gate.contact_sheets import ContactSheets
from gate.data.expectations import Validation, validate
from gate.errors import DataError, GateError
from gate.illustration import contact_sheets
from gate.limits import Limits
from gate.measure.bench import Bench
from gate.measure.head_files import write_heads
from gate.measure.passes import MakeEngine
from gate.measure.trial import Trial
from gate.plan.plan import load_plan
from gate.policy.decide import decide
from gate.policy.rules import Policy
from gate.policy.waivers import Waiver
from gate.probes.estimate import estimate
from gate.probes.evidence import run_probe
from gate.probes.trigger_search.measure import PICTURES
from gate.progress import Progress
from gate.reports import Format, render
from gate.reports.attachments import Attachments
from gate.values import Evidence, Verdict

log = logging.getLogger("gate")


def run_all(
    plan: Path,
    policy: Policy,
    out: Path,
    *,
    backbone: Path | None,
    limits: Limits,
    engine: MakeEngine,
    waivers: Sequence[Waiver],
    today: date,
    progress: Progress,
    images: bool,
) -> tuple[Verdict, list[Evidence]]:
    """Validate, embed, probe, calibrate, decide, illustrate and report.

    Args:
        plan: The plan's file.
        policy: What is acceptable.
        out: Folder for all that is written; features in it that still fit are used again.
        backbone: Another candidate in the plan's place.
        limits: What a model may take that holds a program of its own.
        engine: Where passes happen.
        waivers: Exceptions to rules.
        today: The day on which waivers are judged.
        progress: Shows how far it is, and holds the time that it may take.
        images: Whether the report may show some.

    Returns:
        The verdict, and the evidence that it was decided on.

    Raises:
        GateError: A step cannot be carried out; what was written before stays, and no verdict.
    """
    seconds: dict[str, float] = {}
    bench = Bench(load_plan(plan, backbone), out / "features", progress, limits, engine)
    probes = bench.plan.probes.named()
    expect(bench, probes, calibrates=True)
    with _timed(seconds, "validate"):
        validation = validated(bench)
        files.write(out / "validation.json", validation.to_json())
        require_valid(plan, validation)
    progress.require_time()
    heads = (*out.glob("heads/*.safetensors"), *out.glob("heads/*.onnx"))
    for older in (*out.glob("evidence/*.json"), *heads):
        older.unlink()  # of an older plan, maybe: no new verdict stands beside it
    trial, evidence = Trial(bench), []
    for probe in probes:
        with _timed(seconds, f"probe {probe}"):
            evidence.append(run_probe(probe, trial))
            files.write(out / "evidence" / f"{probe}.json", evidence[-1].to_json())
    with _timed(seconds, "calibrate"):
        list(write_heads(trial, out / "heads"))
    verdict = decide(policy, evidence, today, waivers)
    files.write(out / "report.md", render(Format.MARKDOWN, verdict, evidence))
    passes = _passes(bench)  # those that `estimate` counts: images for a report change no number
    with _timed(seconds, "illustrate"):
        sheets = _illustrated(trial, evidence, out / "contact-sheets.json") if images else None
    candidate = bench.backbone.plan.path.name
    beside = Attachments(day=today, candidate=candidate, sheets=sheets)
    files.write(out / "report.html", render(Format.HTML, verdict, evidence, beside))
    information = {"forward_passes": passes, "seconds": seconds}
    files.write(out / "run-info.json", files.json_of(information))
    files.write(out / "verdict.json", verdict.to_json())
    return verdict, evidence


def _illustrated(trial: Trial, evidence: Sequence[Evidence], out: Path) -> ContactSheets | None:
    """Contact sheets, written; none where they cannot be drawn, which keeps back no verdict."""
    try:
        sheets = contact_sheets(trial, evidence, trial.bench.folder.parent / PICTURES)
    except GateError as fault:
        log.warning("no contact sheets: %s", fault)
        return None
    files.write(out, sheets.to_json())
    return sheets


def expect(bench: Bench, probes: Iterable[str], *, calibrates: bool) -> None:
    """Say what probes cost, and stop where that does not end in time.

    Raises:
        GateError: What `estimate` raises, or there is too little time.
    """
    price = estimate(bench, probes, calibrates=calibrates)
    log.info("%s", price.line)
    bench.progress.measured(price.seconds["candidate"], price.seconds_by_digest)
    bench.progress.expect(int(price.total("passes", "training").at_least), price.time.at_least)
    bench.progress.require_time()


def validated(bench: Bench) -> Validation:
    """All checks on the splits that a plan's tasks and probes use.

    Raises:
        GateError: A split is unknown or cannot be read, or a check cannot be made.
    """
    splits = {name: bench.split(name) for name in bench.plan.used_splits}
    validation = validate(bench.plan, splits, bench.progress)
    of_splits = [remark for split in splits.values() for remark in split.remarks]
    bench.say([*validation.remarks, *of_splits])
    return validation


def require_valid(plan: Path, validation: Validation) -> None:
    """Stop where a check on the data failed.

    Raises:
        DataError: One line for each failed check.
    """
    if validation.failed:
        lines = [f"{c.table}: not so: {c.says} (found {c.found})" for c in validation.failed]
        raise DataError("\n".join([f"{plan}: {len(lines)} checks on the data failed", *lines]))


def _passes(bench: Bench) -> dict[str, int]:
    """Forward passes of single examples through the candidate and those beside it."""
    opened = {
        "backbone": bench.backbone,
        "reference": bench.reference,
        "ancestor": bench.ancestor,
    }
    return {name: bench.engine.passes[each.digest] for name, each in opened.items() if each}


@contextmanager
def _timed(seconds: dict[str, float], step: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[step] = round(time.perf_counter() - start, 3)
