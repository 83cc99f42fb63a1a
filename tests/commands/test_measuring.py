"""The commands that measure, as far as they need no data."""

from pathlib import Path

from gate.errors import ExitCode
from gate.probes import PROBES
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
