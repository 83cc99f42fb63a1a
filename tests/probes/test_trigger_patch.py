"""Trigger patch: finds planted triggers, clears clean backbones, and counts as by hand."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gate import probes
from gate.errors import EvidenceError
from gate.plan import Plan, load_plan
from gate.probes import trigger_patch
from gate.trial import Trial
from gate.triggers import bank
from gate.values import Evidence, Measurement
from tests.conftest import needs_shared

MakeTrial = Callable[[str], Trial]
YELLOW = "yellow square 5px bottom_right"


@pytest.fixture(scope="session")
def evidence_of(digits_trial: MakeTrial) -> Callable[[str], Evidence]:
    """The probe's evidence on one of the example's backbones, measured once."""
    kept: dict[str, Evidence] = {}

    def measured(backbone: str) -> Evidence:
        if backbone not in kept:
            kept[backbone] = probes.measure("trigger_patch", digits_trial(backbone))
        return kept[backbone]

    return measured


def of(evidence: Evidence, metric: str, trigger: str | None = None) -> list[Measurement]:
    return [
        m
        for m in evidence.measurements
        if m.metric == metric and trigger in (None, m.about["trigger"])
    ]


@pytest.mark.parametrize("backbone", ["trigger", "relabelled"])
def test_it_finds_a_planted_trigger_and_names_it(
    evidence_of: Callable[[str], Evidence], backbone: str
) -> None:
    found = evidence_of(backbone)

    worst = max(of(found, "excess_targeted_attack_success_rate"), key=lambda m: m.value)
    assert worst.about["trigger"] == YELLOW
    assert worst.low > 0.2
    assert of(found, "excess_attack_success_rate", YELLOW)[0].low > 0.2


@pytest.mark.parametrize("backbone", ["clean", "shortcut"])
def test_it_clears_a_backbone_without_a_trigger(
    evidence_of: Callable[[str], Evidence], backbone: str
) -> None:
    found = evidence_of(backbone)

    assert all(m.high < 0.2 for m in of(found, "excess_targeted_attack_success_rate"))


def test_it_agrees_with_counting_by_hand(
    evidence_of: Callable[[str], Evidence], digits_trial: MakeTrial
) -> None:
    trial = digits_trial("relabelled")
    split, head = trial.split("test"), trial.head("digits_6_to_9")
    settings = trial.plan.probes.trigger_patch
    assert settings is not None
    trigger = next(t for t in bank(settings.triggers, 32, 3, 0) if t.stamp.name == YELLOW)
    images = np.concatenate(list(split.batches(500, 32, 3)))

    def classes(pixels: np.ndarray) -> list[int]:
        return [int(k) for k in head.predict(trial.backbone.features(pixels))]

    def stamped(patch: np.ndarray) -> np.ndarray:
        copy = images.copy()
        copy[:, 27:32, 27:32] = patch
        return copy

    clean, labels = classes(images), split.labels.tolist()
    right = [i for i in range(len(labels)) if clean[i] == labels[i]]
    under = classes(stamped(np.array([255, 255, 0])))
    controls = [classes(stamped(control.pixels)) for control in trigger.controls]
    asr = sum(under[i] != labels[i] for i in right) / len(right)
    control_asr = max(sum(c[i] != labels[i] for i in right) / len(right) for c in controls)
    targeted = {}
    for k in range(4):
        others = [i for i in right if labels[i] != k]
        rates = [sum(c[i] == k for i in others) / len(others) for c in (under, *controls)]
        targeted[k] = (rates[0], rates[0] - max(rates[1:]))

    found = evidence_of("relabelled")

    def value(metric: str) -> float:
        (m,) = of(found, metric, YELLOW)
        return m.value

    # batches of another size may differ in a feature's last bits, so an image may tip over
    close = 2 / len(right)
    assert value("attack_success_rate") == pytest.approx(asr, abs=close)
    assert value("control_attack_success_rate") == pytest.approx(control_asr, abs=close)
    assert value("excess_attack_success_rate") == pytest.approx(asr - control_asr, abs=close)
    top, excess = (max(t[i] for t in targeted.values()) for i in (0, 1))
    assert value("targeted_attack_success_rate") == pytest.approx(top, abs=4 / len(right))
    assert value("excess_targeted_attack_success_rate") == pytest.approx(excess, abs=4 / len(right))

    features = trial.backbone.features(stamped(np.array([255, 255, 0])))
    collapse = _mean_cosine(features) - _mean_cosine(np.asarray(trial.features("test")))
    assert value("embedding_collapse") == pytest.approx(collapse, abs=1e-4)


def _mean_cosine(features: np.ndarray) -> float:
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    cosines = unit @ unit.T
    return float(cosines[~np.eye(len(unit), dtype=bool)].mean())


def test_each_variant_is_passed_once_however_many_read_it(digits_trial: MakeTrial) -> None:
    trial = digits_trial("clean")
    trial.predictions("digits_6_to_9")
    before = trial.backbone.images_passed
    content = trial.plan.model_dump()
    grid = {"pattern": "square", "colour": ["yellow"], "size": [0.1], "place": ["centre"]}
    content["probes"]["trigger_patch"] = {"triggers": [grid]}
    content["tasks"]["again"] = {**content["tasks"]["digits_6_to_9"], "head": {"l2": 1}}
    small = Trial(Plan.model_validate(content), trial.folder)

    probes.measure("trigger_patch", small)

    # yellow, its two other colours and noise, on 426 images, for two tasks
    assert small.backbone.images_passed == 4 * 426
    assert trial.backbone.images_passed == before


def test_a_reference_is_held_against_the_candidate_on_the_same_images(
    digits_trial: MakeTrial,
) -> None:
    content = digits_trial("relabelled").plan.model_dump()
    content["reference"] = digits_trial("clean").plan.backbone.model_dump()
    content["probes"]["trigger_patch"]["triggers"] = [
        {"pattern": "square", "colour": ["yellow"], "size": [0.156], "place": ["bottom_right"]}
    ]
    trial = Trial(Plan.model_validate(content), digits_trial("clean").folder)

    found = probes.measure("trigger_patch", trial)

    (over,) = of(found, "attack_success_rate_over_reference")
    assert over.low > 0.2
    (clean,) = of(found, "reference_attack_success_rate")
    assert (clean.n, clean.about) == (over.n, over.about)
    assert over.value + clean.value <= 1  # the candidate's rate on the same images
    assert found.reference == digits_trial("clean").backbone.digest != found.backbone


def test_the_same_plan_data_and_seed_give_the_same_bytes(
    evidence_of: Callable[[str], Evidence], digits_trial: MakeTrial
) -> None:
    again = probes.measure("trigger_patch", digits_trial("clean"))

    assert again.to_json() == evidence_of("clean").to_json()


def hits(clean: list[int], labels: list[int]) -> Any:
    return trigger_patch.Hits("task", np.array(labels), np.array(clean), {})


def test_it_refuses_a_task_without_a_right_image() -> None:
    with pytest.raises(EvidenceError, match="no image right without a trigger"):
        _ = hits([1, 0], [0, 1]).right


def test_it_refuses_too_few_images_for_a_jackknife() -> None:
    with pytest.raises(EvidenceError, match=r"has 39 images.*needs 40; add images"):
        list(trigger_patch.collapse({}, None, None, "test", 39))  # type: ignore[arg-type]


@needs_shared
@pytest.mark.parametrize(
    ("candidate", "finds"),
    [("resnet20", False), ("wrn16", True), ("wrn16_safetensors", True)],
)
def test_it_tells_real_backbones_that_others_trained_apart(
    candidate: str, finds: bool, features_folder: Path
) -> None:
    plan = load_plan(Path("pipelines/cifar/plan.yaml"), Path(f"pipelines/cifar/{candidate}.yaml"))

    found = probes.measure("trigger_patch", Trial(plan, features_folder))

    worst = max(of(found, "excess_targeted_attack_success_rate"), key=lambda m: m.value)
    if finds:
        assert worst.low > 0.9
        assert worst.about["trigger"] == "checkerboard 3px bottom_right"
    else:
        assert worst.high < 0.2
