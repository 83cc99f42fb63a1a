"""The commands that measure, as far as they need no data."""

import logging
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from gate import Evidence, Verdict, decide
from gate.commands.results import steers
from gate.errors import ExitCode
from gate.policy.rules import Policy
from gate.probes import PROBES
from gate.progress import Progress
from tests.builders import evidence, measurement
from tests.conftest import Gate


def test_a_run_that_fails_leaves_no_older_verdict(gate: Gate, tmp_path: Path) -> None:
    results = ("verdict.json", "report.md", "report.html", "validation.json", "run-info.json")
    for name in results:
        (tmp_path / name).write_text("of an older run")
    (tmp_path / "policy.yaml").write_text("name: [")
    policy = ["--policy", tmp_path / "policy.yaml"]

    code, _, _ = gate("run", "pipelines/digits.yaml", *policy, "--out", tmp_path)

    assert code == ExitCode.USAGE
    assert [path.name for path in tmp_path.iterdir()] == ["policy.yaml"]


def test_help_names_every_probe_of_the_table(gate: Gate) -> None:
    _, shown, _ = gate("probe", "--help")

    assert set(PROBES) <= set(shown.replace(",", " ").replace(".", " ").split())


def _run_all(
    _plan: Path, policy: Policy, _out: Path, *, progress: Progress, **_: object
) -> tuple[Verdict, list[Evidence]]:
    """In the place of a run: it remarks on its data, and is long enough to show how far it is."""
    logging.getLogger("gate").warning("a remark")
    logging.getLogger("gate").info("a line")
    progress._said = -100
    with progress("embed", 10) as advance:
        advance(10)
    found = [evidence(measurement(0.1, 0.2, 0.3))]
    return decide(policy, found, date(2026, 1, 1)), found


def test_a_quiet_run_prints_a_line_and_says_nothing_but_why_it_blocks(
    gate: Gate, case: Callable[..., list[object]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gate.run.run_all", _run_all)
    arguments = ["run", "plan.yaml", *case(0.1)[:2], "--out", tmp_path / "out"]

    code, out, err = gate(*arguments, "-q")

    assert code == ExitCode.REJECT
    assert out.startswith("REJECT  clean_accuracy.accuracy: ")
    assert err.startswith("gate: reject: ")
    assert out.count("\n") == err.count("\n") == 1
    usual = gate(*arguments)[2]
    assert "a remark" in usual
    assert "a line" in usual
    assert "embed 10/10" in usual
    assert "why: because" in gate(*arguments, "-v")[1]


def test_a_dumb_terminal_is_not_steered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    assert not steers(sys.stderr)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert steers(sys.stderr)
    monkeypatch.setenv("TERM", "dumb")
    assert not steers(sys.stderr)
