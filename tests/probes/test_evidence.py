"""Evidence is a function of what a probe asked for: the same plan gives the same bytes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from gate.backbone.artefact import Artefact, HeldWeights
from gate.measure.bench import Bench
from gate.measure.trial import Trial
from gate.plan.plan import Plan, load_plan
from gate.policy.unlike import unlike
from gate.probes import PROBES
from gate.probes.evidence import run_probe
from gate.values import Like
from tests import tiny_text
from tests.conftest import Gate, PlanMaker

YELLOW = {"pattern": "square", "colour": ["yellow"], "size": [0.156], "place": ["bottom_right"]}
PROBED: dict[str, dict[str, Any]] = {
    "clean_accuracy": {"tasks": ["one"]},
    "trigger_patch": {"triggers": [YELLOW], "tasks": ["two"]},
    "spurious_attribute": {"attributes": ["photograph"]},
    "label_prior": {"tasks": ["one"]},
}


@pytest.fixture
def two_tasks(digits_plan: PlanMaker) -> Path:
    """A plan of two tasks on splits of their own, of which most probes measure one."""
    path = digits_plan()
    content = yaml.safe_load(path.read_text())
    (task,) = content["tasks"].values()
    test = content["splits"]["test"]
    for index, name in enumerate(("test", "elsewhere")):
        shard = {"index": index, "count": 3}  # every second one is on one photograph
        content["splits"][name] = test | {"shard": shard, "balanced": [], "minimum_group": 2}
    content["tasks"] = {"one": task, "two": task | {"test": "elsewhere", "head": {"l2": 10}}}
    content["probes"] = PROBED
    path.write_text(json.dumps(content))  # as YAML it would hold aliases
    return path


def probed(gate: Gate, plan: Path, folder: Path) -> dict[str, bytes]:
    """Evidence of each probe by itself, each with features of its own."""
    for name in PROBED:
        out, features = folder / f"{name}.json", folder / f"features of {name}"
        assert gate("probe", name, "--plan", plan, "--features", features, "--out", out)[0] == 0
    return evidence_in(folder)


def evidence_in(folder: Path) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in sorted(folder.glob("*.json"))}


def run(plan: Path, out: Path) -> list[str]:
    policy = ["--policy", "policies/digits.yaml"]
    return [sys.executable, "-m", "gate", "run", str(plan), *policy, "--out", str(out)]


def test_a_probe_by_itself_a_run_and_a_rerun_after_a_kill_give_the_same_bytes(
    gate: Gate, two_tasks: Path, tmp_path: Path
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    subprocess.run(run(two_tasks, whole), capture_output=True, check=False)

    process = subprocess.Popen(run(two_tasks, broken), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (broken / "evidence").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    subprocess.run(run(two_tasks, broken), capture_output=True, check=False)

    expected = evidence_in(whole / "evidence")
    assert set(expected) == set(PROBED)
    assert evidence_in(broken / "evidence") == expected
    assert probed(gate, two_tasks, tmp_path / "probed") == expected


def test_any_order_of_probes_gives_the_same_bytes(two_tasks: Path, tmp_path: Path) -> None:
    trial = Trial(Bench(load_plan(two_tasks), tmp_path))

    forth = {name: run_probe(name, trial).to_json() for name in PROBED}
    back = {name: run_probe(name, trial).to_json() for name in reversed(PROBED)}

    assert forth == back


def test_evidence_names_the_data_and_tasks_that_its_probe_asked_for_and_no_others(
    two_tasks: Path, tmp_path: Path
) -> None:
    trial = Trial(Bench(load_plan(two_tasks), tmp_path))
    asked = {name: run_probe(name, trial) for name in reversed(PROBED)}

    data = {name: set(evidence.data) for name, evidence in asked.items()}
    tasks = {name: set(json.loads(e.to_json())["settings"]["tasks"]) for name, e in asked.items()}

    assert data["clean_accuracy"] == data["label_prior"] == {"train", "test"}
    assert data["trigger_patch"] == {"train", "elsewhere"}
    assert data["spurious_attribute"] == {"train", "test", "elsewhere"}
    assert tasks["clean_accuracy"] == {"one"}
    assert tasks["trigger_patch"] == {"two"}


def test_evidence_names_the_ancestor_where_its_probe_asked_for_it_and_not_else(
    two_tasks: Path, tmp_path: Path
) -> None:
    content = yaml.safe_load(two_tasks.read_text())
    two_tasks.write_text(json.dumps(content | {"ancestor": content["backbone"]}))
    trial = Trial(Bench(load_plan(two_tasks), tmp_path))
    asked = trial.for_probe()

    assert asked.asked_ancestor is None
    assert asked.ancestor is trial.backbone

    assert asked.asked_ancestor is trial.backbone
    assert asked.asked_data == {"backbone of ancestor": trial.backbone.digest}
    evidence = run_probe("clean_accuracy", trial)
    assert "backbone of ancestor" not in evidence.data
    assert "ancestor" not in evidence.settings


def test_a_zero_shot_classifier_that_another_probe_had_made_is_not_in_the_evidence(
    tmp_path: Path,
) -> None:
    prompts = {"prompts": ["the {}"], "names": {"sport": "ball", "money": "stock"}}
    plan = Plan.model_validate(tiny_text.write_plan(tmp_path, zero_shot=prompts))
    trial = Trial(Bench(plan, tmp_path / "f"))
    before = run_probe("clean_accuracy", trial).to_json()

    prior = run_probe("label_prior", trial)

    assert "zero_shot of topics" in prior.data
    assert run_probe("clean_accuracy", trial).to_json() == before


def test_whatever_a_trial_is_asked_for_is_noted_though_it_was_open_before(
    two_tasks: Path, tmp_path: Path
) -> None:
    trial = Trial(Bench(load_plan(two_tasks), tmp_path))
    for name in PROBED:
        run_probe(name, trial)
    asked = [trial.for_probe() for _ in range(4)]

    asked[0].features("elsewhere")
    asked[1].classifier(trial.plan.tasks["two"])
    asked[2].calibrated("one")
    asked[3].responses("elsewhere", {}, [])

    noted = [set(view.asked_data) for view in asked]
    assert noted == [{"elsewhere"}, {"train", "elsewhere"}, {"train", "test"}, {"elsewhere"}]


def test_every_line_of_the_table_is_a_folder_that_measures() -> None:
    folders = {path.parent.name for path in Path("gate/probes").glob("*/__init__.py")}

    assert set(PROBES) == folders
    for name, probe in PROBES.items():
        assert Path(f"gate/probes/{name}/measure.py").is_file()
        assert probe.question.endswith("?")
        assert probe.settings.model_fields.keys() >= {"tasks"}


def test_evidence_says_how_large_the_backbone_is_and_all_that_error_rates_ask(
    digits_plan: PlanMaker, tmp_path: Path
) -> None:
    plan = load_plan(digits_plan())
    trial = Trial(Bench(plan, tmp_path))
    ranges = {"pixels": (1, 4), "classes": (11, 12), "bytes": (1, 2)}

    found = run_probe("clean_accuracy", trial)

    assert found.bytes == plan.backbone.path.stat().st_size
    said = unlike(Like.model_validate(ranges), [found])
    assert [sentence.partition(", and ")[0] for sentence in said] == [
        f"it takes images of {trial.backbone.preprocessing.size} pixels a side",
        "its task digits_6_to_9 has 4 classes",
        f"its files have {found.bytes:,} bytes",
    ]


def test_a_folder_is_as_large_as_all_its_files(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "a").write_bytes(b"12")
    (tmp_path / "inner" / "b").write_bytes(b"345")

    assert Artefact(tmp_path).bytes == 5
    assert HeldWeights(tmp_path / "a", b"1234").bytes == 4
