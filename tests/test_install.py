"""What people are told to install is this project, and it can be installed.

``gate`` on PyPI is somebody else's package, so a line that names it would bring a stranger's code.
"""

import re
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path
from sysconfig import get_path

import pytest

from gate import __version__
from tests.conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NAME = PROJECT["name"]
EXTRAS = set(PROJECT["optional-dependencies"])
PLACES = (
    *("*.md", "docs/**/*", "Makefile", ".*.yaml", ".ci/*"),
    *("gate/**/*", "pipelines/**/*", "tests/**/*"),
)
WRITTEN = ("", ".md", ".py", ".yaml", ".yml")


def faults(text: str) -> list[str]:
    """What is wrong with the install lines of a text: our own package by a wrong name or extra.

    >>> faults("pip install gate"), faults("pip install -c c.txt 'backbone-gate[mlfolw]'")
    (['gate'], ['backbone-gate[mlfolw]'])
    >>> faults("pip install 'gate[mlflow]==1' torch"), faults("pip install '.[dev]' safetensors")
    (['gate[mlflow]'], [])
    """
    wrong = []
    for line in re.findall(r"\bpip\S* install\b([^#`\n]*)", text.replace("\\\n", " ")):
        for name, extras in re.findall(r"(?<![\w./@-])([a-z][\w-]*|\.)(?:\[([^\]]*)\])?", line):
            ours = name in (NAME, ".") or (extras and name in ("gate", NAME))
            known = {*re.split(r" *, *", extras)} <= {*EXTRAS, "", "{name}"}
            if name == "gate" or (ours and not known):
                wrong.append(f"{name}[{extras}]" if extras else name)
    return wrong


def test_every_install_line_names_this_distribution_and_an_extra_of_it() -> None:
    paths = {path for place in PLACES for path in ROOT.glob(place) if path.suffix in WRITTEN}
    texts = {path: path.read_text() for path in paths - {Path(__file__)} if path.is_file()}

    wrong = {path: faults(text) for path, text in texts.items() if faults(text)}

    assert len(texts) > 200
    assert wrong == {}


def test_the_lines_that_must_name_it_are_seen_to_do_so() -> None:
    for path in ("README.md", "gate/trust/registry.py", "tests/test_starter.py"):
        assert re.search(r"pip install (--\S+ \S+ )?'\.\[", Path(path).read_text()), path
    for path in ("pipelines/ci/github.yml", "pipelines/ci/gitlab.yml"):
        assert f"pip install -r requirements.txt  # {NAME} @ URL" in Path(path).read_text()


PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")


def run(*command: object, cwd: Path = ROOT) -> str:
    """What a command says, which must succeed."""
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_it_installs_by_its_name_and_an_extra_and_runs(tmp_path: Path) -> None:
    """From its wheel, into an environment that sees this one's packages, so nothing is fetched."""
    if not find_spec("hatchling"):
        pytest.skip("hatchling is not installed: pip install '.[dev]'")
    fresh, dist, requirement = tmp_path / "fresh", tmp_path / "dist", f"{NAME}[mlflow]"
    run(*PIP, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", dist, ROOT)
    run(sys.executable, "-m", "venv", "--without-pip", fresh)
    alone = ("env", "--unset=PYTHONPATH")  # else this checkout would do for what is installed
    python = fresh / "bin" / "python"
    site = run(*alone, python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))")
    Path(site.strip(), "others.pth").write_text(get_path("purelib"))
    install = (*alone, *PIP, "--python", python, "install", "--no-index")

    # this environment may hold the same name, as a link to the checkout
    run(*install, "--ignore-installed", "--no-deps", "--find-links", dist, requirement)
    resolved = run(*install, requirement)

    assert "does not provide the extra" not in resolved
    assert f"satisfied: {requirement} in {site.strip()}" in resolved
    where = f"import gate, importlib.metadata as m; print(gate.__file__, m.version('{NAME}'))"
    shown = run(*alone, python, "-c", where, cwd=tmp_path)
    assert shown == f"{site.strip()}/gate/__init__.py {__version__}\n"
    gate = (*alone, fresh / "bin" / "gate")
    assert "Usage: gate " in run(*gate, "--help", cwd=tmp_path)
    (tmp_path / ".dvc").mkdir()
    run(*gate, "init", cwd=tmp_path)  # the starter's files are in the wheel
    assert "3 rules" in run(*gate, "policy", "lint", "gating/policy.yaml", cwd=tmp_path)
    assert "2 of 2 cases hold" in run(*gate, "policy", "test", "gating/policy.yaml", cwd=tmp_path)
    shipped = (
        "from gate.starter.shipped import Measured, policy_files; "
        "measured = Measured(frozenset({'clean_accuracy'}), 2); "
        "print(*policy_files('production', 'ours', measured))"
    )
    assert "policy.yaml policy.tests/" in run(*alone, python, "-c", shipped, cwd=tmp_path)


def test_make_lowest_installs_each_dependency_at_its_lower_bound() -> None:
    extras = PROJECT["optional-dependencies"]
    lines = [*PROJECT["dependencies"], *extras["gto"], *extras["mlflow"]]
    pins = (ROOT / "constraints-lowest.txt").read_text().splitlines()

    lowest = {line.split(";")[0].replace(">=", "==") for line in lines}

    assert lowest - set(pins) == set()
