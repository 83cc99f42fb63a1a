"""What the README says is what the project does."""

import importlib
import re
from pathlib import Path

import pytest
import yaml

from gate.catalogue import CATALOGUE
from gate.errors import ExitCode
from gate.plan import Plan, Task

README = Path("README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_exit_codes_are_those_of_the_table() -> None:
    for code in ExitCode:
        assert f"{code.value:>3}  {code.name:<12}  {code.meaning}" in README


def test_the_example_plans_are_plans() -> None:
    plan, tasks, texts = blocks("yaml")

    assert Plan.model_validate(yaml.safe_load(plan)).name == "birds"
    assert Plan.model_validate(yaml.safe_load(texts)).name == "topics"
    for task in yaml.safe_load(tasks)["tasks"].values():
        Task.model_validate(task)


def test_the_python_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = blocks("python")

    exec(code, {})  # noqa: S102  # it is our own README

    assert capsys.readouterr().out == "digits 4\n"


@pytest.mark.parametrize("probe", CATALOGUE)
def test_each_probe_is_listed_with_its_question(probe: str) -> None:
    question = (importlib.import_module(f"gate.probes.{probe}").__doc__ or "").splitlines()[0]

    assert f"| `{probe}` | {question} |" in README


def test_every_command_and_flag_that_is_shown_exists() -> None:
    import subprocess
    import sys

    for line in blocks("console")[1].splitlines():
        command = line.removeprefix("$ ").split("#")[0].split()
        if command[0] != "gate":
            continue
        help_text = subprocess.run(
            [sys.executable, "-m", "gate", command[1], "--help"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for word in command:
            if word.startswith("--"):
                assert word in help_text, line


def test_every_path_that_is_named_exists() -> None:
    for path in re.findall(r"`((?:pipelines|policies|tests)/[\w/.]+)`", README):
        assert Path(path).exists(), path
    for module in re.findall(r"python -m ([\w.]+)", README):
        assert Path(module.replace(".", "/") + ".py").exists(), module
