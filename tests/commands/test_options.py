"""Groups of options as one parameter."""

from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from gate.commands.options import flattened
from gate.errors import ExitCode


@dataclass(frozen=True, kw_only=True)
class Group:
    first: Annotated[int, typer.Option(help="One.")]
    second: Annotated[str, typer.Option(help="Two.")] = "nothing"


def command(
    before: Annotated[Path, typer.Argument()],
    group: Group,
    after: Annotated[bool, typer.Option("--after")] = False,
) -> ExitCode:
    """Print what comes."""
    typer.echo(f"{before} {group} {after}")
    return ExitCode.ACCEPT


@pytest.fixture
def app() -> typer.Typer:
    made = typer.Typer(add_completion=False, rich_markup_mode=None)
    made.command()(flattened(command))
    return made


def test_the_fields_of_a_group_stand_in_its_place() -> None:
    parameters = signature(flattened(command)).parameters

    assert list(parameters) == ["before", "first", "second", "after"]


def test_a_command_gets_its_groups_whole(app: typer.Typer) -> None:
    done = CliRunner().invoke(app, ["here", "--first", "3", "--second", "more"])

    assert done.output == f"here {Group(first=3, second='more')} False\n"


def test_what_a_group_wants_is_wanted_and_what_it_has_is_default(app: typer.Typer) -> None:
    assert "nothing" in CliRunner().invoke(app, ["here", "--first", "3"]).output
    assert "Missing option '--first'" in CliRunner().invoke(app, ["here"]).output


def test_two_options_of_one_name_do_not_start() -> None:
    def doubled(first: Annotated[int, typer.Option()], group: Group) -> ExitCode:
        raise NotImplementedError

    with pytest.raises(ValueError, match="duplicate parameter name: 'first'"):
        flattened(doubled)
