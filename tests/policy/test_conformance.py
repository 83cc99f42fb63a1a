"""The cases that any implementation must decide alike, through the real command line."""

import json
from pathlib import Path
from typing import Any

import pytest

from gate import Verdict
from gate.values import worst
from tests.conftest import Gate

CASES = sorted(path.parent for path in Path("tests/conformance").glob("*/expected.json"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_case_is_decided_as_it_says(gate: Gate, case: Path, tmp_path: Path) -> None:
    expected: dict[str, Any] = json.loads((case / "expected.json").read_bytes())
    out = tmp_path / "verdict.json"
    command = ["decide", "--policy", case / "policy.yaml", "--evidence", case / "evidence"]
    if (case / "waivers.yaml").exists():
        command += ["--waivers", case / "waivers.yaml"]

    code, _, err = gate(*command, "--as-of", expected["as_of"], "--out", out)

    assert code == expected["exit_code"], err
    assert bool(err) or code == 0
    if expected["decision"] is None:
        assert not out.exists()
        return
    verdict = Verdict.model_validate_json(out.read_bytes())
    assert verdict.decision == expected["decision"]
    assert worst(verdict.findings) == expected["outcomes"]
    assert str(verdict.valid_until or None) == str(expected["valid_until"])


def test_the_cases_reach_every_outcome_and_every_exit_code() -> None:
    expected = [json.loads((case / "expected.json").read_bytes()) for case in CASES]

    assert {case["exit_code"] for case in expected} == {0, 1, 2, 3, 4}
    assert {name for case in expected for name in case["outcomes"].values()} == {
        "pass", "fail", "inconclusive", "missing", "waived",
    }  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_format_gives_the_same_exit_code(gate: Gate, case: Path, tmp_path: Path) -> None:
    expected = json.loads((case / "expected.json").read_bytes())
    command = ["decide", "--policy", case / "policy.yaml", "--evidence", case / "evidence"]
    if (case / "waivers.yaml").exists():
        command += ["--waivers", case / "waivers.yaml"]
    command += ["--as-of", expected["as_of"], "--out", tmp_path / "verdict.json", "--format"]

    codes = {gate(*command, shown)[0] for shown in ("text", "json", "markdown", "html")}

    assert codes == {expected["exit_code"]}
