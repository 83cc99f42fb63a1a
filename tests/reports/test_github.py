"""Annotations as GitHub's runner reads them."""

from collections import Counter
from datetime import date
from pathlib import Path

import pytest

from gate import Verdict, decide
from gate.reports import github
from gate.reports.attachments import Attachments
from gate.strict_yaml import Place
from tests.builders import evidence, measurement, policy
from tests.conftest import Gate
from tests.reports import validators


def test_each_finding_is_an_annotation_on_the_line_of_its_rule(
    everything: Verdict, beside: Attachments
) -> None:
    first, *commands = validators.github(github.render(everything, (), beside))

    assert first == (
        "notice",
        {"title": "gate: reject on resnet 50"},
        "6 findings: 2 fail, 1 missing, 1 inconclusive, 1 waived, 1 pass",
    )
    assert [(name, told["file"], told["line"], told["title"]) for name, told, _ in commands] == [
        ("error", "gating/base policy.yaml", "4", "fail: clean_accuracy.accuracy (task bad)"),
        ("error", "gating/policy.yaml", "9", "missing: absent"),
        (
            *("error", "gating/base policy.yaml", "4"),
            "inconclusive: clean_accuracy.accuracy (task unsettled)",
        ),
        ("warning", "gating/policy.yaml", "7", "fail: warns (task good)"),
        ("notice", "gating/base policy.yaml", "4", "waived: clean_accuracy.accuracy (task waived)"),
    ]
    message = commands[0][2]
    assert "0.200 [0.100, 0.300], n = 100, wanted at least 0.8" in message
    assert message.endswith("\nbecause")


@pytest.mark.parametrize("many", [10, 11, 500])
def test_a_step_shows_ten_errors_and_the_last_counts_the_rest(many: int) -> None:
    bad = evidence(*(measurement(0.1, 0.2, 0.3, task=f"t{i}") for i in range(many)))

    commands = validators.github(github.render(decide(policy(), [bad], date(2026, 1, 1))))

    assert Counter(name for name, _, _ in commands) == {"notice": 1, "error": 10}
    assert (commands[-1][1]["title"] == f"gate: and {many - 9} more") == (many > 10)


def test_what_a_property_ends_at_is_escaped_in_it() -> None:
    bad = evidence(measurement(0.1, 0.2, 0.3, task="50 %, a::b,file=x"))
    where = {"clean_accuracy.accuracy": Place(Path("a:b,c%.yaml"), 1)}
    verdict = decide(policy(), [bad], date(2026, 1, 1))

    shown = github.render(verdict, (), Attachments(places=where))

    line = shown.splitlines()[1]
    assert line.startswith("::error file=a%3Ab%2Cc%25.yaml,line=1,title=fail%3A clean_accuracy")
    assert "(task 50 %25%2C a%3A%3Ab%2Cfile=x)::" in line
    assert validators.github(shown)[1][1]["file"] == "a:b,c%.yaml"


def test_on_stdout_commands_stay_commands(gate: Gate, everything: Verdict, tmp_path: Path) -> None:
    (tmp_path / "verdict.json").write_text(everything.to_json())

    _, out, _ = gate("report", tmp_path / "verdict.json", "--format", "github")

    assert out == github.render(everything)


def test_an_acceptance_is_a_notice() -> None:
    commands = validators.github(github.render(decide(policy(), [evidence()], date(2026, 1, 1))))

    assert commands == [("notice", {"title": "gate: accept"}, "1 findings: 1 pass")]
