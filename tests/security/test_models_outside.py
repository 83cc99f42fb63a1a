"""An ONNX file takes nothing from outside its digest, wherever a tensor or a path stands."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from gate.backbone import onnx_runtime
from gate.backbone.artefact import Artefact
from gate.backbone.backbone import Backbone
from gate.backbone.heads import JoinedHead, LinearHead
from gate.backbone.onnx_heads import with_head
from gate.backbone.onnx_runtime import OnnxRuntime
from gate.errors import BackboneError
from gate.files import sha256_of
from gate.plan.backbone import OnnxBackbone
from tests import tiny

Place = Callable[[onnx.ModelProto, TensorProto], Any]


def described(path: Path, **names: str) -> OnnxBackbone:
    return OnnxBackbone.model_validate({"onnx": path, "preprocessing": tiny.PREPROCESSING, **names})


def opened(path: Path, **names: str) -> Backbone:
    return Backbone(described(path, **names))


def outside(*entries: tuple[str, object], **fields: Any) -> TensorProto:
    """The weights of the tiny backbone, said to lie in a file."""
    stated = {"name": "weight", "data_type": TensorProto.FLOAT, "dims": tiny.WEIGHT.shape}
    tensor = TensorProto(**{**stated, "data_location": TensorProto.EXTERNAL, **fields})
    for key, value in entries or (("location", "weights.bin"),):
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def without_weights() -> onnx.ModelProto:
    model = tiny.onnx_model()
    del model.graph.initializer[:]
    return model


def folder_of(path: Path, model: onnx.ModelProto) -> Path:
    """A folder with a model, and weights beside it."""
    path.mkdir()
    (path / "weights.bin").write_bytes(tiny.WEIGHT.tobytes())
    tiny.write_onnx(path / "model.onnx", model)
    return path


def constant(model: onnx.ModelProto, name: str, **content: Any) -> None:
    """Put a constant before all other nodes; its attribute has no type unless one is given."""
    model.graph.node.insert(0, onnx.NodeProto(op_type="Constant", output=["weight"]))
    model.graph.node[0].attribute.append(onnx.AttributeProto(name=name, **content))


def sparse(values: TensorProto) -> onnx.SparseTensorProto:
    indices = numpy_helper.from_array(np.arange(tiny.WEIGHT.size), "indices")
    values = TensorProto.FromString(values.SerializeToString())
    values.dims[:] = [tiny.WEIGHT.size]
    return onnx.SparseTensorProto(values=values, indices=indices, dims=tiny.WEIGHT.shape)


def sparse_indices(tensor: TensorProto) -> onnx.SparseTensorProto:
    values = numpy_helper.from_array(tiny.WEIGHT.ravel(), "weight")
    tensor.data_type, tensor.dims[:] = TensorProto.INT64, [tiny.WEIGHT.size]
    return onnx.SparseTensorProto(values=values, indices=tensor, dims=tiny.WEIGHT.shape)


def graph_with(tensor: TensorProto) -> onnx.GraphProto:
    return onnx.GraphProto(name="inner", initializer=[tensor])


def function_with(tensor: TensorProto) -> onnx.FunctionProto:
    attribute = onnx.AttributeProto(name="value", t=tensor, type=onnx.AttributeProto.TENSOR)
    node = onnx.NodeProto(op_type="Constant", output=["y"], attribute=[attribute])
    return onnx.FunctionProto(name="f", domain="f", output=["y"], node=[node])


KIND = onnx.AttributeProto
PLACES: dict[str, Place] = {
    "a constant": lambda m, t: constant(m, "value", t=t, type=KIND.TENSOR),
    "a constant of no type": lambda m, t: constant(m, "value", t=t),
    "a constant said to be a float": lambda m, t: constant(m, "value", t=t, type=KIND.FLOAT),
    "a sparse constant": lambda m, t: constant(
        m, "sparse_value", sparse_tensor=sparse(t), type=KIND.SPARSE_TENSOR
    ),
    "a sparse constant of no type": lambda m, t: constant(
        m, "sparse_value", sparse_tensor=sparse(t)
    ),
    "the indices of a sparse constant": lambda m, t: constant(
        m, "sparse_value", sparse_tensor=sparse_indices(t), type=KIND.SPARSE_TENSOR
    ),
    "a list of tensors": lambda m, t: constant(m, "values", tensors=[t], type=KIND.TENSORS),
    "a list of sparse tensors": lambda m, t: constant(m, "values", sparse_tensors=[sparse(t)]),
    "a sparse initializer": lambda m, t: m.graph.sparse_initializer.append(sparse(t)),
    "the indices of a sparse initializer": lambda m, t: m.graph.sparse_initializer.append(
        sparse_indices(t)
    ),
    "a graph in an attribute": lambda m, t: constant(m, "body", g=graph_with(t), type=KIND.GRAPH),
    "a graph in an attribute of no type": lambda m, t: constant(m, "body", g=graph_with(t)),
    "a list of graphs": lambda m, t: constant(m, "bodies", graphs=[graph_with(t)]),
    "a function": lambda m, t: m.functions.append(function_with(t)),
    "a default of a function": lambda m, t: m.functions.add(
        name="f", domain="f"
    ).attribute_proto.add(name="value", t=t, type=KIND.TENSOR),
    "the start of training": lambda m, t: m.training_info.add().initialization.initializer.append(
        t
    ),
    "a step of training": lambda m, t: m.training_info.add().algorithm.initializer.append(t),
    "an initializer said to lie inside": lambda m, t: (
        t.ClearField("data_location"),
        m.graph.initializer.append(t),
    ),
}


@pytest.mark.parametrize("place", PLACES)
def test_weights_outside_the_model_are_refused_wherever_a_tensor_can_stand(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = without_weights()
    PLACES[place](model, outside())
    folder = folder_of(tmp_path / "m", model)
    monkeypatch.chdir(folder)  # against which a runtime may resolve a location

    for path in (folder, folder / "model.onnx", Path("model.onnx")):
        with pytest.raises(BackboneError, match="is no plain initializer of the graph"):
            opened(path)


def every_place_of_a_tensor() -> set[str]:
    """Fields of the protobuf, below a model, that may hold a tensor."""
    found, waiting, seen = set(), [onnx.ModelProto.DESCRIPTOR], set()
    while waiting:
        message = waiting.pop()
        seen.add(message.name)
        for field in message.fields:
            if field.message_type and field.message_type.name == "TensorProto":
                found.add(f"{message.name}.{field.name}")
            elif field.message_type and field.message_type.name not in seen:
                waiting.append(field.message_type)
    return found


def test_every_field_that_may_hold_a_tensor_is_tried_above() -> None:
    assert every_place_of_a_tensor() == {
        "AttributeProto.t",
        "AttributeProto.tensors",
        "GraphProto.initializer",
        "SparseTensorProto.indices",
        "SparseTensorProto.values",
    }


LENGTH = tiny.WEIGHT.nbytes
AT = ("location", "weights.bin")


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ([AT, ("location", "../other.bin")], "each of .*location.* at most once"),
        ([("location", "../other.bin"), AT], "each of .*location.* at most once"),
        ([AT, AT], "each of .*location.* at most once"),
        ([AT, ("offset", 0), ("offset", 4)], "each of .*offset.* at most once"),
        ([AT, ("length", LENGTH), ("length", LENGTH)], "each of .*length.* at most once"),
        ([AT, ("checksum", "a"), ("checksum", "b")], "each of .*checksum.* at most once"),
        ([AT, ("basepath", "/tmp")], "basepath"),  # noqa: S108  # nothing is written there
        ([AT, ("prepacked_0", "key|0|540|1")], "prepacked_0"),
        ([AT, ("Location", "../other.bin")], "Location"),
        ([("offset", 0)], "outside the model's folder"),
        ([("location", "*/_ORT_MEM_ADDR_/*"), ("offset", 4096), ("length", LENGTH)], "missing at"),
        ([("location", "file:///etc/passwd")], "missing at"),
        ([("location", "..\\weights.bin")], "missing at"),
        ([("location", "weights.bin\0x")], "missing at"),
        ([("location", "w" * 5000)], "missing at"),
        ([("location", ".")], "missing at"),
        ([("location", "/proc/self/environ")], "outside the model's folder"),
        ([("location", "a/../weights.bin")], "outside the model's folder"),
        ([("location", ".//weights.bin")], "names no file of the folder in the plainest way"),
        ([AT, ("offset", -4)], "offset .* is '-4', expected a number of bytes"),
        ([AT, ("offset", 1 << 62)], "offset .* expected a number of bytes"),
        ([AT, ("offset", "abc")], "offset .* expected a number of bytes"),
        ([AT, ("offset", "0x4")], "offset .* expected a number of bytes"),
        ([AT, ("offset", " 4")], "offset .* expected a number of bytes"),
        ([AT, ("offset", "1_0")], "offset .* expected a number of bytes"),
        ([AT, ("offset", "\u0664")], "offset .* expected a number of bytes"),
        ([AT, ("offset", "")], "offset .* expected a number of bytes"),
        ([AT, ("offset", 4)], f"{LENGTH} bytes from 4 on of 'weights.bin', which has {LENGTH}"),
        ([AT, ("length", LENGTH - 4)], f"take {LENGTH} bytes .* said to be {LENGTH - 4}"),
        ([AT, ("length", LENGTH + 4)], f"take {LENGTH} bytes .* said to be {LENGTH + 4}"),
        ([AT, ("length", 0)], f"take {LENGTH} bytes .* said to be 0"),
        ([AT, ("length", -1)], "length .* expected a number of bytes"),
        ([AT, ("length", 1 << 62)], "length .* expected a number of bytes"),
    ],
)
def test_where_weights_lie_is_said_once_and_fits_the_file(
    entries: list[tuple[str, object]], says: str, tmp_path: Path
) -> None:
    model = without_weights()
    model.graph.initializer.append(outside(*entries))
    folder = folder_of(tmp_path / "m", model)
    (tmp_path / "other.bin").write_bytes((-tiny.WEIGHT).tobytes())

    with pytest.raises(BackboneError, match=says):
        opened(folder)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"raw_data": tiny.WEIGHT.tobytes()}, "beside the model and in it, too"),
        ({"float_data": tiny.WEIGHT.ravel()}, "beside the model and in it, too"),
        ({"dims": [-5, 3, 3, 3]}, "has no size in bytes"),
        ({"dims": [1 << 40, 3, 3, 3]}, "bytes by their shape"),
        ({"dims": [1 << 62, 1 << 62]}, "has no size in bytes"),
        ({"dims": [1 << 62] * 64}, "has no size in bytes"),
        ({"dims": [1] * 65}, "has no size in bytes"),
        ({"data_type": TensorProto.STRING}, "are STRING of shape"),
        ({"data_type": TensorProto.UNDEFINED}, "are UNDEFINED of shape"),
        ({"data_type": 4711}, "are 4711 of shape"),
    ],
)
def test_weights_beside_a_model_have_a_plain_shape_and_type(
    fields: dict[str, Any], says: str, tmp_path: Path
) -> None:
    model = without_weights()
    model.graph.initializer.append(outside(**fields))

    with pytest.raises(BackboneError, match=says):
        opened(folder_of(tmp_path / "m", model))


@pytest.mark.parametrize(
    "entries", [[AT], [AT, ("offset", 0), ("length", LENGTH), ("checksum", "ab")]]
)
def test_weights_in_the_folder_give_what_the_same_weights_inside_give(
    entries: list[tuple[str, object]], tmp_path: Path, images: np.ndarray
) -> None:
    model = without_weights()
    model.graph.initializer.append(outside(*entries))

    found = opened(folder_of(tmp_path / "m", model)).features(images)

    inside = opened(tiny.write_onnx(tmp_path / "inside.onnx"))
    np.testing.assert_array_equal(found, inside.features(images))


def test_a_value_inside_a_graph_is_read_with_weights_beside_it(
    tmp_path: Path, images: np.ndarray
) -> None:
    folder = tiny.write_external(tmp_path / "m", "weights.bin").parent

    found = opened(folder, output="active").features(images)

    np.testing.assert_allclose(found, tiny.by_hand(images), rtol=1e-4, atol=1e-5)


def test_a_head_goes_behind_weights_in_a_folder_and_the_file_needs_none_beside_it(
    tmp_path: Path, images: np.ndarray
) -> None:
    folder = tiny.write_external(tmp_path / "m", "weights.bin").parent
    backbone = opened(folder)
    head = LinearHead(np.ones((5, 2), np.float32), np.zeros(2, np.float32))

    whole = with_head(described(folder), backbone.artefact, JoinedHead(head, None), {})

    session = onnxruntime.InferenceSession(whole, providers=["CPUExecutionProvider"])
    (found,) = session.run(["calibrated_logits"], {"images": backbone.inputs(images)})
    np.testing.assert_allclose(found, head.logits(backbone.features(images)), rtol=1e-4)


def test_weights_too_large_for_one_message_are_handed_over_apart_and_give_the_same(
    tmp_path: Path, images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny.write_external(tmp_path / "m", "weights.bin").parent
    expected = opened(folder).features(images)
    monkeypatch.setattr(onnx_runtime, "_LONGEST", 0)
    monkeypatch.setattr(onnx_runtime, "_SMALL", 0)

    np.testing.assert_array_equal(opened(folder).features(images), expected)


# --- bytes are used as they were hashed -----------------------------------------------------------


def test_a_model_that_is_swapped_after_it_was_hashed_does_not_run(tmp_path: Path) -> None:
    path = tiny.write_onnx(tmp_path / "m.onnx")
    artefact = Artefact(path)
    path.write_bytes(tiny.onnx_model(batch=60).SerializeToString())

    with pytest.raises(BackboneError, match=r"m\.onnx: changed since its digest was taken"):
        OnnxRuntime(described(path), artefact)


def test_weights_that_are_swapped_after_they_were_hashed_do_not_run(tmp_path: Path) -> None:
    folder = tiny.write_external(tmp_path / "m", "weights.bin").parent
    artefact = Artefact(folder)
    (folder / "weights.bin").write_bytes((-tiny.WEIGHT).tobytes())

    with pytest.raises(BackboneError, match=r"weights\.bin: changed since its digest was taken"):
        OnnxRuntime(described(folder), artefact)


def test_a_backbone_that_is_open_does_not_look_at_its_files_again(
    tmp_path: Path, images: np.ndarray
) -> None:
    folder = tiny.write_external(tmp_path / "m", "weights.bin").parent
    backbone = opened(folder)
    assert backbone.digest == sha256_of(folder, BackboneError)
    for file in folder.iterdir():
        file.write_bytes(b"swapped")

    np.testing.assert_allclose(
        backbone.features(images), tiny.by_hand(images), rtol=1e-4, atol=1e-5
    )


# --- what else a model may bring ------------------------------------------------------------------


def test_a_field_that_the_installed_onnx_does_not_know_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    unknown = b"\xfa\x3f\x03abc"  # field 1023, of three bytes
    path.write_bytes(tiny.onnx_model().SerializeToString() + unknown)

    with pytest.raises(BackboneError, match=r"holds fields that onnx .* does not know"):
        opened(path)


def test_a_model_that_begins_like_another_format_is_refused(tmp_path: Path) -> None:
    model = tiny.onnx_model()
    model.producer_name = "ORTM"  # after the version, where ONNX Runtime looks for its own format
    path = tiny.write_onnx(tmp_path / "m.onnx", model)

    with pytest.raises(BackboneError, match="begins like a model in ONNX Runtime's own format"):
        opened(path)


def test_a_model_does_not_bring_settings_for_the_session_that_runs_it(
    tmp_path: Path, images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, written = tiny.onnx_model(), tmp_path / "profile"
    settings = (
        f'{{"session_options": {{"enable_profiling": 1, "profile_file_prefix": "{written}"}}}}'
    )
    helper.set_model_props(model, {"ort_config": settings})
    monkeypatch.setenv("ORT_LOAD_CONFIG_FROM_MODEL", "1")
    monkeypatch.chdir(tmp_path)

    opened(tiny.write_onnx(tmp_path / "m.onnx", model)).features(images)

    assert [file.name for file in tmp_path.iterdir()] == ["m.onnx"]


@pytest.mark.parametrize(
    "domain",
    [
        "ai.evil",
        "com.microsoft.extensions",
        "ai.onnx.contrib",
        "com.microsoft.nchwc",
        "trt.plugins",
    ],
)
def test_an_operator_of_a_library_is_refused_also_where_a_function_has_its_domain(
    domain: str, tmp_path: Path
) -> None:
    model = tiny.onnx_model(domain=domain)
    identity = [helper.make_node("Identity", ["x"], ["y"])]
    imports = [helper.make_opsetid("", 17)]
    model.functions.append(helper.make_function(domain, "Other", ["x"], ["y"], identity, imports))

    with pytest.raises(BackboneError, match=re.escape(f"unknown domain {domain!r}")):
        opened(tiny.write_onnx(tmp_path / "m.onnx", model))


def test_an_operator_that_reads_a_compiled_model_by_its_path_is_refused(tmp_path: Path) -> None:
    model = tiny.onnx_model(domain="com.microsoft")
    model.graph.node[1].op_type = "EPContext"

    with pytest.raises(BackboneError, match="EPContext may read a file that it names"):
        opened(tiny.write_onnx(tmp_path / "m.onnx", model))
