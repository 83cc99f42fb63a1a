"""What the README and docs/ say is what the project does: blocks are loaded, commands are run."""

import re
import shlex
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from gate import cli, files
from gate.errors import AdmissionError
from gate.plan.plan import Plan
from gate.policy.cases import Case
from gate.policy.load import load_policy
from gate.policy.waivers import Waivers
from gate.probes import PROBES
from tests import documents, tables
from tests.conftest import ROOT, Gate
from tests.documents import PAGES, blocks
from tests.gated import today_in_utc

# lines that are not run as they stand in a page, by what they hold, and where they are tried
ELSEWHERE = {
    "make ": "Makefile",
    "pip install ": "tests/test_install.py",
    "gate init": "tests/test_init.py",
    "export GATE_KEY": "tests/test_starter.py",
    "dvc repro gating/": "tests/test_starter.py",
    "gate promote gto": "tests/trust/test_gto.py",
    "gate promote mlflow": "tests/trust/test_mlflow.py",
    "other gto:": "tests/trust/test_sides.py",
    "other mlflow:": "tests/trust/test_mlflow.py",
    "--engine ray": "tests/measure/test_ray_engine.py",
}
DECIDING = {"run": {0, 1, 4}, "decide": {0, 1, 4}, "checkpoints": {0, 1, 4}}
COMMANDS = [line for page in PAGES for line in documents.lines(page) if line.startswith("gate ")]
PARTS = [(page, index) for page in PAGES for index in range(len(blocks(page, "yaml")))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all that the pages name, in which the first plan was run; copies are used."""
    folder = tmp_path_factory.mktemp("docs")
    model = documents.write_model(folder / "model.onnx")
    backbone = files.digest_of_files(files.hashed(model, AdmissionError))
    documents.write_folder(folder, backbone, str(today_in_utc() + timedelta(days=10)))
    done = subprocess.run(
        [sys.executable, "-m", "gate", "run", "gating/plan.yaml", "--policy", "gating/policy.yaml",
         "--out", "out"],
        cwd=folder, env={"PATH": "", "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    shutil.copytree(folder / "out" / "evidence", folder / "out" / "older" / "evidence")
    return folder


@pytest.mark.parametrize("page", [page for page in PAGES if documents.lines(page)])
def test_the_commands_of_a_page_run_in_their_order(
    page: str, folder: Path, tmp_path: Path, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    for line in documents.lines(page):
        if elsewhere(line):
            continue
        if not line.startswith("gate "):
            subprocess.run(line, shell=True, check=True, capture_output=True)  # noqa: S602  # our own
            continue
        call = words_of(line)
        code, _, err = gate(*call)
        assert code in DECIDING.get(call[0], {0}), f"{line}\n{err}"


def elsewhere(line: str) -> str | None:
    """Where a line that these pages do not run is tried."""
    call = f" {line.split(' #')[0]}"
    return next((place for part, place in ELSEWHERE.items() if f" {part}" in call), None)


@pytest.mark.parametrize("place", ELSEWHERE.values())
def test_what_is_not_run_here_is_tried_elsewhere(place: str) -> None:
    assert Path(place).is_file()


def words_of(line: str) -> list[str]:
    """The arguments of a call of gate, without what the shell would do with its output."""
    words = shlex.split(line, comments=True)[1:]
    return words[: words.index(">")] if ">" in words else words


def parse(call: list[str]) -> None:
    """Have the command line take a call, without running it."""
    command: Any = typer.main.get_command(cli.app)
    words = list(call)
    while inner := getattr(command, "commands", None):
        command = inner[words.pop(0)]
    command.make_context("gate", words)


@pytest.mark.parametrize("line", list(dict.fromkeys(COMMANDS)))
def test_the_command_line_takes_every_call_that_is_shown(line: str) -> None:
    parse(words_of(line))


@pytest.mark.parametrize(("page", "index"), PARTS)
def test_a_yaml_block_is_what_it_says(
    page: str, index: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)  # plans name files in it
    block = blocks(page, "yaml")[index]
    content = yaml.safe_load(block)
    named = re.match(r"# (\S+\.yaml)\n", block)
    if "rules" in content:
        assert named, "a policy says where it stands, so that it finds what it extends"
        rules = load_policy(folder / named[1]).rules
        assert content["rules"][-1]["why"] == rules[-1].why
    elif "decision" in content:
        Case.model_validate(content)
    elif "waivers" in content:
        Waivers.model_validate(content)
    else:
        whole = content if {"backbone", "splits", "tasks", "probes"} <= content.keys() else None
        Plan.model_validate(whole or documents.whole_plan(content))


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")])
def test_the_python_of_a_page_runs(page: str) -> None:
    for code in blocks(page, "python"):
        exec(code, {})  # noqa: S102  # it is our own page


@pytest.mark.parametrize("page", PAGES)
def test_every_block_has_a_kind_that_is_tried(page: str) -> None:
    opened = re.findall(r"^```(.*)$", PAGES[page], re.MULTILINE)[::2]

    assert set(opened) <= {"", "console", "python", "text", "yaml", "{toctree}"}


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_a_page_and_a_heading_that_are_there(page: str) -> None:
    for link in documents.links(page):
        target, _, anchor = link.partition("#")
        path = (ROOT / page).parent / target if target else ROOT / page
        assert path.is_file(), link
        if anchor:
            name = str(path.resolve().relative_to(ROOT.resolve()))
            assert anchor in documents.anchors(name), link


def test_every_page_is_listed_in_the_index_and_in_the_readme() -> None:
    pages = {page.removeprefix("docs/").removesuffix(".md") for page in PAGES} - {"README", "index"}
    (toctree,) = blocks("docs/index.md", r"\{toctree\}")

    assert set(toctree.split()) - {":hidden:"} == pages
    assert {f"docs/{page}.md" for page in pages} <= set(documents.links("README.md"))


@pytest.mark.parametrize("page", PAGES)
def test_every_path_and_module_that_is_named_exists(page: str) -> None:
    for path in re.findall(r"`((?:docs|pipelines|policies|tests)/[\w/.]+)`", prose := PAGES[page]):
        stated = page == "docs/policy.md" and path.startswith("policies/birds.")
        assert stated or Path(path).exists(), path
    for module in re.findall(r"python -m ([\w.]+)", prose):
        assert Path(module.replace(".", "/") + ".py").exists(), module


def options(command: Any) -> set[str]:
    """Every option of a command and of those within it."""
    own = {name for param in command.params for name in param.opts}
    return own.union(*map(options, getattr(command, "commands", {}).values()))


OTHERS = {"--ignore-errors", "--no-deps", "--head", "--help"}  # of DVC, pip and the like


@pytest.mark.parametrize("page", PAGES)
def test_every_option_that_prose_names_is_one(page: str) -> None:
    known = options(typer.main.get_command(cli.app)) | OTHERS

    assert set(re.findall(r"`(--[a-z][\w-]+)", documents.prose(page))) <= known


@pytest.mark.parametrize("path", tables.written(), ids=str)
def test_what_is_made_from_tables_and_models_is_up_to_date(path: Path) -> None:
    assert path.read_text() == tables.written()[path], "python -m tests.tables"


@pytest.mark.parametrize("probe", PROBES)
def test_the_page_on_probes_has_a_place_for_each(probe: str) -> None:
    assert probe in documents.anchors("docs/probes.md") or f"`{probe}" in PAGES["docs/probes.md"]


def test_every_policy_that_ships_is_listed() -> None:
    shipped = {str(path) for path in Path("policies").glob("*.yaml")}

    assert shipped <= set(re.findall(r"`([\w/.]+)`", PAGES["docs/policy.md"]))
