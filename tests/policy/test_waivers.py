"""Waivers: how long they last, and the files that they stand in."""

from datetime import date
from pathlib import Path

import pytest
from pydantic import ValidationError

from gate.errors import PolicyError
from gate.policy.waivers import Waiver, Waivers, load_waivers
from tests.builders import BACKBONE, policy, written

WAIVERS = f"""\
waivers:
  - id: W-1
    rule: clean_accuracy.accuracy
    backbone: {BACKBONE}
    reason: known
    owner: ml-team
    expires: 2026-12-31
"""


# PyYAML builds a day by datetime.date, whose ValueError is no YAMLError: gate/strict_yaml.py, load
def test_a_day_that_is_in_no_calendar_is_a_faulty_waiver_file(tmp_path: Path) -> None:
    path = written(tmp_path, WAIVERS.replace("2026-12-31", "2026-02-30"))

    with pytest.raises(PolicyError, match=r"policy\.yaml.*day"):
        load_waivers(path)


@pytest.mark.parametrize("day", ["1798675200", "'1798675200'", "2026.5", "yes"])
def test_seconds_since_1970_are_no_day(tmp_path: Path, day: str) -> None:
    path = written(tmp_path, WAIVERS.replace("2026-12-31", day))

    with pytest.raises(PolicyError, match=r"policy\.yaml:7:14: .*write the day as 2026-12-31, not"):
        load_waivers(path)
    quoted = load_waivers(written(tmp_path, WAIVERS.replace("2026-12-31", "'2026-12-31'")))
    assert quoted[0].expires == date(2026, 12, 31)


def test_a_waiver_file_is_as_strict_as_a_policy(tmp_path: Path) -> None:
    content = WAIVERS
    (waiver,) = load_waivers(written(tmp_path, content))
    assert waiver.expires == date(2026, 12, 31)

    with pytest.raises(PolicyError, match="did you mean 'expires'"):
        load_waivers(written(tmp_path, content.replace("expires", "expire")))
    with pytest.raises(PolicyError, match=r"waivers\.0\.owner"):
        load_waivers(written(tmp_path, content.replace("    owner: ml-team\n", "")))
    with pytest.raises(ValidationError, match="two waivers are called 'W-1'"):
        Waivers(waivers=(waiver, waiver))
    with pytest.raises(PolicyError, match=r"waivers\.0\.backbone: .*pattern"):
        load_waivers(written(tmp_path, content.replace("sha256:ab", "sha256:")))
    with pytest.raises(PolicyError, match=r"waivers\.0\.reason: .*at least 1 character"):
        load_waivers(written(tmp_path, content.replace("known", "''")))


def test_a_policy_sets_the_longest_a_waiver_may_last() -> None:
    (waiver,) = Waivers.model_validate(
        {
            "waivers": [
                {
                    "id": "W",
                    "rule": "r",
                    "backbone": BACKBONE,
                    "reason": "x",
                    "owner": "y",
                    "expires": "2026-12-31",
                }
            ]
        }
    ).waivers
    bounded = policy(waivers={"longest_days": 40})

    waiver.require_short(bounded, date(2026, 11, 21))
    waiver.require_short(policy(), date(2020, 1, 1))
    with pytest.raises(PolicyError, match=r"W lasts until 2026-12-31, 41 days .* longer than 40;"):
        waiver.require_short(bounded, date(2026, 11, 20))


def test_only_one_function_knows_when_a_waiver_ends() -> None:
    """It is ``Waiver.holds_on``; every path calls it."""
    import ast

    comparing = [
        f"{path}:{node.lineno}"
        for path in sorted(Path("gate").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Compare)
        and any(
            isinstance(part, ast.Attribute) and part.attr == "expires" for part in ast.walk(node)
        )
    ]

    assert len(comparing) == 1
    assert comparing[0].startswith("gate/policy/waivers.py")


def test_a_waiver_lasts_through_its_last_day() -> None:
    waiver = Waiver(
        id="W", rule="r", backbone=BACKBONE, reason="x", owner="y", expires=date(2026, 12, 31)
    )

    assert waiver.holds_on(date(2026, 12, 31))
    assert not waiver.holds_on(date(2027, 1, 1))
