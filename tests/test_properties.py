"""What holds for any policy, any evidence and any waivers."""

import json
import math
from datetime import date, timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from gate import Evidence, Measurement, Policy, Verdict, decide
from gate.policy.diff import differences
from gate.policy.rules import Rule
from gate.policy.waivers import Waiver
from gate.values import worst
from tests.builders import BACKBONE, OTHER_BACKBONE, evidence, measurement

TODAY = date(2026, 11, 21)
TASKS = ("a", "b")
# metric -> (probe, the bound it takes, which way is worse)
METRICS: dict[str, tuple[str, str, int]] = {
    "accuracy": ("clean_accuracy", "at_least", -1),
    "attack_success_rate": ("trigger_patch", "at_most", 1),
    "attack_success_rate_over_reference": ("trigger_patch", "at_most", 1),
    "reference_attack_success_rate": ("trigger_patch", "at_most", 1),
}
_share = st.floats(0, 1)
_severity = st.sampled_from(["block", "warn"])


@st.composite
def _rules(draw: st.DrawFn, name: str) -> Rule:
    metric = draw(st.sampled_from(["accuracy", "attack_success_rate"]))
    probe, side, _ = METRICS[metric]
    bound: dict[str, Any] = {side: draw(_share)}
    if metric == "attack_success_rate" and draw(st.booleans()):
        bound = {"at_most_over_reference": draw(_share), "relative": draw(st.booleans())}
    return Rule(
        name=name,
        probe=probe,
        metric=metric,
        where=draw(st.sampled_from([{}, {"task": "*"}, {"task": "a"}, {"task": "none"}])),
        min_n=draw(st.none() | st.integers(1, 100)),
        decide_on=draw(st.sampled_from(["bound", "point"])),
        on_inconclusive=draw(_severity),
        severity=draw(_severity),
        why="because",
        **bound,
    )


def _policy(rules: list[Rule]) -> Policy:
    assume(any(rule.severity == "block" for rule in rules))
    return Policy(name="any", version=1, rules=tuple(rules))


@st.composite
def _rule_lists(draw: st.DrawFn) -> list[Rule]:
    return [draw(_rules(f"rule {i}")) for i in range(draw(st.integers(1, 4)))]


@st.composite
def _evidence(draw: st.DrawFn) -> list[Evidence]:
    by_probe: dict[str, list[Measurement]] = {"clean_accuracy": [], "trigger_patch": []}
    for metric, (probe, _, _) in METRICS.items():
        for task in TASKS:
            if draw(st.integers(0, 9)):  # one in ten is not measured
                low, value, high = sorted(draw(st.tuples(_share, _share, _share)))
                n = draw(st.integers(1, 100))
                by_probe[probe].append(measurement(low, value, high, metric=metric, n=n, task=task))
    found = [evidence(*many, probe=probe) for probe, many in by_probe.items() if many]
    assume(found)
    return found


@st.composite
def _waivers(draw: st.DrawFn) -> list[Waiver]:
    return [
        Waiver(
            id=f"W-{i}",
            rule=f"rule {draw(st.integers(0, 3))}",
            where=draw(st.sampled_from([{}, {"task": "a"}, {"task": "*"}])),
            backbone=draw(st.sampled_from([BACKBONE, BACKBONE, OTHER_BACKBONE])),
            reason="known",
            owner="me",
            expires=TODAY + timedelta(days=draw(st.integers(-2, 5))),
        )
        for i in range(draw(st.integers(0, 3)))
    ]


def _worse(item: Evidence, metric: str, task: str, loss: float) -> Evidence:
    def moved(m: Measurement) -> Measurement:
        if (m.metric, m.about["task"]) != (metric, task):
            return m
        by = loss * METRICS[metric][2]
        ends = [min(max(end + by, 0.0), 1.0) for end in (m.low, m.value, m.high)]
        return measurement(*ends, metric=metric, n=m.n, task=task)

    return evidence(*map(moved, item.measurements), probe=item.probe)


ORDER = {"accept": 2, "inconclusive": 1, "reject": 0}
_worsened = st.sampled_from([m for m in METRICS if m != "reference_attack_success_rate"])


@given(_rule_lists(), _evidence(), _waivers(), _worsened, st.sampled_from(TASKS), _share)
def test_a_worse_measurement_never_turns_a_rejection_into_anything_better(
    rules: list[Rule], found: list[Evidence], waivers: list[Waiver], metric: str, task: str,
    loss: float,
) -> None:  # fmt: skip
    policy = _policy(rules)

    before = decide(policy, found, TODAY, waivers)
    worse = decide(policy, [_worse(item, metric, task, loss) for item in found], TODAY, waivers)

    assert ORDER[worse.decision] <= ORDER[before.decision]


@given(_rule_lists(), st.data(), _evidence(), _waivers())
def test_a_policy_that_is_nowhere_looser_accepts_nothing_more(
    rules: list[Rule], data: st.DataObject, found: list[Evidence], waivers: list[Waiver]
) -> None:
    old = _policy(rules)
    changed = [data.draw(st.just(rule) | _tightened(rule)) for rule in rules]
    added = data.draw(st.lists(_rules("added"), max_size=1))
    new = _policy([*changed, *added])
    kinds = {c.kind for c in differences(old, new)}
    assert kinds <= {"stricter", "unclear"}

    held = [w for w in waivers if w.rule != "added"]
    before, after = decide(old, found, TODAY, waivers), decide(new, found, TODAY, held)

    if before.decision == "reject":
        assert after.decision != "accept"
    if kinds <= {"stricter"}:
        assert after.decision != "accept" or before.decision == "accept"


@st.composite
def _tightened(draw: st.DrawFn, rule: Rule) -> Rule:
    """A rule that :func:`gate.policy.diff.changes` calls stricter in one way."""
    given = {name: getattr(rule, name) for name in Rule.model_fields}
    ways: list[dict[str, Any]] = [{"severity": "block"}, {"min_n": (rule.min_n or 0) + 1}]
    if rule.at_least is not None:
        ways.append({"at_least": min(rule.at_least + draw(_share), 1.0)})
    elif rule.at_most is not None:
        ways.append({"at_most": max(rule.at_most - draw(_share), 0.0)})
    else:
        ways.append({"at_most_over_reference": max(rule.bound.number - draw(_share), -1.0)})
    ways.append({"decide_on": "bound", "on_inconclusive": "block"})
    ways.append({"on_inconclusive": "block"})
    return Rule(**{**given, **draw(st.sampled_from(ways))})


@given(_rule_lists(), _evidence(), _waivers(), st.randoms())
def test_the_order_of_rules_evidence_measurements_and_waivers_does_not_matter(
    rules: list[Rule], found: list[Evidence], waivers: list[Waiver], random: Random
) -> None:
    def shuffled(many: list[Any]) -> list[Any]:
        return random.sample(many, len(many))

    def of(verdict: Verdict) -> object:
        findings = sorted(finding.model_dump_json() for finding in verdict.findings)
        return verdict.decision, verdict.valid_until, worst(verdict.findings), findings

    mixed = [evidence(*shuffled([*e.measurements]), probe=e.probe) for e in shuffled(found)]

    one = decide(_policy(rules), found, TODAY, waivers)
    two = decide(_policy(shuffled(rules)), mixed, TODAY, shuffled(waivers))

    assert of(one) == of(two)


@given(_rule_lists(), _evidence(), _waivers())
def test_a_waiver_is_shown_and_takes_nothing_else_away(
    rules: list[Rule], found: list[Evidence], waivers: list[Waiver]
) -> None:
    bare = decide(_policy(rules), found, TODAY)
    waived = decide(_policy(rules), found, TODAY, waivers)

    def keyed(verdict: Verdict) -> dict[object, str]:
        return {
            (f.rule, f.measurement.model_dump_json() if f.measurement else None): f.outcome
            for f in verdict.findings
        }

    before, after = keyed(bare), keyed(waived)
    assert before.keys() == after.keys()
    assert all(after[key] in (before[key], "waived") for key in before)
    assert all(before[key] != "pass" for key in before if after[key] == "waived")


@given(_rule_lists(), _evidence())
def test_what_is_missing_is_never_accepted(rules: list[Rule], found: list[Evidence]) -> None:
    policy = _policy(rules)
    verdict = decide(policy, found, TODAY)
    for item in found:
        for rule in policy.rules:
            if rule.severity != "block" or rule.probe != item.probe:
                continue
            left = [m for m in item.measurements if not rule.applies_to(m)]
            others = [other for other in found if other is not item]
            if left or others:
                kept = [*others, *([evidence(*left, probe=item.probe)] if left else [])]
                assert decide(policy, kept, TODAY).decision != "accept"
    if any(f.outcome == "missing" and f.severity == "block" for f in verdict.findings):
        assert verdict.decision != "accept"


@given(_evidence(), st.sampled_from(["value", "low", "high", "n"]), st.integers(0, 99))
@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, None])
def test_a_number_that_is_none_is_no_evidence(
    number: float | None, found: list[Evidence], field: str, which: int
) -> None:
    content = json.loads(found[0].to_json())
    content["measurements"][which % len(content["measurements"])][field] = number

    with pytest.raises(ValidationError):
        Evidence.model_validate_json(json.dumps(content))


@given(_rule_lists(), _evidence(), _waivers())
def test_an_acceptance_rests_on_something_and_nothing_stands_against_it(
    rules: list[Rule], found: list[Evidence], waivers: list[Waiver]
) -> None:
    verdict = decide(_policy(rules), found, TODAY, waivers)
    blocking = [f for f in verdict.findings if f.severity == "block"]

    if verdict.decision == "accept":
        assert {f.outcome for f in blocking} & {"pass", "waived"}
        assert not {f.outcome for f in blocking} & {"fail", "missing"}
        assert all(f.on_inconclusive == "warn" for f in blocking if f.outcome == "inconclusive")
    assert Verdict.model_validate_json(verdict.to_json()) == verdict
