"""Broken models, models without end, and code of an architecture that fails: one error each."""

import json
import struct
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from gate.backbone.artefact import Artefact
from gate.backbone.backbone import Backbone
from gate.backbone.exported_runtime import open_runtime as open_exported
from gate.backbone.onnx_runtime import OnnxRuntime
from gate.backbone.tokens import Tokenizer
from gate.backbone.weights_runtime import open_runtime as open_weights
from gate.errors import BackboneError
from gate.plan.backbone import (
    BackbonePlan,
    ExportedBackbone,
    OnnxBackbone,
    Tokenization,
    WeightsBackbone,
)
from tests import tiny, tiny_text
from tests.backbone.test_backbone import write_exported, write_safetensors

FACTORY = "tests.tiny:factory"


def opened(**file: Any) -> Backbone:
    return Backbone(BackbonePlan.model_validate({"preprocessing": tiny.PREPROCESSING, **file}))


# --- ONNX -----------------------------------------------------------------------------------------


def function(name: str, *called: str) -> onnx.FunctionProto:
    """A function that calls others one after another."""
    values = ["x", *(f"h{i}" for i in range(len(called) - 1)), "y"]
    body = [
        helper.make_node(
            op_type, [values[i]], [values[i + 1]], domain="" if op_type == "Relu" else "f"
        )
        for i, op_type in enumerate(called)
    ]
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("f", 1)]
    return helper.make_function("f", name, ["x"], ["y"], body, imports)


def calling(name: str, *functions: onnx.FunctionProto) -> onnx.ModelProto:
    model = tiny.onnx_model(domain="f")
    model.graph.node[1].op_type = name
    model.functions.extend(functions)
    return model


def doubled(times: int) -> list[onnx.FunctionProto]:
    """Functions that each call the one before twice."""
    return [
        function("F0", "Relu"),
        *(function(f"F{i}", *[f"F{i - 1}"] * 2) for i in range(1, times)),
    ]


CALLS: dict[str, Callable[[], onnx.ModelProto]] = {
    "itself": lambda: calling("F", function("F", "F")),
    "one that calls it": lambda: calling("F", function("F", "G"), function("G", "F")),
    "itself, and nobody calls it": lambda: calling("G", function("G", "Relu"), function("F", "F")),
    "another twice, 26 times over": lambda: calling("F25", *doubled(26)),
    "another, 400 deep": lambda: calling(
        "F399", function("F0", "Relu"), *(function(f"F{i}", f"F{i - 1}") for i in range(1, 400))
    ),
    "another, 400 deep, in the other order": lambda: calling(
        "F0", *(function(f"F{i}", f"F{i + 1}") for i in range(400)), function("F400", "Relu")
    ),
}


@pytest.mark.parametrize("calls", CALLS)
def test_a_function_that_calls_without_end_is_refused_at_once(calls: str, tmp_path: Path) -> None:
    path = tiny.write_onnx(tmp_path / "m.onnx", CALLS[calls]())
    start = time.perf_counter()

    with pytest.raises(BackboneError, match="calls itself, or others 32 deep, or makes more than"):
        opened(onnx=path)

    assert time.perf_counter() - start < 5


def test_functions_that_call_one_another_a_few_times_run(
    tmp_path: Path, images: np.ndarray
) -> None:
    path = tiny.write_onnx(tmp_path / "m.onnx", calling("F5", *doubled(6)))

    found = opened(onnx=path).features(images)

    np.testing.assert_allclose(found, tiny.by_hand(images), rtol=1e-4, atol=1e-5)


def test_graphs_nested_beyond_what_protobuf_reads_are_refused(tmp_path: Path) -> None:
    inner = tiny.onnx_model().graph.SerializeToString()
    for _ in range(400):  # written by hand, as protobuf refuses to make it: fields 6, 5, 1
        for field in (6, 5, 1):
            inner = bytes([field << 3 | 2]) + _varint(len(inner)) + inner
    path = tmp_path / "m.onnx"
    path.write_bytes(tiny.onnx_model().SerializeToString() + b"\x3a" + _varint(len(inner)) + inner)

    with pytest.raises(BackboneError, match="not an ONNX model, or truncated"):
        opened(onnx=path)


def _varint(number: int) -> bytes:
    groups = [number >> 7 * i & 127 for i in range(max(1, -(-number.bit_length() // 7)))]
    return bytes([*(group | 128 for group in groups[:-1]), groups[-1]])


@pytest.mark.parametrize("name", [b"features", b"images", b"active", b"Relu", b"weight"])
def test_a_name_that_is_no_text_is_refused(name: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    content = tiny.onnx_model().SerializeToString()
    path.write_bytes(content.replace(name, b"\xff" * len(name)))

    with pytest.raises(BackboneError, match=r"m\.onnx: .* is no text"):
        opened(onnx=path)


@pytest.mark.parametrize(
    "dims", [[1 << 40, 3, 3, 3], [-5, 3, 3, 3], [1 << 62, 1 << 62], [], [5, 3, 3, 3, 0]]
)
def test_weights_that_do_not_fit_their_shape_are_refused(dims: list[int], tmp_path: Path) -> None:
    model = tiny.onnx_model()
    model.graph.initializer[0].dims[:] = dims
    path = tiny.write_onnx(tmp_path / "m.onnx", model)

    with pytest.raises(BackboneError, match="bytes"):
        opened(onnx=path).features(np.zeros((2, tiny.SIDE, tiny.SIDE, 3), np.uint8))


def test_of_a_thousand_changed_models_each_runs_or_is_refused(
    tmp_path: Path, images: np.ndarray
) -> None:
    rng = np.random.default_rng(0)
    content = np.frombuffer(tiny.onnx_model().SerializeToString(), np.uint8)
    path = tmp_path / "m.onnx"
    inputs = np.ascontiguousarray(images[:2].transpose(0, 3, 1, 2), np.float32)

    for _ in range(1000):
        changed = content.copy()
        places = rng.integers(0, len(content), rng.integers(1, 4))
        changed[places] = rng.integers(0, 256, len(places))
        path.write_bytes(changed.tobytes()[: rng.integers(1, 2 * len(content))])
        try:
            # not in a process of its own, as Backbone opens it: a thousand would take minutes
            plan = OnnxBackbone.model_validate({"onnx": path, "preprocessing": tiny.PREPROCESSING})
            OnnxRuntime(plan, Artefact(path)).run(inputs)
        except BackboneError as fault:
            assert str(path) in str(fault)  # some run


# --- torch.export and safetensors -----------------------------------------------------------------


def test_an_exported_archive_that_is_compressed_is_refused(tmp_path: Path) -> None:
    path = write_exported(tmp_path / "m.pt2")
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
        archive.writestr("m/data/weights/weight_9", bytes(1 << 24))

    with pytest.raises(BackboneError, match="compressed, or whose members overlap, is refused"):
        opened(exported=path)


BROKEN = """\
import sys
from tests.security.test_models_hostile import opened
opened(exported=sys.argv[1])
"""


def test_what_torch_logs_of_a_broken_archive_is_said_in_the_error_and_not_printed(
    tmp_path: Path,
) -> None:
    path = write_exported(tmp_path / "m.pt2")
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, b"x" if name.endswith("/version") else content)

    done = subprocess.run(
        [sys.executable, "-c", BROKEN, path], capture_output=True, text=True, check=False
    )

    assert "Ran into the following error" not in done.stderr
    *_, error = done.stderr.splitlines()
    assert error.startswith(f"gate.errors.BackboneError: {path}: torch.export cannot load it: ")
    assert "the warnings above" not in error


def test_a_graph_of_brackets_without_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("m/models/model.json", "[" * 200_000)

    with pytest.raises(BackboneError, match=r"m\.pt2: not a torch\.export archive, or truncated"):
        opened(exported=path)


def written(path: Path, header: object, content: bytes = b"") -> Path:
    """A safetensors file with a header of one's own."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content)
    return path


TENSOR = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}


@pytest.mark.parametrize(
    "header",
    [
        {"conv.weight": {**TENSOR, "dtype": "F99"}},
        {"conv.weight": {**TENSOR, "dtype": "F4"}},
        {"conv.weight": {**TENSOR, "shape": [1 << 62, 1 << 62]}},
        {"conv.weight": {**TENSOR, "shape": [-1]}},
        {"conv.weight": {**TENSOR, "data_offsets": [0, 1 << 40]}},
        {"conv.weight": {**TENSOR, "data_offsets": [4, 0]}},
        {"a": TENSOR, "b": TENSOR},  # the same bytes twice
        b"[" * 100_000,
        b"\xff" * 100,
        b"",
    ],
)
def test_a_safetensors_file_with_a_false_header_is_refused(header: Any, tmp_path: Path) -> None:
    path = written(tmp_path / "m.safetensors", header, bytes(4))

    with pytest.raises(BackboneError, match=r"m\.safetensors: not safetensors, or truncated"):
        opened(weights=path, arch=FACTORY)


@pytest.mark.parametrize("kind", ["exported", "weights", "tokenizer"])
def test_a_file_that_is_swapped_after_it_was_hashed_does_not_run(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m"
    path.write_bytes(b"hashed")
    artefact = Artefact(path)
    path.write_bytes(b"swapped")
    content = {"preprocessing": tiny.PREPROCESSING, kind: path, "arch": FACTORY}

    with pytest.raises(BackboneError, match="m: changed since its digest was taken"):
        if kind == "tokenizer":
            artefact.read()
        elif kind == "exported":
            content.pop("arch")
            open_exported(ExportedBackbone.model_validate(content), artefact)
        else:
            open_weights(WeightsBackbone.model_validate(content), artefact)


def test_a_tokenizer_that_lacks_what_its_model_needs_is_an_error_that_names_it(
    tmp_path: Path,
) -> None:
    path = tiny_text.write_tokenizer(tmp_path)
    path.write_text(path.read_text().replace('"[UNK]": 1', '"unknown": 1'))
    tokens = Tokenizer(Tokenization(tokenizer=path))

    with pytest.raises(
        BackboneError, match=r"tokenizer\.json: cannot turn texts into tokens: .*UNK"
    ):
        tokens(["a word that it does not know"])


# --- code of an architecture ----------------------------------------------------------------------

ARCHITECTURES = """
import sys, torch

def needs_more(name): ...
def fails(): raise ZeroDivisionError("by zero")
def leaves(): sys.exit(0)
def lacks(): return torch.absent
def runs_deep(): return runs_deep()
def is_silent(): raise RuntimeError
number = 3

class Odd(torch.nn.Module):
    def load_state_dict(self, *_, **__): raise KeyError("odd")
"""


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("needs_more", "without arguments, it raised TypeError: .* 1 required positional"),
        ("fails", "it raised ZeroDivisionError: by zero"),
        ("leaves", "it raised SystemExit: 0"),
        ("lacks", "it raised AttributeError: .*absent"),
        ("runs_deep", "it raised RecursionError"),
        ("is_silent", "it raised RuntimeError"),
        ("number", "it raised TypeError: 'int' object is not callable"),
        ("Odd", "does not fit .*odd"),
    ],
)
def test_whatever_a_factory_raises_is_an_error_that_names_it(
    name: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hostile_architectures.py").write_text(ARCHITECTURES)
    monkeypatch.syspath_prepend(tmp_path)
    path = write_safetensors(tmp_path / "m.safetensors")

    with pytest.raises(BackboneError, match=f"hostile_architectures:{name}.*{says}|{says}"):
        opened(weights=path, arch=f"hostile_architectures:{name}")


@pytest.mark.parametrize(
    "code", ["import sys; sys.exit(0)", "1 / 0", "raise ValueError", "def (", "import absent"]
)
def test_a_module_that_cannot_be_imported_is_an_error_whatever_it_raises(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_architecture.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("broken_architecture", None)
    path = write_safetensors(tmp_path / "m.safetensors")

    with pytest.raises(
        BackboneError, match="arch 'broken_architecture:factory' cannot be imported"
    ):
        opened(weights=path, arch="broken_architecture:factory")
