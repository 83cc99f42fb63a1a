"""Paths where no file can be: an error that names them, and no bug."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from gate.errors import ExitCode
from tests.conftest import Gate
from tests.security.kill import PLAN, write_inputs

LONG = "x" * 5000
LOGITS = ["--zero-shot", "f.npy", "--fine-tuned", "f.npy", "--labels", "l.npy"]


def shown(value: object) -> str:
    """A command or an exit code in the name of a test."""
    return " ".join(value).replace(LONG, "LONG") if isinstance(value, list) else str(value)


@pytest.fixture(autouse=True)
def _in_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with all that commands read; a link in it leads to itself."""
    monkeypatch.chdir(tmp_path)
    write_inputs()
    (tmp_path / ".dvc").mkdir()
    (tmp_path / "link").symlink_to("link")
    labels = np.arange(300) % 3
    np.save("l.npy", labels)
    np.save("f.npy", np.random.default_rng(0).normal(size=(300, 3)) + np.eye(3)[labels])


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["run", "plan.yaml", "--policy", "policy.yaml", "--out", LONG], ExitCode.ERROR),
        (["run", LONG, "--policy", "policy.yaml", "--out", "out"], ExitCode.USAGE),
        (["run", "plan.yaml", "--policy", LONG, "--out", "out"], ExitCode.USAGE),
        (["embed", "plan.yaml", "--features", LONG], ExitCode.ERROR),
        (["probe", "clean_accuracy", "--plan", "plan.yaml", "--out", LONG], ExitCode.ERROR),
        (["validate", "plan.yaml", "--out", LONG], ExitCode.ERROR),
        (["calibrate", "plan.yaml", "--out", LONG], ExitCode.ERROR),
        (["calibrate", *LOGITS, "--train-labels", "l.npy", "--out", LONG], ExitCode.ERROR),
        (["prior", "--logits", f"{LONG}.npy", "--labels", "l.npy"], ExitCode.ERROR),
        (
            ["decide", "--policy", "policy.yaml", "--evidence", LONG, "--out", "verdict.json"],
            ExitCode.ERROR,
        ),
        (["init", LONG], ExitCode.ERROR),
    ],
    ids=shown,
)
def test_a_path_of_5000_characters_is_an_error_that_names_it(
    gate: Gate, command: list[str], code: ExitCode
) -> None:
    found, _, err = gate(*command)

    assert found == code
    assert f"gate: {LONG}" in err
    assert "File name too long" in err
    assert "bug in gate" not in err


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["policy", "lint", "link/p.yaml"], ExitCode.USAGE),
        (["calibrate", *LOGITS, "--train-labels", "l.npy", "--out", "link/o"], ExitCode.ERROR),
        (["digests", "plan.yaml", "--out", "link/o.json"], ExitCode.ERROR),
    ],
    ids=shown,
)
def test_a_path_by_a_link_to_itself_is_an_error_that_names_it(
    gate: Gate, command: list[str], code: ExitCode
) -> None:
    found, _, err = gate(*command)

    assert found == code
    assert f"gate: {command[-1]}" in err
    assert "bug in gate" not in err


def test_what_is_watched_by_a_link_to_itself_holds_nothing(gate: Gate) -> None:
    assert gate("digests", "plan.yaml", "--out", "o.json", "--watched", "link")[0] == 0


def test_a_path_that_a_plan_names_and_the_system_refuses_is_no_bug(gate: Gate) -> None:
    picture = f"{LONG}.png"
    grid = {"pattern": "overlay", "picture": [picture], "size": [0.5], "place": ["centre"]}
    content = {**PLAN, "probes": {"trigger_patch": {"triggers": [grid]}}}
    Path("plan.yaml").write_text(yaml.safe_dump(content))

    code, _, err = gate("probe", "trigger_patch", "--plan", "plan.yaml", "--out", "out.json")

    assert code == ExitCode.ERROR
    assert f"gate: {picture}: File name too long; check the path" in err
    assert "bug in gate" not in err
