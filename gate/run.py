"""Everything in one process, without DVC: plan -> evidence -> verdict."""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from gate import files, probes
from gate.data.expectations import validate
from gate.errors import DataError
from gate.measure.calibrate import write_heads
from gate.measure.trial import Trial
from gate.plan.plan import load_plan
from gate.policy.decide import decide
from gate.policy.rules import Policy, Waiver
from gate.reports import report
from gate.values import Evidence, Verdict

if TYPE_CHECKING:
    from gate.data.expectations import Validation


def run_all(
    plan: Path,
    policy: Policy,
    out: Path,
    *,
    backbone: Path | None,
    waivers: Sequence[Waiver],
    today: date,
    show_progress: bool,
) -> tuple[Verdict, list[Evidence]]:
    """Validate, embed, probe, calibrate, decide and report; the verdict, and all that it is on.

    Args:
        plan: The plan's file.
        policy: What is acceptable.
        out: Folder for all that is written; features in it that still fit are used again.
        backbone: Another candidate in the plan's place.
        waivers: Exceptions to rules.
        today: The day on which waivers are judged.
        show_progress: Bars on stderr.
    """
    seconds: dict[str, float] = {}
    trial = Trial(load_plan(plan, backbone), out / "features", show_progress=show_progress)
    with _timed(seconds, "validate"):
        validation = validate(trial)
        files.write(out / "validation.json", validation.to_json())
        require_valid(plan, validation)
    evidence = []
    for probe in trial.plan.probes.named():
        with _timed(seconds, f"probe {probe}"):
            measured = probes.measure(probe, trial)
            files.write(out / "evidence" / f"{probe}.json", measured.to_json())
            evidence.append(measured)
    for kept in (out / "evidence").glob("*.json"):
        if kept.stem not in trial.plan.probes.named():
            kept.unlink()  # of an older plan
    with _timed(seconds, "calibrate"):
        list(write_heads(trial, out / "heads"))
    verdict = decide(policy, evidence, today, waivers)
    files.write(out / "report.md", report.markdown(verdict, evidence))
    files.write(out / "report.html", report.html(verdict, evidence))
    passed = {"backbone": trial.backbone.images_passed}
    if trial.reference:
        passed["reference"] = trial.reference.images_passed
    information = {"images_passed": passed, "seconds": seconds}
    files.write(out / "run-info.json", json.dumps(information, indent=2) + "\n")
    files.write(out / "verdict.json", verdict.to_json())
    return verdict, evidence


def require_valid(plan: Path, validation: "Validation") -> None:
    """Stop where a check on the data failed.

    Raises:
        DataError: One line for each failed check.
    """
    if validation.failed:
        lines = [f"{c.table}: not so: {c.says} (found {c.found})" for c in validation.failed]
        raise DataError("\n".join([f"{plan}: {len(lines)} checks on the data failed", *lines]))


@contextmanager
def _timed(seconds: dict[str, float], step: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[step] = round(time.perf_counter() - start, 3)
