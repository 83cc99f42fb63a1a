"""What CONTRIBUTING says can be added, added as it says: on a copy, which then measures with it."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.builders import evidence, policy
from tests.conftest import ROOT, PlanMaker

TEXT = (ROOT / "CONTRIBUTING.md").read_text()
SECTIONS = dict(re.findall(r"^## How to add a (.+?)\n(.*?)(?=^## |\Z)", TEXT, re.M | re.S))
BLOCK = re.compile(r"```python\n# (\S+?)(, before FORMATS)?\n(.*?)```", re.S)
LINES = {  # the table of each kind, and a line of it that the new one goes before
    "probe": ("probes/__init__.py", '        "clean_accuracy",', '"prediction_share",'),
    "report format": ("reports/__init__.py", '    TEXT = "text"', 'TSV = "tsv"'),
    "backbone format": ("plan/backbone.py", "        OnnxBackbone,", "MatrixBackbone,"),
}


@pytest.fixture
def added(tmp_path: Path) -> Callable[[str], Path]:
    """A copy of gate with a kind added: the files of its section, and one line."""

    def add(kind: str) -> Path:
        copy = tmp_path / "copy"
        shutil.copytree(ROOT / "gate", copy / "gate", ignore=shutil.ignore_patterns("__pycache__"))
        table, mark, line = LINES[kind]
        assert f"`{line}`" in SECTIONS[kind], f"CONTRIBUTING does not say {line}"
        for name, inside, code in BLOCK.findall(SECTIONS[kind]):
            path = copy / name
            if inside:
                text = path.read_text()
                path.write_text(text.replace("FORMATS: dict", f"{code}\n\nFORMATS: dict", 1))
            else:
                path.parent.mkdir(exist_ok=True)
                path.write_text(code)
        path = copy / "gate" / table
        before, found, after = path.read_text().partition(f"{mark}\n")
        assert found
        indent = mark[: len(mark) - len(mark.lstrip())]
        path.write_text(f"{before}{indent}{line}\n{mark}\n{after}")
        shutil.copy(ROOT / "pyproject.toml", copy)
        for check in (["check"], ["format", "--check"]):
            subprocess.run([sys.executable, "-m", "ruff", *check, "gate"], cwd=copy, check=True)
        return copy

    return add


def gate(copy: Path, *arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "gate", *map(str, arguments)],
        cwd=ROOT, env={"PATH": "", "PYTHONPATH": str(copy), "PYTHONSAFEPATH": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_probe_is_a_folder_and_a_line(
    added: Callable[[str], Path], digits_plan: PlanMaker, tmp_path: Path
) -> None:
    copy = added("probe")
    plan = digits_plan(probes={"prediction_share": {}})

    said = gate(copy, "probe", "prediction_share", "--plan", plan, "--out", tmp_path / "e.json")

    assert said == f"prediction_share: 1 measurements in {tmp_path / 'e.json'}\n"
    assert '"largest_share"' in gate(copy, "policy", "schema")


def test_a_report_format_is_a_file_and_a_line(added: Callable[[str], Path], tmp_path: Path) -> None:
    from datetime import date

    from gate import decide

    copy, path = added("report format"), tmp_path / "verdict.json"
    path.write_text(decide(policy(), [evidence()], date(2026, 1, 1)).to_json())

    shown = gate(copy, "report", path, "--format", "tsv")

    assert shown.startswith("pass\tclean_accuracy.accuracy\t")


def test_a_backbone_format_is_a_description_a_runtime_and_a_line(
    added: Callable[[str], Path], digits_plan: PlanMaker, tmp_path: Path
) -> None:
    copy = added("backbone format")
    matrix = np.random.default_rng(0).normal(size=(3 * 32 * 32, 16)).astype(np.float32)
    np.save(tmp_path / "matrix.npy", matrix)
    plan = digits_plan(probes={"clean_accuracy": {}})
    content = yaml.safe_load(plan.read_text())
    content["backbone"] = {
        "matrix": str(tmp_path / "matrix.npy"),
        "preprocessing": content["backbone"]["preprocessing"],
    }
    plan.write_text(yaml.safe_dump(content))

    said = gate(copy, "probe", "clean_accuracy", "--plan", plan, "--out", tmp_path / "e.json")

    assert said.startswith("clean_accuracy: 5 measurements")
    assert f'"runtime": "numpy {np.__version__}"' in (tmp_path / "e.json").read_text()
