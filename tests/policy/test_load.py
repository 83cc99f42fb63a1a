"""Policy files: what is refused, how it is said, and what may extend what."""

from pathlib import Path

import pytest

from gate import load_policy
from gate.errors import PolicyError
from gate.policy.catalogue import CATALOGUE
from gate.policy.load import places
from gate.values import digest_of
from tests.builders import written
from tests.conftest import Gate

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


@pytest.mark.parametrize("path", sorted(Path("policies").glob("*.yaml")), ids=str)
def test_every_shipped_policy_loads_and_says_what_it_is_for(path: Path) -> None:
    loaded = load_policy(path)

    assert loaded.about
    assert all(len(rule.why) > 20 for rule in loaded.rules)
    first = path.read_text().splitlines()[0]
    assert first == "# yaml-language-server: $schema=schema.json"


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
        (
            "at_least: 0.8",
            "at_least: 80",
            r"at least 80: accuracy is a fraction, from 0 to 1; write",
        ),
        ("at_least: 0.8", "at_least: 80%", r"rules\.0\.at_least: .*number.*found '80%'"),
        ("metric: accuracy", "metric: Accuracy", "unknown metric.*'Accuracy'; did you mean 'acc"),
        (
            "why:",
            "min_n: 1e2\n    why:",
            r"min_n: .*found '1e2'\); YAML reads 1e2 as text: write 100",
        ),
        ("why:", "severity: off\n    why:", r"severity: .*'block' or 'warn'"),
        ("at_least: 0.8", "at_least: -0.1", "is a fraction, from 0 to 1"),
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
        ('task: "*"', "task: no", r"yaml:6:19: .*YAML reads no as a boolean: write 'no' in quotes"),
        ('{task: "*"}', "{on: x}", r"yaml:6:13: .*key on as a boolean; write 'on' in quotes"),
        ("name: test", "name: 2026-11-21", r"yaml:1:7: name: .*YAML reads 2026-11-21 as a date"),
        ("name: test", "name: ~", r"yaml:1:7: name: .*YAML reads ~ as nothing"),
        ("0.8", "1e-3", r"yaml:7:15: .*YAML reads 1e-3 as text: write 0\.001 or 1\.0e-3"),
        ("0.8", "1.5e3", r"YAML reads 1\.5e3 as text: write 1500$"),
        ("0.8", "1:30", r"yaml:7:15: .*1:30 is read as another number than it looks like"),
        ("version: 1", "version: 010", r"yaml:2:10: .*010 is read as another number"),
        ("version: 1", "version: 0x1", r"0x1 is read as another number"),
        ("version: 1", "version: 1_0", r"1_0 is read as another number"),
        ("name: test", "name: &a test\nabout: *a", r"yaml:2:8: .*aliases \(\*\) are refused"),
        ("clean_accuracy", "clean_acuracy", r"yaml:4:12: rules\.0\.probe: unknown probe"),
        ("metric: accuracy", "metric: acuracy", r"yaml:5:13: rules\.0\.metric: unknown metric"),
        ("{task:", "{taks:", r"yaml:6:12: rules\.0\.where: unknown label"),
        ("at_least", "at_lest", r"yaml:7:5: rules\.0\.at_lest: unknown key"),
        ("why:", "min_n: 0\n    why:", r"min_n: .*greater than or equal to 1"),
        ("why:", "min_n: yes\n    why:", r"min_n: .*integer.*found True"),
        ("why:", "decide_on: points\n    why:", r"decide_on: .*'bound' or 'point'"),
        ("why:", "on_inconclusive: accept\n    why:", r"on_inconclusive: .*'block' or 'warn'"),
        ("why:", "relative: true\n    why:", "relative goes with at_most_over_reference"),
        ("why:", "relative: 1\n    why:", r"relative: .*boolean.*found 1"),
        ("at_least: 0.8", "at_most_over_reference: 0.1", r"these are: none"),
        ("why:", "at_most_over_reference: 0.1\n    why:", "exactly one of at_most and at_least"),
        ("why:", "loosen: {reason: x}\n    why:", r"loosen\.approved_by: Field required"),
        ("version: 1", "version: 1\nwaivers: {longest_days: 0}", r"longest_days: .*or equal to 1"),
        ("version: 1", "version: 1\nwaivers: 90", r"yaml:3:10: waivers: "),
    ],
)
def test_a_faulty_policy_is_refused_with_its_place(
    tmp_path: Path, old: str, new: str, says: str
) -> None:
    assert old in GOOD
    path = written(tmp_path, GOOD.replace(old, new, 1))

    with pytest.raises(PolicyError, match=says) as fault:
        load_policy(path)

    assert str(path) in str(fault.value)


@pytest.mark.parametrize("content", ["", "[]", "just text"])
def test_a_file_without_keys_is_no_policy(tmp_path: Path, content: str) -> None:
    with pytest.raises(PolicyError, match="expected keys such as name"):
        load_policy(written(tmp_path, content))


def test_a_policy_as_windows_writes_it_is_the_same(tmp_path: Path) -> None:
    plain = load_policy(written(tmp_path, GOOD))

    (tmp_path / "windows.yaml").write_bytes(GOOD.replace("\n", "\r\n").encode("utf-8-sig"))

    assert digest_of(load_policy(tmp_path / "windows.yaml")) == digest_of(plain)


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


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("at_least: 0.8", 'at_least: !!float ""', "7:15"),
        ("at_least: 0.8", 'at_least: !!float "0.8"', "7:15"),
        ("version: 1", "version: 1\nallow_unsigned: !!bool maybe", "3:17"),
        ("name: test", "name: !!timestamp soon", "1:7"),
        ("name: test", "name: !!binary aGVsbG8=", "1:7"),
        ("name: test", "name: ! test", "1:7"),
        ("name: test", "name: test\n? !!binary aGk=\n: 1", "2:3"),
        ("{task:", "!!map {task:", "6:12"),
        ("rules:", "rules: !!seq", "3:8"),
    ],
)
def test_a_tag_is_refused_with_its_place(tmp_path: Path, old: str, new: str, place: str) -> None:
    assert old in GOOD

    with pytest.raises(PolicyError, match=rf"policy\.yaml:{place}: .*tags \(!\) are refused"):
        load_policy(written(tmp_path, GOOD.replace(old, new, 1)))


def test_a_policy_without_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="/dev/zero: longer than 4 MiB, so it is no such file"):
        load_policy("/dev/zero")
    with pytest.raises(PolicyError, match=r"policy\.yaml: longer than 4 MiB"):
        load_policy(written(tmp_path, GOOD + "# and so on\n" * 400_000))


# `key in seen` before the key is known to be hashable: gate/strict_yaml.py, construct_mapping
def test_a_list_for_a_key_is_refused_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"policy\.yaml:9:3: not valid YAML"):
        load_policy(written(tmp_path, GOOD + "? [a]\n: 1\n"))


# json and yaml raise RecursionError, which is no YAMLError: gate/strict_yaml.py, load
def test_a_policy_nested_without_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="not valid YAML"):
        load_policy(written(tmp_path, "name: " + "[" * 5000))


# numbers of rules are strict, the others are not: gate/policy/rules.py, Policy
@pytest.mark.parametrize("line", ["version: yes", "version: '1'", "version: 1.0"])
def test_a_version_is_a_whole_number_and_nothing_like_one(tmp_path: Path, line: str) -> None:
    with pytest.raises(PolicyError, match="version: "):
        load_policy(written(tmp_path, GOOD.replace("version: 1", line)))


@pytest.mark.parametrize("word", ["'yes'", "1", "'t'"])
def test_only_true_allows_unsigned_admissions(tmp_path: Path, word: str) -> None:
    with pytest.raises(PolicyError, match="allow_unsigned: "):
        load_policy(written(tmp_path, GOOD + f"allow_unsigned: {word}\n"))


# min_length counts blanks: gate/policy/rules.py, Sentence
def test_a_blank_is_no_reason_for_a_rule(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"rules\.0\.why"):
        load_policy(written(tmp_path, GOOD.replace("because", "'  '")))


def test_ten_aliases_of_ten_aliases_are_refused_before_they_grow(tmp_path: Path) -> None:
    bomb = "a: &a [x]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join([f'*{chr(97 + i)}'] * 10)}]\n" for i in range(9)
    )

    with pytest.raises(PolicyError, match=r"policy\.yaml:2:8: .*aliases"):
        load_policy(written(tmp_path, bomb))


TIGHTER = """\
extends: policy.yaml
name: tighter
version: 3
rules:
  - probe: clean_accuracy
    metric: accuracy
    where: {task: "*"}
    at_least: 0.9
    why: because more is wanted
"""


def extending(folder: Path, content: str, base: str = GOOD) -> Path:
    written(folder, base)
    path = folder / "team.yaml"
    path.write_text(content)
    return path


def test_an_extending_policy_is_whole_once_it_is_read(tmp_path: Path) -> None:
    base = GOOD.replace("version: 1", "version: 1\nwaivers: {longest_days: 30}")
    base += """  - {probe: label_prior, metric: accuracy_gain, at_least: 0, why: because}\n"""
    new = "  - {probe: clean_accuracy, metric: class_accuracy, at_least: 0.1, why: because}\n"

    loaded = load_policy(extending(tmp_path, TIGHTER + new, base))

    assert (loaded.name, loaded.version, loaded.extends) == ("tighter", 3, None)
    assert [(rule.id, rule.bound.number) for rule in loaded.rules] == [
        ("clean_accuracy.accuracy", 0.9),
        ("label_prior.accuracy_gain", 0),
        ("clean_accuracy.class_accuracy", 0.1),
    ]
    assert loaded.waivers is not None
    assert loaded.waivers.longest_days == 30


def test_the_digest_of_an_extending_policy_covers_what_it_extends(tmp_path: Path) -> None:
    low = "  - {probe: label_prior, metric: accuracy_gain, at_least: 0, why: because}\n"
    one = load_policy(extending(tmp_path, TIGHTER)).identity
    two = load_policy(extending(tmp_path, TIGHTER, GOOD + low)).identity

    assert one.digest != two.digest
    assert one.digest == load_policy(extending(tmp_path, TIGHTER)).identity.digest


LOOSER = [
    ("at_least: 0.9", "at_least: 0.7", "at least 0.8 -> at least 0.7"),
    ("at_least: 0.9", "at_least: 0.8\n    severity: warn", "severity block -> warn"),
    ("at_least: 0.9", "at_least: 0.8\n    on_inconclusive: warn", "on_inconclusive block -> warn"),
    ("at_least: 0.9", "at_least: 0.8\n    decide_on: point", "decide_on bound -> point"),
    ('{task: "*"}', "{task: digits}", r"\(task \*\) -> .*\(task digits\)"),
    ('    where: {task: "*"}\n', "", r"\(task \*\) -> "),
    ("metric: accuracy\n", "metric: class_accuracy\n    name: clean_accuracy.accuracy\n", "class_"),
]


@pytest.mark.parametrize(("old", "new", "says"), LOOSER)
def test_an_extending_policy_may_only_tighten(
    tmp_path: Path, old: str, new: str, says: str
) -> None:
    assert old in TIGHTER
    path = extending(tmp_path, TIGHTER.replace(old, new))

    with pytest.raises(PolicyError, match=rf"team\.yaml:5:5: .* asks less than in test.*{says}"):
        load_policy(path)


@pytest.mark.parametrize(("old", "new", "says"), LOOSER)
def test_what_is_loosened_says_why_and_who_approved_and_keeps_it(
    tmp_path: Path, old: str, new: str, says: str
) -> None:
    stays = "  - {probe: label_prior, metric: accuracy_gain, at_least: 0, why: because}\n"
    because = "loosen: {reason: a harder task, approved_by: ann}\n    why:"
    content = TIGHTER.replace(old, new).replace("why:", because)

    loaded = load_policy(extending(tmp_path, content, GOOD + stays))

    assert loaded.rules[0].loosen is not None
    assert loaded.rules[0].loosen.approved_by == "ann"


def test_the_words_that_loosen_are_refused_where_nothing_is_loosened(tmp_path: Path) -> None:
    because = "loosen: {reason: just in case, approved_by: ann}\n    why:"

    with pytest.raises(PolicyError, match=r"team\.yaml:5:5: .*loosens nothing of test; drop"):
        load_policy(extending(tmp_path, TIGHTER.replace("why:", because)))


def test_the_words_that_loosen_are_refused_where_nothing_is_extended(tmp_path: Path) -> None:
    because = "loosen: {reason: just in case, approved_by: ann}\n    why:"

    with pytest.raises(PolicyError, match=r"policy\.yaml:4:5: .* test extends nothing .* drop loo"):
        load_policy(written(tmp_path, GOOD.replace("why:", because)))


def test_a_loosening_is_shown_however_far_down_the_policies_that_extend_it(
    tmp_path: Path, gate: Gate
) -> None:
    def loosened(bound: float, **by: str) -> str:
        words = f"loosen: {{reason: {by['reason']}, approved_by: {by['who']}}}\n    why:"
        return TIGHTER.replace("0.9", str(bound)).replace("why:", words)

    extending(tmp_path, loosened(0.1, reason="a harder task", who="ann"))
    third = tmp_path / "third.yaml"
    third.write_text(TIGHTER.replace("policy.yaml", "team.yaml").replace("0.9", "0.11"))
    fourth = tmp_path / "fourth.yaml"
    again = loosened(0.05, reason="few images", who="bob")
    fourth.write_text(again.replace("policy.yaml", "third.yaml"))

    assert load_policy(third).rules[0].at_least == 0.11
    assert str(load_policy(third).rules[0].loosen) == "a harder task (approved by ann)"
    assert str(load_policy(fourth).rules[0].loosen) == (
        "a harder task; then few images (approved by ann; then bob)"
    )
    shown = gate("policy", "show", "--resolved", third)[1]
    assert "    approved_by: ann\n" in shown


@pytest.mark.parametrize(
    "rule",
    [
        "{probe: clean_accuracy, metric: class_accuracy, at_least: 0, why: because}",
        "{name: w, probe: clean_accuracy, metric: accuracy, at_least: 0.1, why: because}",
    ],
)
def test_where_nothing_had_to_be_settled_a_first_rule_to_block_is_loosened_in_words(
    tmp_path: Path, rule: str
) -> None:
    base = GOOD.replace("why:", "on_inconclusive: warn\n    why:")
    base += (
        "  - {name: w, probe: clean_accuracy, metric: accuracy, at_least: 0.1, severity: warn, "
        "why: because}\n"
    )
    team = f"extends: policy.yaml\nname: team\nversion: 1\nrules:\n  - {rule}\n"
    said = team.replace("why:", "loosen: {reason: x, approved_by: ann}, why:")

    with pytest.raises(PolicyError, match=r"team\.yaml:5:5: .* an acceptance may rest on it alone"):
        load_policy(extending(tmp_path, team, base))
    assert len(load_policy(extending(tmp_path, said, base)).rules) > 1
    settled = team + TIGHTER.split("rules:\n")[1]
    assert len(load_policy(extending(tmp_path, settled, base)).rules) > 1


def test_fewer_examples_than_the_base_wants_are_looser(tmp_path: Path) -> None:
    base = GOOD.replace("why:", "min_n: 50\n    why:")

    with pytest.raises(PolicyError, match="min_n 50 -> none"):
        load_policy(extending(tmp_path, TIGHTER, base))
    more = TIGHTER.replace("why:", "min_n: 51\n    why:")
    assert load_policy(extending(tmp_path, more, base)).rules[0].min_n == 51


def test_a_point_for_an_interval_that_only_warned_has_to_be_loosened_in_words(
    tmp_path: Path,
) -> None:
    base = GOOD.replace("why:", "on_inconclusive: warn\n    why:")
    point = TIGHTER.replace("why:", "on_inconclusive: warn\n    decide_on: point\n    why:")

    with pytest.raises(PolicyError, match=r"or something else: decide_on bound -> point"):
        load_policy(extending(tmp_path, point, base))


@pytest.mark.parametrize(
    ("base", "own", "says"),
    [
        ("", "allow_unsigned: true", "allow_unsigned asks less than in test"),
        ("waivers: {longest_days: 30}", "waivers: {longest_days: 31}", "waivers asks less"),
        ("waivers: {longest_days: 30}", "waivers: ~", "waivers asks less"),
    ],
)
def test_what_stands_beside_the_rules_may_only_tighten_too(
    tmp_path: Path, base: str, own: str, says: str
) -> None:
    whole = GOOD.replace("rules:", f"{base}\nrules:")
    with pytest.raises(PolicyError, match=rf"team\.yaml:4:\d+: {says}"):
        load_policy(extending(tmp_path, TIGHTER.replace("rules:", f"{own}\nrules:"), whole))


def test_what_stands_beside_the_rules_is_kept_or_tightened(tmp_path: Path) -> None:
    base = GOOD.replace("rules:", "allow_unsigned: true\nrules:")
    signed = TIGHTER.replace("rules:", "allow_unsigned: false\nwaivers: {longest_days: 9}\nrules:")

    assert load_policy(extending(tmp_path, TIGHTER, base)).allow_unsigned
    assert not load_policy(extending(tmp_path, signed, base)).allow_unsigned


def test_a_chain_of_policies_is_followed_and_a_circle_refused(tmp_path: Path) -> None:
    extending(tmp_path, TIGHTER)
    third = tmp_path / "third.yaml"
    third.write_text(TIGHTER.replace("policy.yaml", "team.yaml").replace("0.9", "0.95"))

    assert load_policy(third).rules[0].at_least == 0.95
    third.write_text(third.read_text().replace("0.95", "0.85"))
    with pytest.raises(PolicyError, match=r"in tighter, .*0\.9 -> at least 0\.85"):
        load_policy(third)
    written(tmp_path, TIGHTER.replace("policy.yaml", "third.yaml"))
    with pytest.raises(PolicyError, match=r"extends itself, by way of .*policy\.yaml; break"):
        load_policy(third)


def test_a_base_that_is_not_there_is_named_with_the_place(tmp_path: Path) -> None:
    path = written(tmp_path, TIGHTER.replace("policy.yaml", "absent.yaml"))

    with pytest.raises(PolicyError, match=r"policy\.yaml:1:10: no policy file .*absent\.yaml"):
        load_policy(path)


def test_a_faulty_base_is_told_with_its_own_place(tmp_path: Path) -> None:
    path = extending(tmp_path, TIGHTER, GOOD.replace("at_least", "at_lest"))

    with pytest.raises(PolicyError, match=r"policy\.yaml:7:5: .*did you mean 'at_least'"):
        load_policy(path)


def test_a_policy_loosened_until_nothing_blocks_is_refused(tmp_path: Path) -> None:
    warns = "severity: warn\n    loosen: {reason: x, approved_by: y}\n    why:"

    with pytest.raises(PolicyError, match=r"team\.yaml: together with test: no rule blocks"):
        load_policy(extending(tmp_path, TIGHTER.replace("0.9", "0.8").replace("why:", warns)))


def test_each_rule_stands_in_the_file_that_says_it_last(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "base.yaml").write_text(
        GOOD + "  - {name: other, probe: clean_accuracy, metric: accuracy, at_least: 0.1, why: b}\n"
    )
    top = written(
        tmp_path,
        "# of ours\nname: ours\nversion: 1\nextends: base/../base/base.yaml\nrules:\n"
        "  - name: other\n    probe: clean_accuracy\n    metric: accuracy\n"
        "    at_least: 0.2\n    why: b\n",
    )

    found = places(top)

    assert found == {
        "clean_accuracy.accuracy": (tmp_path / "base" / "base.yaml", 4),
        "other": (top, 6),
    }
    assert found.keys() == {rule.id for rule in load_policy(top).rules}
