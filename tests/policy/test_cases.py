"""Tests of policies: what they run, what they cover, and how they fail."""

from pathlib import Path

import pytest

from gate.errors import ExitCode, PolicyError
from gate.policy.cases import run_tests
from tests.builders import evidence, measurement
from tests.conftest import Gate

POLICY = """\
name: test
version: 1
rules:
  - {probe: clean_accuracy, metric: accuracy, at_least: 0.8, why: because}
"""
CASE = """\
about: A good head is accepted.
as_of: 2026-11-21
measurements:
  clean_accuracy:
    - {metric: accuracy, about: {task: a}, unit: fraction,
       value: 0.9, low: 0.85, high: 0.95, n: 100}
decision: accept
outcomes: {clean_accuracy.accuracy: pass}
"""
BAD = CASE.replace("0.9,", "0.2,").replace("0.85", "0.1").replace("0.95", "0.3")
REJECTED = BAD.replace("decision: accept", "decision: reject").replace("pass", "fail")
A = "clean_accuracy.accuracy"


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(POLICY)
    (tmp_path / "mine.tests").mkdir()
    return path


def write(policy: Path, **cases: str) -> None:
    for name, content in cases.items():
        (policy.with_suffix(".tests") / f"{name}.yaml").write_text(content)


@pytest.mark.parametrize("path", sorted(Path("policies").glob("*.yaml")), ids=str)
def test_the_cases_of_every_shipped_policy_hold_and_cover_it(path: Path) -> None:
    tested = run_tests(path)

    assert tested.complete, str(tested)


def test_a_rule_seen_to_pass_and_to_fail_is_covered(policy: Path, gate: Gate) -> None:
    write(policy, good=CASE, bad=REJECTED)

    code, out, err = gate("policy", "test", policy)

    assert (code, err) == (0, "")
    assert "2 of 2 cases hold; 1 of 1 rules were seen to pass and to fail" in out


@pytest.mark.parametrize(("case", "unseen"), [(CASE, "fail"), (REJECTED, "pass")])
def test_a_rule_never_seen_to_pass_or_to_fail_is_named_and_exits_1(
    policy: Path, gate: Gate, case: str, unseen: str
) -> None:
    write(policy, only=case)

    code, out, err = gate("policy", "test", policy)

    assert code == ExitCode.REJECT
    assert f"UNSEEN  {A}: never seen to {unseen}" in out
    assert "1 of 1 cases hold; 0 of 1 rules" in out
    assert "fail or are not complete" in err


def test_a_case_that_does_not_hold_says_what_was_found_and_covers_nothing(
    policy: Path, gate: Gate
) -> None:
    write(policy, good=CASE, bad=BAD)

    code, out, _ = gate("policy", "test", policy)

    assert code == ExitCode.REJECT
    assert f"expected accept, found reject: {A} fail" in out
    assert f"{A}: expected pass, found fail: 0.200 [0.100, 0.300], n = 100" in out
    assert f"UNSEEN  {A}: never seen to fail" in out


def test_a_waived_failure_is_not_a_failure_seen(policy: Path) -> None:
    waivers = (
        f"waivers: [{{id: W, rule: {A}, backbone: 'sha256:{'0' * 64}', reason: known, owner: me, "
        "expires: 2026-11-21}]\n"
    )
    write(policy, good=CASE, waived=BAD.replace("pass", "waived") + waivers)

    tested = run_tests(policy)

    assert [result.faults for result in tested.results] == [[], []]
    assert tested.unseen == [f"{A}: never seen to fail"]


def test_a_case_may_name_a_folder_of_evidence(policy: Path) -> None:
    found = policy.parent / "found"
    found.mkdir()
    (found / "clean_accuracy.json").write_text(evidence(measurement(0.1, 0.2, 0.3)).to_json())
    given = CASE[CASE.index("measurements") : CASE.index("decision")]
    write(policy, good=CASE, bad=REJECTED.replace(given, "").replace(
        BAD[BAD.index("measurements") : BAD.index("decision")], "evidence: ../found\n"
    ))  # fmt: skip

    assert run_tests(policy).complete


def test_what_cannot_be_decided_on_fails_the_case(policy: Path) -> None:
    given = CASE[CASE.index("measurements") : CASE.index("decision")]
    write(policy, absent=CASE.replace(given, "evidence: ../absent\n"))

    tested = run_tests(policy)

    assert "could not decide: " in tested.results[0].faults[0]
    assert not tested.complete


def test_a_case_with_either_ending_of_yaml_is_run(policy: Path) -> None:
    write(policy, good=CASE, bad=BAD)
    path = policy.with_suffix(".tests") / "bad.yaml"
    path.rename(path.with_suffix(".yml"))

    assert [(r.path.name, bool(r.faults)) for r in run_tests(policy).results] == [
        ("bad.yml", True),
        ("good.yaml", False),
    ]


def test_a_policy_without_tests_is_refused(policy: Path, gate: Gate) -> None:
    code, _, err = gate("policy", "test", policy)

    assert code == ExitCode.USAGE
    assert "no tests; write cases" in err


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("decision:", "decison:", r"good\.yaml:7:1: decison: unknown key; did you mean 'decision'"),
        ("as_of: 2026-11-21\n", "", "as_of: Field required"),
        ("about: A good head is accepted.\n", "", "about: Field required"),
        ("value: 0.9", "value: 0.99", r"good\.yaml:5:7: .*lies outside its interval"),
        ("value: 0.9", "value: .nan", "value: .*finite"),
        ("  clean_accuracy:\n", "  clean_acuracy:\n", "unknown probe .*did you mean"),
        ("metric: accuracy", "metric: acuracy", "unknown metric of clean_accuracy .*did you mean"),
        ("unit: fraction", "unit: difference of fractions", "accuracy is a fraction with the lab"),
        ("{task: a}", "{group: a}", "with the labels task; found a fraction with group"),
        ("decision:", "evidence: ../x\ndecision:", "either measurements or evidence"),
    ],
)
def test_a_faulty_case_is_refused_with_its_place(
    policy: Path, old: str, new: str, says: str
) -> None:
    assert old in CASE
    write(policy, good=CASE.replace(old, new))

    with pytest.raises(PolicyError, match=says):
        run_tests(policy)


def test_a_rule_that_the_policy_does_not_have_fails_the_case(policy: Path) -> None:
    write(policy, good=CASE.replace("accuracy: pass", "acuracy: pass"))

    (result,) = run_tests(policy).results

    assert result.faults == [
        "policy test has no rule 'clean_accuracy.acuracy'; did you mean 'clean_accuracy.accuracy'?"
    ]
