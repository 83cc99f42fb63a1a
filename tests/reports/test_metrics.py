"""What DVC shows of a verdict, and of two."""

import json
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

from gate import Verdict, decide
from gate.reports import metrics
from tests.builders import evidence, measurement, policy

STAGE = "stages: {report: {cmd: 'true', metrics: [metrics.json: {cache: false}]}}"


def test_dvc_shows_the_decision_and_the_worst_number_and_what_changed_of_them(
    tmp_path: Path,
) -> None:
    def run(*command: str) -> str:
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, check=True,
            env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "DVC_NO_ANALYTICS": "1"},
        )  # fmt: skip
        return done.stdout

    def dvc(*arguments: str) -> Any:
        return json.loads(run(sys.executable, "-m", "dvc", *arguments, "--json"))

    def judged(value: float) -> Verdict:
        found = evidence(measurement(value - 0.05, value, value + 0.05), measurement(task="good"))
        return decide(policy(), [found], date(2026, 1, 1))

    run("git", "init", "--quiet")
    run(sys.executable, "-m", "dvc", "init", "--quiet")
    (tmp_path / "dvc.yaml").write_text(STAGE)
    (tmp_path / "metrics.json").write_text(metrics.render(judged(0.875)))
    run("git", "add", ".")
    run("git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "--quiet", "-m", "before")
    (tmp_path / "metrics.json").write_text(metrics.render(judged(0.25)))

    (shown,) = dvc("metrics", "show")[""]["data"].values()
    (changed,) = dvc("metrics", "diff").values()

    assert shown["data"]["decision"] == "reject"
    of = shown["data"]["rules"]["clean_accuracy.accuracy"]
    assert of == {"outcome": "fail", "value": 0.25, "low": 0.2, "high": 0.3}
    assert (changed["decision"]["old"], changed["decision"]["new"]) == ("accept", "reject")
    value = changed["rules.clean_accuracy.accuracy.value"]
    assert (value["old"], value["new"], value["diff"]) == (0.875, 0.25, -0.625)
