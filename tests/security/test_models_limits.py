"""A model that holds a program of its own answers in time and in memory, and reaches no file."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from gate.backbone.artefact import Artefact
from gate.backbone.backbone import Backbone
from gate.backbone.child import Child
from gate.errors import BackboneError
from gate.limits import Limits, landlock_version
from gate.plan.backbone import BackbonePlan, OnnxBackbone
from tests import tiny
from tests.backbone.test_backbone import write_exported
from tests.conftest import Gate
from tests.security import kill

IMAGES = np.zeros((4, 8, 8, 3), np.uint8)
TIGHT = Limits(seconds=30, gib=1)


def described(model: onnx.ModelProto, folder: Path) -> OnnxBackbone:
    path = tiny.write_onnx(folder / "m.onnx", model)
    return OnnxBackbone.model_validate({"onnx": path, "preprocessing": tiny.PREPROCESSING})


def with_more(nodes: list[onnx.NodeProto], **tensors: Any) -> onnx.ModelProto:
    """The tiny model, whose features get added what nodes make: ``more``, one number."""
    model = tiny.onnx_model()
    model.graph.node[-1].output[0] = "before"
    for name, values in tensors.items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(values), name))
    model.graph.node.extend(nodes)
    model.graph.node.append(helper.make_node("Add", ["before", "more"], ["features"]))
    return model


def endless() -> onnx.ModelProto:
    """A loop of 2^62 steps."""
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Add", ["sum", "one"], ["next"]),
        ],
        "body",
        [
            value("step", TensorProto.INT64, []),
            value("go", TensorProto.BOOL, []),
            value("sum", TensorProto.FLOAT, [1]),
        ],
        [value("go_on", TensorProto.BOOL, []), value("next", TensorProto.FLOAT, [1])],
        [numpy_helper.from_array(np.ones(1, np.float32), "one")],
    )
    loop = helper.make_node("Loop", ["steps", "yes", "zero"], ["more"], body=body)
    return with_more([loop], steps=2**62, yes=True, zero=np.zeros(1, np.float32))


def greedy(each: int) -> onnx.ModelProto:
    """So many floats for each image of a batch: nothing that could be known when it is opened."""
    nodes = [
        helper.make_node("Shape", ["images"], ["shape"]),
        helper.make_node("Gather", ["shape", "first"], ["images_given"]),
        helper.make_node("Mul", ["images_given", "each"], ["count"]),
        helper.make_node("ConstantOfShape", ["count"], ["floats"]),
        helper.make_node("ReduceMax", ["floats"], ["more"], keepdims=0),
    ]
    return with_more(nodes, first=[0], each=[each])


def test_a_loop_without_end_is_ended_in_time_and_says_how_to_allow_it(tmp_path: Path) -> None:
    backbone = Backbone(described(endless(), tmp_path), Limits(seconds=5))
    start = time.perf_counter()

    with pytest.raises(BackboneError, match=r"m\.onnx: no answer within 5 seconds.*--model-second"):
        backbone.features(IMAGES)

    assert 5 <= time.perf_counter() - start < 20


def test_a_command_ends_a_loop_without_end_with_exit_code_3_and_no_evidence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gate: Gate
) -> None:
    monkeypatch.chdir(tmp_path)
    kill.write_inputs()
    tiny.write_onnx(Path("model.onnx"), endless())

    code, _, err = gate(
        *("probe", "clean_accuracy", "--plan", "plan.yaml", "--out", "e.json"),
        *("--model-seconds", "5"),
    )

    assert code == 3
    assert "no answer within 5 seconds" in err
    assert not Path("e.json").exists()


@pytest.mark.parametrize("each", [1 << 27, 1 << 31, 1 << 40, 1 << 50])
def test_a_model_that_asks_for_more_memory_than_it_may_is_an_error(
    each: int, tmp_path: Path
) -> None:
    backbone = Backbone(described(greedy(each), tmp_path), TIGHT)

    with pytest.raises(BackboneError, match=r"more than 1 GiB of memory.*raise --model-memory"):
        backbone.features(IMAGES)


def test_a_model_that_asks_for_less_memory_than_it_may_runs(tmp_path: Path) -> None:
    backbone = Backbone(described(greedy(1 << 20), tmp_path), TIGHT)

    features = backbone.features(IMAGES)

    np.testing.assert_allclose(features, tiny.by_hand(IMAGES), rtol=1e-4, atol=1e-5)


def test_an_exported_file_runs_in_the_least_memory_that_may_be_asked_for(tmp_path: Path) -> None:
    plan = BackbonePlan.model_validate(
        {"exported": write_exported(tmp_path / "m.pt2"), "preprocessing": tiny.PREPROCESSING}
    )

    features = Backbone(plan, Limits(seconds=60, gib=0.5)).features(IMAGES)

    np.testing.assert_allclose(features, tiny.by_hand(IMAGES), rtol=1e-4, atol=1e-5)


def test_a_model_whose_process_dies_is_an_error_that_names_the_signal(tmp_path: Path) -> None:
    plan = described(tiny.onnx_model(), tmp_path)
    child = Child(plan, Artefact(plan.path), TIGHT)
    os.kill(child._process.pid, signal.SIGSEGV)

    with pytest.raises(BackboneError, match=r"m\.onnx: its process died of SIGSEGV"):
        child.run(np.zeros((4, 3, 8, 8), np.float32))


def test_no_model_outlives_the_process_that_opened_it(tmp_path: Path) -> None:
    described(endless(), tmp_path)
    code = (
        "import os, sys; from tests.security.test_models_limits import *; "
        f"plan = OnnxBackbone(onnx={str(tmp_path / 'm.onnx')!r}, preprocessing=tiny.PREPROCESSING);"
        "child = Child(plan, Artefact(plan.path), Limits()); "
        "print(child._process.pid, flush=True); "
        "child.run(np.zeros((4, 3, 8, 8), np.float32))"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout
        held = int(owner.stdout.readline())
        time.sleep(0.5)  # the loop is at work by then
        owner.kill()

    deadline = time.monotonic() + 10
    while _alive(held) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _alive(held)


def _alive(process: int) -> bool:
    status = Path(f"/proc/{process}/stat")
    return status.exists() and status.read_text().split(")")[1].split()[0] != "Z"


# --- what a process that is confined cannot do ----------------------------------------------------

CONFINED = """
import socket, subprocess, sys
from gate.limits import confine
confine(1 << 30, [sys.argv[1]], [sys.argv[2]])
"""


def confined(code: str, tmp_path: Path) -> str:
    """The name of the error that code ends in, in a confined process; nothing where it does not."""
    for name in ("readable", "writable"):
        (tmp_path / name).mkdir()
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "readable" / "weights").write_text("weights")
    folders = [str(tmp_path / name) for name in ("readable", "writable")]
    ended = subprocess.run(
        [sys.executable, "-c", CONFINED + code, *folders, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    return ended.stderr.strip().splitlines()[-1].split(":")[0] if ended.returncode else ""


needs_landlock = pytest.mark.skipif(
    sys.platform != "linux" or landlock_version() < 1,
    reason="this kernel has no Landlock, so nothing but time and memory is limited",
)


@needs_landlock
@pytest.mark.parametrize(
    "code",
    [
        "open(sys.argv[3] + '/secret')",
        "open(sys.argv[3] + '/new', 'w')",
        "open(sys.argv[1] + '/weights', 'a')",
        "import os; os.truncate(sys.argv[1] + '/weights', 0)",
        "import os; os.unlink(sys.argv[1] + '/weights')",
        "import os; os.listdir(sys.argv[3])",
        "subprocess.run(['/bin/true'])",
        "socket.create_connection(('127.0.0.1', PORT))",
    ],
)
def test_a_confined_process_reaches_no_file_program_or_network(code: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        found = confined(code.replace("PORT", str(server.getsockname()[1])), tmp_path)

    assert found == "PermissionError"


@pytest.mark.parametrize(
    "code",
    [
        "open(sys.argv[1] + '/weights').read()",
        "open(sys.argv[2] + '/new', 'w').write('x')",
        "open('/dev/null', 'w').write('x')",
        "import numpy, onnxruntime",
    ],
)
def test_a_confined_process_reaches_what_it_needs(code: str, tmp_path: Path) -> None:
    assert confined(code, tmp_path) == ""


def test_a_confined_process_cannot_take_more_memory_than_it_may(tmp_path: Path) -> None:
    assert confined("bytearray(2 << 30)", tmp_path) == "MemoryError"


@pytest.mark.parametrize("flag", ["--model-seconds", "--model-memory"])
@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "1e9"])
def test_a_limit_that_ends_every_model_or_none_is_refused(
    flag: str, value: str, gate: Gate
) -> None:
    code, _, err = gate("probe", "clean_accuracy", "--plan", "p", "--out", "e", flag, value)

    assert code == 2
    assert f"{flag} {float(value):g}: from 0." in err
