"""Exit codes, and the line on stderr that goes with them."""

import ast
import os
import subprocess
import sys
from inspect import getsource, signature

import pytest
import typer

from gate import __version__, cli
from gate.commands.options import Command
from gate.errors import ExitCode
from tests.conftest import Gate


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["decide"], "Missing option"),
        (["polcy"], "No such command"),
        (["decide", "--polcy", "x"], "No such option"),
        (["policy", "lint", "absent.yaml"], "absent.yaml: no such file"),
        (["validate", "absent.yaml"], "absent.yaml: no such file"),
    ],
)
def test_a_wrong_call_exits_2_and_says_what_is_wrong(
    gate: Gate, arguments: list[str], says: str
) -> None:
    code, out, err = gate(*arguments)

    assert code == ExitCode.USAGE
    assert says in err
    assert not out


def test_a_bug_exits_3_and_never_1(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("gate.commands.policies.load_policy", broken)

    code, _, err = gate("policy", "lint", "policies/digits.yaml")

    assert code == 3
    assert "unexpected ZeroDivisionError: division by zero; this is a bug in gate" in err


def test_a_closed_pipe_is_no_rejection() -> None:
    read, write = os.pipe()
    os.close(read)

    done = subprocess.run(
        [sys.executable, "-m", "gate", "policy", "schema"],
        stdout=write,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(write)

    assert (done.returncode, done.stderr) == (ExitCode.ERROR, b"")


def test_the_version_is_the_packages(gate: Gate) -> None:
    assert gate("--version")[1] == f"gate {__version__}\n"


COMMANDS = {
    *("run", "estimate", "validate", "embed", "probe", "illustrate", "calibrate"),
    *("prior", "checkpoints", "explain"),
    *("decide", "report", "compare", "plots", "admit", "check", "promote gto", "promote mlflow"),
    *("policy lint", "policy schema", "policy test", "policy diff", "policy show"),
    *("policy backtest", "waiver check", "inspect", "init", "exit-codes", "digests"),
}


def test_the_commands_are_those_that_scripts_elsewhere_rely_on() -> None:
    assert calls(typer.main.get_command(cli.app)) == COMMANDS


def calls(command: object) -> set[str]:
    """The words that call each command below one."""
    below: dict[str, object] = getattr(command, "commands", {})
    return {
        f"{name} {words}".strip() for name, each in below.items() for words in calls(each) or {""}
    }


@pytest.mark.parametrize(
    "command", [each[2] for each in cli.COMMANDS], ids=lambda each: each.__name__
)
def test_a_command_parses_makes_a_call_and_says_what_came_of_it(command: Command) -> None:
    function = ast.parse(getsource(command)).body[0]
    statements = [node for node in ast.walk(function) if isinstance(node, ast.stmt)]

    assert len(statements) - 2 <= 12  # but for the function itself and its docstring
    assert len(signature(command).parameters) <= 7
