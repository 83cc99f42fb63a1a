"""What a rule requires of a plan: without it a person chooses, with it the rule is as any other."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from gate import Evidence, decide, load_policy
from gate.errors import PolicyError
from gate.policy.diff import changes, compared
from gate.policy.rules import Rule
from gate.values import worst
from tests.builders import REFERENCE, evidence, measurement, policy, rule
from tests.conftest import Gate

TODAY = date(2026, 11, 21)
GROUPS: dict[str, Any] = {
    "probe": "spurious_attribute",
    "metric": "worst_group_accuracy",
    "at_least": 0.5,
    "name": "groups",
}
OVER: dict[str, Any] = {
    "probe": "trigger_patch",
    "metric": "attack_success_rate",
    "at_least": None,
    "at_most_over_reference": 0.3,
    "name": "over",
}


def _groups(value: float = 0.9, task: str = "digits") -> Evidence:
    found = measurement(value, value, value, metric="worst_group_accuracy", task=task)
    return evidence(found, probe="spurious_attribute")


def test_where_no_evidence_is_about_an_attribute_a_person_chooses() -> None:
    asked = policy(rule(), rule(**GROUPS, requires="attribute"))

    verdict = decide(asked, [evidence()], TODAY)

    (finding,) = (f for f in verdict.findings if f.rule == "groups")
    assert verdict.decision == "accept"
    assert (finding.outcome, finding.severity, finding.blocks) == ("missing", "warn", False)
    assert finding.says == (
        "worst_group_accuracy was not measured: no evidence is about an attribute; name one in a "
        "split of the plan, and measure it, or answer for it that users do not differ by any"
    )


def test_where_no_evidence_names_a_reference_a_person_chooses() -> None:
    asked = policy(rule(), rule(**OVER, requires="reference"))

    verdict = decide(asked, [evidence(reference=None)], TODAY)

    assert verdict.decision == "accept"
    assert verdict.findings[1].says.startswith(
        "attack_success_rate_over_reference was not measured: no evidence names a reference; give"
    )


@pytest.mark.parametrize(
    ("asked", "found", "do"),
    [
        ({**GROUPS, "where": {"task": "birds"}}, [evidence(), _groups()], "for task birds; see"),
        (OVER, [evidence()], "add probes.trigger_patch to the plan, or drop the rule"),
    ],
)
def test_where_it_is_offered_what_is_missing_blocks(
    asked: dict[str, Any], found: list[Evidence], do: str
) -> None:
    needs = "attribute" if asked["probe"] == "spurious_attribute" else "reference"

    verdict = decide(policy(rule(), rule(**asked, requires=needs)), found, TODAY)

    assert verdict.decision == "inconclusive"
    assert worst(verdict.findings)[asked["name"]] == "missing"
    assert do in verdict.findings[1].says


def test_an_acceptance_does_not_rest_on_what_nobody_offers() -> None:
    asked = policy(rule(**GROUPS, requires="attribute"))

    assert decide(asked, [evidence()], TODAY).decision == "inconclusive"


def test_without_requires_a_missing_rule_blocks_as_ever() -> None:
    assert decide(policy(rule(), rule(**GROUPS)), [evidence()], TODAY).decision == "inconclusive"


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"requires": "attribute"}, "accuracy of clean_accuracy is about none: its labels are tas"),
        ({"requires": "reference"}, "accuracy of clean_accuracy is measured without one; drop re"),
        ({**GROUPS, "requires": "reference"}, "worst_group_accuracy of spurious_attribute is meas"),
        ({**OVER, "requires": "attribute"}, "attack_success_rate_over_reference of trigger_patch"),
        ({**GROUPS, "requires": "split"}, "'attribute' or 'reference'"),
    ],
)
def test_a_rule_requires_only_what_its_metric_needs(asked: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        rule(**asked)


@pytest.mark.parametrize(
    ("old", "new", "kinds"),
    [
        ({}, {"requires": "attribute"}, ["looser"]),
        ({"requires": "attribute"}, {}, ["stricter"]),
        ({"severity": "warn"}, {"severity": "warn", "requires": "attribute"}, ["reworded"]),
        ({"severity": "warn"}, {"requires": "attribute"}, ["stricter", "reworded"]),
        ({"requires": "attribute"}, {"severity": "warn"}, ["looser", "reworded"]),
    ],
)
def test_to_require_something_asks_less_of_a_rule_that_blocks(
    old: dict[str, Any], new: dict[str, Any], kinds: list[str]
) -> None:
    found = changes(rule(**GROUPS, **old), rule(**GROUPS, **new))

    assert [change.kind for change in found] == kinds
    assert any("requires nothing -> attribute" in c.says for c in found) == ("requires" in new)
    assert any("requires attribute -> nothing" in c.says for c in found) == ("requires" in old)


def test_a_new_rule_is_told_with_what_it_requires() -> None:
    (change,) = compared([rule()], [rule(), rule(**GROUPS, requires="attribute")])

    assert change.says.endswith("at least 0.5, block, requires attribute")


def test_a_rule_that_requires_something_settles_nothing_for_those_that_begin_to_block() -> None:
    """Where nobody offers it, an acceptance could rest on the new rule alone."""
    first = rule(**GROUPS, requires="attribute")
    old, new = policy(first), policy(first, rule())
    before, after = (decide(one, [evidence()], TODAY).decision for one in (old, new))
    assert (before, after) == ("inconclusive", "accept")

    assert "unclear" in {change.kind for change in compared(old.rules, new.rules)}


BASE = """\
name: base
version: 1
rules:
  - {probe: clean_accuracy, metric: accuracy, at_least: 0.8, why: because}
  - {probe: spurious_attribute, metric: worst_group_accuracy, at_least: 0.5, why: because}
"""
OWN = """\
name: own
version: 1
extends: base.yaml
rules:
  - probe: spurious_attribute
    metric: worst_group_accuracy
    at_least: 0.5
    requires: attribute
    why: because
"""


def test_an_extending_policy_that_requires_something_says_who_agreed(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(BASE)
    own = tmp_path / "own.yaml"
    own.write_text(OWN)
    with pytest.raises(PolicyError, match=r"asks less .*requires nothing -> attribute"):
        load_policy(own)

    own.write_text(f"{OWN}    loosen: {{reason: no users, approved_by: ann}}\n")

    assert load_policy(own).rules[1].requires == "attribute"


def test_explain_says_what_a_rule_requires(gate: Gate) -> None:
    name = "spurious_attribute.worst_group_accuracy"

    code, out, _ = gate("explain", name, "--policy", "policies/production.yaml")

    assert code == 0
    assert "Requires          attribute; where no evidence offers one, it is" in out


_share = st.floats(0, 1)
_severity = st.sampled_from(["block", "warn"])


@st.composite
def _rules(draw: st.DrawFn, name: str) -> Rule:
    whose = draw(st.sampled_from([({}, None), (GROUPS, "attribute"), (OVER, "reference")]))
    bound = "at_most_over_reference" if whose[1] == "reference" else "at_least"
    return rule(
        **{
            **whose[0],
            "name": name,
            bound: draw(_share),
            "where": draw(st.sampled_from([{}, {"task": "a"}, {"task": "none"}])),
            "severity": draw(_severity),
            "on_inconclusive": draw(_severity),
            "requires": draw(st.sampled_from([None, whose[1]])),
        }
    )


@st.composite
def _evidence(draw: st.DrawFn) -> list[Evidence]:
    """Of some probes, with or without a reference and an attribute."""
    reference = draw(st.none() | st.just(REFERENCE))
    metrics = {"clean_accuracy": "accuracy", "spurious_attribute": "worst_group_accuracy"}
    if reference:
        metrics["trigger_patch"] = "attack_success_rate_over_reference"
    found = []
    for probe in draw(st.sets(st.sampled_from(sorted(metrics)), min_size=1)):
        low, value, high = sorted(draw(st.tuples(_share, _share, _share)))
        of = measurement(low, value, high, metric=metrics[probe], task=draw(st.sampled_from("ab")))
        found.append(evidence(of, probe=probe, reference=reference))
    return found


def _without_requires(one: Rule) -> Rule:
    return Rule.model_validate(one.model_dump() | {"requires": None})


@given(st.data(), _evidence())
def test_to_require_something_excuses_no_failure_and_changes_nothing_where_it_is_offered(
    data: st.DataObject, found: list[Evidence]
) -> None:
    rules = [data.draw(_rules(f"rule {i}")) for i in range(data.draw(st.integers(1, 4)))]
    assume(any(one.severity == "block" for one in rules))

    asked = decide(policy(*rules), found, TODAY)
    bare = decide(policy(*map(_without_requires, rules)), found, TODAY)

    failed = any(f.outcome == "fail" and f.blocks for f in bare.findings)
    assert (bare.decision == "reject") == (asked.decision == "reject") == failed
    assert worst(bare.findings) == worst(asked.findings)
    if bare.decision == "accept":
        assert asked.decision == "accept"
    if all(one.offered_by(found) for one in rules):
        assert (asked.decision, asked.findings) == (bare.decision, bare.findings)
    for finding in asked.findings:
        if finding.outcome != "missing":
            assert finding in bare.findings


@given(st.data(), _evidence())
def test_what_is_called_stricter_accepts_nothing_more(
    data: st.DataObject, found: list[Evidence]
) -> None:
    old = [data.draw(_rules(f"rule {i}")) for i in range(data.draw(st.integers(1, 3)))]
    new = [
        Rule.model_validate(
            one.model_dump()
            | {"severity": data.draw(_severity), "requires": data.draw(_requirements(one))}
        )
        for one in old
    ]
    assume(all(any(r.severity == "block" for r in rules) for rules in (old, new)))
    assume({change.kind for change in compared(old, new)} <= {"stricter", "reworded"})

    before, after = (decide(policy(*rules), found, TODAY).decision for rules in (old, new))

    assert after != "accept" or before == "accept"


def _requirements(one: Rule) -> st.SearchStrategy[str | None]:
    needs = {"spurious_attribute": "attribute", "trigger_patch": "reference"}.get(one.probe)
    return st.sampled_from([None, needs])
