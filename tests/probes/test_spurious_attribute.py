"""Spurious attribute: finds the shortcut, clears the others, refuses what it cannot measure."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gate import probes
from gate.errors import EvidenceError, PlanError
from gate.plan import Plan
from gate.probes.spurious_attribute import groups
from gate.trial import Trial
from gate.values import Measurement

MakeTrial = Callable[[str], Trial]


def measured(trial: Trial) -> dict[str, list[Measurement]]:
    found: dict[str, list[Measurement]] = {}
    for m in probes.measure("spurious_attribute", trial).measurements:
        found.setdefault(m.metric, []).append(m)
    return found


def test_it_finds_the_shortcut(digits_trial: MakeTrial) -> None:
    found = measured(digits_trial("shortcut"))

    assert found["worst_group_accuracy"][0].high < 0.5
    assert found["group_gap"][0].low > 0.1


@pytest.mark.parametrize("backbone", ["clean", "trigger", "relabelled"])
def test_it_clears_a_backbone_without_the_shortcut(digits_trial: MakeTrial, backbone: str) -> None:
    assert measured(digits_trial(backbone))["worst_group_accuracy"][0].low > 0.5


def test_it_agrees_with_counting_by_hand(digits_trial: MakeTrial) -> None:
    trial = digits_trial("shortcut")
    split = trial.split("test")
    right = trial.predictions("digits_6_to_9") == split.labels
    by_hand = {}
    for k, label in enumerate(split.classes):
        for photograph in ("flower", "temple"):
            member = (split.labels == k) & (split.attributes["photograph"] == photograph)
            by_hand[label, photograph] = right[member].mean()

    found = measured(trial)

    groups_found = {(m.about["class"], m.about["value"]): m.value for m in found["group_accuracy"]}
    assert groups_found == pytest.approx(by_hand)
    (worst,), (gap,) = found["worst_group_accuracy"], found["group_gap"]
    assert worst.value == pytest.approx(min(by_hand.values()))
    assert gap.value == pytest.approx(np.mean(list(by_hand.values())) - worst.value)


def counts(*sizes: int) -> tuple[Any, ...]:
    """Two classes, two values of an attribute, groups of these sizes, all right."""
    labels = np.repeat([0, 0, 1, 1], sizes)
    values = np.repeat(["a", "b", "a", "b"], sizes)
    return ("task", "place", ("x", "y"), labels, np.ones(sum(sizes), bool), values)


@pytest.mark.parametrize("size", [0, 1])
def test_it_refuses_a_group_without_images_or_with_one(size: int) -> None:
    with pytest.raises(EvidenceError, match=rf"group \(y, b\) has {size} test images.*add images"):
        list(groups(*counts(9, 9, 9, size)))


def test_the_worst_of_more_groups_has_a_wider_interval() -> None:
    found = {m.metric: m for m in groups(*counts(30, 30, 30, 30))}

    alone = found["group_accuracy"]
    worst = found["worst_group_accuracy"]
    assert worst.value == alone.value == 1
    assert worst.low < alone.low
    assert worst.n == 30


def test_it_refuses_an_attribute_that_the_data_lacks(digits_trial: MakeTrial) -> None:
    trial = digits_trial("clean")
    content = trial.plan.model_dump()
    content["probes"]["spurious_attribute"] = {"attributes": ["photo"]}

    with pytest.raises(PlanError, match="no attribute 'photo'; did you mean 'photograph'"):
        probes.measure("spurious_attribute", Trial(Plan.model_validate(content), trial.folder))
