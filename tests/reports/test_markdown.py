"""Markdown for a pull request: names stay text, and it fits into a comment."""

from datetime import date

import pytest

from gate import Evidence, Verdict, decide
from gate.reports import markdown
from gate.reports.attachments import Attachments
from gate.reports.findings import LIMITS
from tests.builders import evidence, measurement, policy, rule
from tests.reports import validators


def test_markdown_keeps_a_pipe_inside_its_cell(verdict: Verdict) -> None:
    cells = "clean_accuracy.accuracy | 0.200 [0.100, 0.300], n = 100, wanted at least 0.8 (task"

    shown = markdown.render(verdict)

    assert f"| FAIL | {cells} bad\\|task) | because |" in shown
    assert "bad|task" not in shown


def test_markdown_lists_measurements_and_stays_under_the_limit_of_a_comment(
    verdict: Verdict,
) -> None:
    many = evidence(*(measurement(task=f"task {i}") for i in range(500)))

    shown = markdown.render(verdict, [many])

    assert "| accuracy | task task 7 | 0.900 | 0.850 .. 0.950 | 100 |" in shown
    assert "| accuracy | task task 99 |" in shown
    assert "task task 100 " not in shown
    assert "<summary>clean_accuracy: 500 measurements</summary>" in shown
    assert "and 400 more in the evidence file" in shown
    assert len(shown.encode()) < 65_536


@pytest.mark.parametrize("many", [100, 101])
def test_a_hundred_measurements_are_listed_and_the_rest_counted(many: int) -> None:
    found = evidence(*(measurement(task=f"t{i}") for i in range(many)))
    judged = decide(policy(), [found], date(2026, 1, 1))

    shown = markdown.render(judged, [found])

    assert "| accuracy | task t99 |" in shown
    assert ("and 1 more in the evidence file" in shown) == (many == 101)


# a pull request renders HTML, and names of tasks come from a plan: gate/reports/markdown.py, _cells
def test_html_in_a_label_stays_text_in_markdown() -> None:
    found = evidence(measurement(task="<img src=x>"))

    assert "<img" not in markdown.render(decide(policy(), [found], date(2026, 1, 1)), [found])


def many_failures(rules: int, tasks: int) -> tuple[Verdict, Evidence]:
    """A verdict in which each of many rules fails on each of many tasks."""
    found = evidence(*(measurement(0.1, 0.2, 0.3, task=f"task {i}") for i in range(tasks)))
    asked = (rule(name=f"rule {i}", why="so it is, at length. " * 20) for i in range(rules))
    return decide(policy(*asked), [found], date(2026, 1, 1)), found


@pytest.mark.parametrize(("rules", "tasks"), [(1, 1), (1, 500), (100, 5), (500, 1)])
def test_what_shows_without_a_click_takes_four_kilobytes_and_the_whole_fits_a_comment(
    rules: int, tasks: int
) -> None:
    verdict, found = many_failures(rules, tasks)

    shown = markdown.render(verdict, [found])

    visible = validators.markdown(shown)
    assert visible.startswith("## gate: REJECT\n")
    assert "- **FAIL** rule 0 (task task 0): 0.200 [0.100, 0.300], n = 100" in visible
    assert LIMITS in visible
    assert len(visible.encode()) <= 4_096
    assert len(shown.encode()) <= 65_536
    lines = visible.count("- **FAIL**")
    assert (f"- and {rules * tasks - lines} more that did not pass" in visible) == (
        lines < rules * tasks
    )


def test_failures_come_first_then_what_is_missing_unsettled_only_warned_of_and_waived(
    everything: Verdict, beside: Attachments
) -> None:
    visible = validators.markdown(markdown.render(everything, (), beside))

    lines = [line.split(" (")[0].split(":")[0] for line in visible.splitlines() if line[:2] == "- "]
    assert lines == [
        "- **FAIL** clean_accuracy.accuracy",
        "- **MISSING** absent",
        "- **INCONCLUSIVE** clean_accuracy.accuracy",
        "- **only warns",
        "- **WAIVED** clean_accuracy.accuracy",
    ]
    assert "`resnet 50` · 6 findings" in visible
    assert " · 2026-01-02\n" in visible


def test_a_name_that_fills_a_page_hides_no_other_finding() -> None:
    found = evidence(
        measurement(0.1, 0.2, 0.3, task="a" * 100_000), measurement(0.2, 0.3, 0.4, task="b")
    )

    shown = markdown.render(decide(policy(), [found], date(2026, 1, 1)), [found])

    assert "(task b): 0.300 [0.200, 0.400]" in validators.markdown(shown)
    assert len(shown.encode()) <= 65_536
