"""Label prior: of a head on the example's features; the estimator has tests of its own."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from safetensors import safe_open

from gate.errors import EvidenceError, PlanError
from gate.label_prior import gla
from gate.label_prior import prior as priors
from gate.measure.bench import Bench
from gate.measure.head_files import write_heads
from gate.measure.trial import Trial
from gate.plan.plan import Plan
from gate.probes.evidence import run_probe
from gate.values import Measurement

MakeTrial = Callable[[str], Trial]
TASK = "digits_6_to_9"
SQUARE = {"pattern": "square", "colour": ["yellow"], "size": [0.156], "place": ["bottom_right"]}


def measured(trial: Trial) -> dict[str, list[Measurement]]:
    found: dict[str, list[Measurement]] = {}
    for measurement in run_probe("label_prior", trial).measurements:
        found.setdefault(measurement.metric, []).append(measurement)
    return found


def changed(trial: Trial, **changes: dict[str, dict[str, Any]]) -> Trial:
    """The trial under its plan with some keys of some splits, tasks or probes changed."""
    content = trial.plan.model_dump()
    for part, entries in changes.items():
        for name, keys in entries.items():
            content[part][name] = {**(content[part].get(name) or {}), **keys}
    return Trial(Bench(Plan.model_validate(content), trial.bench.folder))


def with_embeddings(trial: Trial, folder: Path) -> Trial:
    """Class embeddings from other images than those of the task: the means of the test split."""
    features, labels = np.asarray(trial.features("test")), trial.split("test").labels
    centred = [features[labels == k].mean(axis=0) - features.mean(axis=0) for k in range(4)]
    path = folder / "embeddings.npy"
    np.save(path, np.stack(centred))
    return changed(trial, tasks={TASK: {"zero_shot": {"embeddings": path, "scale": 10.0}}})


def test_shares_sum_to_one_and_lie_in_their_intervals(digits_trial: MakeTrial) -> None:
    found = measured(digits_trial("clean"))

    shares = found["label_prior"]
    assert sum(m.value for m in shares) == pytest.approx(1)
    assert all(0 <= m.low < m.value < m.high <= 1 for m in shares)
    (distance,) = found["total_variation_to_uniform"]
    assert distance.value == pytest.approx(sum(abs(m.value - 1 / 4) for m in shares) / 2)


def test_the_gain_is_the_difference_of_two_accuracies(digits_trial: MakeTrial) -> None:
    trial = digits_trial("clean")
    labels = trial.split("test").labels
    adjusted = trial.calibrated(TASK).logits(trial.outputs("test")).argmax(axis=1) == labels
    plain = trial.predictions(trial.plan.tasks[TASK]) == labels

    found = measured(trial)

    gain = found["accuracy_gain"][0]
    assert gain.value == pytest.approx(adjusted.mean() - plain.mean())
    of_method = {m.about["method"]: m.value for m in found["accuracy"]}
    assert of_method["gla"] == pytest.approx(adjusted.mean())
    assert of_method["fine_tuned"] == pytest.approx(plain.mean())


def test_every_method_is_measured_overall_and_by_group(digits_trial: MakeTrial) -> None:
    found = measured(digits_trial("clean"))

    methods = {*gla.METHODS, "wise_ft"}
    for metric in ("accuracy", "balanced_accuracy", "calibration_error"):
        assert {m.about["method"] for m in found[metric]} == methods
    groups = {(m.about["method"], m.about["group"]): m.value for m in found["group_accuracy"]}
    assert set(groups) == {(m, g) for m in methods for g in ("head", "medium", "tail")}
    assert found["tail_classes_gain"][0].value == pytest.approx(
        groups["gla", "tail"] - groups["fine_tuned", "tail"]
    )
    assert found["head_classes_loss"][0].value == pytest.approx(
        groups["fine_tuned", "head"] - groups["gla", "head"]
    )


def test_the_worst_class_before_and_after_is_the_least_of_the_classes(
    digits_trial: MakeTrial,
) -> None:
    found = measured(digits_trial("clean"))

    for worst in found["worst_class_accuracy"]:
        of_classes = [
            m for m in found["class_accuracy"] if m.about["method"] == worst.about["method"]
        ]
        assert len(of_classes) == 4
        assert worst.value == pytest.approx(min(m.value for m in of_classes))
        assert worst.low == pytest.approx(min(m.low for m in of_classes))
        assert worst.high > min(m.high for m in of_classes)  # it holds for all of them


def test_wise_ft_is_the_head_of_mean_weights(digits_trial: MakeTrial) -> None:
    trial = digits_trial("clean")
    f_zs, f_ft = trial.both_logits(TASK, "test")

    logits = trial.wise_ft_logits(TASK, "test")

    assert logits is not None

    np.testing.assert_allclose(logits, (f_zs + f_ft) / 2, rtol=1e-3, atol=1e-3)


def test_a_long_tailed_training_set_is_grouped_by_count_and_gla_helps_its_tail(
    digits_trial: MakeTrial,
) -> None:
    long_tailed = changed(
        digits_trial("clean"), splits={"train": {"long_tailed": 20, "minimum_group": 2}}
    )

    found = measured(long_tailed)

    groups = {(m.about["method"], m.about["group"]): m.value for m in found["group_accuracy"]}
    assert {group for _, group in groups} == {"many", "medium", "few"}
    assert groups["logit_adjustment", "few"] > groups["fine_tuned", "few"]
    assert found["tail_classes_gain"][0].value > 0


def test_a_mild_tail_may_be_of_one_group(digits_trial: MakeTrial) -> None:
    mild = changed(
        digits_trial("clean"),
        splits={"train": {"long_tailed": 1.2, "shard": {"index": 0, "count": 5}}},
    )

    found = measured(mild)

    assert {m.about["group"] for m in found["group_accuracy"]} == {"medium"}
    assert found["tail_classes_gain"][0].value == pytest.approx(
        -found["head_classes_loss"][0].value
    )


def test_a_held_out_split_takes_the_place_of_folds_and_shifted_ones_are_measured_too(
    digits_trial: MakeTrial,
) -> None:
    plan = digits_trial("clean").plan.model_dump()
    test = plan["splits"]["test"]
    trial = changed(
        digits_trial("clean"),
        splits={
            name: {**test, "shard": {"index": index, "count": 3}}
            for index, name in enumerate(("known", "asked", "elsewhere"))
        },
        tasks={TASK: {"test": "asked", "held_out": "known", "shifted": ("elsewhere",)}},
    )

    found = measured(trial)

    assert {m.about["split"] for m in found["accuracy"]} == {"asked", "elsewhere"}
    known = trial.split("known")
    assert all(m.n == len(known) for m in found["label_prior"])
    by_hand = priors.estimate(
        trial.calibrated(TASK).zero_shot.logits(np.asarray(trial.features("known"))),
        known.labels,
    )
    assert [m.value for m in found["label_prior"]] == pytest.approx(by_hand.shares.tolist())


def test_few_shot_training_needs_a_classifier_that_saw_no_training_image(
    digits_trial: MakeTrial,
) -> None:
    trial = changed(digits_trial("clean"), probes={"label_prior": {"few_shot": (1,)}})

    with pytest.raises(PlanError, match="no task has a zero-shot classifier"):
        measured(trial)


def test_few_shot_accuracy_is_measured_by_method_and_number(
    digits_trial: MakeTrial, tmp_path: Path
) -> None:
    trial = with_embeddings(digits_trial("clean"), tmp_path)
    trial = changed(trial, probes={"label_prior": {"few_shot": (1, 8), "seeds": 4}})

    found = measured(trial)

    of = {(m.about["method"], m.about["shots"]): m for m in found["few_shot_accuracy"]}
    assert set(of) == {(method, n) for method in gla.METHODS for n in ("1", "8")}
    assert of["zero_shot", "1"].value == of["zero_shot", "8"].value
    assert of["fine_tuned", "8"].value > of["fine_tuned", "1"].value
    assert all(m.low < m.value < m.high for m in of.values())

    with pytest.raises(EvidenceError, match="10000 examples a class, and a class of train has"):
        measured(changed(trial, probes={"label_prior": {"few_shot": (10_000,)}}))


def test_a_few_shot_training_set_that_says_nothing_of_the_prior_leaves_the_classifier_as_it_is(
    digits_trial: MakeTrial, tmp_path: Path
) -> None:
    trial = with_embeddings(digits_trial("clean"), tmp_path)
    path = tmp_path / "embeddings.npy"
    noise = np.random.default_rng(0).normal(size=np.load(path).shape).astype(np.float32)
    np.save(path, noise)  # tells the classes apart by chance
    trial = changed(trial, probes={"label_prior": {"few_shot": (1,), "seeds": 8}})

    evidence = run_probe("label_prior", trial)

    (said,) = (remark for remark in evidence.remarks if "do not say" in remark)
    assert "of 8 training sets of 1 examples a class do not say what the label prior is" in said
    assert any(m.metric == "few_shot_accuracy" for m in evidence.measurements)


def test_the_calibrated_head_is_the_same_in_both_files_and_says_what_it_is_for(
    digits_trial: MakeTrial, tmp_path_factory: pytest.TempPathFactory
) -> None:
    trial, folder = digits_trial("clean"), tmp_path_factory.mktemp("heads")
    features = np.asarray(trial.features("test"))
    expected = trial.calibrated(TASK).logits(trial.outputs("test"))

    one, two = list(write_heads(trial, folder))

    with safe_open(one, "numpy") as file:
        metadata = file.metadata()
        logits = features @ file.get_tensor("weight") + file.get_tensor("bias")
    session = onnxruntime.InferenceSession(two, providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(logits, expected, rtol=1e-3, atol=1e-3)
    (from_onnx,) = session.run(["logits"], {"features": features})
    np.testing.assert_allclose(from_onnx, expected, rtol=1e-3, atol=1e-3)
    assert session.get_modelmeta().custom_metadata_map == metadata
    about = json.loads(metadata["gate"])
    assert about["backbone"] == trial.backbone.digest
    assert about["classes"] == ["6", "7", "8", "9"]
    assert sum(about["label_prior"]) == pytest.approx(1, abs=1e-5)
    assert about["zero_shot"] == "nearest class mean"


@pytest.mark.parametrize(
    ("content", "key"),
    [
        ({"debias": {"triggers": [SQUARE]}}, "debias"),
        ({"head": {"ignore": {"triggers": [SQUARE]}}}, "head.ignore"),
        ({"head": {"balanced_by": "photograph"}}, "head.balanced_by"),
    ],
)
def test_a_head_with_a_remedy_is_not_calibrated_because_that_would_undo_it(
    digits_trial: MakeTrial,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    content: dict[str, Any],
    key: str,
) -> None:
    trial = changed(digits_trial("clean"), tasks={TASK: content})

    assert trial.plan.tasks[TASK].calibration_obstacle
    assert not list(write_heads(trial, tmp_path))
    assert f"tasks.{TASK}: no calibrated head" in caplog.text
    assert f"would undo {key}" in caplog.text
    with pytest.raises(PlanError, match=f"would undo {key}"):
        trial.calibrated(TASK)


def test_it_refuses_fewer_training_images_than_folds(digits_trial: MakeTrial) -> None:
    trial = changed(digits_trial("clean"), splits={"train": {"shard": {"index": 0, "count": 100}}})

    with pytest.raises(EvidenceError, match="training images, and 5 folds need 5; add images"):
        measured(trial)
