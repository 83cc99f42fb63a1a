"""Markdown for a pull request: names stay text, and it fits into a comment."""

from datetime import date

import pytest

from gate import Verdict, decide
from gate.reports import markdown
from tests.builders import evidence, measurement, policy


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
