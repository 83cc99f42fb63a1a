"""What the README alone says is what the project does; tests/test_docs.py reads it with docs/."""

import pytest

from gate.errors import ExitCode
from tests.documents import PAGES, blocks

README = PAGES["README.md"]


def test_the_exit_codes_are_those_of_the_table() -> None:
    for code in ExitCode:
        assert f"{code.value:>3}  {code.name:<12}  {code.meaning}" in README


def test_the_python_says_what_it_should(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = blocks("README.md", "python")

    exec(code, {})  # noqa: S102  # it is our own README

    assert capsys.readouterr().out == "digits 13\n"


def test_it_begins_with_three_commands_for_files_of_ones_own_and_stays_short() -> None:
    first = blocks("README.md", "console")[0].splitlines()

    assert [" ".join(line.split()[1:3]) for line in first] == [
        "pip install",
        "gate init",
        "gate run",
    ]
    assert README.count("\n") <= 180


def test_the_commands_of_ci_are_named() -> None:
    assert "$ make test " in README
