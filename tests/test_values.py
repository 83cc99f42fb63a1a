"""Values are frozen and finite, and an edited verdict does not load."""

import copy
import json
import math
import pickle
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gate import Evidence, Measurement, Verdict, decide
from gate.frozen import FrozenDict
from gate.values import Bound, Finding, Value, decision, digest_of
from tests.builders import evidence, measurement, policy, rule, waiver

_finite = st.floats(-1e6, 1e6, allow_nan=False)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("field", ["value", "low", "high"])
def test_a_measurement_is_finite(field: str, number: float) -> None:
    with pytest.raises(ValidationError, match="finite number"):
        Measurement.model_validate({**measurement().model_dump(), field: number})


def test_a_measurement_lies_inside_its_interval() -> None:
    says = r"accuracy: value 0\.4 lies outside its interval \[0\.5, 0\.6\]"
    with pytest.raises(ValidationError, match=says):
        measurement(low=0.5, value=0.4, high=0.6)
    with pytest.raises(ValidationError, match="outside its interval"):
        measurement(low=0.5, value=0.7, high=0.6)


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


def test_an_edited_verdict_that_waives_what_was_not_measured_does_not_load() -> None:
    (finding,) = _waived().findings

    with pytest.raises(
        ValidationError, match=r"outcome 'waived' does not follow .* says 'missing'"
    ):
        Finding.model_validate({**finding.model_dump(), "measurement": None})


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


@given(st.lists(st.lists(_finite, min_size=3, max_size=3).map(sorted), min_size=1, max_size=4))
def test_every_verdict_and_its_evidence_survive_json_to_the_last_bit(
    intervals: list[list[float]],
) -> None:
    gains = [  # in nats, of any size
        measurement(*ends, metric="log_loss_gain", task=str(i)) for i, ends in enumerate(intervals)
    ]
    found = evidence(*gains, probe="label_prior")
    bounded = rule(probe="label_prior", metric="log_loss_gain")
    verdict = decide(policy(bounded), [found], date(2026, 1, 1))

    assert Verdict.model_validate_json(verdict.to_json()) == verdict
    assert Verdict.model_validate_json(verdict.to_json()).to_json() == verdict.to_json()
    assert digest_of(Evidence.model_validate_json(found.to_json())) == digest_of(found)


def _waived() -> Verdict:
    bad = evidence(measurement(0.1, 0.2, 0.3))
    return decide(policy(), [bad], date(2026, 1, 1), [waiver()])


def _settled() -> Evidence:
    """Evidence whose settings are some levels deep."""
    settings = {"bank": {"sizes": [2, 3.5], "shapes": ["dot", None]}, "images": 100}
    return Evidence.model_validate({**evidence().model_dump(by_alias=True), "settings": settings})


def _dictionaries(value: Value) -> list[object]:
    return [part for _, part in value if isinstance(part, dict)]


def test_a_waived_verdict_survives_a_round_trip_with_its_last_day() -> None:
    verdict = _waived()

    again = Verdict.model_validate_json(verdict.to_json())

    assert again == verdict
    assert again.valid_until == date(2026, 12, 31)


# a verdict that leans on a waiver and has no last day admits for ever: gate/values.py, Verdict
def test_a_waived_verdict_without_a_last_day_does_not_load() -> None:
    content = {**json.loads(_waived().to_json()), "valid_until": None}

    with pytest.raises(ValidationError, match="valid_until"):
        Verdict.model_validate_json(json.dumps(content))


# the day stands in the finding's sentence only, so nothing notices: gate/values.py, Verdict
def test_a_waived_verdict_with_a_later_last_day_does_not_load() -> None:
    content = {**json.loads(_waived().to_json()), "valid_until": "2099-12-31"}

    with pytest.raises(ValidationError, match="valid_until"):
        Verdict.model_validate_json(json.dumps(content))


@pytest.mark.parametrize(
    ("until", "says"),
    [(None, "waived and its last day go together"), ("2099-12-31", "does not follow")],
)
def test_the_last_day_of_a_waived_finding_cannot_be_moved_by_itself(
    until: str | None, says: str
) -> None:
    content = json.loads(_waived().to_json())
    content["findings"][0]["waived_until"] = until

    with pytest.raises(ValidationError, match=says):
        Verdict.model_validate_json(json.dumps(content))


def test_a_finding_that_is_not_waived_has_no_last_day() -> None:
    content = json.loads(decide(policy(), [evidence()], date(2026, 1, 1)).to_json())
    content["findings"][0]["waived_until"] = "2026-12-31"

    with pytest.raises(ValidationError, match="waived and its last day go together"):
        Verdict.model_validate_json(json.dumps(content))


def test_a_finding_that_passes_cannot_be_turned_into_a_waived_one() -> None:
    content = json.loads(decide(policy(), [evidence()], date(2026, 1, 1)).to_json())
    content["findings"][0].update(outcome="waived", waiver="W-1")

    with pytest.raises(ValidationError, match="which says 'pass'"):
        Verdict.model_validate_json(json.dumps(content))


@pytest.mark.parametrize("value", [measurement(), evidence(), policy(), _waived()])
def test_values_are_frozen(value: Value) -> None:
    name = next(iter(type(value).model_fields))

    with pytest.raises(ValidationError, match="frozen"):
        setattr(value, name, None)


@pytest.mark.parametrize(
    "part",
    [
        measurement().about,
        rule().where,
        evidence().data,
        evidence().versions,
        _settled().settings,
        _settled().settings["bank"],
        _waived().evidence,
    ],
)
def test_a_dictionary_in_a_value_cannot_be_changed(part: dict[str, object]) -> None:
    before = dict(part)

    with pytest.raises(TypeError, match="part of a frozen value; make a new value instead"):
        part["task"] = "another"
    with pytest.raises(TypeError, match="part of a frozen value"):
        part.clear()
    with pytest.raises(TypeError, match="part of a frozen value"):
        part.update(task="another")

    assert part == before


def test_a_list_in_settings_cannot_be_changed() -> None:
    sizes = _settled().settings["bank"]["sizes"]  # type: ignore[index,call-overload]  # it is there

    with pytest.raises(TypeError, match="FrozenList is part of a frozen value"):
        sizes.append(9)  # type: ignore[union-attr]  # a list


def test_what_a_value_was_made_of_may_change_and_the_value_does_not() -> None:
    about, settings = {"task": "digits"}, {"bank": {"sizes": [2]}}
    made = Measurement.model_validate({**measurement().model_dump(), "about": about})
    settled = Evidence.model_validate({**evidence().model_dump(), "settings": settings})

    about["task"] = "letters"
    settings["bank"]["sizes"].append(3)

    assert made.about == {"task": "digits"}
    assert settled.settings == {"bank": {"sizes": [2]}}


@pytest.mark.parametrize("value", [measurement(), _settled(), policy(), _waived()])
def test_a_value_is_pickled_and_copied_as_it_is_and_stays_frozen(value: Value) -> None:
    for again in (pickle.loads(pickle.dumps(value)), copy.deepcopy(value)):  # noqa: S301  # our own
        assert again == value
        assert again.to_json() == value.to_json()
        assert digest_of(again) == digest_of(value)
        for one, other in zip(_dictionaries(again), _dictionaries(value), strict=True):
            assert type(one) is type(other) is FrozenDict


def test_a_value_is_written_with_the_bytes_of_its_dictionaries() -> None:
    """As they were before they were frozen: digests in admissions that are out still hold."""
    assert digest_of(measurement(task="b", a="a")) == (
        "sha256:dcc5579244d8398eb5906593ecf23522d0a21498ca2fe197f4534bccfcbb7608"
    )
    assert digest_of(_settled()) == (
        "sha256:68a267818cf22e85cc99799a254c6dec096449d0eb3d3974442ab0c7ca52eb2a"
    )
    assert digest_of(policy(rule(where={"task": "*"}))) == (
        "sha256:cff8ebaae2152ec64bd12210fe82498c67d1daeceed86091252f6cec05708e46"
    )


def test_an_unknown_key_is_refused_in_a_verdict() -> None:
    content = {**json.loads(_waived().to_json()), "override": True}

    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        Verdict.model_validate_json(json.dumps(content))


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_nan_is_refused_in_settings_too(number: float) -> None:
    with pytest.raises(ValidationError, match="finite number"):
        Evidence.model_validate({**evidence().model_dump(by_alias=True), "settings": {"x": number}})


# in JSON pydantic reads 1e999 as infinity, and writes infinity as null
@pytest.mark.parametrize("settings", ['{"x": 1e999}', '{"x": {"y": [0, -1e999]}}'])
def test_a_number_beyond_all_numbers_is_refused_in_settings(settings: str) -> None:
    content = evidence().to_json().replace('"settings": {}', f'"settings": {settings}')

    with pytest.raises(
        ValidationError, match=r"settings\n.*a number in them is not finite, such as"
    ):
        Evidence.model_validate_json(content)


@pytest.mark.parametrize(
    "digest", ["ab" * 32, "sha256:" + "AB" * 32, "sha256:" + "ab" * 33, "sha1:" + "ab" * 20]
)
def test_a_digest_is_a_whole_sha256_in_lower_case(digest: str) -> None:
    with pytest.raises(ValidationError, match="backbone"):
        evidence(backbone=digest)


def test_evidence_on_no_data_is_refused() -> None:
    with pytest.raises(ValidationError, match="data"):
        Evidence.model_validate({**evidence().model_dump(by_alias=True), "data": {}})


@pytest.mark.parametrize(("task", "outcome"), [("other", "missing"), ("digits", "inconclusive")])
def test_nothing_blocks_where_a_rule_only_warns(task: str, outcome: str) -> None:
    warns = rule(at_least=0.9, where={"task": task}, severity="warn", name="w")

    verdict = decide(policy(rule(), warns), [evidence()], date(2026, 1, 1))

    assert verdict.findings[1].outcome == outcome
    assert verdict.decision == "accept"


def test_findings_that_only_warn_decide_nothing() -> None:
    warns = decide(policy(rule(), rule(name="w", severity="warn")), [evidence()], date(2026, 1, 1))

    assert decision(warns.findings) == "accept"
    assert decision(warns.findings[1:]) == "inconclusive"
    assert decision([]) == "inconclusive"


def test_a_bound_of_zero_is_a_bound() -> None:
    assert Bound(at_most=0.0).outcome(measurement(0.0, 0.0, 0.1)) == "inconclusive"
    assert Bound(at_least=0.0).outcome(measurement(0.0, 0.0, 0.1)) == "pass"
    assert str(Bound(at_most=0.0)) == "at most 0"
    assert [str(Bound(at_most=0.25)), str(Bound(at_least=0.25))] == [
        "at most 0.25",
        "at least 0.25",
    ]


def test_a_label_that_is_no_text_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"about\.task"):
        Measurement.model_validate({**measurement().model_dump(), "about": {"task": 5}})


def test_a_metric_about_two_things_may_stand_twice() -> None:
    assert len(evidence(measurement(task="a"), measurement(task="b")).measurements) == 2


def test_a_rate_carries_its_wilson_interval_and_labels() -> None:
    found = Measurement.rate("accuracy", 45, 50, task="digits")

    assert (found.value, found.n, found.unit) == (0.9, 50, "fraction")
    assert (found.low, found.high) == pytest.approx((0.7864, 0.9565), abs=5e-5)
    assert found.about == {"task": "digits"}


def test_a_later_key_is_written_only_where_it_says_something() -> None:
    """Else every digest and admission that is out would stop to hold."""
    old, verdict = evidence(), decide(policy(), [evidence()], date(2026, 1, 1))
    sized = Evidence.model_validate({**old.model_dump(), "bytes": 0})

    assert "bytes" not in json.loads(old.to_json())
    assert not {"error_rates", "unlike"} & json.loads(verdict.to_json()).keys()
    assert json.loads(sized.to_json())["bytes"] == 0
    assert Evidence.model_validate_json(sized.to_json()) == sized != old
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        Evidence.model_validate({**old.model_dump(), "bytes": -1})
