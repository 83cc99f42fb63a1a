"""Rows for spreadsheets."""

from datetime import date

import pytest

from gate import Evidence, Verdict, decide
from gate.reports import csv
from gate.reports.attachments import Attachments
from tests.builders import evidence, measurement, policy
from tests.reports import validators


def test_every_finding_and_every_measurement_is_a_row(
    everything: Verdict, found: Evidence, beside: Attachments
) -> None:
    rows = validators.spreadsheet(csv.render(everything, [found], beside))

    assert [row["row"] for row in rows] == ["finding"] * 6 + ["measurement"] * 4
    assert {row["candidate"] for row in rows} == {"resnet 50"}
    first, measured = rows[0], rows[6]
    assert (first["outcome"], first["value"], first["low"], first["high"], first["n"]) == (
        *("fail", 0.2, 0.1, 0.3, 100),
    )
    waived = next(row for row in rows if row["outcome"] == "waived")
    assert (waived["waiver"], waived["waived_until"]) == ("W-1", "2026-12-31")
    assert (measured["probe"], measured["about"], measured["value"]) == (
        *("clean_accuracy", "task bad", 0.2),
    )
    missing = next(row for row in rows if row["outcome"] == "missing")
    assert missing["value"] == ""


@pytest.mark.parametrize("name", ["=cmd|' /C calc'!A1", "+1", "-1", "@SUM(1)", " =1", "\uff1d1"])
def test_text_that_a_spreadsheet_would_run_is_written_behind_an_apostrophe(name: str) -> None:
    verdict = decide(policy(), [evidence()], date(2026, 1, 1))

    (row,) = validators.spreadsheet(csv.render(verdict, (), Attachments(candidate=name)))

    assert row["candidate"] == f"'{name}"


def test_negative_numbers_stay_numbers() -> None:
    low = measurement(-0.2, -0.1, 0.0, metric="balanced_accuracy_gain")
    item = evidence(low, probe="label_prior")
    verdict = decide(policy(), [evidence()], date(2026, 1, 1))

    *_, row = validators.spreadsheet(csv.render(verdict, [item]))

    assert (row["value"], row["low"]) == (-0.1, -0.2)
