"""The last day of a waiver is the same day on every host, and never a time on some clock."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from gate.errors import PolicyError
from gate.policy.waivers import load_waivers
from gate.values import Verdict
from tests.builders import BACKBONE, evidence, measurement, written
from tests.conftest import Gate
from tests.gated import POLICY

WAIVER = f"""\
waivers:
  - id: W
    rule: clean_accuracy.accuracy
    backbone: {BACKBONE}
    reason: known
    owner: ml-team
    expires: LAST
"""
STAMPS = [
    "2026-11-27T00:00:00Z",
    "2026-11-27 00:00:00",
    "2026-11-27T00:00:00",
    "2026-11-27T23:59:59Z",
    "2026-11-28T00:00:00+14:00",
    "'2026-11-27T00:00:00Z'",
    "'2026-11-27 00:00'",
    "'2026-11-27T00:00:00+00:00'",
    "'2026-11-27 '",
    "'2026-11-27Z'",
    "1795737600",
]


# one of the two has another date than UTC, whatever the hour
@pytest.fixture(params=["Pacific/Kiritimati", "Pacific/Pago_Pago"])
def elsewhere(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


def test_a_waiver_ends_at_the_same_moment_in_every_time_zone(
    elsewhere: str, gate: Gate, tmp_path: Path
) -> None:
    (tmp_path / "policy.yaml").write_text(POLICY)
    (tmp_path / "evidence").mkdir()
    text = evidence(measurement(0.5, 0.5, 0.5)).to_json()
    (tmp_path / "evidence" / "clean_accuracy.json").write_text(text)
    today = datetime.now(UTC).date()
    codes = []

    for last in (today, today - timedelta(days=1)):
        (tmp_path / "waivers.yaml").write_text(WAIVER.replace("LAST", str(last)))
        code, _, _ = gate(
            "decide", "--policy", tmp_path / "policy.yaml", "--evidence", tmp_path / "evidence",
            "--waivers", tmp_path / "waivers.yaml", "--out", tmp_path / "verdict.json",
        )  # fmt: skip
        codes.append(code)

    assert codes == [0, 1]


@pytest.mark.parametrize("stamp", STAMPS)
def test_a_time_stamp_is_no_day_of_a_waiver(stamp: str, tmp_path: Path) -> None:
    path = written(tmp_path, WAIVER.replace("LAST", stamp))

    with pytest.raises(PolicyError, match=r"policy\.yaml:7:14: .*write the day as 2026-12-31, not"):
        load_waivers(path)


@pytest.mark.parametrize("stamp", ['"2026-11-27T00:00:00Z"', "1795737600"])
def test_a_verdict_that_dates_its_end_by_a_time_stamp_does_not_load(stamp: str) -> None:
    with pytest.raises(ValidationError, match=r"valid_until\n.*write the day as 2026-12-31, not"):
        Verdict.model_validate_json(f'{{"valid_until": {stamp}}}')
