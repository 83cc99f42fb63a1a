"""What another policy would change, in words and on the candidates of the past."""

from datetime import date
from pathlib import Path

import pytest

from gate import decide, files, load_policy
from gate.errors import EvidenceError, ExitCode
from gate.policy.diff import backtest, changes, differences
from gate.policy.rules import Rule
from tests.builders import evidence, measurement, policy, rule
from tests.conftest import Gate

TODAY = date(2026, 11, 21)


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


def test_what_got_looser_comes_first() -> None:
    old = policy(rule(), rule(name="gone"), rule(name="warned", severity="warn"))
    new = policy(
        rule(at_least=0.9),
        rule(name="warned", severity="block", where={"task": "a"}, at_least=0.7),
        rule(name="new"),
        about="another use",
    )

    found = [(change.kind, change.rule, change.says) for change in differences(old, new)]

    assert found == [
        ("looser", "gone", "the rule is gone: clean_accuracy.accuracy at least 0.8, block"),
        ("looser", "warned", "at least 0.8 -> at least 0.7"),
        ("unclear", "warned", "clean_accuracy.accuracy -> clean_accuracy.accuracy (task a)"),
        ("stricter", "clean_accuracy.accuracy", "at least 0.8 -> at least 0.9"),
        ("stricter", "warned", "severity warn -> block"),
        ("stricter", "new", "a new rule: clean_accuracy.accuracy at least 0.8, block"),
        ("reworded", "about", "another use"),
    ]


@pytest.mark.parametrize(
    ("old", "new", "kind", "says"),
    [
        ({}, {"allow_unsigned": True}, "looser", "false -> true"),
        ({"allow_unsigned": True}, {}, "stricter", "true -> false"),
        ({}, {"waivers": {"longest_days": 9}}, "stricter", "no limit -> 9"),
        ({"waivers": {"longest_days": 9}}, {}, "looser", "9 -> no limit"),
        (
            {"waivers": {"longest_days": 9}},
            {"waivers": {"longest_days": 8}},
            "stricter",
            "9 -> 8",
        ),
    ],
)
def test_what_stands_beside_the_rules_is_compared_too(
    old: dict[str, object], new: dict[str, object], kind: str, says: str
) -> None:
    (change,) = differences(policy(**old), policy(**new))

    assert (change.kind, change.says) == (kind, says)


def test_production_is_nowhere_looser_than_research() -> None:
    research, production = (
        load_policy(f"policies/{name}.yaml") for name in ("research", "production")
    )

    assert {c.kind for c in differences(research, production)} == {"stricter", "reworded"}


def test_two_policies_between_which_nothing_differs_are_said_to_be_alike(gate: Gate) -> None:
    code, out, _ = gate("policy", "diff", "policies/digits.yaml", "policies/digits.yaml")
    assert (code, out) == (0, "no difference but in name and version\n")


TRIGGER = {"probe": "trigger_patch", "at_least": None}
ANN = {"reason": "a harder task", "approved_by": "ann"}


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ([rule(), rule(name="b")], [rule(name="b"), rule()], "they stand in another order"),
        ([rule()], [rule(name="clean_accuracy.accuracy")], "written otherwise, and asks the same"),
        ([rule(at_least=0)], [rule(at_least=-0.0)], "written otherwise, and asks the same"),
        (
            [rule(**TRIGGER, metric="attack_success_rate", at_most_over_reference=0.1)],
            [rule(**TRIGGER, metric="attack_success_rate_over_reference", at_most=0.1)],
            "written otherwise, and asks the same",
        ),
        (
            [rule(loosen=ANN)],
            [rule(loosen=ANN | {"approved_by": "mallory"})],
            "loosen: a harder task (approved by ann) -> a harder task (approved by mallory)",
        ),
        ([rule(loosen=ANN)], [rule()], "loosen: a harder task (approved by ann) -> none"),
    ],
)
def test_what_changes_the_digest_and_no_decision_is_told_as_what_it_is(
    old: list[Rule], new: list[Rule], says: str
) -> None:
    before, after = policy(*old), policy(*new)
    assert before.identity.digest != after.identity.digest

    (change,) = differences(before, after)

    assert (change.kind, change.says) == ("reworded", says)


def test_two_bounds_that_differ_never_look_alike() -> None:
    (change,) = differences(policy(rule(at_least=0.9)), policy(rule(at_least=0.8999999)))

    assert (change.kind, change.says) == ("looser", "at least 0.9 -> at least 0.8999999")
    assert str(rule(at_least=1).bound) == "at least 1"


def test_two_longest_waivers_that_differ_never_look_alike() -> None:
    old, new = (policy(waivers={"longest_days": days}) for days in (1_000_000, 1_000_001))

    assert differences(old, new)[0].says == "1000000 -> 1000001"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ([rule(on_inconclusive="warn")], rule(name="w", at_least=0)),
        (
            [rule(on_inconclusive="warn"), rule(name="w", at_least=0, severity="warn")],
            rule(name="w", at_least=0),
        ),
    ],
)
def test_a_rule_that_may_be_the_first_to_carry_an_acceptance_is_not_called_stricter(
    old: list[Rule], new: Rule
) -> None:
    before, after = policy(*old), policy(old[0], new)
    found = [evidence(measurement(0.5, 0.82, 0.9))]
    assert [decide(one, found, TODAY).decision for one in (before, after)] == [
        "inconclusive",
        "accept",
    ]

    first = differences(before, after)[0]

    assert (first.kind, first.rule) == ("unclear", "w")
    assert "an acceptance may rest on it alone" in first.says
    settled = differences(before, policy(rule(), new))
    assert {change.kind for change in settled} == {"stricter"}


def test_diff_prints_a_line_a_change(gate: Gate) -> None:
    code, out, err = gate("policy", "diff", "policies/production.yaml", "policies/research.yaml")

    assert (code, err) == (0, "")
    assert "looser    clean_accuracy.accuracy: at least 0.6 -> at least 0.5\n" in out
    assert out.startswith("looser")


@pytest.fixture
def past(tmp_path: Path) -> Path:
    """Evidence on three candidates: bad, fair and good."""
    for name, low in (("bad", 0.1), ("fair", 0.82), ("good", 0.92)):
        found = evidence(measurement(low, low + 0.02, low + 0.04))
        files.write(tmp_path / name / "evidence" / "clean_accuracy.json", found.to_json())
    (tmp_path / "notes.txt").write_text("no folder")
    return tmp_path


def test_a_backtest_names_the_candidates_whose_decision_changes(past: Path) -> None:
    moved = backtest(f"{past}/*/evidence", policy(), policy(rule(at_least=0.9)), TODAY)

    assert [(m.folder.parent.name, m.before, m.after, m.changed) for m in moved] == [
        ("bad", "reject", "reject", False),
        ("fair", "accept", "reject", True),
        ("good", "accept", "accept", False),
    ]
    assert str(moved[1]).splitlines() == [
        f"{past}/fair/evidence: accept -> reject",
        "    clean_accuracy.accuracy: pass -> fail",
    ]


def test_a_backtest_without_candidates_is_refused(past: Path) -> None:
    for pattern in ("absent/*", "notes.txt"):
        with pytest.raises(EvidenceError, match="no folder of evidence; give a pattern in quotes"):
            backtest(str(past / pattern), policy(), policy(), TODAY)


def test_a_folder_that_is_no_evidence_stops_the_backtest(past: Path) -> None:
    with pytest.raises(EvidenceError, match=r"bad: no evidence \(\*\.json\)"):
        backtest(f"{past}/*", policy(), policy(), TODAY)


def test_backtest_counts_what_changes_against_another_policy(past: Path, gate: Gate) -> None:
    for name, bound in (("old", 0.8), ("new", 0.9)):
        (past / f"{name}.yaml").write_text(
            f"name: {name}\nversion: 1\nrules:\n"
            f"  - {{probe: clean_accuracy, metric: accuracy, at_least: {bound}, why: because}}\n"
        )
    command = ["policy", "backtest", past / "new.yaml", "--evidence", f"{past}/*/evidence"]

    code, out, err = gate(*command, "--against", past / "old.yaml")
    assert (code, err) == (0, "")
    assert out.endswith(f"1 of 3 candidates are decided otherwise than by {past}/old.yaml\n")

    code, out, _ = gate(*command)
    assert [line.rsplit(": ")[1] for line in out.splitlines()] == ["reject", "reject", "accept"]
    assert gate(*command[:-1], "absent/*")[0] == ExitCode.ERROR


def test_show_prints_what_is_asked_in_all_and_it_reads_back(gate: Gate, tmp_path: Path) -> None:
    code, out, _ = gate("policy", "show", "policies/production.yaml", "--resolved")
    again = tmp_path / "again.yaml"
    again.write_text(out)

    assert code == 0
    assert load_policy(again) == load_policy("policies/production.yaml")
    assert load_policy(again).identity.digest in out.splitlines()[0]
    assert "extends: research.yaml" in gate("policy", "show", "policies/production.yaml")[1]
