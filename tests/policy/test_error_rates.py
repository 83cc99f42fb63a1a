"""Error rates of a policy: what they may say, of which rules they are, and who carries them."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gate import Policy, Verdict, decide, load_policy, strict_yaml
from gate.errors import PolicyError
from gate.policy.diff import differences
from gate.policy.rules import Rule, rules_digest
from gate.values import Decisions, ErrorRates, Like
from tests.builders import evidence, measurement, policy, rule
from tests.conftest import Gate
from tests.policy.error_rates import like, rates

TODAY = date(2026, 11, 21)
_count = st.integers(0, 10**6)


@given(_count, _count, _count)
def test_decisions_are_on_as_many_as_they_count(
    accepted: int, inconclusive: int, rejected: int
) -> None:
    given = {"accepted": accepted, "inconclusive": inconclusive, "rejected": rejected}
    if not any(given.values()):
        with pytest.raises(ValidationError, match="on no backbone say nothing of a rate"):
            Decisions(**given)
        return

    assert Decisions(**given).n == accepted + inconclusive + rejected


@given(st.tuples(_count, _count), st.sampled_from(["pixels", "classes", "bytes"]))
def test_a_range_is_from_the_least_to_the_most(ends: tuple[int, int], name: str) -> None:
    content = rates()["like"] | {name: list(ends)}
    if ends[0] > ends[1]:
        with pytest.raises(ValidationError, match=f"{name} from .*: write the least first"):
            Like.model_validate(content)
        return

    assert getattr(Like.model_validate(content), name) == ends


@given(st.dictionaries(st.sampled_from(["patch", "warp", "a kind"]), _count, min_size=1))
def test_error_rates_survive_json_and_yaml(kinds: dict[str, int]) -> None:
    backdoored = {
        kind: {"accepted": n, "inconclusive": 1, "rejected": 0} for kind, n in kinds.items()
    }
    stated = ErrorRates.model_validate(rates(backdoored=backdoored))

    assert ErrorRates.model_validate_json(stated.to_json()) == stated


@pytest.mark.parametrize(
    ("place", "value", "says"),
    [
        ("clean.accepted", -1, "greater than or equal to 0"),
        ("clean.accepted", 1.5, "valid integer"),
        ("clean.accepted", True, "valid integer"),
        ("clean.accepted", "60", "valid integer"),
        ("clean", {"accepted": 0, "inconclusive": 0, "rejected": 0}, "on no backbone"),
        ("clean.failed", 1, "unknown key|Extra inputs"),
        ("backdoored", {}, "at least 1 item"),
        ("backdoored.patch", {"accepted": 0, "inconclusive": 0, "rejected": 0}, "no backbone"),
        ("backdoored.patch", {"accepted": 1}, "Field required"),
        ("of", "", "at least 1 character"),
        ("rules", "sha256:short", "match pattern"),
        ("like.pixels", [32, 28], "pixels from 32 to 28: write the least first"),
        ("like.pixels", [28], "Field required"),
        ("like.pixels", [28, 30, 32], "at most 2 items"),
        ("like.bytes", [-1, 5], "greater than or equal to 0"),
        ("like.side", [28, 32], "unknown key|Extra inputs"),
        ("claen", {}, "unknown key|Extra inputs"),
    ],
)
def test_faulty_error_rates_are_refused(place: str, value: Any, says: str, tmp_path: Path) -> None:
    content = json.loads(policy(error_rates=rates()).model_dump_json(exclude_defaults=True))
    schema = Policy.model_json_schema()
    jsonschema.validate(content, schema)
    *outer, key = f"error_rates.{place}".split(".")
    node = content
    for part in outer:
        node = node[part]
    node[key] = value
    (tmp_path / "policy.yaml").write_text(strict_yaml.dump(content))

    with pytest.raises(PolicyError, match=says):
        load_policy(tmp_path / "policy.yaml")


_CHANGES: list[dict[str, Any]] = [
    {"at_least": 0.81},
    {"severity": "warn"},
    {"where": {"task": "*"}},
    {"min_n": 5},
    {"decide_on": "point"},
    {"on_inconclusive": "warn"},
    {"name": "another"},
    {"metric": "class_accuracy"},
]


@given(st.sampled_from(_CHANGES), st.floats(0, 1))
def test_any_change_of_what_a_rule_asks_changes_the_digest(
    change: dict[str, Any], bound: float
) -> None:
    old = rule(at_least=bound)
    new = Rule.model_validate(old.model_dump() | change)

    assert (rules_digest([old]) == rules_digest([new])) == (old == new)


@given(st.text(st.characters(codec="ascii", categories=["L"]), min_size=1))
def test_words_and_order_do_not_change_the_digest(why: str) -> None:
    old, loosened = rule(), {"reason": why, "approved_by": "ann"}

    assert rules_digest([old]) == rules_digest([rule(why=why)])
    assert rules_digest([old]) == rules_digest([rule(loosen=loosened)])
    two = [rule(), rule(name="b")]
    assert rules_digest(two) == rules_digest(two[::-1]) != rules_digest(two[:1])


def test_a_verdict_carries_the_rates_of_its_rules_and_reads_back() -> None:
    judged = decide(policy(error_rates=rates()), like(), TODAY)

    assert judged.error_rates == ErrorRates.model_validate(rates())
    assert judged.unlike == ()
    assert Verdict.model_validate_json(judged.to_json()) == judged


def test_rates_change_nothing_of_a_decision() -> None:
    found = [evidence(measurement(0.7, 0.8, 0.9, task="a"), measurement(0.1, 0.2, 0.3, task="b"))]

    bare, published = (decide(one, found, TODAY) for one in (policy(), policy(error_rates=rates())))

    assert (bare.decision, bare.findings) == (published.decision, published.findings)


def test_rates_of_other_rules_are_carried_by_no_verdict() -> None:
    edited = policy(rule(at_least=0.9), error_rates=rates())

    verdict = decide(edited, like(), TODAY)

    assert (edited.known_error_rates, verdict.error_rates, verdict.unlike) == (None, None, ())


_RULES = "rules:\n  - {probe: clean_accuracy, metric: accuracy, at_least: 0.8, why: w}\n"
BASE = f"name: base\nversion: 1\n{_RULES}"
OWN = f"name: own\nversion: 1\nextends: base.yaml\n{_RULES.replace('0.8', '0.9')}"


def _written(folder: Path, name: str, content: str, **of: Any) -> Path:
    path = folder / name
    path.write_text(content + (strict_yaml.dump({"error_rates": of}) if of else ""))
    return path


def test_rates_are_not_handed_down_and_an_extending_policy_may_state_its_own(
    tmp_path: Path,
) -> None:
    base = _written(tmp_path, "base.yaml", BASE, **rates())
    bare = load_policy(_written(tmp_path, "bare.yaml", OWN))
    whole = rates(bare.rules)
    own = load_policy(_written(tmp_path, "own.yaml", OWN, **whole))

    assert load_policy(base).known_error_rates
    assert bare.error_rates is None
    assert own.known_error_rates == ErrorRates.model_validate(whole)


def test_lint_says_of_rates_of_other_rules_what_to_do(gate: Gate, tmp_path: Path) -> None:
    fits = _written(tmp_path, "fits.yaml", BASE, **rates())
    stale = _written(tmp_path, "stale.yaml", BASE.replace("0.8", "0.7"), **rates())

    code, out, err = gate("policy", "lint", fits, stale)

    assert (code, err) == (0, "")
    assert out.splitlines() == [
        f"{fits}: base v1, 1 rules",
        f"{stale}: base v1, 1 rules",
        f"{stale}: its error_rates are of other rules, so no verdict carries them; drop the "
        f"block, or measure anew for {rules_digest(load_policy(stale).rules)}",
    ]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (None, rates(), "none -> of 62 clean and 19 backdoored backbones (half B of the zoo,"),
        (rates(), None, "which no bound was set on) -> none"),
        (rates(), rates(of="half C"), "which no bound was set on) -> of 62 clean and 19 backd"),
    ],
)
def test_a_change_of_rates_is_told_and_is_neither_looser_nor_stricter(
    old: Any, new: Any, says: str
) -> None:
    (change,) = differences(policy(error_rates=old), policy(error_rates=new))

    assert (change.kind, change.rule) == ("reworded", "error_rates")
    assert says in change.says
