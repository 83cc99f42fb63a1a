"""A change of a rule is looser, stricter, unclear or none."""

import pytest

from gate.policy.changes import changes
from tests.builders import rule


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        ({"at_least": 0.8}, {"at_least": 0.8}, []),
        ({"at_least": 0.8}, {"at_least": 0.81}, ["stricter"]),
        ({"at_least": 0.8}, {"at_least": 0.79}, ["looser"]),
        ({"severity": "warn"}, {}, ["stricter"]),
        ({"on_inconclusive": "warn"}, {}, ["stricter"]),
        ({"decide_on": "point"}, {}, ["stricter"]),
        ({"decide_on": "point", "on_inconclusive": "warn"}, {"decide_on": "point"}, ["stricter"]),
        # the point of an open interval may pass, and be all that an acceptance rests on; or fail
        ({"decide_on": "point"}, {"on_inconclusive": "warn"}, ["unclear"]),
        ({"on_inconclusive": "warn"}, {"decide_on": "point"}, ["unclear"]),
        (
            {"on_inconclusive": "warn"},
            {"on_inconclusive": "warn", "decide_on": "point"},
            ["unclear"],
        ),
        ({"decide_on": "point", "on_inconclusive": "warn"}, {}, ["stricter"]),
        ({}, {"decide_on": "point", "on_inconclusive": "warn"}, ["looser"]),
        ({}, {"min_n": 5}, ["stricter"]),
        ({"min_n": 6}, {"min_n": 5}, ["looser"]),
        ({}, {"where": {"task": "*"}}, ["unclear"]),
        ({}, {"why": "because of that"}, ["reworded"]),
        ({}, {"at_least": 0.7, "severity": "warn"}, ["looser", "looser"]),
    ],
)
def test_a_change_of_a_rule_is_looser_stricter_or_neither(
    old: dict[str, object], new: dict[str, object], kind: list[str]
) -> None:
    assert [change.kind for change in changes(rule(**old), rule(**new))] == kind


@pytest.mark.parametrize(("bound", "kind"), [(0.1, "stricter"), (0.3, "looser")])
def test_a_lower_at_most_is_stricter(bound: float, kind: str) -> None:
    given = {"probe": "trigger_patch", "metric": "attack_success_rate"}

    (change,) = changes(rule(**given, at_most=0.2), rule(**given, at_most=bound))

    assert (change.kind, change.says) == (kind, f"at most 0.2 -> at most {bound}")
