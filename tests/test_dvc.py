"""Real DVC on a real git repository: what re-runs, what does not, and what a rejection leaves."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from gate import Verdict
from gate.errors import EvidenceError
from gate.strict_json import read_json
from tests.conftest import ROOT

SQUARE = {"pattern": "square", "colour": ["yellow"], "size": [0.156], "place": ["bottom_right"]}


class Repository:
    """A repository with the project's dvc.yaml, two candidates and a small bank of triggers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return subprocess.run(
            command,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PATH": path, "DVC_NO_ANALYTICS": "1"},
        )

    def repro(self, *targets: str) -> list[str]:
        """Names of the stages that ran, and not those that came from the cache."""
        done = self.run("dvc", "repro", *targets)
        assert done.returncode == 0, done.stdout + done.stderr
        return re.findall(r"^Running stage '([^']+)'", done.stdout, re.MULTILINE)

    def edit(self, name: str, change: Callable[[dict[str, object]], object]) -> None:
        content = yaml.safe_load((self.folder / name).read_text())
        change(content)
        (self.folder / name).write_text(yaml.safe_dump(content))

    def verdict(self, candidate: str) -> Verdict:
        path = self.folder / "out" / "digits" / candidate / "verdict.json"
        return read_json(path, Verdict, EvidenceError)


@pytest.fixture(scope="module")
def repository(example: Path, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """Reproduced once up to the reports."""
    folder = tmp_path_factory.mktemp("repository")
    for name in ("gate", "pipelines", "policies"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(example, folder / "example")
    for name in ("dvc.yaml", ".dvcignore"):
        shutil.copy(ROOT / name, folder)
    repository = Repository(folder)
    repository.edit("dvc.yaml", lambda c: c["vars"].clear())  # type: ignore[attr-defined]
    repository.edit(
        "dvc.yaml",
        lambda c: c.update(vars=[{"candidates": ["clean", "trigger"]}, {"example": "example"}]),
    )
    repository.edit("dvc.yaml", lambda c: c["stages"].pop("build"))  # type: ignore[attr-defined]
    repository.edit("pipelines/digits.yaml", _small)
    for command in (
        ["git", "init", "--quiet"],
        ["dvc", "init", "--quiet"],
        ["git", "add", "."],
        ["git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "--quiet", "-m", "start"],
    ):
        done = repository.run(*command)
        assert done.returncode == 0, done.stderr
    ran = repository.repro("report")
    assert len([stage for stage in ran if stage.startswith("probe@")]) == 10
    return repository


def _small(plan: dict[str, object]) -> None:
    plan["probes"]["trigger_patch"]["triggers"] = [SQUARE]  # type: ignore[index]
    plan["probes"]["trigger_search"] = {"steps": 10}  # type: ignore[index]
    for split in plan["splits"].values():  # type: ignore[attr-defined]
        split["path"] = split["path"].replace("out/digits/example", "example")


def test_one_repro_accepts_the_clean_candidate_and_rejects_the_planted_one(
    repository: Repository,
) -> None:
    assert repository.verdict("clean").decision == "accept"
    rejected = repository.verdict("trigger")
    assert rejected.decision == "reject"
    assert {f.probe for f in rejected.findings if f.blocks} == {"trigger_patch"}


def test_nothing_runs_when_nothing_changed(repository: Repository) -> None:
    assert repository.repro("report") == []


def test_a_changed_threshold_runs_decide_and_report_and_no_probe(repository: Repository) -> None:
    def bound(at_least: float) -> None:
        repository.edit(
            "policies/digits.yaml",
            lambda c: c["rules"][0].update(at_least=at_least),  # type: ignore[index]
        )

    bound(0.999)
    ran = repository.repro("report")

    assert {stage.split("@")[0] for stage in ran} == {"decide", "report"}
    assert len(ran) == 4
    assert repository.verdict("clean").decision == "reject"
    bound(0.5)
    repository.repro("report")
    assert repository.verdict("clean").decision == "accept"


def test_a_changed_setting_of_one_probe_runs_that_probe_and_what_follows(
    repository: Repository,
) -> None:
    repository.edit(
        "pipelines/digits.yaml",
        lambda c: c["probes"].update(clean_accuracy={"tasks": ["digits_6_to_9"]}),  # type: ignore[attr-defined]
    )

    ran = repository.repro("report")

    probes = sorted(stage for stage in ran if stage.startswith("probe@"))
    assert probes == ["probe@clean-clean_accuracy", "probe@trigger-clean_accuracy"]
    assert not [stage for stage in ran if stage.startswith(("embed", "validate", "calibrate"))]


def test_changed_code_of_gate_makes_all_that_it_measured_stale(repository: Repository) -> None:
    def stale() -> set[str]:
        status = json.loads(
            repository.run("dvc", "status", "--json", "--with-deps", "report").stdout
        )
        return {name.split("@")[0] for name in status}

    repository.repro("report")
    assert stale() == set()
    code = repository.folder / "gate" / "stats.py"
    before = code.read_text()

    code.write_text(before + "# changed\n")
    found = stale()
    code.write_text(before)

    assert found == {"validate", "embed", "probe", "decide", "illustrate", "report"}


PIPELINES = [ROOT / "dvc.yaml", *sorted((ROOT / "pipelines").rglob("dvc.yaml"))]


RUN_GATE = (
    "gate ",
    "python -m pipelines.zoo.measure ",
    "python -m pipelines.zoo.judge ",
)


@pytest.mark.parametrize("path", PIPELINES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_stage_that_runs_gate_depends_on_its_code(path: Path) -> None:
    stages = yaml.safe_load(path.read_text())["stages"]
    deps = {name: s["deps"] for name, s in stages.items() if "".join(s["cmd"]).startswith(RUN_GATE)}

    assert deps
    assert [name for name in deps if "gate" not in deps[name]] == []


def test_only_admit_fails_on_a_rejection_and_leaves_no_admission(repository: Repository) -> None:
    admission = repository.folder / "out" / "digits" / "trigger" / "admission.json"
    admission.write_text("an older admission")

    done = repository.run("dvc", "repro", "admit@trigger")

    assert done.returncode == 255
    assert "gate: reject: " in done.stderr
    assert not admission.exists()
    assert repository.verdict("trigger").decision == "reject"


def test_an_accepted_candidate_is_admitted_and_passes_the_check(repository: Repository) -> None:
    assert repository.repro("admit@clean") == ["admit@clean"]

    for candidate, code in (("clean", 0), ("trigger", 3)):
        done = repository.run(
            "gate", "check", f"example/backbones/{candidate}.onnx",
            "--admission", "out/digits/clean/admission.json",
            "--policy", "policies/digits.yaml",
        )  # fmt: skip
        assert done.returncode == code, done.stderr


def test_the_pictures_are_plots_that_dvc_shows(repository: Repository) -> None:
    assert set(repository.repro("plots")) == {"plots@clean", "plots@trigger"}
    assert repository.repro("plots") == []

    done = repository.run("dvc", "plots", "show", "--json")

    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert not shown.get("errors")
    for candidate in ("clean", "trigger"):
        (picture,) = shown["data"][f"out/digits/{candidate}/plots/digits_6_to_9-prior.svg"]
        assert picture["type"] == "image"
        assert Path(picture["url"]).read_bytes().startswith(b"<?xml")


def test_files_that_dvc_hashes_hold_no_clock_and_no_absolute_path(repository: Repository) -> None:
    for path in (repository.folder / "out").rglob("*.json"):
        text = path.read_text()
        assert str(repository.folder) not in text, path
        assert not re.search(r"20\d\d-\d\d-\d\d", text), path


def test_the_stages_that_gate_init_copies_are_none_of_this_repository() -> None:
    done = subprocess.run(["dvc", "dag", "--dot"], capture_output=True, text=True, check=True)

    assert "decide@clean" in done.stdout
    assert "starter" not in done.stdout
