"""Policy files: what is refused, and how it is said."""

from datetime import date
from pathlib import Path

import pytest
from pydantic import ValidationError

from gate import load_policy
from gate.catalogue import CATALOGUE
from gate.errors import PolicyError
from gate.policy import Waiver, Waivers, load_waivers, matches
from gate.values import digest_of
from tests.builders import BACKBONE, measurement, policy, rule

GOOD = """\
name: test
version: 1
rules:
  - probe: clean_accuracy
    metric: accuracy
    where: {task: "*"}
    at_least: 0.8
    why: because
"""

WAIVERS = f"""\
waivers:
  - id: W-1
    rule: clean_accuracy.accuracy
    backbone: {BACKBONE}
    reason: known
    owner: ml-team
    expires: 2026-12-31
"""


def written(folder: Path, content: str) -> Path:
    path = folder / "policy.yaml"
    path.write_text(content)
    return path


@pytest.mark.parametrize("path", sorted(Path("policies").glob("*.yaml")), ids=str)
def test_every_shipped_policy_loads_and_says_what_it_is_for(path: Path) -> None:
    loaded = load_policy(path)

    assert loaded.about
    assert all(len(rule.why) > 20 for rule in loaded.rules)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("at_least", "at_lest", r"rules\.0\.at_lest: unknown key; did you mean 'at_least'\?"),
        ("version", "versoin", r"versoin: unknown key; did you mean 'version'\?"),
        ("clean_accuracy", "clean_acuracy", "unknown probe.*did you mean 'clean_accuracy'"),
        ("metric: accuracy", "metric: acuracy", "unknown metric.*did you mean 'accuracy'"),
        ("{task:", "{taks:", "unknown label.*did you mean 'task'"),
        ("at_least: 0.8", "at_least: yes", r"rules\.0\.at_least: .*number.*found True"),
        ("at_least: 0.8", "at_least: 1e-3", r"rules\.0\.at_least: .*number.*found '1e-3'"),
        ("at_least: 0.8", "at_least: .nan", r"rules\.0\.at_least: .*finite"),
        ("at_least: 0.8", "at_most: 0.8", "better when higher, so bound it by at_least"),
        ("    at_least: 0.8\n", "", "exactly one of at_most and at_least"),
        ("    why: because\n", "", r"rules\.0\.why: Field required"),
        ("version: 1", "version: 1\nversion: 2", r"policy.yaml:3:1: .*'version' stands twice"),
        ('where: {task: "*"}', "<<: {}", r"policy.yaml:6:5: .*merge keys"),
        ("    metric:", "    probe: x\n    metric:", r"policy.yaml:5:5: .*'probe' stands twice"),
        ("name: test", "name: [", "not valid YAML"),
        ("name: test", "name: ''", "name: .*at least 1 character"),
        ("version: 1", "version: 0", "version: .*greater than or equal to 1"),
        ("why: because", "why: ''", r"rules\.0\.why: .*at least 1 character"),
        ("at_least: 0.8", "at_least: .inf", r"rules\.0\.at_least: .*finite"),
        ("at_least: 0.8", "at_least: '0.8'", r"rules\.0\.at_least: .*number.*found '0.8'"),
        ("why:", "severity: fatal\n    why:", r"severity: .*'block' or 'warn'.*found 'fatal'"),
        ("why:", "severity: warn\n    why:", "no rule blocks"),
        ('task: "*"', "task: 5", r"rules\.0\.where\.task: .*string.*found 5"),
    ],
)
def test_a_faulty_policy_is_refused_with_its_place(
    tmp_path: Path, old: str, new: str, says: str
) -> None:
    assert old in GOOD
    path = written(tmp_path, GOOD.replace(old, new))

    with pytest.raises(PolicyError, match=says) as fault:
        load_policy(path)

    assert str(path) in str(fault.value)


@pytest.mark.parametrize("content", ["", "[]", "just text"])
def test_a_file_without_keys_is_no_policy(tmp_path: Path, content: str) -> None:
    with pytest.raises(PolicyError, match="expected keys such as name"):
        load_policy(written(tmp_path, content))


def test_a_policy_without_rules_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"rules: .*at least 1 item"):
        load_policy(written(tmp_path, "name: test\nversion: 1\nrules: []\n"))


def test_a_missing_policy_is_named(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"absent\.yaml: no such file"):
        load_policy(tmp_path / "absent.yaml")


def test_only_what_is_at_fault_is_told(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD.replace("at_least", "at_lest"))

    with pytest.raises(PolicyError) as fault:
        load_policy(path)

    assert len(str(fault.value).splitlines()) == 1


def test_two_rules_need_two_names() -> None:
    with pytest.raises(ValidationError, match=r"called 'clean_accuracy\.accuracy'"):
        policy(rule(), rule(at_least=0.7))

    assert len(policy(rule(), rule(at_least=0.7, name="other")).rules) == 2


def test_a_policy_that_only_warns_is_refused() -> None:
    with pytest.raises(ValidationError, match="no rule blocks"):
        policy(rule(severity="warn"))


def test_comments_and_layout_do_not_change_the_digest(tmp_path: Path) -> None:
    plain = digest_of(load_policy(written(tmp_path, GOOD)))
    other = GOOD.replace("at_least: 0.8", "at_least: 0.80  # four of five")

    assert digest_of(load_policy(written(tmp_path, other))) == plain

    moved = "# first\nrules:" + GOOD.split("rules:")[1] + "\nversion: 1\nname: 'test'\n"
    assert digest_of(load_policy(written(tmp_path, moved))) == plain


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("0.8", "0.81"),
        ("name: test", "name: other"),
        ("version: 1", "version: 2"),
        ("because", "because of that"),
        ('"*"', '"digits"'),
        ("rules:", "allow_unsigned: true\nrules:"),
        ("rules:", "about: something\nrules:"),
        ("    why:", "    name: mine\n    why:"),
    ],
)
def test_every_word_that_counts_changes_the_digest(tmp_path: Path, old: str, new: str) -> None:
    plain = load_policy(written(tmp_path, GOOD)).identity
    changed = load_policy(written(tmp_path, GOOD.replace(old, new))).identity

    assert plain.digest == digest_of(load_policy(written(tmp_path, GOOD)))
    assert changed.digest != plain.digest


@pytest.mark.parametrize(("probe", "metric"), [(p, m) for p in CATALOGUE for m in CATALOGUE[p]])
def test_every_metric_of_the_catalogue_can_be_bounded_one_way(probe: str, metric: str) -> None:
    better = CATALOGUE[probe][metric].better
    good, bad = ("at_most", "at_least") if better == "lower" else ("at_least", "at_most")

    assert rule(probe=probe, metric=metric, **{good: 0.5}).bound.number == 0.5
    with pytest.raises(ValidationError, match="would refuse good backbones"):
        rule(probe=probe, metric=metric, **{bad: 0.5})


def test_a_policy_is_unsigned_only_where_it_says_so(tmp_path: Path) -> None:
    assert not load_policy(written(tmp_path, GOOD)).allow_unsigned
    assert load_policy(written(tmp_path, GOOD + "allow_unsigned: true\n")).allow_unsigned


def test_every_fault_of_a_policy_is_told_at_once(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD.replace("version: 1", "version: -1").replace("why", "wy"))

    with pytest.raises(PolicyError) as fault:
        load_policy(path)

    lines = str(fault.value).splitlines()
    assert [": ".join(line.removeprefix(f"{path}:").split(": ")[:2]) for line in lines] == [
        "2:10: version",
        "4:5: rules.0.why",
        "8:5: rules.0.wy",
    ]
    assert lines[2].endswith("did you mean 'why'?")


def test_a_name_like_no_other_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD.replace("clean_accuracy", "zzz"))

    with pytest.raises(PolicyError, match=f"known: {', '.join(sorted(CATALOGUE))}"):
        load_policy(path)


def test_a_rule_is_called_by_its_name_or_by_what_it_bounds() -> None:
    assert rule(name="mine").id == "mine"
    assert rule().id == "clean_accuracy.accuracy"


def test_a_rule_bounds_its_metric_under_its_labels_only() -> None:
    bounded = rule(where={"task": "digits*"})

    assert bounded.applies_to(measurement(task="digits 2"))
    assert not bounded.applies_to(measurement(task="letters"))
    assert not bounded.applies_to(measurement(metric="class_accuracy", task="digits"))


def test_a_policy_that_is_no_text_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_bytes(b"name: \xff")

    with pytest.raises(PolicyError, match=r"policy\.yaml: cannot be read"):
        load_policy(path)
    with pytest.raises(PolicyError, match=r"cannot be read: .*directory"):
        load_policy(tmp_path)


@pytest.mark.parametrize("content", ["name: \x00", "name: !!python/object:os.system x"])
def test_yaml_that_is_broken_or_unsafe_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(PolicyError, match="not valid YAML"):
        load_policy(written(tmp_path, content))


# PyYAML builds a day by datetime.date, whose ValueError is no YAMLError: gate/strict_yaml.py, load
def test_a_day_that_is_in_no_calendar_is_a_faulty_waiver_file(tmp_path: Path) -> None:
    path = written(tmp_path, WAIVERS.replace("2026-12-31", "2026-02-30"))

    with pytest.raises(PolicyError, match=r"policy\.yaml.*day"):
        load_waivers(path)


# `key in seen` before the key is known to be hashable: gate/strict_yaml.py, construct_mapping
def test_a_list_for_a_key_is_refused_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"policy\.yaml:9:3: not valid YAML"):
        load_policy(written(tmp_path, GOOD + "? [a]\n: 1\n"))


# json and yaml raise RecursionError, which is no YAMLError: gate/strict_yaml.py, load
def test_a_policy_nested_without_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="not valid YAML"):
        load_policy(written(tmp_path, "name: " + "[" * 5000))


# numbers of rules are strict, the others are not: gate/policy.py, Policy.version, allow_unsigned
@pytest.mark.parametrize("line", ["version: yes", "version: '1'", "version: 1.0"])
def test_a_version_is_a_whole_number_and_nothing_like_one(tmp_path: Path, line: str) -> None:
    with pytest.raises(PolicyError, match="version: "):
        load_policy(written(tmp_path, GOOD.replace("version: 1", line)))


@pytest.mark.parametrize("word", ["'yes'", "1", "'t'"])
def test_only_true_allows_unsigned_admissions(tmp_path: Path, word: str) -> None:
    with pytest.raises(PolicyError, match="allow_unsigned: "):
        load_policy(written(tmp_path, GOOD + f"allow_unsigned: {word}\n"))


# min_length counts blanks: gate/policy.py, Rule.why and Waiver.reason
def test_a_blank_is_no_reason_for_a_rule(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"rules\.0\.why"):
        load_policy(written(tmp_path, GOOD.replace("because", "'  '")))


def test_a_glob_matches_only_labels_that_are_there() -> None:
    about = {"task": "digits", "trigger": "yellow square 5px top_left"}

    assert matches(about, {"trigger": "yellow *"})
    assert not matches(about, {"trigger": "white *"})
    assert not matches(about, {"group": "*"})
    assert not matches(about, {"trigger": "yellow *", "task": "letters"})
    assert not matches(about, {"task": "Digits"})
    assert matches(about, {})


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


def test_a_waiver_lasts_through_its_last_day() -> None:
    waiver = Waiver(
        id="W", rule="r", backbone=BACKBONE, reason="x", owner="y", expires=date(2026, 12, 31)
    )

    assert waiver.holds_on(date(2026, 12, 31))
    assert not waiver.holds_on(date(2027, 1, 1))
