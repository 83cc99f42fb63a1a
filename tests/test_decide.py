"""Deciding is pure; nothing missing, weak or worse gets through."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate import Evidence, Measurement, decide
from gate.errors import EvidenceError
from gate.policy import Waiver
from tests.builders import BACKBONE, OTHER_BACKBONE, evidence, measurement, policy, rule

TODAY = date(2026, 11, 21)
ORDER = {"accept": 2, "inconclusive": 1, "reject": 0}


def waiver(**changes: object) -> Waiver:
    return Waiver.model_validate(
        {
            "id": "W-1",
            "rule": "clean_accuracy.accuracy",
            "backbone": BACKBONE,
            "reason": "known",
            "owner": "ml-team",
            "expires": "2026-12-31",
            **changes,
        }
    )


@pytest.mark.parametrize(
    ("ends", "decision", "outcome"),
    [
        ((0.81, 0.9, 0.95), "accept", "pass"),
        ((0.8, 0.9, 0.95), "accept", "pass"),
        ((0.79, 0.9, 0.95), "inconclusive", "inconclusive"),
        ((0.6, 0.7, 0.8), "inconclusive", "inconclusive"),
        ((0.6, 0.7, 0.79), "reject", "fail"),
    ],
)
def test_the_unfavourable_end_decides(
    ends: tuple[float, float, float], decision: str, outcome: str
) -> None:
    verdict = decide(policy(), [evidence(measurement(*ends))], TODAY)

    assert verdict.decision == decision
    assert verdict.findings[0].outcome == outcome


def test_a_good_estimate_on_too_few_examples_is_inconclusive_and_says_how_many_more() -> None:
    verdict = decide(policy(), [evidence(measurement(0.7, 0.9, 0.97, n=20))], TODAY)

    assert verdict.decision == "inconclusive"
    assert "about 60 more examples would settle it" in verdict.findings[0].says


def test_a_rule_whose_metric_was_not_measured_blocks() -> None:
    unmeasured = rule(
        probe="trigger_patch", metric="attack_success_rate", at_most=0.1, name="trigger"
    )

    verdict = decide(policy(rule(), unmeasured), [evidence()], TODAY)

    assert verdict.decision == "inconclusive"
    assert [f.outcome for f in verdict.findings] == ["pass", "missing"]
    assert "add probes.trigger_patch to the plan" in verdict.findings[1].says


def test_a_rule_whose_labels_match_nothing_blocks() -> None:
    verdict = decide(policy(rule(where={"task": "other"})), [evidence()], TODAY)

    assert verdict.findings[0].outcome == "missing"
    assert verdict.decision == "inconclusive"


def test_every_matching_measurement_must_hold_and_the_worst_comes_first() -> None:
    found = evidence(
        measurement(task="good"),
        measurement(0.1, 0.2, 0.3, task="bad"),
        measurement(0.7, 0.9, 0.95, task="weak"),
    )

    verdict = decide(policy(), [found], TODAY)

    assert verdict.decision == "reject"
    assert [f.outcome for f in verdict.findings] == ["fail", "inconclusive", "pass"]


def test_a_warning_is_shown_and_does_not_block() -> None:
    warns = rule(at_least=0.99, severity="warn", name="warns")

    verdict = decide(policy(rule(), warns), [evidence()], TODAY)

    assert verdict.decision == "accept"
    assert verdict.findings[1].outcome == "fail"


def test_evidence_of_two_backbones_is_refused() -> None:
    other = evidence(probe="label_prior", backbone=OTHER_BACKBONE)

    with pytest.raises(EvidenceError, match="evidence of 2 backbones"):
        decide(policy(), [evidence(), other], TODAY)


def test_no_evidence_is_refused() -> None:
    with pytest.raises(EvidenceError, match="no evidence"):
        decide(policy(), [], TODAY)


def test_evidence_of_one_probe_twice_is_refused() -> None:
    with pytest.raises(EvidenceError, match="clean_accuracy stands twice"):
        decide(policy(), [evidence(), evidence(measurement(task="b"))], TODAY)


def test_a_waiver_lets_a_failure_through_until_its_last_day_and_shows_it() -> None:
    bad = evidence(measurement(0.1, 0.2, 0.3))

    verdict = decide(policy(), [bad], date(2026, 12, 31), [waiver()])

    assert verdict.decision == "accept"
    assert verdict.valid_until == date(2026, 12, 31)
    assert verdict.findings[0].outcome == "waived"
    assert "waived by W-1 until 2026-12-31 (ml-team: known)" in verdict.findings[0].says
    assert decide(policy(), [bad], date(2027, 1, 1), [waiver()]).decision == "reject"


@pytest.mark.parametrize(
    "changes",
    [{"backbone": OTHER_BACKBONE}, {"rule": "another"}, {"where": {"task": "other"}}],
)
def test_a_waiver_of_something_else_changes_nothing(changes: dict[str, object]) -> None:
    bad = [evidence(measurement(0.1, 0.2, 0.3))]

    with_waiver = decide(policy(), bad, TODAY, [waiver(**changes)])

    assert with_waiver == decide(policy(), bad, TODAY)
    assert with_waiver.decision == "reject"


def test_a_waiver_that_was_not_needed_does_not_limit_the_verdict() -> None:
    assert decide(policy(), [evidence()], TODAY, [waiver()]).valid_until is None


def test_the_first_waiver_to_end_limits_the_verdict() -> None:
    bad = evidence(measurement(0.1, 0.2, 0.3, task="a"), measurement(0.1, 0.2, 0.3, task="b"))
    waivers = [
        waiver(id="A", where={"task": "a"}, expires="2026-12-01"),
        waiver(id="B", where={"task": "b"}),
    ]

    assert decide(policy(), [bad], TODAY, waivers).valid_until == date(2026, 12, 1)


# --- properties -----------------------------------------------------------------------------------

_ends = st.lists(st.floats(0, 1, allow_nan=False), min_size=3, max_size=3).map(sorted)
_measurements = st.lists(_ends, min_size=1, max_size=4).map(
    lambda many: tuple(measurement(*ends, task=str(i)) for i, ends in enumerate(many))
)


@given(_measurements, st.floats(0, 1), st.floats(0, 0.5))
def test_a_worse_measurement_never_improves_the_decision(
    found: tuple[Measurement, ...], bound: float, loss: float
) -> None:
    worse = tuple(
        measurement(m.low - loss, m.value - loss, m.high - loss, task=m.about["task"])
        for m in found
    )
    judged = policy(rule(at_least=bound))

    before = decide(judged, [evidence(*found)], TODAY).decision
    after = decide(judged, [evidence(*worse)], TODAY).decision

    assert ORDER[after] <= ORDER[before]


@given(_measurements, st.floats(0, 1), st.floats(0, 0.5))
def test_a_tighter_bound_never_improves_the_decision(
    found: tuple[Measurement, ...], bound: float, tighter: float
) -> None:
    before = decide(policy(rule(at_least=bound)), [evidence(*found)], TODAY).decision
    after = decide(policy(rule(at_least=bound + tighter)), [evidence(*found)], TODAY).decision

    assert ORDER[after] <= ORDER[before]


@given(_measurements, st.floats(0, 1), st.randoms())
def test_the_order_of_measurements_and_evidence_does_not_matter(
    found: tuple[Measurement, ...], bound: float, random: object
) -> None:
    judged = policy(rule(at_least=bound))
    other = evidence(measurement(metric="label_prior"), probe="label_prior")
    shuffled = list(found)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis' random

    one = decide(judged, [evidence(*found), other], TODAY)
    two = decide(judged, [other, evidence(*shuffled)], TODAY)

    assert one.decision == two.decision
    assert sorted(f.outcome for f in one.findings) == sorted(f.outcome for f in two.findings)


@given(_measurements, st.floats(0, 1))
def test_a_further_rule_never_improves_the_decision(
    found: tuple[Measurement, ...], bound: float
) -> None:
    more: Evidence = evidence(*found)

    alone = decide(policy(rule(at_least=0.5)), [more], TODAY).decision
    both = decide(
        policy(rule(at_least=0.5), rule(at_least=bound, name="b")), [more], TODAY
    ).decision

    assert ORDER[both] <= ORDER[alone]
