"""Clean accuracy: reads what is right, and is blind to what is planted."""

from collections.abc import Callable

import numpy as np
import pytest

from gate.errors import PlanError
from gate.measure.bench import Bench
from gate.measure.trial import Trial
from gate.plan.plan import Plan
from gate.probes.evidence import run_probe

MakeTrial = Callable[[str], Trial]


def test_it_agrees_with_counting_by_hand(digits_trial: MakeTrial) -> None:
    trial = digits_trial("clean")
    split, head = trial.split("test"), trial.classifier(trial.plan.tasks["digits_6_to_9"]).linear
    logits = np.asarray(trial.features("test")) @ head.weight + head.bias
    right = [int(np.argmax(row)) == label for row, label in zip(logits, split.labels, strict=True)]

    found = run_probe("clean_accuracy", trial).measurements

    overall = next(m for m in found if m.metric == "accuracy")
    assert overall.value == pytest.approx(sum(right) / len(right))
    assert overall.n == len(right) == 426
    assert {m.about["class"] for m in found if m.metric == "class_accuracy"} == set("6789")


@pytest.mark.parametrize("backbone", ["clean", "trigger", "relabelled"])
def test_it_does_not_see_a_planted_trigger(digits_trial: MakeTrial, backbone: str) -> None:
    found = run_probe("clean_accuracy", digits_trial(backbone)).measurements[0]

    assert found.low > 0.85


def test_it_refuses_a_task_that_the_plan_lacks(digits_trial: MakeTrial) -> None:
    trial = digits_trial("clean")
    content = trial.plan.model_dump()
    content["probes"]["clean_accuracy"] = {"tasks": ["digits_6_to_8"]}

    with pytest.raises(PlanError, match="unknown task 'digits_6_to_8'; did you mean"):
        run_probe("clean_accuracy", Trial(Bench(Plan.model_validate(content), trial.bench.folder)))
