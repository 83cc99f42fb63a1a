"""Shell completion: what shells ask of gate, and that asking lets nothing through."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gate.errors import ExitCode
from gate.probes import PROBES
from gate.reports import Format
from tests.conftest import ROOT


def asked(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A process of gate with variables of its environment."""
    return subprocess.run(
        [sys.executable, "-m", "gate", *arguments],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **variables},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def completed(*words: str) -> list[str]:
    """What bash is given for a line of words, of which the last is to be completed."""
    done = asked(
        _GATE_COMPLETE="complete_bash", COMP_WORDS="\n".join(words),
        COMP_CWORD=str(len(words) - 1),
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (ExitCode.ACCEPT, "")
    return done.stdout.split()


def test_commands_probes_formats_and_names_to_explain_are_completed() -> None:
    assert completed("gate", "ex") == ["explain", "exit-codes"]
    assert completed("gate", "probe", "") == [*PROBES]
    assert completed("gate", "report", "--format", "") == [*Format]
    assert completed("gate", "explain", "trigger_patch.worst_at") == [
        "trigger_patch.worst_attack_success_rate"
    ]


def test_files_are_left_to_the_shell() -> None:
    assert completed("gate", "decide", "--policy", "pol") == []


@pytest.mark.parametrize(
    ("shell", "asks"),
    [
        ("zsh", {"_TYPER_COMPLETE_ARGS": "gate probe trigger_p"}),
        ("fish", {"_TYPER_COMPLETE_ARGS": "gate probe trigger_p",
                  "_TYPER_COMPLETE_FISH_ACTION": "get-args"}),
    ],
)  # fmt: skip
def test_other_shells_are_answered_too(shell: str, asks: dict[str, str]) -> None:
    done = asked(_GATE_COMPLETE=f"complete_{shell}", **asks)

    assert done.returncode == ExitCode.ACCEPT
    assert "trigger_patch" in done.stdout
    assert "trigger_phrase" in done.stdout
    assert "trigger_search" not in done.stdout


@pytest.mark.parametrize("arguments", [("check", "model.onnx"), ("policy", "lint", "absent.yaml")])
def test_a_variable_that_asks_for_completions_keeps_no_command_from_judging(
    arguments: tuple[str, ...],
) -> None:
    """Else one that somebody exported would have everything accepted."""
    done = asked(*arguments, _GATE_COMPLETE="complete_bash", COMP_WORDS="gate\n", COMP_CWORD="1")

    assert done.returncode == ExitCode.USAGE
    assert done.stdout == ""


@pytest.mark.parametrize("instruction", ["complete_tcsh", "nonsense", "complete_bash"])
def test_what_cannot_be_completed_is_no_acceptance(instruction: str) -> None:
    """The last lacks the words of the line."""
    assert asked(_GATE_COMPLETE=instruction).returncode == ExitCode.ERROR


CHOSEN = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}  # the shell is named by the call


def test_a_script_is_shown_and_is_installed_where_the_shell_looks(tmp_path: Path) -> None:
    for shell in ("bash", "zsh", "fish"):
        done = asked("--show-completion", shell, **CHOSEN)
        assert done.returncode == ExitCode.ACCEPT
        assert "_GATE_COMPLETE=complete_" + shell in done.stdout

    done = asked("--install-completion", "bash", HOME=str(tmp_path), **CHOSEN)

    assert done.returncode == ExitCode.ACCEPT
    assert (tmp_path / ".bash_completions" / "gate.sh").is_file()
    assert ".bash_completions/gate.sh" in (tmp_path / ".bashrc").read_text()


def test_a_shell_that_has_none_is_a_wrong_call_and_one_that_is_not_known_an_error(
    tmp_path: Path,
) -> None:
    assert asked("--show-completion", "tcsh", **CHOSEN).returncode == ExitCode.USAGE
    code = (
        "import sys, typer.completion; from gate import cli\n"
        "typer._completion_shared._get_shell_name = lambda: None\n"
        "sys.argv = ['gate', '--install-completion']; cli.main()"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={"HOME": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == ExitCode.ERROR
    assert "there is no completion for this shell" in done.stderr


@pytest.mark.skipif(not shutil.which("bash"), reason="bash is absent")
def test_bash_completes_a_line_by_the_script_that_it_is_shown(tmp_path: Path) -> None:
    command = tmp_path / "gate"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m gate "$@"\n')
    command.chmod(0o755)
    script = (
        'eval "$(gate --show-completion bash)"\n'
        "COMP_WORDS=(gate explain worst_gr) COMP_CWORD=2\n"
        "complete -p gate; _gate_completion gate; printf '%s\\n' \"${COMPREPLY[@]}\"\n"
    )

    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), **CHOSEN},
        capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert done.stdout.splitlines() == [
        "complete -o default -F _gate_completion gate",
        "worst_group_accuracy",
        "worst_group_accuracy_after_remedy",
    ]
