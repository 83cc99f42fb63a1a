"""What many tests stand on."""

import hashlib
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from filelock import FileLock
from hypothesis import settings

from gate import cli
from gate.measure.bench import Bench
from gate.measure.trial import Trial
from gate.plan.plan import Plan

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared" / "data"

settings.register_profile("gate", deadline=None)  # a first call may import scipy
settings.load_profile("gate")

needs_shared = pytest.mark.skipif(
    not SHARED.is_dir(), reason="../shared/data is absent: real images and backbones"
)


# Files that take long start first: were one the last to start, it would run on one core alone.
LONG = ("test_trigger_patch", "test_starter", "test_dvc", "test_docs", "test_run", "test_bypass")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONG.index(item.path.stem) if item.path.stem in LONG else len(LONG))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--coverage",
        choices=("sampled", "full"),
        default="sampled",
        help="how many simulations the tests of intervals' coverage make",
    )


@pytest.fixture
def simulations(request: pytest.FixtureRequest) -> range:
    """Seeds of the simulations that a test's marker ``coverage`` says for this tier."""
    (marker,) = request.node.iter_markers("coverage")
    return range(marker.kwargs[request.config.getoption("coverage")])


@pytest.fixture(autouse=True)
def _in_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths in plans are relative to the project's root."""
    monkeypatch.chdir(ROOT)


@pytest.fixture(scope="session")
def example(pytestconfig: pytest.Config) -> Path:
    """The bundled example's data and backbones, built once for each version of its code."""
    sources = sorted((ROOT / "pipelines" / "digits").glob("*.py"))
    content = b"".join(
        path.read_bytes() for path in sources if path.stem in ("architecture", "build")
    )
    folder = pytestconfig.cache.mkdir("digits") / hashlib.sha256(content).hexdigest()[:16]
    with FileLock(folder.with_suffix(".lock")):  # tests run in two processes
        if not (folder / "backbones" / "shortcut.onnx").exists():  # the last file of a build
            command = [sys.executable, "-m", "pipelines.digits.build", "--out", str(folder)]
            subprocess.run(command, cwd=ROOT, check=True)
    return folder


Gate = Callable[..., tuple[int, str, str]]


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Gate]:
    """Runs the command line in this process: exit code, stdout, stderr."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["gate", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, out, err

    yield call
    log = logging.getLogger("gate")  # the command line sets it up, for a process of its own
    log.handlers.clear()
    log.setLevel(logging.NOTSET)


PlanMaker = Callable[..., Path]


@pytest.fixture
def digits_plan(example: Path, tmp_path: Path) -> PlanMaker:
    """Writes the digits plan with the built example in it, and with changes at its top level."""

    def make(**changes: Any) -> Path:
        plan = yaml.safe_load((ROOT / "pipelines" / "digits.yaml").read_text())
        text = yaml.safe_dump({**plan, **changes}).replace("out/digits/example", str(example))
        path = tmp_path / "plan.yaml"
        path.write_text(text)
        return path

    return make


@pytest.fixture(scope="session")
def features_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Features that several tests share; their names hold all that they depend on."""
    return tmp_path_factory.mktemp("features")


@pytest.fixture(scope="session")
def digits_trial(example: Path, features_folder: Path) -> Callable[[str], Trial]:
    """A trial of one of the example's backbones under the digits plan."""

    def make(backbone: str) -> Trial:
        text = (ROOT / "pipelines" / "digits.yaml").read_text()
        plan = Plan.model_validate(
            yaml.safe_load(
                text.replace("out/digits/example", str(example)).replace(
                    "clean.onnx", f"{backbone}.onnx"
                )
            )
        )
        return Trial(Bench(plan, features_folder))

    return make


@pytest.fixture
def images() -> np.ndarray:
    """Sixty random images of three classes, ``(60, 8, 8, 3)`` uint8."""
    return np.random.default_rng(0).integers(0, 256, (60, 8, 8, 3), dtype=np.uint8)
