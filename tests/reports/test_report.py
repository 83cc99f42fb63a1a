"""Reports show what blocks, what is waived, and what a pass does not say."""

from collections.abc import Callable
from datetime import date

import pytest

from gate import Evidence, Measurement, Verdict, decide
from gate.policy.rules import Rule
from gate.policy.waivers import Waiver
from gate.reports.report import LIMITS, html, markdown, reason, text
from gate.stats import Interval
from gate.values import Unit
from tests.builders import BACKBONE, evidence, measurement, policy, rule


@pytest.fixture
def verdict() -> Verdict:
    """One failure, one waived failure, one pass, and many passes of one rule."""
    found = evidence(
        measurement(0.1, 0.2, 0.3, task="bad|task"),
        measurement(0.1, 0.2, 0.3, task="waived"),
        *(measurement(task=f"good {i}") for i in range(5)),
    )
    waiver = Waiver(
        id="W-1",
        rule="clean_accuracy.accuracy",
        where={"task": "waived"},
        backbone=BACKBONE,
        reason="known",
        owner="ml-team",
        expires=date(2026, 12, 31),
    )
    warns = rule(at_least=0.99, severity="warn", name="warns")
    return decide(policy(rule(), warns), [found], date(2026, 1, 1), [waiver])


@pytest.mark.parametrize("render", [text, markdown, html])
def test_every_format_shows_what_blocks_what_is_waived_and_the_limits(
    verdict: Verdict, render: Callable[[Verdict], str]
) -> None:
    shown = " ".join(render(verdict).split())

    assert "REJECT" in shown
    assert "FAIL" in shown
    assert "0.200 [0.100, 0.300], n = 100, wanted at least 0.8" in shown
    assert "waived by W-1 until 2026-12-31 (ml-team: known)" in shown
    assert "and 4 more pass" in shown
    assert "only warns" in shown
    assert LIMITS[:40] in shown
    assert "14 findings: 8 fail, 1 waived, 5 pass" in shown
    assert "and 4 more fail" in shown


def test_markdown_keeps_a_pipe_inside_its_cell(verdict: Verdict) -> None:
    cells = "clean_accuracy.accuracy | 0.200 [0.100, 0.300], n = 100, wanted at least 0.8 (task"

    shown = markdown(verdict)

    assert f"| FAIL | {cells} bad\\|task) | because |" in shown
    assert "bad|task" not in shown


def test_markdown_lists_measurements_and_stays_under_the_limit_of_a_comment(
    verdict: Verdict,
) -> None:
    many = evidence(*(measurement(task=f"task {i}") for i in range(500)))

    shown = markdown(verdict, [many])

    assert "| accuracy | task task 7 | 0.900 | 0.850 .. 0.950 | 100 |" in shown
    assert "| accuracy | task task 99 |" in shown
    assert "task task 100 " not in shown
    assert "<summary>clean_accuracy: 500 measurements</summary>" in shown
    assert "and 400 more in the evidence file" in shown
    assert len(shown.encode()) < 65_536


def test_colours_are_left_out_where_they_are_not_wanted(verdict: Verdict) -> None:
    assert "\x1b[" not in text(verdict)
    assert "\x1b[" in text(verdict, colour=True)


def test_the_reason_is_one_line_and_names_the_finding_that_carries_the_decision(
    verdict: Verdict,
) -> None:
    said = reason(verdict)

    assert said.startswith(
        "reject: 14 findings: 8 fail, 1 waived, 5 pass; clean_accuracy.accuracy: "
    )
    assert said.endswith("(task bad|task)")
    assert "\n" not in said


def test_the_reason_of_an_inconclusive_verdict_is_what_is_unsettled_and_blocks() -> None:
    warns = rule(at_least=0.99, severity="warn", name="warns")
    judged = policy(warns, rule(), rule(at_least=0.9, name="weak"), rule(at_least=0.91, name="w2"))

    said = reason(decide(judged, [evidence()], date(2026, 1, 1)))

    assert said.startswith("inconclusive: 4 findings: 1 fail, 2 inconclusive, 1 pass; weak: ")
    assert "more examples" in said


def test_the_reason_of_a_rejection_is_a_failure_and_not_what_is_missing() -> None:
    judged = policy(rule(where={"task": "other"}, name="missing"), rule(at_least=0.99))

    said = reason(decide(judged, [evidence()], date(2026, 1, 1)))

    assert said.startswith("reject: 2 findings: 1 fail, 1 missing; clean_accuracy.accuracy: 0.900")


def test_the_reason_of_an_acceptance_names_no_finding() -> None:
    warns = rule(at_least=0.99, severity="warn", name="warns")

    said = reason(decide(policy(rule(), warns), [evidence()], date(2026, 1, 1)))

    assert said == "accept: 2 findings: 1 fail, 1 pass"


@pytest.mark.parametrize("many", [3, 4])
def test_the_worst_three_failures_of_a_rule_are_shown_and_the_rest_counted(many: int) -> None:
    bad = evidence(*(measurement(0.1, 0.2, 0.3 + i / 100, task=f"t{i}") for i in range(many)))

    shown = text(decide(policy(), [bad], date(2026, 1, 1)))

    assert [f"(task t{i})" in shown for i in range(many)] == [True, True, True, False][:many]
    assert ("and 1 more fail" in shown) == (many == 4)


@pytest.mark.parametrize("many", [100, 101])
def test_a_hundred_measurements_are_listed_and_the_rest_counted(many: int) -> None:
    found = evidence(*(measurement(task=f"t{i}") for i in range(many)))
    judged = decide(policy(), [found], date(2026, 1, 1))

    shown = markdown(judged, [found])

    assert "| accuracy | task t99 |" in shown
    assert ("and 1 more in the evidence file" in shown) == (many == 101)


@pytest.mark.parametrize("render", [text, html])
def test_words_in_brackets_are_words_and_no_markup(render: Callable[[Verdict], str]) -> None:
    found = evidence(measurement(task="[bold]x[/bold] <script>"))

    shown = render(decide(policy(), [found], date(2026, 1, 1)))

    assert "[bold]x[/bold]" in shown
    assert ("<script>" in shown) == (render is text)


# a pull request renders HTML; task and trigger names come from a plan: gate/report.py, _cells
def test_html_in_a_label_stays_text_in_markdown() -> None:
    found = evidence(measurement(task="<img src=x>"))

    assert "<img" not in markdown(decide(policy(), [found], date(2026, 1, 1)), [found])


def test_a_finding_without_labels_has_no_brackets() -> None:
    judged = decide(policy(), [evidence(probe="label_prior")], date(2026, 1, 1))

    assert "add probes.clean_accuracy to the plan, or drop the rule\n" in text(judged)


def test_every_outcome_has_a_mark_of_its_own() -> None:
    judged = policy(rule(), rule(at_least=0.9, name="b"), rule(where={"task": "x"}, name="c"))

    shown = text(decide(judged, [evidence()], date(2026, 1, 1)))

    assert [line[:5] for line in shown.splitlines() if line[:1].strip()][2:5] == [
        "pass ",
        "???? ",
        "MISS ",
    ]


@pytest.mark.parametrize("render", [text, markdown])
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
    assert "full network" in html(judged, [found])
