"""Deciding is pure; nothing missing, weak or worse gets through."""

from datetime import date, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate import Evidence, Measurement, Verdict, decide
from gate.errors import EvidenceError, PolicyError
from gate.policy.rules import Rule
from gate.policy.waivers import Waiver
from gate.values import digest_of
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


def test_what_more_examples_would_not_narrow_asks_for_none() -> None:
    name = "worst_margin_over_reference"
    found = evidence(measurement(0.4, 0.52, 0.6, metric=name, n=4), probe="trigger_search")
    judged = policy(rule(probe="trigger_search", metric=name, at_most=0.5))

    verdict = decide(judged, [found], TODAY)

    assert verdict.findings[0].outcome == "inconclusive"
    assert "likely to fail, and more examples would not settle it" in verdict.findings[0].says


def test_an_attack_on_too_few_images_is_inconclusive_and_says_how_many_more() -> None:
    name = "attack_success_rate"
    found = evidence(measurement(0.0, 0.1, 0.4, metric=name, n=20), probe="trigger_patch")
    judged = policy(rule(probe="trigger_patch", metric=name, at_most=0.2))

    verdict = decide(judged, [found], TODAY)

    assert "about 160 more examples would settle it" in verdict.findings[0].says


@pytest.mark.parametrize(("value", "likely"), [(0.1, "pass"), (0.3, "fail")])
def test_an_inconclusive_finding_says_which_way_it_points_and_what_a_look_stopped(
    value: float, likely: str
) -> None:
    name, settings = "attack_success_rate", {"probe": {"first_look": 64, "resolution": 0.3}}
    found = evidence(measurement(0.0, value, 0.4, metric=name, n=20), probe="trigger_patch")
    judged = policy(rule(probe="trigger_patch", metric=name, at_most=0.2))
    looked = found.model_copy(update={"settings": settings})

    (said,) = (f.says for f in decide(judged, [looked], TODAY).findings)
    (without,) = (f.says for f in decide(judged, [found], TODAY).findings)

    assert f"; likely to {likely}, about " in without
    assert "resolution" not in without
    assert said.startswith(without)
    assert "raise probes.trigger_patch.first_look, 64 now, or lower resolution, 0.3 now" in said


def test_too_few_examples_of_a_look_say_to_raise_the_first_one() -> None:
    judged = policy(rule(min_n=200))
    looked = evidence(measurement(n=64)).model_copy(
        update={"settings": {"probe": {"first_look": 64}}}
    )

    (finding,) = decide(judged, [looked], TODAY).findings

    assert "wants 200 examples or more; raise probes.clean_accuracy.first_look" in finding.says


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


@pytest.mark.parametrize(
    ("ends", "decision", "outcome"),
    [
        ((0.0, 0.01, 0.05), "accept", "pass"),
        ((0.0, 0.01, 0.051), "inconclusive", "inconclusive"),
        ((0.05, 0.06, 0.07), "inconclusive", "inconclusive"),
        ((0.051, 0.06, 0.07), "reject", "fail"),
    ],
)
def test_at_most_is_held_against_the_upper_end(
    ends: tuple[float, float, float], decision: str, outcome: str
) -> None:
    name = "excess_attack_success_rate"
    judged = policy(rule(probe="trigger_patch", metric=name, at_most=0.05))
    found = evidence(measurement(*ends, metric=name), probe="trigger_patch")

    verdict = decide(judged, [found], TODAY)

    assert verdict.decision == decision
    assert verdict.findings[0].outcome == outcome


@pytest.mark.parametrize(
    ("better", "worst"), [("lower", ["0.9", "0.7", "0.8"]), ("higher", ["0.7", "0.9", "0.8"])]
)
def test_among_failures_the_furthest_off_comes_first(better: str, worst: list[str]) -> None:
    ends = {"0.7": (0.1, 0.2, 0.7), "0.8": (0.3, 0.4, 0.5), "0.9": (0.2, 0.3, 0.9)}
    metric, probe = ("accuracy", "clean_accuracy")
    bound: dict[str, object] = {"at_least": 0.95}
    if better == "lower":
        metric, probe, bound = "attack_success_rate", "trigger_patch", {"at_most": 0.01}
    found = evidence(
        *(measurement(*ends[task], metric=metric, task=task) for task in ends), probe=probe
    )

    verdict = decide(policy(rule(probe=probe, metric=metric, **bound)), [found], TODAY)

    assert [f.measurement.about["task"] for f in verdict.findings if f.measurement] == worst


def test_within_a_rule_what_fails_comes_first_and_what_passes_last() -> None:
    found = evidence(
        measurement(0.80, 0.9, 0.95, task="passes"),
        measurement(0.01, 0.1, 0.20, task="waived"),
        measurement(0.79, 0.9, 0.95, task="weak"),
        measurement(0.50, 0.6, 0.70, task="fails"),
    )

    verdict = decide(policy(), [found], TODAY, [waiver(where={"task": "waived"})])

    assert [f.measurement.about["task"] for f in verdict.findings if f.measurement] == [
        "fails",
        "weak",
        "waived",
        "passes",
    ]


def test_findings_are_in_the_order_of_the_rules_whatever_their_outcome() -> None:
    judged = policy(rule(name="z"), rule(at_least=0.99, name="a"))

    assert [f.rule for f in decide(judged, [evidence()], TODAY).findings] == ["z", "a"]


def test_an_estimate_on_the_bound_is_not_sent_for_more_examples() -> None:
    verdict = decide(policy(), [evidence(measurement(0.7, 0.8, 0.9))], TODAY)

    assert (
        "so near the bound, sixteen times as many examples would not settle it"
        in verdict.findings[0].says
    )


def test_what_is_settled_asks_for_no_more_examples() -> None:
    verdict = decide(policy(), [evidence()], TODAY)

    assert verdict.findings[0].says == "0.900 [0.850, 0.950], n = 100, wanted at least 0.8"


def test_a_verdict_names_its_policy_its_backbone_and_the_digest_of_all_its_evidence() -> None:
    other = evidence(measurement(metric="label_prior"), probe="label_prior")

    verdict = decide(policy(), [other, evidence()], TODAY)

    assert verdict.backbone == BACKBONE
    assert verdict.policy == policy().identity
    assert verdict.evidence == {
        "clean_accuracy": digest_of(evidence()),
        "label_prior": digest_of(other),
    }
    assert list(verdict.evidence) == ["clean_accuracy", "label_prior"]
    assert (verdict.findings[0].rule, verdict.findings[0].why) == (
        "clean_accuracy.accuracy",
        "because",
    )


def test_a_metric_of_another_probe_does_not_stand_in() -> None:
    found = evidence(measurement(), probe="label_prior")

    verdict = decide(policy(), [found], TODAY)

    assert [f.outcome for f in verdict.findings] == ["missing"]
    assert verdict.decision == "inconclusive"


def test_a_missing_finding_names_the_labels_that_were_looked_for() -> None:
    verdict = decide(policy(rule(where={"task": "other*"})), [evidence()], TODAY)

    assert verdict.findings[0].says.startswith("accuracy was not measured for task other*; ")
    everywhere = decide(policy(), [evidence(probe="label_prior")], TODAY).findings[0]
    assert everywhere.says.startswith("accuracy was not measured; add probes.clean_accuracy ")


def test_a_failure_rejects_even_where_something_is_missing() -> None:
    missing = rule(where={"task": "other"}, name="missing")

    verdict = decide(policy(missing, rule()), [evidence(measurement(0.1, 0.2, 0.3))], TODAY)

    assert verdict.decision == "reject"


def test_a_missing_warning_does_not_block() -> None:
    warns = rule(where={"task": "other"}, severity="warn", name="warns")

    verdict = decide(policy(rule(), warns), [evidence()], TODAY)

    assert verdict.findings[1].outcome == "missing"
    assert verdict.decision == "accept"


def test_evidence_of_two_backbones_is_refused() -> None:
    other = evidence(probe="label_prior", backbone=OTHER_BACKBONE)

    with pytest.raises(EvidenceError, match="evidence of 2 backbones"):
        decide(policy(), [evidence(), other], TODAY)


def test_no_evidence_is_refused() -> None:
    with pytest.raises(EvidenceError, match="no evidence"):
        decide(policy(), [], TODAY)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"unit": "nats"}, "accuracy is a fraction with the labels task; found a nats with task"),
        ({"about": {}}, "with the labels task; found a fraction with none"),
        ({"about": {"task": "a", "group": "b"}}, "found a fraction with group, task"),
        ({"value": 90, "high": 95}, "accuracy is a fraction, from 0 to 1; found 90"),
        ({"value": -3, "low": -4}, "accuracy is a fraction, from 0 to 1; found -3"),
        ({"metric": "acuracy"}, "unknown metric of clean_accuracy .*did you mean 'accuracy'"),
    ],
)
def test_evidence_that_no_probe_measures_is_refused(changes: dict[str, object], says: str) -> None:
    given_measurement = {**measurement().model_dump(), **changes}
    found = {**evidence().model_dump(by_alias=True), "measurements": [given_measurement]}

    with pytest.raises(EvidenceError, match=f"decide: evidence of probe clean_accuracy: .*{says}"):
        decide(policy(), [Evidence.model_validate(found)], TODAY)


def test_evidence_of_an_unknown_probe_is_refused() -> None:
    found = Evidence.model_validate({**evidence().model_dump(by_alias=True), "probe": "my_own"})

    with pytest.raises(EvidenceError, match="unknown probe 'my_own'; known: clean_accuracy, "):
        decide(policy(), [evidence(), found], TODAY)


def test_an_interval_may_reach_beyond_what_is_possible() -> None:
    assert decide(policy(), [evidence(measurement(0.9, 1, 1.1))], TODAY).decision == "accept"


def test_images_may_come_to_lie_further_apart_and_a_sum_of_shares_may_be_rounded_up() -> None:
    judged = policy(rule(probe="trigger_patch", metric="embedding_collapse", at_most=0.1))
    apart = measurement(-1.3, -1.2, -1.1, metric="embedding_collapse", split="test")
    skew = measurement(0.9, 1 + 1e-12, 1.1, metric="prediction_skew")

    verdict = decide(judged, [evidence(apart, skew, probe="trigger_patch")], TODAY)

    assert verdict.decision == "accept"


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        (None, "names no reference that it was measured against; give the plan a reference"),
        (BACKBONE, "its reference is its own backbone .* give the plan another reference"),
    ],
)
@pytest.mark.parametrize(
    "metric", ["attack_success_rate_over_reference", "reference_attack_success_rate"]
)
def test_a_difference_to_no_other_backbone_is_refused(
    metric: str, reference: str | None, says: str
) -> None:
    compared = measurement(-0.1, 0.0, 0.1, metric=metric)
    found = evidence(compared, probe="trigger_patch", reference=reference)

    with pytest.raises(EvidenceError, match=f"trigger_patch holds {metric}.*{says}"):
        decide(policy(), [evidence(reference=reference), found], TODAY)
    assert decide(policy(), [evidence(reference=reference)], TODAY).decision == "accept"


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


def test_an_expired_waiver_changes_nothing_not_even_the_sentence() -> None:
    bad = [evidence(measurement(0.1, 0.2, 0.3))]
    late = date(2027, 1, 1)

    assert decide(policy(), bad, late, [waiver()]) == decide(policy(), bad, late)


@pytest.mark.parametrize("low", [0.1, 0.7])
def test_a_waiver_for_some_labels_leaves_the_others_blocking(low: float) -> None:
    bad = evidence(
        measurement(low, 0.75, 0.9, task="known"), measurement(low, 0.75, 0.9, task="new")
    )

    verdict = decide(policy(), [bad], TODAY, [waiver(where={"task": "known"})])

    outcomes = {f.measurement.about["task"]: f.outcome for f in verdict.findings if f.measurement}
    assert outcomes == {"known": "waived", "new": "inconclusive"}
    assert verdict.decision == "inconclusive"


@pytest.mark.parametrize("labels", [{}, {"task": "*"}])
def test_no_waiver_lets_through_what_was_not_measured(labels: dict[str, str]) -> None:
    missing = policy(rule(where={"task": "other"}))

    verdict = decide(missing, [evidence()], TODAY, [waiver(where=labels)])

    assert [f.outcome for f in verdict.findings] == ["missing"]
    assert (verdict.decision, verdict.valid_until) == ("inconclusive", None)


def test_a_valid_waiver_counts_beside_an_expired_one_of_the_same_rule() -> None:
    bad = [evidence(measurement(0.1, 0.2, 0.3))]
    waivers = [waiver(id="old", expires="2026-01-01"), waiver(id="new")]

    verdict = decide(policy(), bad, TODAY, waivers)

    assert verdict.findings[0].waiver == "new"
    assert verdict.valid_until == date(2026, 12, 31)


def test_two_rules_on_one_metric_are_waived_one_by_one() -> None:
    judged = policy(rule(), rule(at_least=0.7, name="lax"))

    verdict = decide(judged, [evidence(measurement(0.1, 0.2, 0.3))], TODAY, [waiver()])

    assert [f.outcome for f in verdict.findings] == ["waived", "fail"]
    assert verdict.decision == "reject"


# the waived warning never blocked, so nothing leans on its waiver: gate/values.py, last_day
def test_a_waiver_of_a_warning_does_not_limit_the_verdict() -> None:
    judged = policy(rule(), rule(at_least=0.99, severity="warn", name="warns"))

    verdict = decide(judged, [evidence()], TODAY, [waiver(rule="warns")])

    assert verdict.decision == "accept"
    assert verdict.valid_until is None


def test_a_waiver_that_was_not_needed_does_not_limit_the_verdict() -> None:
    assert decide(policy(), [evidence()], TODAY, [waiver()]).valid_until is None


def test_the_first_waiver_to_end_limits_the_verdict() -> None:
    bad = evidence(measurement(0.1, 0.2, 0.3, task="a"), measurement(0.1, 0.2, 0.3, task="b"))
    waivers = [
        waiver(id="A", where={"task": "a"}, expires="2026-12-01"),
        waiver(id="B", where={"task": "b"}),
    ]

    assert decide(policy(), [bad], TODAY, waivers).valid_until == date(2026, 12, 1)


# --- how a rule may be held -----------------------------------------------------------------------


def test_too_few_examples_withhold_a_pass_and_say_so() -> None:
    verdict = decide(policy(rule(min_n=1500)), [evidence(measurement(n=100))], TODAY)

    assert verdict.decision == "inconclusive"
    assert verdict.findings[0].says.endswith("; the rule wants 1,500 examples or more")
    assert decide(policy(rule(min_n=100)), [evidence()], TODAY).decision == "accept"


def test_too_few_examples_do_not_excuse_a_failure() -> None:
    bad = [evidence(measurement(0.1, 0.2, 0.3, n=10))]

    assert decide(policy(rule(min_n=50, on_inconclusive="warn")), bad, TODAY).decision == "reject"


def test_a_rule_may_be_held_by_its_point_and_says_so() -> None:
    found = [evidence(measurement(0.5, 0.8, 0.9))]

    verdict = decide(policy(rule(decide_on="point")), found, TODAY)

    assert verdict.decision == "accept"
    assert verdict.findings[0].says.endswith("wanted at least 0.8 by the point estimate")
    below = [evidence(measurement(0.5, 0.79, 0.9))]
    assert decide(policy(rule(decide_on="point")), below, TODAY).decision == "reject"


def test_what_is_open_may_only_warn_where_another_rule_carries_the_acceptance() -> None:
    open_, low = rule(on_inconclusive="warn"), rule(at_least=0.1, name="low")
    found = [evidence(measurement(0.5, 0.8, 0.9))]

    assert decide(policy(open_), found, TODAY).decision == "inconclusive"
    verdict = decide(policy(open_, low), found, TODAY)
    assert verdict.decision == "accept"
    assert [f.outcome for f in verdict.findings] == ["inconclusive", "pass"]


def test_on_inconclusive_excuses_neither_failure_nor_absence() -> None:
    low = rule(probe="label_prior", metric="accuracy_gain", at_least=0, name="low")
    lax = policy(rule(on_inconclusive="warn"), low)
    gain = evidence(measurement(metric="accuracy_gain"), probe="label_prior")

    assert decide(lax, [gain], TODAY).decision == "inconclusive"
    assert decide(lax, [gain, evidence(measurement(0, 0.1, 0.2))], TODAY).decision == "reject"


def over_reference(share: bool, *measurements: Measurement) -> Verdict:
    bound = rule(
        probe="trigger_patch",
        metric="attack_success_rate",
        at_least=None,
        at_most_over_reference=0.5,
        relative=share,
    )
    return decide(policy(bound), [evidence(*measurements, probe="trigger_patch")], TODAY)


def difference(*ends: float, n: int = 100) -> Measurement:
    return measurement(*ends, metric="attack_success_rate_over_reference", n=n, task="a")


def of_reference(*ends: float, task: str = "a") -> Measurement:
    return measurement(*ends, metric="reference_attack_success_rate", n=90, task=task)


def test_a_bound_over_the_reference_is_held_against_the_paired_difference() -> None:
    own = measurement(0.9, 0.95, 0.99, metric="attack_success_rate", task="a")

    assert over_reference(False, own, difference(-0.1, 0.1, 0.5)).decision == "accept"
    assert over_reference(False, own, difference(-0.1, 0.1, 0.51)).decision == "inconclusive"
    (missing,) = over_reference(False, own).findings
    assert missing.outcome == "missing"
    assert missing.says.startswith("attack_success_rate_over_reference was not measured; ")


@pytest.mark.parametrize(
    ("ends", "outcome", "interval"),
    [
        ((0.0, 0.05, 0.1), "pass", (0.0, 0.2, 0.5)),  # 0 .. 0.1/0.2
        ((-0.1, 0.05, 0.1), "pass", (-0.5, 0.2, 0.5)),  # -0.1/0.2 .. 0.1/0.2
        ((0.0, 0.05, 0.11), "inconclusive", (0.0, 0.2, 0.55)),
        ((0.2, 0.25, 0.3), "inconclusive", (0.5, 1.0, 1.5)),  # 0.2/0.4 .. 0.3/0.2
        ((0.24, 0.25, 0.3), "fail", (0.6, 1.0, 1.5)),
    ],
)
def test_a_relative_bound_is_held_against_the_least_favourable_quotient(
    ends: tuple[float, float, float], outcome: str, interval: tuple[float, float, float]
) -> None:
    (finding,) = over_reference(True, difference(*ends), of_reference(0.2, 0.25, 0.4)).findings

    assert finding.outcome == outcome
    assert finding.measurement is not None
    found = finding.measurement.low, finding.measurement.value, finding.measurement.high
    assert found == pytest.approx(interval)
    assert (finding.measurement.n, finding.measurement.unit) == (90, "relative difference")


@pytest.mark.parametrize(
    "measurements",
    [
        (difference(-0.1, -0.05, 0.0),),
        (difference(-0.1, -0.05, 0.0), of_reference(0.2, 0.25, 0.4, task="b")),
        (difference(-0.1, -0.05, 0.0), of_reference(0.0, 0.25, 0.4)),
        (difference(-0.1, -0.05, 1e308), of_reference(1e-9, 0.25, 0.4)),
        (of_reference(0.2, 0.25, 0.4),),
    ],
)
def test_a_share_of_what_may_be_nothing_is_missing(measurements: tuple[Measurement, ...]) -> None:
    verdict = over_reference(True, *measurements)

    assert verdict.decision == "inconclusive"
    assert verdict.findings[0].outcome == "missing"
    assert "reference_attack_success_rate was not measured or may be 0" in verdict.findings[0].says


def test_of_two_waivers_the_one_that_ends_last_counts_whatever_their_order() -> None:
    bad = [evidence(measurement(0.1, 0.2, 0.3))]
    both = [waiver(id="B", expires="2026-12-01"), waiver(id="A", expires="2026-12-31")]

    for waivers in (both, both[::-1]):
        verdict = decide(policy(), bad, TODAY, waivers)
        assert (verdict.findings[0].waiver, verdict.valid_until) == ("A", date(2026, 12, 31))


def test_a_waiver_beyond_the_policys_longest_is_refused_and_not_left_out() -> None:
    bad = [evidence(measurement(0.1, 0.2, 0.3))]
    judged = policy(waivers={"longest_days": 39})

    with pytest.raises(PolicyError, match="W-1 lasts until 2026-12-31, 40 days from 2026-11-21"):
        decide(judged, bad, TODAY, [waiver()])
    elsewhere = [waiver(backbone=OTHER_BACKBONE)]
    assert decide(judged, bad, TODAY, elsewhere).decision == "reject"


def test_a_policy_without_what_it_extends_decides_nothing() -> None:
    with pytest.raises(PolicyError, match=r"test extends base\.yaml, which .* read it with load_"):
        decide(policy(extends="base.yaml"), [evidence()], TODAY)


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
        measurement(
            *(max(end - loss, 0.0) for end in (m.low, m.value, m.high)), task=m.about["task"]
        )
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
    after = decide(
        policy(rule(at_least=min(bound + tighter, 1))), [evidence(*found)], TODAY
    ).decision

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


_bounds = st.tuples(st.floats(0, 1), st.booleans(), st.sampled_from(["block", "warn"]))


def _rules(bounds: list[tuple[float, bool, str]]) -> list[Rule]:
    """Rules of both directions; the first blocks, since a policy needs one that does."""
    return [
        rule(
            name=f"rule {i}",
            severity=severity if i else "block",
            **(
                {"probe": "trigger_patch", "metric": "attack_success_rate", "at_most": number}
                if upper
                else {"at_least": number}
            ),
        )
        for i, (number, upper, severity) in enumerate(bounds)
    ]


def _both(found: tuple[Measurement, ...]) -> list[Evidence]:
    attacked = [
        measurement(m.low, m.value, m.high, metric="attack_success_rate", task=m.about["task"])
        for m in found
    ]
    return [evidence(*found), evidence(*attacked, probe="trigger_patch")]


@given(_measurements, st.lists(_bounds, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_the_order_of_rules_evidence_and_waivers_does_not_change_the_decision(
    found: tuple[Measurement, ...], bounds: list[tuple[float, bool, str]], random: Random
) -> None:
    rules, given_evidence = _rules(bounds), _both(found)
    waivers = [waiver(id=f"W-{i}", rule=f"rule {i}") for i in range(0, len(rules), 2)]
    before = decide(policy(*rules), given_evidence, TODAY, waivers)
    for some in (rules, given_evidence, waivers):
        random.shuffle(some)

    after = decide(policy(*rules), given_evidence, TODAY, waivers)

    assert after.decision == before.decision
    assert after.valid_until == before.valid_until
    assert sorted(after.findings, key=str) == sorted(before.findings, key=str)


@given(_measurements, st.lists(_bounds, min_size=1, max_size=4))
def test_a_verdict_accepts_only_if_every_blocking_rule_holds_at_both_ends(
    found: tuple[Measurement, ...], bounds: list[tuple[float, bool, str]]
) -> None:
    rules = _rules(bounds)

    verdict = decide(policy(*rules), _both(found), TODAY)

    holds = [
        end <= r.at_most if r.at_most is not None else end >= (r.at_least or 0)
        for r in rules
        if r.severity == "block"
        for m in found
        for end in (m.low, m.high)
    ]
    assert (verdict.decision == "accept") == all(holds)


@given(_measurements, st.floats(0, 1), st.floats(0, 0.5), st.floats(0, 0.5))
def test_neither_more_attack_success_nor_a_tighter_at_most_improves_the_decision(
    found: tuple[Measurement, ...], bound: float, rise: float, tighter: float
) -> None:
    def judged(number: float, more: float) -> str:
        attacked = [
            measurement(
                *(min(end + more, 1.0) for end in (m.low, m.value, m.high)),
                metric="attack_success_rate",
                task=m.about["task"],
            )
            for m in found
        ]
        limit = rule(probe="trigger_patch", metric="attack_success_rate", at_most=number)
        return decide(policy(limit), [evidence(*attacked, probe="trigger_patch")], TODAY).decision

    before = ORDER[judged(bound, 0)]

    assert ORDER[judged(bound, rise)] <= before
    assert ORDER[judged(max(bound - tighter, 0), 0)] <= before


@given(_measurements, st.floats(0, 1), st.floats(0, 0.3))
def test_a_wider_interval_never_turns_into_an_acceptance(
    found: tuple[Measurement, ...], bound: float, wider: float
) -> None:
    weaker = [
        measurement(m.low - wider, m.value, m.high + wider, task=m.about["task"]) for m in found
    ]
    judged = policy(rule(at_least=bound))

    after = decide(judged, [evidence(*weaker)], TODAY).decision

    assert after != "accept" or decide(judged, [evidence(*found)], TODAY).decision == "accept"


@given(_measurements, st.floats(0, 1), st.integers(-400, 400))
def test_a_waiver_never_accepts_after_its_last_day(
    found: tuple[Measurement, ...], bound: float, days: int
) -> None:
    judged = policy(rule(at_least=bound))
    given_waiver = waiver(expires=TODAY + timedelta(days=days))

    alone = decide(judged, [evidence(*found)], TODAY)
    waived = decide(judged, [evidence(*found)], TODAY, [given_waiver])

    if days < 0:
        assert waived == alone
    else:
        assert waived.decision == "accept"
        assert (waived.valid_until is None) == (alone.decision == "accept")
