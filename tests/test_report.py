"""Reports show what blocks, what is waived, and what a pass does not say."""

from datetime import date

import pytest

from gate import Verdict, decide
from gate.policy import Waiver
from gate.report import LIMITS, html, markdown, reason, text
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
    verdict: Verdict, render: object
) -> None:
    shown = render(verdict).replace("\n", " ")  # type: ignore[operator]  # one of the three
    shown = " ".join(shown.split())

    assert "REJECT" in shown
    assert "FAIL" in shown
    assert "0.200 [0.100, 0.300], n = 100, wanted at least 0.8" in shown
    assert "waived by W-1 until 2026-12-31 (ml-team: known)" in shown
    assert "and 4 more pass" in shown
    assert "only warns" in shown
    assert LIMITS[:40] in shown


def test_markdown_keeps_a_pipe_inside_its_cell(verdict: Verdict) -> None:
    assert "bad\\|task" in markdown(verdict)


def test_markdown_lists_measurements_and_stays_under_the_limit_of_a_comment(
    verdict: Verdict,
) -> None:
    many = evidence(*(measurement(task=f"task {i}") for i in range(500)))

    shown = markdown(verdict, [many])

    assert "| task task 7 |" in shown.replace("accuracy | ", "accuracy |").replace(
        "|task", "| task"
    )
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
