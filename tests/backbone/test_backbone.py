"""One ``features`` call for every runtime; weights are data, and nothing else is loaded."""

import io
import json
import pickle
import re
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from gate.backbone.artefact import Artefact
from gate.backbone.backbone import Backbone
from gate.backbone.onnx_runtime import OnnxRuntime, session_of
from gate.errors import BackboneError
from gate.plan.backbone import BackbonePlan, OnnxBackbone
from tests import tiny
from tests.conftest import SHARED, needs_shared


def opened(**file: Any) -> Backbone:
    return Backbone(BackbonePlan.model_validate({"preprocessing": tiny.PREPROCESSING, **file}))


def write_exported(path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, on pytree
        torch.export.save(tiny.export(), path)
    return path


def write_safetensors(path: Path) -> Path:
    save_file(tiny.loaded().state_dict(), path)
    return path


FACTORY = "tests.tiny:factory"
KINDS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "onnx": lambda d: {"onnx": tiny.write_onnx(d / "m.onnx")},
    "onnx, an inner value": lambda d: {"onnx": tiny.write_onnx(d / "m.onnx"), "output": "active"},
    "onnx, a folder": lambda d: {"onnx": tiny.write_external(d / "m", "weights.bin").parent},
    "exported": lambda d: {"exported": write_exported(d / "m.pt2")},
    "safetensors": lambda d: {"weights": write_safetensors(d / "m.safetensors"), "arch": FACTORY},
    "safetensors, a layer": lambda d: {
        "weights": write_safetensors(d / "m.safetensors"),
        "arch": FACTORY,
        "layer": "relu",
    },
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 60])
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_every_runtime_agrees_with_numpy(
    kind: str, n: int, tmp_path: Path, images: np.ndarray
) -> None:
    backbone = opened(**KINDS[kind](tmp_path))

    found = backbone.features(images[:n])

    assert found.dtype == np.float32
    np.testing.assert_allclose(found, tiny.by_hand(images[:n]), rtol=1e-4, atol=1e-5)


def test_channels_last_is_a_matter_of_the_plan(tmp_path: Path, images: np.ndarray) -> None:
    from onnx import helper

    model = tiny.onnx_model()
    model.graph.input[0].CopyFrom(
        helper.make_tensor_value_info("images", 1, ["N", tiny.SIDE, tiny.SIDE, 3])
    )
    model.graph.node[0].input[0] = "moved"
    model.graph.node.insert(
        0, helper.make_node("Transpose", ["images"], ["moved"], perm=[0, 3, 1, 2])
    )
    model.graph.node.append(
        helper.make_node("Transpose", ["active"], ["map_last"], perm=[0, 2, 3, 1])
    )
    path = tiny.write_onnx(tmp_path / "m.onnx", model)

    for output in ("features", "map_last"):
        backbone = opened(
            onnx=path, output=output, preprocessing={**tiny.PREPROCESSING, "layout": "NHWC"}
        )
        found = backbone.features(images)
        np.testing.assert_allclose(found, tiny.by_hand(images), rtol=1e-4, atol=1e-5)


def test_where_there_is_no_gpu_it_is_said_in_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    if torch.cuda.is_available():
        pytest.skip("a GPU is here")
    with caplog.at_level("INFO", "gate"):
        opened(onnx=tiny.write_onnx(tmp_path / "m.onnx"))

    assert caplog.messages == ["m.onnx: no GPU here; ONNX Runtime runs on the CPU"]
    assert capfd.readouterr() == ("", "")


def test_a_provider_that_does_not_load_is_one_line_and_not_a_page(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("the CPU build of ONNX Runtime is installed")
    # a driver without the CUDA libraries: what a machine with a half-installed GPU has
    monkeypatch.setattr("gate.backbone.onnx_runtime._gpu_is_there", lambda: True)
    if torch.cuda.is_available():
        pytest.skip("a GPU is here, and CUDA loads")

    file = tiny.write_onnx(tmp_path / "m.onnx")
    plan = OnnxBackbone.model_validate({"onnx": file, "preprocessing": tiny.PREPROCESSING})
    OnnxRuntime(plan, Artefact(file))

    (said,) = caplog.messages
    assert "could not load CUDA and runs on the CPU" in said
    assert "\n" not in said
    assert capfd.readouterr() == ("", "")


def test_the_file_is_the_identity_whatever_its_name(tmp_path: Path) -> None:
    one = opened(onnx=tiny.write_onnx(tmp_path / "one.onnx"))
    two = opened(onnx=tiny.write_onnx(tmp_path / "two.onnx"))

    assert one.digest == two.digest


# --- what is refused ------------------------------------------------------------------------------

CANARY = "canary"


class _Attack:
    """Unpickled, it would leave a file behind."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.folder / CANARY,)


def files_of(path: Path) -> list[dict[str, Any]]:
    """The same bytes offered as each kind of file."""
    return [{"onnx": path}, {"exported": path}, {"weights": path, "arch": FACTORY}]


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("kind", range(3))
def test_a_pickle_is_refused_in_every_disguise(tmp_path: Path, protocol: int, kind: int) -> None:
    path = tmp_path / "m"
    path.write_bytes(pickle.dumps(_Attack(tmp_path), protocol))

    with pytest.raises(BackboneError, match=re.escape(str(path))):
        opened(**files_of(path)[kind])

    assert not (tmp_path / CANARY).exists()


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("kind", range(3))
def test_a_file_of_torch_save_is_refused(tmp_path: Path, zipped: bool, kind: int) -> None:
    path = tmp_path / "m"
    torch.save({"x": _Attack(tmp_path)}, path, _use_new_zipfile_serialization=zipped)

    with pytest.raises(BackboneError, match=re.escape(str(path))):
        opened(**files_of(path)[kind])

    assert not (tmp_path / CANARY).exists()


def rewritten(path: Path, member: str, content: bytes | Callable[[Any], Any]) -> Path:
    """An archive with one member replaced, or added, or edited as JSON."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = f"{next(iter(members)).split('/')[0]}/{member}"
    if callable(content):
        edited = json.loads(members[name])
        content(edited)
        content = json.dumps(edited).encode()
    members[name] = content
    with zipfile.ZipFile(path, "w") as archive:
        for each, data in members.items():
            archive.writestr(each, data)
    return path


def _first_node(model: Any) -> Any:
    return model["graph_module"]["graph"]["nodes"][0]


def _first_weight(config: Any) -> Any:
    return next(iter(config["config"].values()))


@pytest.mark.parametrize(
    ("member", "edit", "says"),
    [
        ("data/weights/weight_9.pt", b"x", "not plain weights or a graph"),
        ("data/constants/custom_obj_0", b"x", "not plain weights or a graph"),
        ("data/constants/opaque_obj_0", b"x", "not plain weights or a graph"),
        ("data/aotinductor/model/lib.so", b"x", "not plain weights or a graph"),
        ("data/weights/model.pt", b"x", "not plain weights or a graph"),
        (
            "data/weights/model_weights_config.json",
            lambda c: _first_weight(c).update(use_pickle=True),
            "stored as a pickle",
        ),
        (
            "models/model.json",
            lambda m: _first_node(m).update(target="torch.hub.load"),
            "operator 'torch.hub.load' is refused",
        ),
        (
            "models/model.json",
            lambda m: _first_node(m).update(target="torch.ops.aten.from_file.default"),
            "is refused; only aten operators run",
        ),
        (
            "models/model.json",
            lambda m: m["graph_module"]["graph"]["tensor_values"]["images"]["sizes"].__setitem__(
                0, {"as_expr": {"expr_str": "__import__('os').system('x')", "hint": None}}
            ),
            "shape expression",
        ),
        (
            "models/model.json",
            lambda m: m["graph_module"]["graph"].update(inputs=[{"name": "x); import os; ("}]),
            "holds the text",
        ),
    ],
)
def test_an_exported_archive_with_more_than_data_is_refused(
    tmp_path: Path, member: str, edit: Any, says: str
) -> None:
    path = rewritten(write_exported(tmp_path / "m.pt2"), member, edit)

    with pytest.raises(BackboneError, match=re.escape(says)):
        opened(exported=path)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_the_sample_inputs_of_an_exported_archive_are_never_unpickled(
    tmp_path: Path, images: np.ndarray
) -> None:
    buffer = io.BytesIO()
    torch.save(_Attack(tmp_path), buffer)
    path = write_exported(tmp_path / "m.pt2")
    rewritten(path, "data/sample_inputs/model.pt", buffer.getvalue())

    backbone = opened(exported=path)

    np.testing.assert_allclose(
        backbone.features(images), tiny.by_hand(images), rtol=1e-4, atol=1e-5
    )
    assert not (tmp_path / CANARY).exists()


@needs_shared
def test_every_file_of_a_pickle_scanners_corpus_is_refused(tmp_path: Path) -> None:
    corpus = SHARED / "unsafe_pickles" / "DO_NOT_LOAD_pickle_scanner_fixtures.zip"
    with zipfile.ZipFile(corpus) as archive:
        content = {n: archive.read(n) for n in archive.namelist() if not n.endswith("/")}
    assert len(content) >= 40
    path = tmp_path / "m"

    for data in content.values():
        path.write_bytes(data)
        for file in files_of(path):
            with pytest.raises(BackboneError):
                opened(**file)


@pytest.mark.parametrize("kind", ["onnx", "exported", "safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.95])
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_a_truncated_file_is_refused_by_name(tmp_path: Path, kind: str, share: float) -> None:
    file = KINDS[kind](tmp_path)
    path = BackbonePlan.model_validate({**file, "preprocessing": tiny.PREPROCESSING}).path
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])

    with pytest.raises(BackboneError, match=re.escape(str(path))):
        opened(**file)


@pytest.mark.parametrize("kind", range(3))
def test_a_missing_file_is_refused_by_name(tmp_path: Path, kind: int) -> None:
    with pytest.raises(BackboneError, match="absent: cannot be read: No such file"):
        opened(**files_of(tmp_path / "absent")[kind])


@pytest.mark.parametrize("location", ["../weights.bin", "/etc/passwd", "a/../../weights.bin", ""])
def test_weights_outside_the_models_folder_are_refused(tmp_path: Path, location: str) -> None:
    (tmp_path / "weights.bin").write_bytes(b"x" * 1000)
    model = tiny.write_external(tmp_path / "m", location)

    for path in (model, model.parent):
        with pytest.raises(BackboneError, match="outside the model's folder"):
            opened(onnx=path)


def test_weights_behind_a_link_are_refused(tmp_path: Path) -> None:
    model = tiny.write_external(tmp_path / "m", "link.bin")
    (model.parent / "link.bin").symlink_to(model.parent / "weights.bin")

    with pytest.raises(BackboneError, match=r"outside the model's folder|a link inside"):
        opened(onnx=model)


def test_weights_beside_a_model_belong_to_its_digest(tmp_path: Path) -> None:
    model = tiny.write_external(tmp_path / "m", "weights.bin")

    with pytest.raises(BackboneError, match=r"name the folder .* so that its digest covers them"):
        opened(onnx=model)


def test_missing_weights_are_named(tmp_path: Path) -> None:
    model = tiny.write_external(tmp_path / "m", "absent.bin")

    with pytest.raises(BackboneError, match=r"missing at .*absent\.bin"):
        opened(onnx=model)


def test_an_operator_of_an_unknown_domain_is_refused(tmp_path: Path) -> None:
    path = tiny.write_onnx(tmp_path / "m.onnx", tiny.onnx_model(domain="acme.custom"))

    with pytest.raises(BackboneError, match=r"Relu is of the unknown domain 'acme\.custom'"):
        opened(onnx=path)


@pytest.mark.parametrize(
    ("file", "says"),
    [
        ({"output": "featurs"}, "no output 'featurs'; did you mean 'features'"),
        ({"preprocessing": {"size": 2}}, "(N, 3, 8, 8), and the plan gives NCHW (N, 3, 2, 2)"),
        ({"preprocessing": {"size": 8, "channels": 1}}, "write channels: 3 under preprocessing"),
    ],
)
def test_an_onnx_file_that_does_not_fit_the_plan_is_refused(
    tmp_path: Path, file: dict[str, Any], says: str
) -> None:
    path = tiny.write_onnx(tmp_path / "m.onnx")
    given = file.get("preprocessing", tiny.PREPROCESSING)

    with pytest.raises(BackboneError, match=re.escape(says)):
        opened(onnx=path, **file).features(
            np.zeros((4, given["size"], given["size"], given.get("channels", 3)), np.uint8)
        )


@pytest.mark.parametrize(
    ("file", "says"),
    [
        ({"arch": "tests.tiny:absent"}, "cannot be imported"),
        ({"arch": "absent.module:x"}, "run gate from the repository that has it"),
        ({"arch": "tests.tiny:not_a_module"}, "gives str, expected an nn.Module"),
        ({"arch": "torch.nn:Identity"}, "1 are unknown ['conv.weight']"),
        ({"arch": FACTORY, "layer": "rleu"}, "no layer 'rleu'; did you mean 'relu'"),
    ],
)
def test_weights_that_do_not_fit_the_plan_are_refused(
    tmp_path: Path, file: dict[str, Any], says: str
) -> None:
    path = write_safetensors(tmp_path / "m.safetensors")

    with pytest.raises(BackboneError, match=re.escape(says)):
        opened(weights=path, **file)


def test_missing_weights_are_not_left_at_random(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_file({"other": torch.zeros(1)}, path)

    with pytest.raises(BackboneError, match=re.escape("1 tensors are missing ['conv.weight']")):
        opened(weights=path, arch=FACTORY)


def test_features_that_are_not_finite_are_refused(tmp_path: Path, images: np.ndarray) -> None:
    model = tiny.onnx_model()
    weight = tiny.WEIGHT.copy()
    weight[0, 0, 0, 0] = np.inf
    model.graph.initializer[0].raw_data = weight.tobytes()
    path = tiny.write_onnx(tmp_path / "m.onnx", model)

    with pytest.raises(BackboneError, match="of 60 images are not finite; check the preprocessing"):
        opened(onnx=path).features(images)


@needs_shared
@pytest.mark.parametrize("name", ["resnet20", "wrn16"])
def test_onnx_runtime_and_torch_agree_on_real_weights(name: str) -> None:
    from gate import strict_yaml
    from gate.errors import PlanError

    batch = np.load(SHARED / "images" / "cifar10_dev.npz")["x_test"][:64]
    cards = [Path(f"pipelines/cifar/{name}{kind}.yaml") for kind in ("", "_safetensors")]
    one, two = (Backbone(strict_yaml.load(c, BackbonePlan, PlanError)) for c in cards)

    np.testing.assert_allclose(one.features(batch), two.features(batch), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("said", "threads"), [("1", 1), ("3", 3), ("", 0), ("4,2", 0)])
def test_onnx_runtime_takes_as_many_threads_as_the_environment_says_and_else_its_own_number(
    said: str, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", said)

    session = session_of(tiny.onnx_model().SerializeToString(), ["CPUExecutionProvider"])

    assert session.get_session_options().intra_op_num_threads == threads
