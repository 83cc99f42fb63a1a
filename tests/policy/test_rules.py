"""Rules and policies: what is refused, and what a rule bounds."""

import pytest
from pydantic import ValidationError

from gate.policy.catalogue import CATALOGUE
from gate.policy.rules import matches
from tests.builders import measurement, policy, rule


def test_two_rules_need_two_names() -> None:
    with pytest.raises(ValidationError, match=r"called 'clean_accuracy\.accuracy'"):
        policy(rule(), rule(at_least=0.7))

    assert len(policy(rule(), rule(at_least=0.7, name="other")).rules) == 2


def test_a_policy_that_only_warns_is_refused() -> None:
    with pytest.raises(ValidationError, match="no rule blocks"):
        policy(rule(severity="warn"))


@pytest.mark.parametrize(
    ("probe", "metric"),
    [(p, m) for p, of in CATALOGUE.items() for m in of if of[m].better != "neither"],
)
def test_every_metric_that_is_good_or_bad_can_be_bounded_one_way(probe: str, metric: str) -> None:
    better = CATALOGUE[probe][metric].better
    good, bad = ("at_most", "at_least") if better == "lower" else ("at_least", "at_most")

    assert rule(probe=probe, metric=metric, **{good: 0.5}).bound.number == 0.5
    with pytest.raises(ValidationError, match="would refuse good backbones"):
        rule(probe=probe, metric=metric, **{bad: 0.5})


def test_what_is_neither_good_nor_bad_can_be_bounded_both_ways() -> None:
    for bound in ("at_most", "at_least"):
        asked = rule(probe="lineage", metric="independence_p_value", **{bound: 0.001})
        assert asked.bound.number == 0.001


def test_a_rule_is_called_by_its_name_or_by_what_it_bounds() -> None:
    assert rule(name="mine").id == "mine"
    assert rule().id == "clean_accuracy.accuracy"


def test_a_rule_bounds_its_metric_under_its_labels_only() -> None:
    bounded = rule(where={"task": "digits*"})

    assert bounded.applies_to(measurement(task="digits 2"))
    assert not bounded.applies_to(measurement(task="letters"))
    assert not bounded.applies_to(measurement(metric="class_accuracy", task="digits"))


def test_a_difference_may_be_bounded_below_nothing() -> None:
    assert rule(probe="label_prior", metric="accuracy_gain", at_least=-1).bound.number == -1
    with pytest.raises(ValidationError, match="a difference of fractions, from -1 to 1; write 5 %"):
        rule(probe="label_prior", metric="accuracy_gain", at_least=-5)


def test_a_share_of_the_reference_may_be_more_than_all_of_it() -> None:
    given = {"probe": "trigger_patch", "metric": "attack_success_rate", "at_least": None}

    assert rule(**given, at_most_over_reference=2, relative=True).bound.number == 2
    with pytest.raises(ValidationError, match=r"from -1 to 1; write 5 % as 0\.05"):
        rule(**given, at_most_over_reference=2)


def test_a_glob_matches_only_labels_that_are_there() -> None:
    about = {"task": "digits", "trigger": "yellow square 5px top_left"}

    assert matches(about, {"trigger": "yellow *"})
    assert not matches(about, {"trigger": "white *"})
    assert not matches(about, {"group": "*"})
    assert not matches(about, {"trigger": "yellow *", "task": "letters"})
    assert not matches(about, {"task": "Digits"})
    assert matches(about, {})


def test_a_rule_over_the_reference_reads_the_paired_difference() -> None:
    given = {"probe": "trigger_patch", "metric": "attack_success_rate"}
    absolute = rule(**given, at_most_over_reference=0.1, at_least=None)
    relative = rule(**given, at_most_over_reference=0.1, at_least=None, relative=True)

    assert absolute.measured_metric == "attack_success_rate_over_reference"
    assert absolute.denominator is None
    assert relative.measured_metric == "attack_success_rate_over_reference"
    assert relative.denominator == "reference_attack_success_rate"
    assert absolute.id == relative.id == "trigger_patch.attack_success_rate_over_reference"
    assert absolute.bound.number == 0.1


def test_a_share_of_the_reference_is_offered_only_where_both_are_measured() -> None:
    skew = {"probe": "trigger_patch", "metric": "prediction_skew", "at_least": None}

    absolute = rule(**skew, at_most_over_reference=0.1)
    assert (absolute.measured_metric, absolute.denominator) == (
        "prediction_skew_over_reference",
        None,
    )
    with pytest.raises(ValidationError, match="share of it; these are: attack_success_rate "):
        rule(**skew, at_most_over_reference=0.1, relative=True)
