"""The engine of Ray on a real cluster of two processors: the bytes of one process, or a line."""

import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from safetensors.torch import save, save_file

from gate.arrays import Images, Int64
from gate.backbone.backbone import Backbone, Outputs
from gate.data.split import Split, open_split
from gate.errors import BackboneError, DataError, GateError
from gate.measure import embed
from gate.measure.passes import Engine, InProcess, Pass, gathered
from gate.measure.ray_engine import _QUIET, OnRay
from gate.measure.readers import Cosines, Output, Reader
from gate.plan.backbone import BackbonePlan
from gate.plan.split import SplitPlan
from gate.triggers.bank import bank
from gate.triggers.grid import TriggerGrid
from gate.triggers.stamp import Stamp
from tests import tiny
from tests.conftest import Gate
from tests.data.test_split import as_npz, table
from tests.security.kill import write_inputs

needs_ray = pytest.mark.skipif(
    find_spec("ray") is None, reason="ray is absent: pip install '.[ray]'"
)
GRID = TriggerGrid(
    pattern="square", colour=("yellow", "red"), size=(0.25, 0.5), place=("top_left", "centre")
)
# more than one item of a block
STAMPS = tuple(
    stamp
    for trigger in bank((GRID,), tiny.SIDE, 3, 0, ())
    for stamp in (trigger.stamp, *trigger.controls)
)


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A cluster of this machine, which lasts as long as the tests of this file."""
    import ray

    with pytest.MonkeyPatch.context() as patch:
        for name, value in _QUIET.items():
            patch.setenv(name, value)
        patch.delenv("RAY_ADDRESS", raising=False)
        ray.init(
            "local",
            num_cpus=2,
            object_store_memory=100 << 20,
            include_dashboard=False,
            logging_level="ERROR",
            log_to_driver=False,
        )
        yield
        ray.shutdown()


@pytest.fixture
def split(tmp_path: Path, images: np.ndarray) -> Split:
    return open_split("test", SplitPlan.model_validate(as_npz(tmp_path, table(images))))


@pytest.fixture
def backbone(tmp_path: Path) -> Backbone:
    path = tiny.write_onnx(tmp_path / "m.onnx")
    plan = BackbonePlan.model_validate({"onnx": path, "preprocessing": tiny.PREPROCESSING})
    return Backbone(plan)


def passed(
    engine: Engine, split: Split, backbone: Backbone, *stamps: Stamp, **more: Reader
) -> dict[str, Any]:
    """What readers kept of a split in blocks of 16, as it is and under each stamp."""
    readers: dict[str, Reader] = {"features": Output("features"), "cosines": Cosines(), **more}
    work = Pass(backbone.plan, readers, (None, *stamps))
    return gathered(engine.map(work, split, 16, lambda _done: None), work, len(split))


def require_same_bytes(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert len(one["features"]) == len(other["features"])
    for place, features in enumerate(one["features"]):
        assert features.tobytes() == other["features"][place].tobytes()
        assert one["cosines"][place].sums.tobytes() == other["cosines"][place].sums.tobytes()


@dataclass(frozen=True)
class Meeting:
    """Keeps nothing; a worker waits in it until two came."""

    folder: Path

    def read(self, _rows: Int64, _outputs: Outputs) -> None:
        (self.folder / str(os.getpid())).touch()
        ends = time.monotonic() + 60
        while len(list(self.folder.iterdir())) < 2:
            assert time.monotonic() < ends, "no other worker came within a minute"
            time.sleep(0.05)

    def put(self, *_: object) -> None:
        pass


@dataclass(frozen=True)
class Deadly:
    """Keeps nothing; kills the worker that reads the third block, so many times."""

    folder: Path
    deaths: int

    def read(self, rows: Int64, _outputs: Outputs) -> None:
        died = len(list(self.folder.iterdir()))
        if rows[0] == 32 and died < self.deaths:
            (self.folder / str(died)).touch()
            os.kill(os.getpid(), signal.SIGKILL)

    def put(self, *_: object) -> None:
        pass


@needs_ray
def test_a_run_on_ray_leaves_the_bytes_of_a_run_in_one_process(
    cluster: None, gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_inputs()
    run = ["run", "plan.yaml", "--policy", "policy.yaml"]

    for engine in ("in-process", "ray"):
        code, _, said = gate(*run, "--out", engine, "--engine", engine)
        assert code == 0, said

    here, there = (
        {p.relative_to(o): p.read_bytes() for p in Path(o).rglob("*") if p.is_file()}
        for o in ("in-process", "ray")
    )
    information = Path("run-info.json")
    passes = [yaml.safe_load(of.pop(information))["forward_passes"] for of in (here, there)]
    assert here == there
    assert passes[0] == passes[1]


@needs_ray
def test_two_workers_give_the_bytes_of_one_process_and_count_the_same_passes(
    cluster: None, split: Split, backbone: Backbone, tmp_path: Path
) -> None:
    folder = tmp_path / "met"
    told: list[int] = []
    folder.mkdir()
    here, there = InProcess(lambda _: backbone), OnRay(lambda _: backbone)

    require_same_bytes(
        passed(here, split, backbone, *STAMPS),
        passed(there, split, backbone, *STAMPS, meeting=Meeting(folder)),
    )

    assert len(list(folder.iterdir())) == 2
    assert here.passes == there.passes
    work = Pass(backbone.plan, {"features": Output("features")}, (None, *STAMPS))
    list(there.map(work, split, 60, told.append))
    assert sum(told) == 60 * (1 + len(STAMPS))
    assert len(told) > 1  # one block is several items


@needs_ray
def test_workers_pass_what_other_weights_give(cluster: None, split: Split, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(tiny.loaded().state_dict(), path)
    described = {"weights": path, "arch": "tests.tiny:factory", "preprocessing": tiny.PREPROCESSING}
    backbone = Backbone(BackbonePlan.model_validate(described))
    here, there = InProcess(lambda _: backbone), OnRay(lambda _: backbone)

    given = []
    for factor in (1.0, -2.0):
        weights = {n: factor * tensor for n, tensor in tiny.loaded().state_dict().items()}
        work = Pass(backbone.plan, {"features": Output("features")}, weights=save(weights))
        for engine in (here, there):
            parts = engine.map(work, split, 16, lambda _done: None)
            given.append(gathered(parts, work, len(split))["features"][0])

    assert np.array_equal(given[0], given[1])
    assert np.array_equal(given[2], given[3])
    assert not np.array_equal(given[0], given[2])
    assert here.passes == there.passes
    assert [*here.passes.values()] == [60, 60]


@needs_ray
def test_workers_last_as_long_as_the_engine(
    cluster: None, split: Split, backbone: Backbone, tmp_path: Path
) -> None:
    folders = tmp_path / "first", tmp_path / "second"
    engine = OnRay(lambda _: backbone)

    for folder in folders:
        folder.mkdir()
        passed(engine, split, backbone, meeting=Meeting(folder))

    first, second = (sorted(p.name for p in folder.iterdir()) for folder in folders)
    assert first == second


@needs_ray
@pytest.mark.parametrize("deaths", [1, 3])
def test_a_worker_that_is_killed_begins_anew_and_nothing_is_lost_or_double(
    cluster: None, split: Split, backbone: Backbone, tmp_path: Path, deaths: int
) -> None:
    folder = tmp_path / "deaths"
    folder.mkdir()
    here, there = InProcess(lambda _: backbone), OnRay(lambda _: backbone)

    found = passed(there, split, backbone, deadly=Deadly(folder, deaths))

    assert len(list(folder.iterdir())) == deaths
    require_same_bytes(passed(here, split, backbone), found)
    assert here.passes == there.passes


@needs_ray
def test_a_worker_that_dies_four_times_ends_the_run(
    cluster: None, split: Split, backbone: Backbone, tmp_path: Path
) -> None:
    folder = tmp_path / "deaths"
    folder.mkdir()
    engine = OnRay(lambda _: backbone)

    with pytest.raises(
        GateError, match=r"^--engine ray: Ray gave up, after 3 repeats .*: .* run again, or without"
    ) as raised:
        passed(engine, split, backbone, deadly=Deadly(folder, 100))

    assert len(str(raised.value).splitlines()) == 1
    assert len(list(folder.iterdir())) == 4


@dataclass(frozen=True)
class WrittenTo:
    """A split whose table somebody writes to, once its first block was read."""

    split: Split
    plan: SplitPlan
    name: str = "test"
    digest: str = "d"

    def __len__(self) -> int:
        return len(self.split)

    def batches(self, size: int, side: int, channels: int, *how: Any) -> Iterator[Images]:
        for block in self.split.batches(size, side, channels, *how):
            yield block
            content = self.plan.path.read_bytes()
            self.plan.path.write_bytes(content)


@needs_ray
def test_a_table_that_changes_under_a_running_engine_is_refused_and_no_features_are_kept(
    cluster: None, split: Split, backbone: Backbone, tmp_path: Path
) -> None:
    changing: Any = WrittenTo(split, split.plan)
    folder, engine = tmp_path / "features", OnRay(lambda _: backbone)

    with pytest.raises(DataError, match="was changed after it was hashed; run again on data"):
        embed.outputs(folder, engine, backbone, changing, 16, lambda _done: None)

    assert list(folder.iterdir()) == []


@needs_ray
def test_a_worker_that_has_other_weights_than_evidence_names_is_refused(
    cluster: None, split: Split, backbone: Backbone
) -> None:
    model = tiny.onnx_model()
    model.doc_string = "other bytes"
    tiny.write_onnx(backbone.plan.path, model)

    with pytest.raises(
        BackboneError,
        match=rf"m.onnx: its digest is sha256:\w+ in a worker on {socket.gethostname()}, and "
        rf"{backbone.digest} where gate runs",
    ):
        passed(OnRay(lambda _: backbone), split, backbone)


@needs_ray
def test_a_backbone_that_is_closed_is_forgotten_by_every_worker(
    cluster: None, split: Split, backbone: Backbone, tmp_path: Path
) -> None:
    engine = OnRay(lambda _: backbone)
    (tmp_path / "both").mkdir()
    passed(engine, split, backbone, meeting=Meeting(tmp_path / "both"))  # each has opened it
    backbone.plan.path.unlink()
    passed(engine, split, backbone)  # as workers hold it

    engine.close(backbone.plan)

    with pytest.raises(BackboneError, match=r"m\.onnx: cannot be read"):
        passed(engine, split, backbone)


def one_line(gate: Gate, folder: Path) -> str:
    """What `gate probe --engine ray` says on stderr, where it ends in an error."""
    out = folder / "evidence.json"
    write_inputs()

    code, _, said = gate(
        "probe", "clean_accuracy", "--plan", "plan.yaml", "--out", out, "--engine", "ray"
    )

    assert code == 3
    assert not out.exists()
    (line,) = said.splitlines()
    return line


def test_an_engine_that_is_not_installed_is_a_line(
    gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "ray", None)

    line = one_line(gate, tmp_path)

    assert line.startswith("gate: --engine ray: Ray is not installed (")
    assert line.endswith("in a checkout of gate, pip install '.[ray]'")


@needs_ray
def test_a_cluster_that_does_not_answer_is_a_line(
    gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")

    line = one_line(gate, tmp_path)

    assert line.startswith(
        f"gate: --engine ray: no cluster answers at RAY_ADDRESS '127.0.0.1:{port}': "
    )
    assert line.endswith("unset RAY_ADDRESS to use this machine alone")


def test_the_cluster_that_is_shown_runs_gate_on_the_version_of_ray_that_was_tried() -> None:
    shown = yaml.safe_load(Path("pipelines/cluster/rayjob.yaml").read_text())["spec"]

    assert "gate run plan.yaml --policy policy.yaml --out out --engine ray" in shown["entrypoint"]
    version = shown["rayClusterSpec"]["rayVersion"]
    assert f"ray=={version}" in Path("constraints.txt").read_text().splitlines()
