"""The report for a terminal."""

from datetime import date

from gate import Verdict, decide
from gate.reports import text
from tests.builders import evidence, policy


def test_colours_are_left_out_where_they_are_not_wanted(verdict: Verdict) -> None:
    assert "\x1b[" not in text.render(verdict)
    assert "\x1b[" in text.coloured(verdict)


def test_a_finding_without_labels_has_no_brackets() -> None:
    judged = decide(policy(), [evidence(probe="label_prior")], date(2026, 1, 1))

    assert "add probes.clean_accuracy to the plan, or drop the rule\n" in text.render(judged)
