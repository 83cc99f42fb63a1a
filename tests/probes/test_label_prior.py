"""Label prior: of a head on the example's features; the estimator has tests of its own."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import yaml
from safetensors import safe_open

from gate import probes
from gate.calibrate import write_heads
from gate.errors import EvidenceError, ExitCode
from gate.plan import Plan
from gate.trial import Trial

MakeTrial = Callable[[str], Trial]
SQUARE = {"pattern": "square", "colour": ["yellow"], "size": [0.156], "place": ["bottom_right"]}


def test_shares_sum_to_one_and_lie_in_their_intervals(digits_trial: MakeTrial) -> None:
    found = probes.measure("label_prior", digits_trial("clean")).measurements

    shares = [m for m in found if m.metric == "label_prior"]
    assert sum(m.value for m in shares) == pytest.approx(1)
    assert all(0 <= m.low < m.value < m.high <= 1 for m in shares)
    distance = next(m for m in found if m.metric == "total_variation_to_uniform")
    assert distance.value == pytest.approx(sum(abs(m.value - 1 / 4) for m in shares) / 2)


def test_the_gain_is_the_difference_of_two_accuracies(digits_trial: MakeTrial) -> None:
    from gate.probes.label_prior import calibrate

    trial = digits_trial("clean")
    labels = trial.split("test").labels
    _, head = calibrate(trial, "digits_6_to_9")
    plain = trial.predictions(trial.plan.tasks["digits_6_to_9"]) == labels
    adjusted = head.predict(np.asarray(trial.features("test"))) == labels

    found = probes.measure("label_prior", trial).measurements

    gain = next(m for m in found if m.metric == "accuracy_gain")
    assert gain.value == pytest.approx(adjusted.mean() - plain.mean())


def test_the_calibrated_head_is_the_same_in_both_files_and_says_what_it_is_for(
    digits_trial: MakeTrial, tmp_path_factory: pytest.TempPathFactory
) -> None:
    from gate.probes.label_prior import calibrate

    trial, folder = digits_trial("clean"), tmp_path_factory.mktemp("heads")
    features = np.asarray(trial.features("test"))
    expected = calibrate(trial, "digits_6_to_9")[1].logits(features)

    one, two = list(write_heads(trial, folder))

    with safe_open(one, "numpy") as file:
        metadata = file.metadata()
        logits = features @ file.get_tensor("weight") + file.get_tensor("bias")
    session = onnxruntime.InferenceSession(two, providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)
    (from_onnx,) = session.run(["logits"], {"features": features})
    np.testing.assert_allclose(from_onnx, expected, rtol=1e-3, atol=1e-3)
    assert session.get_modelmeta().custom_metadata_map == metadata
    about = json.loads(metadata["gate"])
    assert about["backbone"] == trial.backbone.digest
    assert about["classes"] == ["6", "7", "8", "9"]
    assert sum(about["label_prior"]) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("remedy", "change"),
    [
        ("debias", {"debias": {"triggers": [SQUARE]}}),
        ("head.ignore", {"head": {"ignore": {"triggers": [SQUARE]}}}),
        ("head.balanced_by", {"head": {"balanced_by": "photograph"}}),
    ],
)
def test_a_head_with_a_remedy_is_not_calibrated_because_that_would_undo_it(
    digits_trial: MakeTrial, tmp_path: Path, remedy: str, change: dict[str, Any]
) -> None:
    content = digits_trial("clean").plan.model_dump(mode="json")
    content["tasks"]["digits_6_to_9"] |= change
    plan, heads = tmp_path / "plan.yaml", tmp_path / "heads"
    plan.write_text(yaml.safe_dump(content))

    done = subprocess.run(
        [sys.executable, "-m", "gate", "calibrate", plan, "--out", heads],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == ExitCode.USAGE
    assert "tasks.digits_6_to_9: GLA adds" in done.stderr
    assert f"would undo {remedy}; use the head as it is" in done.stderr
    assert not heads.exists()


def test_a_task_with_a_remedy_has_the_prior_of_the_plain_task_and_no_gain(
    digits_trial: MakeTrial,
) -> None:
    trial = digits_trial("clean")
    content = trial.plan.model_dump()
    content["tasks"]["digits_6_to_9"]["head"]["balanced_by"] = "photograph"
    remedied = Trial(Plan.model_validate(content), trial.folder)

    found = probes.measure("label_prior", remedied).measurements

    plain = probes.measure("label_prior", trial).measurements
    assert found == tuple(m for m in plain if m.metric != "accuracy_gain")
    assert list(write_heads(remedied, trial.folder / "none")) == []


def test_it_refuses_fewer_training_images_than_folds(digits_trial: MakeTrial) -> None:
    content = digits_trial("clean").plan.model_dump()
    content["splits"]["train"]["shard"] = {"index": 0, "count": 100}
    trial = Trial(Plan.model_validate(content), digits_trial("clean").folder)

    with pytest.raises(EvidenceError, match="training images, and 5 folds need 5; add images"):
        probes.measure("label_prior", trial)
