"""A policy, evidence and what follows from them, as arguments of commands."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gate import files
from gate.errors import AdmissionError
from tests.builders import evidence, measurement
from tests.conftest import Gate

POLICY = """\
name: test
version: 1
allow_unsigned: true
rules:
  - {probe: clean_accuracy, metric: accuracy, at_least: 0.8, why: because}
"""


@pytest.fixture
def case(tmp_path: Path) -> Callable[[float], list[object]]:
    """Arguments of a decide on evidence whose interval starts at ``low``."""
    (tmp_path / "policy.yaml").write_text(POLICY)

    def make(low: float, high: float = 0.95) -> list[object]:
        found = evidence(measurement(low, max(low, min(0.5, high)), high))
        files.write(tmp_path / "evidence" / "clean_accuracy.json", found.to_json())
        return [
            "--policy",
            tmp_path / "policy.yaml",
            "--evidence",
            tmp_path / "evidence",
            "--out",
            tmp_path / "verdict.json",
        ]

    return make


@pytest.fixture
def judged(gate: Gate, case: Callable[..., list[object]], tmp_path: Path) -> list[object]:
    """Arguments that admit an accepted artefact."""
    artefact = tmp_path / "model.onnx"
    artefact.write_bytes(b"weights")
    arguments = case(0.85)
    found = evidence(measurement(), backbone=files.sha256_of(artefact, AdmissionError))
    files.write(tmp_path / "evidence" / "clean_accuracy.json", found.to_json())
    assert gate("decide", *arguments)[0] == 0
    return [
        "admit", tmp_path / "verdict.json", "--artefact", artefact,
        "--policy", tmp_path / "policy.yaml", "--out", tmp_path / "admission.json",
    ]  # fmt: skip
