"""Models are told for what they are; nothing of them runs, and no pickle is loaded."""

import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from safetensors.numpy import save_file

from gate.backbone.artefact import Artefact
from gate.errors import BackboneError
from gate.inspection.facts import ModelFacts
from gate.inspection.model import inspect_model
from gate.inspection.text import model_text
from gate.limits import Limits
from tests.own_files import network


def facts(path: Path) -> ModelFacts:
    return inspect_model(path, Limits())


def test_a_classifier_is_told_by_its_input_its_features_and_its_head(tmp_path: Path) -> None:
    path = network(tmp_path / "model.onnx", classes=10)

    found = facts(path)

    assert (found.format, found.producer, found.opsets) == ("onnx", "by hand", {"ai.onnx": 17})
    assert found.takes == "images"
    assert found.images and found.images.model_dump() == {
        "size": 32, "channels": 3, "layout": "NCHW",
    }  # fmt: skip
    assert found.features and found.features.name == "flat"
    assert found.features.shape and found.features.shape[1] == 16
    assert found.logits and (found.logits.name, found.logits.shape) == ("scores", ("N", 10))
    assert found.parameters == 16 * 3 * 4 * 4 + 16 * 10 + 10
    assert found.digest == Artefact(path).digest
    assert found.bytes == path.stat().st_size
    assert not found.refused


def test_a_softmax_is_no_feature_and_what_feeds_it_are_the_logits(tmp_path: Path) -> None:
    found = facts(network(tmp_path / "model.onnx", softmax=True))

    assert [each.what for each in found.outputs] == ["probabilities"]
    assert found.features and found.features.name == "flat"
    assert found.logits and found.logits.name == "scores"


def test_a_layout_is_told_as_far_as_the_shape_does(tmp_path: Path) -> None:
    last = facts(network(tmp_path / "a.onnx", shape=("N", "H", "W", 3))).images
    size = facts(network(tmp_path / "b.onnx", shape=("N", 3, "H", "W"))).images
    none = facts(network(tmp_path / "c.onnx", shape=("N", "C", "H", "W"))).images

    assert last and (last.layout, last.size) == ("NHWC", None)
    assert size and (size.layout, size.size, size.channels) == ("NCHW", None, 3)
    assert none and (none.layout, none.size, none.channels) == (None, None, None)


def test_what_onnx_may_not_hold_is_said_and_is_no_traceback(tmp_path: Path) -> None:
    path = network(tmp_path / "model.onnx")
    model = onnx.load(path)
    model.graph.node[1].domain = "their.own"
    onnx.save(model, path)
    (tmp_path / "cut.onnx").write_bytes(path.read_bytes()[:100])

    assert "unknown domain 'their.own'" in facts(path).refused[0]
    assert "not an ONNX model" in facts(tmp_path / "cut.onnx").refused[0]


def test_weights_outside_the_folder_are_refused(tmp_path: Path) -> None:
    path = network(tmp_path / "model.onnx")
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="w.bin", size_threshold=0)

    assert "model.onnx" in facts(path).refused[0]
    assert not facts(tmp_path).refused  # as a folder it is whole


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("owned"),))


@pytest.mark.parametrize("name", ["a.pt", "a.pth", "a.bin", "a.pkl", "a.ckpt", "a.onnx", "a"])
def test_a_pickle_is_named_whatever_it_is_called_and_never_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(pickle.dumps(Evil()))

    found = facts(Path(name))

    assert found.format == "pickle"
    assert "safetensors.torch.save_file" in found.refused[0]
    assert not Path("owned").exists()


@pytest.mark.parametrize(
    ("name", "content", "format_", "way"),
    [
        ("a.h5", b"\x89HDF\r\n\x1a\n", "keras-hdf5", "tf2onnx.convert --saved-model"),
        ("a.tflite", b"\x1c\0\0\0TFL3", "tflite", "tf2onnx.convert --tflite"),
        ("a.keras", b"PK\3\4", "keras", "tf2onnx.convert"),
        ("a.pb", b"\n", "tensorflow-graph", "tf2onnx.convert --graphdef"),
        ("a.ort", b"\0\0\0\0ORTM", "onnx-runtime", "give the .onnx"),
        ("a.gguf", b"GGUF", "gguf", "give the safetensors"),
    ],
)
def test_what_others_run_is_named_with_the_way_to_onnx(
    tmp_path: Path, name: str, content: bytes, format_: str, way: str
) -> None:
    (tmp_path / name).write_bytes(content)

    found = facts(tmp_path / name)

    assert found.format == format_
    assert way in found.refused[0]


def test_a_torch_save_a_torchscript_and_a_saved_model_are_told_apart(tmp_path: Path) -> None:
    for name, members in (("a.pt", ["a/data.pkl"]), ("b.pt", ["b/code/x.py", "b/constants.pkl"])):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for member in members:
                archive.writestr(member, "x")
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").write_bytes(b"\n")

    formats = [facts(tmp_path / name).format for name in ("a.pt", "b.pt", "saved")]

    assert formats == ["torch-pickle", "torchscript", "tensorflow-saved-model"]


def test_safetensors_are_told_by_their_header_alone(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    tensors: dict[str, np.ndarray] = {
        "conv_stem.weight": np.zeros((8, 3, 3, 3), np.float32),
        "blocks.0.bn1.num_batches_tracked": np.zeros((), np.int64),
    }
    save_file(tensors, path)

    found = facts(path)

    assert (found.format, found.parameters) == ("weights", 8 * 3 * 3 * 3)
    assert found.tensors == {"F32": 1, "I64": 1}
    assert "timm" in found.likely
    path.write_bytes(path.read_bytes()[:-10])
    assert "truncated" in facts(path).refused[0]
    path.write_bytes((1 << 60).to_bytes(8, "little") + b"{}")
    assert "a header of" in facts(path).refused[0]


def test_files_beside_it_that_say_how_inputs_are_made_are_found(tmp_path: Path) -> None:
    path = network(tmp_path / "model.onnx")
    timm = {"pretrained_cfg": {"input_size": [3, 32, 32], "mean": [0.5] * 3, "std": [0.5] * 3}}
    (tmp_path / "config.json").write_text(json.dumps(timm))
    (tmp_path / "preprocessor_config.json").write_text("[" * 100_000)
    (tmp_path / "tokenizer.json").write_text("{}")

    found = {each.what: Path(each.path).name for each in facts(path).sidecars}

    assert found == {"preprocessing": "config.json", "tokenizer": "tokenizer.json"}


def test_names_in_a_hostile_file_move_no_cursor_and_lines_stay_short(tmp_path: Path) -> None:
    path = network(tmp_path / "model.onnx")
    model = onnx.load(path)
    model.producer_name = "\x1b[2J\n::error::forged" + "x" * 10_000
    model.graph.input.add().CopyFrom(model.graph.input[0])
    model.graph.input[1].name = "\u202egnp"
    onnx.save(model, path)

    text = model_text(facts(path))

    assert "\x1b" not in text
    assert "\u202e" not in text
    assert max(map(len, text.splitlines())) <= 214  # a name is not broken


def test_a_missing_model_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match="cannot be read"):
        facts(tmp_path / "none.onnx")
