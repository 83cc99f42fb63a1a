"""What is shown of a verdict, whatever the format."""

from collections.abc import Callable
from datetime import date
from typing import get_args

import pytest

from gate import Evidence, Measurement, Verdict, decide
from gate.policy.catalogue import CATALOGUE
from gate.policy.rules import Rule
from gate.reports import html, markdown, text
from gate.reports.attachments import Attachments
from gate.reports.findings import because, carrying, mark, next_step, ordered, remedies, rows
from gate.stats import Interval
from gate.values import Outcome, Unit
from tests.builders import evidence, measurement, policy, rule, waiver


def verbose(verdict: Verdict, found: list[Evidence]) -> str:
    """All that a terminal is told."""
    return text.render(verdict, found, Attachments(verbosity="verbose"))


@pytest.mark.parametrize("render", [verbose, markdown.render])
def test_a_rejection_says_which_remedy_works_and_at_what_accuracy(
    render: Callable[[Verdict, list[Evidence]], str],
) -> None:
    def measured(metric: str, value: float, **about: str) -> Measurement:
        interval = Interval(value, value - 0.05, value + 0.05)
        unit: Unit = "fraction" if "excess" not in metric else "difference of fractions"
        return Measurement.of(metric, interval, 100, unit, task="birds", trigger="dot", **about)

    excess, after = "excess_targeted_attack_success_rate", "_after_remedy"
    found = evidence(
        measured(excess, 0.9, target="owl"),
        measured(excess + after, 0.1, target="owl", remedy="full_network"),
        measured("accuracy" + after, 0.8, remedy="full_network"),
        measured(excess + after, 0.7, target="owl", remedy="weight_decay"),
        measured("accuracy" + after, 0.75, remedy="weight_decay"),
        probe="trigger_patch",
    )
    labels = dict.fromkeys(("task", "trigger", "target"), "*")
    asked = Rule(probe="trigger_patch", metric=excess, where=labels, at_most=0.2, why="because")
    judged = decide(policy(asked), [found], date(2026, 1, 1))

    shown = " ".join(render(judged, [found]).replace("|", " ").split())

    assert f"pass full network {excess}{after} 0.100 [0.050, 0.150], wanted at most 0.2" in shown
    assert "at accuracy 0.800 [0.750, 0.850]" in shown
    assert f"FAIL weight decay {excess}{after} 0.700 [0.650, 0.750]" in shown
    assert "full network" in html.render(judged, [found])


@pytest.mark.parametrize("metric", ["conflicting_accuracy", "group_gap"])
def test_a_remedy_is_shown_beside_what_it_speaks_to_and_nothing_else(metric: str) -> None:
    found = evidence(
        measurement(0.1, 0.2, 0.3, metric="worst_group_accuracy"),
        measurement(0.8, 0.85, 0.9, metric=metric),
        measurement(0.4, 0.5, 0.6, metric="worst_group_accuracy_after_remedy"),
        measurement(0.7, 0.8, 0.9, metric="accuracy_after_remedy"),
        probe="spurious_attribute",
    )
    worst = rule(probe="spurious_attribute", metric="worst_group_accuracy", at_least=0.45)
    bound = {"at_most": 0.1} if metric == "group_gap" else {"at_least": 0.99}
    other = rule(probe="spurious_attribute", metric=metric, **bound)

    def shown(asked: Rule) -> list[tuple[str, str]]:
        verdict = decide(policy(asked), [found], date(2026, 1, 1))
        return [(row.mark, row.says) for row in remedies(verdict, [found])]

    assert shown(other) == []
    ((mark, says),) = shown(worst)
    assert mark == "INCONCLUSIVE"
    assert says.startswith("worst_group_accuracy_after_remedy 0.500 [0.400, 0.600], wanted at ")


def test_what_speaks_of_a_remedy_names_metrics_of_its_own_probe_and_names_the_remedy() -> None:
    for metrics in CATALOGUE.values():
        for metric in metrics.values():
            assert metrics.keys() >= {*metric.after_remedy_of}
            assert not metric.after_remedy_of or "remedy" in metric.labels


def test_evidence_that_is_not_in_the_catalogue_has_no_remedies() -> None:
    verdict = decide(policy(rule(at_least=0.99)), [evidence()], date(2026, 1, 1))
    unknown = Evidence.model_validate(
        {**evidence().model_dump(by_alias=True), "measurements": [measurement(metric="other")]}
    )

    assert list(remedies(verdict, [unknown])) == []


@pytest.fixture
def mixed() -> Verdict:
    """Every outcome of rules that block and that warn, in an order that is nobody's."""
    found = evidence(*(measurement(task=task) for task in ("a", "b", "c")))
    rules = (
        rule(name="passes"),
        rule(name="warns", at_least=0.99, severity="warn"),
        rule(name="unsettled", at_least=0.9, where={"task": "a"}),
        rule(name="waived", at_least=0.99, where={"task": "b"}),
        rule(name="lets through", at_least=0.9, where={"task": "b"}, on_inconclusive="warn"),
        rule(name="missing", where={"task": "x"}),
        rule(name="fails", at_least=0.99, where={"task": "c"}),
    )
    return decide(policy(*rules), [found], date(2026, 1, 1), [waiver(rule="waived")])


def test_what_blocks_comes_first_and_failures_before_all_else(mixed: Verdict) -> None:
    order = ["fails", "missing", "unsettled", "waived", *["warns"] * 3, "lets through"]

    assert [finding.rule for finding in ordered(mixed)] == [*order, *["passes"] * 3]
    assert [row.title for row in rows(mixed) if row.outcome] == [
        *order[:4],
        *["warns (only warns)"] * 3,
        "lets through (only warns)",
        "passes",
    ]


def test_findings_of_one_rule_stay_worst_first() -> None:
    lows = {"b": 0.2, "c": 0.1, "a": 0.3}
    bad = evidence(*(measurement(low, 0.4, 0.5, task=task) for task, low in lows.items()))

    verdict = decide(policy(), [bad], date(2026, 1, 1))

    tasks = [f.measurement.about["task"] for f in ordered(verdict) if f.measurement]
    assert tasks == ["c", "b", "a"]


def test_an_acceptance_is_carried_by_no_finding_and_all_else_by_the_first(mixed: Verdict) -> None:
    first = carrying(mixed)

    assert first
    assert first.rule == "fails"
    warns = rule(name="warns", at_least=0.99, severity="warn")
    assert carrying(decide(policy(warns, rule()), [evidence()], date(2026, 1, 1))) is None


def test_every_outcome_has_a_word_of_its_own() -> None:
    outcomes = get_args(Outcome)

    assert len({mark(outcome) for outcome in outcomes}) == len(outcomes)
    assert all(mark(outcome).lower() == outcome for outcome in outcomes)


def test_the_next_step_is_what_is_said_beyond_the_numbers() -> None:
    rules = (
        rule(name="fails", at_least=0.99),
        rule(name="unsettled", at_least=0.9),
        rule(name="missing", where={"task": "x"}),
        rule(name="waived", at_least=0.99),
    )
    waivers = [waiver(rule="waived")]

    found = decide(policy(*rules), [evidence()], date(2026, 1, 1), waivers).findings

    assert [next_step(finding).split(";")[0] for finding in found] == [
        "",
        "so near the bound, sixteen times as many examples would not settle it",
        "accuracy was not measured for task x",
        "waived by W until 2026-12-31 (ml-team: known)",
    ]
    foreign = found[0].model_copy(update={"says": "said by somebody else"})
    assert next_step(foreign) == "said by somebody else"


def test_what_carries_a_decision_is_not_called_held_where_it_is_waived_or_open() -> None:
    held, waived = rule(at_least=0.5, name="held"), rule(at_least=0.99)
    unsettled = rule(at_least=0.9, on_inconclusive="warn", name="open")

    def why(*rules: Rule) -> str:
        return because(decide(policy(*rules), [evidence()], date(2026, 1, 1), [waiver()]))

    assert why(held) == "The one rule that blocks is held."
    assert why(held, rule(name="b")) == "All 2 rules that block are held."
    assert why(held, waived, unsettled) == (
        "Of the rules that block: 1 held, 1 waived, 1 not settled, which only warns."
    )
    assert why(unsettled) == (
        "Of the rules that block: 1 not settled, which only warns. "
        "An acceptance takes one that is held or waived."
    )
