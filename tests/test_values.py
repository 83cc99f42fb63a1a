"""Values are frozen and finite, and an edited verdict does not load."""

import json
import math
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gate import Evidence, Measurement, Verdict, decide
from gate.values import Bound, Finding, digest_of
from tests.builders import evidence, measurement, policy

_finite = st.floats(-1e6, 1e6, allow_nan=False)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("field", ["value", "low", "high"])
def test_a_measurement_is_finite(field: str, number: float) -> None:
    with pytest.raises(ValidationError, match="finite number"):
        Measurement.model_validate({**measurement().model_dump(), field: number})


def test_a_measurement_lies_inside_its_interval() -> None:
    with pytest.raises(ValidationError, match="outside its interval"):
        measurement(low=0.5, value=0.4, high=0.6)


def test_a_measurement_of_nothing_is_refused() -> None:
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        measurement(n=0)


def test_labels_have_one_order_whatever_order_they_came_in() -> None:
    one = measurement(task="a", trigger="b")
    other = measurement(trigger="b", task="a")

    assert one.model_dump_json() == other.model_dump_json()


def test_evidence_without_measurements_is_refused() -> None:
    with pytest.raises(ValidationError, match="at least 1 item"):
        Evidence.model_validate({**evidence().model_dump(by_alias=True), "measurements": []})


def test_evidence_names_each_number_once() -> None:
    with pytest.raises(ValidationError, match="stands twice"):
        evidence(measurement(), measurement())


def test_evidence_of_another_schema_is_refused() -> None:
    with pytest.raises(ValidationError, match="schema"):
        Evidence.model_validate({**evidence().model_dump(by_alias=True), "schema": "gate/v9"})


@given(st.lists(_finite, min_size=3, max_size=3).map(sorted), _finite, st.booleans())
def test_only_an_interval_wholly_on_the_right_side_passes(
    ends: list[float], number: float, upper: bool
) -> None:
    found = measurement(*ends)
    bound = Bound(at_most=number) if upper else Bound(at_least=number)

    outcome = bound.outcome(found)

    right = [end <= number if upper else end >= number for end in ends]
    assert (outcome == "pass") == all(right)
    assert (outcome == "fail") == (not any(right))


@pytest.mark.parametrize("bounds", [{}, {"at_most": 1.0, "at_least": 0.0}])
def test_a_bound_is_one_number(bounds: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match="exactly one"):
        Bound.model_validate(bounds)


def test_a_verdict_survives_a_round_trip_through_json() -> None:
    verdict = decide(policy(), [evidence()], date(2026, 1, 1))

    again = Verdict.model_validate_json(verdict.to_json())

    assert again == verdict
    assert digest_of(again) == digest_of(verdict)


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda v: v.update(decision="accept"), "does not follow from the findings"),
        (lambda v: v["findings"][0].update(outcome="pass"), "does not follow from its measurement"),
        (lambda v: v["findings"][0]["measurement"].update(low=0.9), "outside its interval"),
        (lambda v: v["findings"][0].update(measurement=None), "does not follow"),
        (lambda v: v["findings"][0].update(outcome="waived"), "does not follow"),
        (lambda v: v.update(findings=[]), "at least 1 item"),
        (lambda v: v.update(evidence={}), "at least 1 item"),
        (lambda v: v["findings"][0].update(severity="none"), "severity"),
        (lambda v: v.update(backbone="sha256:short"), "backbone"),
    ],
)
def test_an_edited_verdict_does_not_load(edit: object, says: str) -> None:
    verdict = decide(policy(), [evidence(measurement(0.1, 0.2, 0.3))], date(2026, 1, 1))
    assert verdict.decision == "reject"
    content = json.loads(verdict.to_json())
    edit(content)  # type: ignore[operator]  # one of the functions above

    with pytest.raises(ValidationError, match=says):
        Verdict.model_validate_json(json.dumps(content))


def test_a_failure_that_only_warns_does_not_block() -> None:
    failed = Finding(
        rule="r",
        probe="p",
        metric="m",
        severity="warn",
        bound=Bound(at_least=0.99),
        measurement=measurement(),
        outcome="fail",
        says="",
        why="because",
    )

    assert not failed.blocks
