"""The barrier as the probe lineage measures it: none to a child, one to a stranger."""

from pathlib import Path
from typing import Any

import pytest

from gate.errors import PlanError
from gate.measure.bench import Bench
from gate.measure.interpolation import SHARES, barrier
from gate.measure.trial import Trial
from gate.plan.plan import Plan
from gate.policy.catalogue import CATALOGUE
from gate.probes.estimate import Range, estimate
from gate.probes.evidence import run_probe
from gate.values import Evidence, Measurement
from tests import tiny, trained

SETTINGS = {"permutations": 99, "images": 100}


def opened(trial: Trial, **settings: Any) -> Trial:
    """The same trial with the probe among its plan's."""
    content = trial.plan.model_dump(exclude_unset=True)
    content["probes"] = {"lineage": {**SETTINGS, "barrier": settings}}
    return Trial(Bench(Plan.model_validate(content), trial.bench.folder))


def barriers(evidence: Evidence) -> dict[str, Measurement]:
    found = [m for m in evidence.measurements if m.metric == "interpolation_barrier"]
    return {m.about["task"]: m for m in found}


def test_a_child_lies_in_the_basin_of_its_ancestor_and_a_stranger_does_not(tmp_path: Path) -> None:
    ancestor, found = trained.weights("normed", 0), {}
    for name, candidate in (
        ("child", trained.weights("normed", 1, 2, after=0)),
        ("stranger", trained.weights("normed", 2)),
    ):
        folder = tmp_path / name
        folder.mkdir()
        trial = opened(trained.trial(folder, candidate, ancestor, ("fitted",)))
        evidence = run_probe("lineage", trial)
        found[name] = barriers(evidence)["fitted"]
        assert any("accuracy fell most at" in remark for remark in evidence.remarks)
        assert set(CATALOGUE["lineage"]) == {m.metric for m in evidence.measurements}

    assert found["child"].high < 0.03
    assert found["stranger"].low > 0.1
    right = trial.interpolated(trial.plan.tasks, SHARES)["fitted"] == trial.split("test").labels
    height = barrier(right, SHARES, 0).height
    assert (found["stranger"].value, found["stranger"].n) == (height.value, 449)
    assert found["stranger"].about["ancestor"] == evidence.data["backbone of ancestor"]


def test_passes_are_those_that_the_engine_counts_then(tmp_path: Path) -> None:
    candidate, ancestor = trained.weights("normed", 2), trained.weights("normed", 0)
    trial = trained.trial(tmp_path, candidate, ancestor, ("own", "fitted"))
    trial = opened(trial, recalibrated_on="train")

    expected = estimate(trial.bench, ["lineage"], calibrates=False)

    run_probe("lineage", trial)
    passes = trial.bench.engine.passes.total()
    assert expected.total("passes") == Range(passes, passes)
    assert expected.total("training") == Range(11 * 900, 11 * 900)  # heads at both ends, too


def test_tasks_that_train_the_network_are_left_out(tmp_path: Path) -> None:
    weights = trained.weights("plain", 0)
    full = {"train": "train", "test": "test", "transfer": {"mode": "full_network"}}
    tasks = {"own": trained.TASKS["own"], "full": full}
    trial = opened(trained.trial(tmp_path, weights, weights, arch="plain", tasks=tasks))

    assert barriers(run_probe("lineage", trial)).keys() == {"own"}


def test_a_barrier_that_is_asked_for_of_a_file_with_its_own_program_is_refused(
    tmp_path: Path,
) -> None:
    path = tiny.write_onnx(tmp_path / "tiny.onnx")
    described = {"onnx": path, "preprocessing": {"size": 8, "mean": [0.3], "std": [0.4]}}
    weights = trained.weights("plain", 0)
    trial = trained.trial(tmp_path, weights, None, ("fitted",), arch="plain", ancestor=described)

    with pytest.raises(PlanError, match=r"ancestor: .*tiny\.onnx is given as onnx, .*give safe"):
        run_probe("lineage", opened(trial))
