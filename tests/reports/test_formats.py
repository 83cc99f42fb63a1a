"""Every format shows what blocks, what is waived, and what a pass does not say."""

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

import pytest

from gate import Evidence, Verdict, decide
from gate.errors import EvidenceError
from gate.reports import Format, html, markdown, reason, render, text
from gate.reports.attachments import Attachments
from gate.reports.findings import LIMITS
from tests.builders import evidence, measurement, policy, rule


def verbose(verdict: Verdict, found: Sequence[Evidence] = ()) -> str:
    """All that a terminal is told."""
    return text.render(verdict, found, Attachments(verbosity="verbose"))


@pytest.mark.parametrize("render", [verbose, markdown.render])
def test_every_format_shows_what_blocks_what_is_waived_and_the_limits(
    verdict: Verdict, render: Callable[[Verdict], str]
) -> None:
    shown = " ".join(render(verdict).split())

    assert "REJECT" in shown
    assert "FAIL" in shown
    assert "0.200 [0.100, 0.300]" in shown
    assert "waived by W-1 until 2026-12-31 (ml-team: known)" in shown
    assert "only warns" in shown
    assert LIMITS[:40] in shown
    assert "14 findings: 8 fail, 1 waived, 5 pass" in shown
    assert "and 4 more" in shown or shown.count(" 0.900 [0.850, 0.950]") == 5 + 5


def test_the_reason_is_one_line_and_names_the_finding_that_carries_the_decision(
    verdict: Verdict,
) -> None:
    said = reason(verdict)

    assert said.startswith(
        "reject: 14 findings: 8 fail, 1 waived, 5 pass; clean_accuracy.accuracy: "
    )
    assert said.endswith("(task bad|task)")
    assert "\n" not in said


def test_the_reason_of_an_inconclusive_verdict_is_what_is_unsettled_and_blocks() -> None:
    warns = rule(at_least=0.99, severity="warn", name="warns")
    judged = policy(warns, rule(), rule(at_least=0.9, name="weak"), rule(at_least=0.91, name="w2"))

    said = reason(decide(judged, [evidence()], date(2026, 1, 1)))

    assert said.startswith("inconclusive: 4 findings: 1 fail, 2 inconclusive, 1 pass; weak: ")
    assert "sixteen times as many examples" in said


def test_the_reason_of_a_rejection_is_a_failure_and_not_what_is_missing() -> None:
    judged = policy(rule(where={"task": "other"}, name="missing"), rule(at_least=0.99))

    said = reason(decide(judged, [evidence()], date(2026, 1, 1)))

    assert said.startswith("reject: 2 findings: 1 fail, 1 missing; clean_accuracy.accuracy: 0.900")


def test_the_reason_of_an_acceptance_names_no_finding() -> None:
    warns = rule(at_least=0.99, severity="warn", name="warns")

    said = reason(decide(policy(rule(), warns), [evidence()], date(2026, 1, 1)))

    assert said == "accept: 2 findings: 1 fail, 1 pass"


@pytest.mark.parametrize("render", [text.render, html.render])
def test_words_in_brackets_are_words_and_no_markup(render: Callable[[Verdict], str]) -> None:
    found = evidence(measurement(task="[bold]x[/bold] <script>"))

    shown = render(decide(policy(), [found], date(2026, 1, 1)))

    assert "[bold]x[/bold]" in shown
    assert ("x[/bold] <script>" in shown) == (render is text.render)


def test_every_file_that_renders_is_a_format_and_every_format_is_such_a_file() -> None:
    rendering = {
        path.stem.replace("_", "-")
        for path in Path("gate/reports").glob("*.py")
        if path.stem != "__init__"
        and any(
            isinstance(node, ast.FunctionDef) and node.name == "render"
            for node in ast.parse(path.read_text()).body
        )
    }

    assert rendering == {*Format}


def test_a_new_format_is_one_file_and_one_line(verdict: Verdict, tmp_path: Path) -> None:
    shutil.copytree("gate", tmp_path / "gate", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "verdict.json").write_text(verdict.to_json())
    table = tmp_path / "gate" / "reports" / "__init__.py"
    last = '    HTML = "html"\n'
    assert last in table.read_text()

    table.write_text(table.read_text().replace(last, f'{last}    WORD = "word"\n'))
    (table.parent / "word.py").write_text(
        "def render(verdict, evidence):\n    return f'{verdict.decision}!'\n"
    )

    command = [sys.executable, "-m", "gate", "report", "verdict.json", "--format", "word"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr, done.returncode) == ("reject!", "", 0)


def test_colours_are_asked_of_the_formats_that_have_them(verdict: Verdict) -> None:
    wanted = Attachments(colour=True)
    assert [f for f in Format if "\x1b[" in render(f, verdict, attachments=wanted)] == ["text"]
    assert not [shown for shown in Format if "\x1b[" in render(shown, verdict)]


def test_json_is_what_decide_writes(verdict: Verdict) -> None:
    assert render(Format.JSON, verdict) == verdict.to_json()


@pytest.mark.parametrize("shown_as", Format)
def test_evidence_that_a_verdict_was_not_decided_on_is_refused(
    verdict: Verdict, shown_as: Format
) -> None:
    other = evidence(measurement(task="another"))
    another_probe = evidence(measurement(metric="embedding_collapse"), probe="trigger_patch")

    with pytest.raises(EvidenceError, match=r"clean_accuracy is sha256:.* decided on sha256:"):
        render(shown_as, verdict, [other])
    with pytest.raises(EvidenceError, match="decided on none of this probe; give the evidence"):
        render(shown_as, verdict, [another_probe])


def test_pictures_are_drawn_for_the_page_alone(verdict: Verdict) -> None:
    code = (
        "import sys; from gate import Verdict; from gate.reports import Format, render\n"
        "verdict = Verdict.model_validate_json(sys.stdin.read())\n"
        "for shown in Format:\n"
        "    if shown != 'html': render(shown, verdict)\n"
        "print('matplotlib' in sys.modules, 'gate.reports.pictures' in sys.modules)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", code],
        input=verdict.to_json(),
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == "False False\n"
