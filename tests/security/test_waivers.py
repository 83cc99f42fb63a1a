"""Names that look like patterns: what a waiver lets through, and what a rule bounds."""

from datetime import date, timedelta
from typing import Any

import pytest

from gate.errors import PolicyError
from gate.policy.decide import decide
from gate.policy.unmatched import require_matched
from gate.policy.waivers import Waiver
from gate.values import Evidence, Verdict, worst
from tests.builders import BACKBONE, evidence, measurement, policy, rule

TODAY = date(2026, 11, 27)
LOOK_ALIKES = [("[ab]", "a"), ("dog*", "dog house"), ("dog?", "dogs"), ("[!x]", "y"), ("*", "cat")]
CLASSES = policy(rule(metric="class_accuracy"))


def waiver(label: str) -> Waiver:
    return Waiver(
        id="W",
        rule="clean_accuracy.class_accuracy",
        where={"class": label},
        backbone=BACKBONE,
        reason="known",
        owner="ml-team",
        expires=TODAY + timedelta(days=9),
    )


def of_class(name: str) -> dict[str, Any]:
    return {"class": name, "task": "c*"}


def accuracies(**low: float) -> list[Evidence]:
    """Evidence of the lower ends of the accuracy of each class."""
    measured = [
        measurement(value, value, value, metric="class_accuracy", **of_class(name))
        for name, value in low.items()
    ]
    return [evidence(*measured)]


def outcomes(verdict: Verdict) -> dict[str, str]:
    return {f.measurement.about["class"]: f.outcome for f in verdict.findings if f.measurement}


@pytest.mark.parametrize(("name", "other"), LOOK_ALIKES)
def test_a_waiver_for_a_name_that_looks_like_a_pattern_lets_nothing_else_through(
    name: str, other: str
) -> None:
    found = accuracies(**{name: 0.5, other: 0.5})

    verdict = decide(CLASSES, found, TODAY, [waiver(name)])

    assert outcomes(verdict) == {name: "waived", other: "fail"}
    assert verdict.decision == "reject"
    require_matched(CLASSES, [found], TODAY, [waiver(name)])


@pytest.mark.parametrize(("name", "other"), LOOK_ALIKES)
def test_a_waiver_for_a_name_that_passes_is_not_needed_where_a_look_alike_fails(
    name: str, other: str
) -> None:
    found = accuracies(**{name: 0.9, other: 0.5})

    with pytest.raises(PolicyError, match="waiver W matches nothing: nothing that it covers"):
        require_matched(CLASSES, [found], TODAY, [waiver(name)])


@pytest.mark.parametrize(("name", "other"), LOOK_ALIKES[:-1])
def test_a_rule_for_a_name_that_looks_like_a_pattern_is_not_held_against_another(
    name: str, other: str
) -> None:
    bounded = policy(rule(metric="class_accuracy", where={"class": name}))

    verdict = decide(bounded, accuracies(**{name: 0.5, other: 0.9}), TODAY)

    assert outcomes(verdict) == {name: "fail"}


@pytest.mark.parametrize("everything", ["*", "**", "?*"])
def test_a_class_called_like_the_pattern_for_all_takes_no_other_out_of_a_rule(
    everything: str,
) -> None:
    bounded = policy(rule(metric="class_accuracy", where={"class": everything}))

    verdict = decide(bounded, accuracies(**{everything: 0.9, "cat": 0.5}), TODAY)

    assert verdict.decision == "reject"


def test_a_pattern_that_is_no_name_in_the_evidence_stays_a_pattern() -> None:
    bounded = policy(rule(metric="class_accuracy", where={"class": "[cd]*"}))
    found = accuracies(cat=0.5, dog=0.5, bird=0.5)

    verdict = decide(bounded, found, TODAY, [waiver("d?g")])

    assert outcomes(verdict) == {"cat": "fail", "dog": "waived"}


def test_a_name_is_read_as_written_under_its_own_label_alone() -> None:
    """A task called like the pattern for a class makes no name of that pattern."""
    found = [
        evidence(
            measurement(metric="accuracy", task="c*"),
            measurement(0.5, 0.5, 0.5, metric="class_accuracy", **of_class("cat")),
        )
    ]
    bounded = policy(rule(metric="class_accuracy", where={"class": "c*"}))

    assert worst(decide(bounded, found, TODAY).findings) == {
        "clean_accuracy.class_accuracy": "fail"
    }
