"""What the README says is what the project does."""

import importlib
import re
import shlex
import shutil
from pathlib import Path

import pytest
import yaml

from gate.errors import ExitCode
from gate.plan.plan import Plan
from gate.plan.task import Task
from gate.policy.catalogue import CATALOGUE
from gate.policy.load import load_policy
from tests.conftest import Gate

README = Path("README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_exit_codes_are_those_of_the_table() -> None:
    for code in ExitCode:
        assert f"{code.value:>3}  {code.name:<12}  {code.meaning}" in README


def test_the_example_plans_are_plans() -> None:
    plan, tasks, texts, _ = blocks("yaml")

    assert Plan.model_validate(yaml.safe_load(plan)).name == "birds"
    assert Plan.model_validate(yaml.safe_load(texts)).name == "topics"
    for task in yaml.safe_load(tasks)["tasks"].values():
        Task.model_validate(task)


def test_the_python_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = blocks("python")

    exec(code, {})  # noqa: S102  # it is our own README

    assert capsys.readouterr().out == "digits 11\n"


@pytest.mark.parametrize("probe", CATALOGUE)
def test_each_probe_is_listed_with_its_question(probe: str) -> None:
    question = (importlib.import_module(f"gate.probes.{probe}").__doc__ or "").splitlines()[0]

    assert f"| `{probe}` | {question} |" in README


def test_the_example_policy_tightens_what_it_extends(tmp_path: Path) -> None:
    shutil.copytree("policies", tmp_path / "policies")
    birds = tmp_path / "policies" / "birds.yaml"
    birds.write_text(blocks("yaml")[3])

    assert [rule.id for rule in load_policy(birds).rules][-1] == "birds_accuracy"


def commands() -> list[list[str]]:
    """Every call of gate in a console block, a list of words each."""
    lines = "".join(blocks("console")).replace("\\\n", " ").splitlines()
    calls = [shlex.split(line.removeprefix("$ "), comments=True) for line in lines]
    return [call[1:] for call in calls if call[0] == "gate"]


@pytest.mark.parametrize("call", commands(), ids=" ".join)
def test_every_command_and_flag_that_is_shown_exists(call: list[str], gate: Gate) -> None:
    command = call[: 2 if call[0] in ("policy", "promote", "waiver") else 1]

    code, shown, _ = gate(*command, "--help")

    assert code == 0
    assert {word for word in call if word.startswith("--")} <= set(re.findall(r"--[\w-]+", shown))


def test_every_path_that_is_named_exists() -> None:
    for path in re.findall(r"`((?:pipelines|policies|tests)/[\w/.]+)`", README):
        assert Path(path).exists(), path
    for module in re.findall(r"python -m ([\w.]+)", README):
        assert Path(module.replace(".", "/") + ".py").exists(), module
