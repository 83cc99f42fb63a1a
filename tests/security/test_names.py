"""Names from policies, plans, waivers and data reach no terminal, CI log or page as markup."""

import ast
import json
import re
import subprocess
import sys
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gate import Evidence, Measurement, Verdict, decide
from gate.data.split import open_split
from gate.errors import DataError, ExitCode, GateError, PolicyError
from gate.plan.plan import load_plan
from gate.plan.split import SplitPlan
from gate.policy.load import load_policy
from gate.policy.waivers import load_waivers
from gate.printable import escaped
from gate.reports import Format, render
from gate.reports.attachments import Attachments
from gate.strict_json import read_json
from gate.values import digest_of
from tests.builders import evidence, measurement, policy, rule
from tests.conftest import Gate

HOSTILE = {
    "line break": "x\n::error title=forged::done",
    "carriage return": "x\r::error::done",
    "escape": "\x1b[2Jx",
    "bell": "x\x07",
    "bidi override": "x\u202ey",
    "bidi isolate": "x\u2066y",
    "C1 control": "x\u009b2Jy",
    "zero width": "x\u200by",
    "line separator": "x\u2028y",
    "tag letter": "x\U000e0041y",
}
hostile = pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)


def in_yaml(name: str) -> str:
    escapes = (f"\\U{ord(c):08x}" if not 32 <= ord(c) < 127 else c for c in name)
    return f'"{"".join(escapes)}"'


@hostile
def test_a_policy_with_such_a_name_is_refused_with_its_place(tmp_path: Path, name: str) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(
        f"version: 1\nname: {in_yaml(name)}\nrules:\n"
        "- {probe: clean_accuracy, metric: accuracy, at_least: 0.8, why: because}\n"
    )

    with pytest.raises(PolicyError, match=r"policy.yaml:2:7: name: .*does not show as text"):
        load_policy(path)


@hostile
@pytest.mark.parametrize("field", ["name", "where"])
def test_a_rule_with_such_a_name_is_refused(tmp_path: Path, name: str, field: str) -> None:
    path = tmp_path / "policy.yaml"
    value = in_yaml(name) if field == "name" else f"{{task: {in_yaml(name)}}}"
    path.write_text(
        "version: 1\nname: p\nrules:\n- probe: clean_accuracy\n  metric: accuracy\n"
        f"  {field}: {value}\n  at_least: 0.8\n  why: because\n"
    )

    with pytest.raises(PolicyError, match=rf"policy.yaml:6:\d+: rules.0.{field}: "):
        load_policy(path)


@hostile
@pytest.mark.parametrize("field", ["id", "rule", "owner"])
def test_a_waiver_with_such_a_name_is_refused(tmp_path: Path, name: str, field: str) -> None:
    path = tmp_path / "waivers.yaml"
    waiver = {
        "id": "W", "rule": "r", "backbone": "sha256:" + "0" * 64, "reason": "known", "owner": "me",
        "expires": "2999-12-31", field: name,
    }  # fmt: skip
    lines = (f"  {key}: {in_yaml(value)}\n" for key, value in waiver.items())
    path.write_text("waivers:\n-" + "".join(lines)[1:])

    with pytest.raises(PolicyError, match=rf"waivers.yaml:\d+:\d+: waivers.0.{field}: "):
        load_waivers(path)


@hostile
def test_a_plan_with_such_a_name_is_refused(tmp_path: Path, name: str) -> None:
    text = Path("pipelines/digits.yaml").read_text()
    (line,) = (line for line in text.splitlines() if line.startswith("name:"))
    path = tmp_path / "plan.yaml"
    path.write_text(text.replace(line, f"name: {in_yaml(name)}"))

    with pytest.raises(GateError, match=r"plan.yaml:\d+:7: name: .*does not show as text"):
        load_plan(path)


@hostile
def test_a_class_of_the_data_with_such_a_name_is_refused(
    tmp_path: Path, images: np.ndarray, name: str
) -> None:
    path = tmp_path / "data.npz"
    names = np.array(["a", "b", name])
    np.savez(path, image=images, label=np.arange(60) % 3, class_names=names)

    with pytest.raises(DataError, match=r"data.npz: label: .*does not show as text; take it out"):
        open_split("test", SplitPlan(path=path))


@hostile
def test_an_attribute_of_the_data_with_such_a_value_is_refused(
    tmp_path: Path, images: np.ndarray, name: str
) -> None:
    path = tmp_path / "data.npz"
    ground = np.array(["land", name])[np.arange(60) % 2]
    names = np.array(["a", "b", "c"])
    label = np.arange(60) % 3
    np.savez(path, image=images, label=label, class_names=names, ground=ground)

    with pytest.raises(DataError, match=r"data.npz: ground: .*does not show as text; take it out"):
        open_split("test", SplitPlan(path=path, attributes=("ground",)))


@hostile
def test_evidence_and_verdicts_with_such_names_do_not_load(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValidationError, match="does not show as text"):
        Measurement.rate("accuracy", 1, 2, task=name)
    sound = evidence().to_json()
    content = sound.replace('"task": "digits"', f'"task": {in_json(name)}')
    with pytest.raises(ValidationError, match="does not show as text"):
        Evidence.model_validate_json(content)
    path = tmp_path / "verdict.json"
    judged = decide(policy(), [evidence()], date(2026, 1, 1)).to_json()
    path.write_text(judged.replace('"name": "test"', f'"name": {in_json(name)}'))
    with pytest.raises(GateError, match=r"verdict.json: policy.name: .*does not show as text"):
        read_json(path, Verdict, GateError)


def in_json(name: str) -> str:
    return json.dumps(name)


@pytest.mark.parametrize(
    "name",
    [
        "cat [tabby]", "dog*", "a|b, c: d/e?", "größer ≤ 5", "猫\u3000犬", "a\u00a0b", "🐈",
        "\N{WOMAN}\N{ZERO WIDTH JOINER}\N{STAFF OF AESCULAPIUS}", "\u0645\u06cc\u200c\u062e\u0648",
        "x" * 200, "std::vector", "C#", "<b>", "100 %", "::", "@home",
    ],
)  # fmt: skip
def test_a_name_that_shows_is_taken_as_it_is(name: str) -> None:
    assert measurement(task=name).about == {"task": name}


def test_a_reason_may_have_several_lines() -> None:
    assert policy(rule(why="first\nsecond")).rules[0].why == "first\nsecond"


# What validation lets through, or what is made without it.
MARKUP = (
    "\x1b[2J\x1b]0;t\x07<img src=x onerror=alert(1)>\r\n::error file=x::forged\n"
    "  ::warning::forged\n##[error]forged ##vso[task.complete] | x | "
    "[l](javascript:alert(1)) ![i](http://example.org/x.png) `c` *b* @everyone </details>\u202e"
)


@pytest.fixture
def judged() -> tuple[Verdict, Evidence]:
    """A verdict and evidence full of markup, made past all validation."""
    bad = evidence(measurement(0.1, 0.2, 0.3))
    labelled = bad.measurements[0].model_copy(update={"about": {"task": MARKUP}})
    bad = bad.model_copy(update={"measurements": (labelled,), "remarks": (MARKUP,)})
    verdict = decide(policy(), [evidence(measurement(0.1, 0.2, 0.3))], date(2026, 1, 1))
    finding = verdict.findings[0].model_copy(
        update={"rule": MARKUP, "why": MARKUP, "says": MARKUP, "measurement": labelled}
    )
    name = verdict.policy.model_copy(update={"name": MARKUP + "`x`"})
    of = {bad.probe: digest_of(bad)}
    return verdict.model_copy(update={"findings": (finding,), "policy": name, "evidence": of}), bad


def commands_in(text: str) -> list[str]:
    """Lines that a runner of GitHub or Azure would carry out."""
    lines = text.splitlines()
    return [line for line in lines if line.strip().startswith("::") or re.search(r"##\w*\[", line)]


@pytest.mark.parametrize("shown_as", Format)
def test_no_format_steers_a_terminal_or_a_ci_system(
    judged: tuple[Verdict, Evidence], shown_as: Format
) -> None:
    shown = render(shown_as, judged[0], [judged[1]])

    printed = escaped(shown)  # as every command prints it

    assert not set("\x1b\x07\r\u202e") & set(printed)
    assert not commands_in(printed)
    if shown_as != Format.JSON:
        assert not set("\x1b\x07\r\u202e") & set(shown)


def test_colours_are_all_that_steers_a_terminal_in_a_coloured_report(
    judged: tuple[Verdict, Evidence],
) -> None:
    shown = render(Format.TEXT, judged[0], [judged[1]], Attachments(colour=True))

    assert "\x1b" not in re.sub(r"\x1b\[[\d;]*m", "", shown)


def test_a_line_that_is_broken_at_a_command_carries_none_out() -> None:
    for length in range(60, 120):
        name = "x" * length + " ::error title=forged::done"
        found = [evidence(measurement(0.1, 0.2, 0.3, task=name))]

        shown = render(Format.TEXT, decide(policy(), found, date(2026, 1, 1)), found)

        assert not commands_in(shown)


def test_markdown_has_no_link_picture_mention_or_html_of_a_name(
    judged: tuple[Verdict, Evidence],
) -> None:
    shown = render(Format.MARKDOWN, judged[0], [judged[1]])

    for markup in ("<img", "](", "![", "@everyone", " `c`", " *b*"):
        assert markup not in shown, markup
    assert shown.count("</details>") == shown.count("<details>") == 2
    assert "\\`c\\`" in shown
    assert all(line.count(" | ") == 3 for line in shown.splitlines() if "| FAIL" in line)


def test_markdown_of_plain_names_is_as_it_reads() -> None:
    found = [evidence(measurement(task="cat_1 (tabby) [x], #3"))]

    shown = render(Format.MARKDOWN, decide(policy(), found, date(2026, 1, 1)), found)

    assert "| accuracy | task cat_1 (tabby) [x], #3 |" in shown
    assert "policy `test` v1" in shown


def test_html_has_no_element_of_a_name(judged: tuple[Verdict, Evidence]) -> None:
    shown = render(Format.HTML, judged[0], [judged[1]])

    assert "<img" not in shown
    assert "&lt;img" in shown


def test_json_stays_the_same_json_where_it_is_printed() -> None:
    found = [evidence(measurement(task="##[error]x"))]
    verdict = decide(policy(), found, date(2026, 1, 1))

    printed = escaped(render(Format.JSON, verdict))

    assert not commands_in(printed)
    assert json.loads(printed) == json.loads(verdict.to_json())


def test_an_error_about_a_hostile_key_carries_out_no_command(gate: Gate, tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text('"x\\n::error title=forged::y\\e[2J": 1\nname: p\nversion: 1\nrules: []\n')

    code, out, err = gate("policy", "lint", path)

    assert code == ExitCode.USAGE
    assert not commands_in(out + err)
    assert "\x1b" not in out + err


def test_an_error_about_a_hostile_file_name_carries_out_no_command(
    gate: Gate, tmp_path: Path
) -> None:
    code, _, err = gate("policy", "lint", tmp_path / "x\n::error::y\x1b[2J\u202e.yaml")

    assert code == ExitCode.USAGE
    assert not commands_in(err)
    assert not set("\x1b\u202e") & set(err)


@given(st.text())
def test_what_is_escaped_steers_nothing_and_stays_so(text: str) -> None:
    shown = escaped(text)

    assert all(c in "\n\t\u200c\u200d" or c.isprintable() or c.isspace() for c in shown)
    assert not commands_in(shown)
    assert escaped(shown) == shown


@given(st.text(st.sampled_from("#:[ \n\tvso\x1b\u3000\u2028a\\")))
def test_no_mixture_of_what_commands_are_made_of_is_one(text: str) -> None:
    assert not commands_in(escaped(text))


ASCII = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C"}


# what tells of all that passed no more than that it did
NO_LABELS_OF_PASSES = {
    *(Format.SARIF, Format.GITHUB, Format.GITLAB),
    *(Format.CYCLONEDX, Format.BADGE),
}


# metrics name rules, and not what they were measured of
@pytest.mark.parametrize("shown_as", [each for each in Format if each != Format.METRICS])
def test_a_report_on_a_terminal_of_ascii_is_no_bug_in_gate(
    tmp_path: Path, shown_as: Format
) -> None:
    path = tmp_path / "verdict.json"
    found = [evidence(measurement(task="größer ≤ 5 🐈"))]
    path.write_text(decide(policy(), found, date(2026, 1, 1)).to_json(), encoding="utf-8")

    done = subprocess.run(
        [sys.executable, "-m", "gate", "report", str(path), "--format", shown_as],
        env=ASCII, capture_output=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    said = done.stdout.decode("ascii")
    assert ("gr\\u00f6" in said) == (shown_as not in NO_LABELS_OF_PASSES)
    if shown_as == Format.JSON:
        (tmp_path / "again.json").write_bytes(done.stdout)
        assert read_json(tmp_path / "again.json", Verdict, GateError).findings[0].measurement


def test_an_error_on_a_terminal_of_ascii_keeps_its_code() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gate", "policy", "lint", "größer.yaml"],
        env=ASCII, capture_output=True, check=False,
    )  # fmt: skip

    assert done.returncode == ExitCode.USAGE
    assert b"no such file" in done.stderr


def test_all_that_commands_print_is_escaped_in_one_place() -> None:
    for path in Path("gate").rglob("*.py"):
        if path.as_posix() == "gate/commands/results.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in ("print", "sys.stdout.write", "sys.stderr.write"), path
