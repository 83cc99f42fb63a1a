"""Gradients with respect to images: the same from every runtime, and none where there is none."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from safetensors.torch import save_file
from torch import Tensor, nn

from gate.backbone.artefact import Artefact
from gate.backbone.backbone import Backbone
from gate.backbone.declared_input import Declared
from gate.backbone.heads import LinearHead
from gate.backbone.onnx_gradients import DifferentiableGraph
from gate.backbone.onnx_operators import OPERATORS
from gate.backbone.onnx_runtime import OnnxRuntime
from gate.errors import BackboneError, PlanError
from gate.plan.backbone import BackbonePlan, OnnxBackbone
from tests import tiny
from tests.backbone.test_backbone import FACTORY, KINDS, opened, write_safetensors
from tests.conftest import SHARED, needs_shared

RNG = np.random.default_rng(3)
HEAD = LinearHead(RNG.normal(size=(5, 4)).astype(np.float32), RNG.normal(size=4).astype(np.float32))
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")


class WithHead(nn.Module):
    """The tiny backbone, and a head of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.body = tiny.Tiny()
        self.head = nn.Linear(5, 4)

    def forward(self, images: Tensor) -> Tensor:
        return torch.as_tensor(self.head(self.body(images)))


class Cut(nn.Module):
    """A network that leaves its input's gradient behind."""

    def forward(self, images: Tensor) -> Tensor:
        return images.detach().mean(dim=(2, 3))


class Rounded(nn.Module):
    """A network whose gradient is zero everywhere."""

    def forward(self, images: Tensor) -> Tensor:
        return images.round().mean(dim=(2, 3))


class Root(nn.Module):
    """A network whose slope at zero has no bound."""

    def forward(self, images: Tensor) -> Tensor:
        return (images - images[:, :, :1, :1]).abs().sqrt().mean(dim=(2, 3))


class WritesIntoItsInput(nn.Module):
    """A network that keeps something of its first pass, and changes what it is given."""

    kept: Tensor | None = None

    def forward(self, images: Tensor) -> Tensor:
        if self.kept is None:
            self.kept = torch.full((3, 1, 1), 2.0)
        images *= self.kept
        return images.mean(dim=(2, 3))


IMAGES = Declared("images", "float32", None)


def by_hand(inputs: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Logits and gradients of the tiny backbone with the head, in float64 and by the chain rule."""
    windows = np.lib.stride_tricks.sliding_window_view(inputs.astype(float), (3, 3), axis=(2, 3))
    maps = np.einsum("nchwij,ocij->nohw", windows, tiny.WEIGHT)
    logits = np.maximum(maps, 0).mean(axis=(2, 3)) @ HEAD.weight + HEAD.bias
    shares = np.exp(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))
    of_features = (shares - np.eye(4)[targets]) @ HEAD.weight.T
    of_maps = of_features[:, :, None, None] * (maps > 0) / maps[0, 0].size
    gradients = np.zeros(inputs.shape)
    for i in range(3):
        for j in range(3):
            part = np.einsum("nohw,oc->nchw", of_maps, tiny.WEIGHT[:, :, i, j])
            gradients[:, :, i : i + maps.shape[2], j : j + maps.shape[3]] += part
    return logits, gradients


def saved(module: nn.Module, path: Path) -> Path:
    save_file(module.state_dict(), path)
    return path


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 60])
def test_every_runtime_gives_the_gradients_of_the_chain_rule(
    kind: str, n: int, tmp_path: Path, images: np.ndarray
) -> None:
    backbone = opened(**KINDS[kind](tmp_path))
    inputs, targets = backbone.inputs(images[:n]), np.arange(n) % 4

    found = backbone.input_gradients(inputs, targets, HEAD)

    logits, gradients = by_hand(inputs, targets)
    assert found.inputs.dtype == found.logits.dtype == np.float32
    np.testing.assert_allclose(found.logits, logits, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.inputs, gradients, rtol=1e-3, atol=1e-6)


def of(arch: str, path: Path, module: nn.Module, **more: Any) -> Backbone:
    weights = saved(module, path / "m.safetensors")
    return opened(weights=weights, arch=f"tests.backbone.test_input_gradients:{arch}", **more)


def test_the_gradient_is_the_slope_of_the_loss(tmp_path: Path, images: np.ndarray) -> None:
    """Finite differences, in the direction of the gradient and in random ones."""
    backbone = opened(**KINDS["safetensors"](tmp_path))
    inputs, targets = backbone.inputs(images[:8]), np.arange(8) % 4
    gradients = backbone.input_gradients(inputs, targets, HEAD).inputs

    def losses(inputs: np.ndarray) -> np.ndarray:
        logits = backbone.input_gradients(inputs, targets, HEAD).logits.astype(float)
        own = logits[np.arange(8), targets]
        return np.asarray(np.logaddexp.reduce(logits, axis=1) - own)

    random = np.random.default_rng(5).normal(size=(3, *inputs.shape)).astype(np.float32)
    for way in (gradients, *random):
        step = np.float32(1e-3) * way / np.abs(way).max()
        slope = (losses(inputs + step) - losses(inputs - step)) / 2
        np.testing.assert_allclose(slope, (gradients * step).sum(axis=(1, 2, 3)), atol=1e-5)


def test_the_own_head_is_read_where_no_other_is_named(tmp_path: Path, images: np.ndarray) -> None:
    module = WithHead()
    backbone = of("WithHead", tmp_path, module, layer="body", logits="head")
    inputs, targets = backbone.inputs(images[:6]), np.arange(6) % 4
    same = LinearHead(module.head.weight.detach().numpy().T, module.head.bias.detach().numpy())

    own, other = (backbone.input_gradients(inputs, targets, head) for head in (None, same))

    np.testing.assert_allclose(own.logits, other.logits, atol=1e-5)
    np.testing.assert_allclose(own.inputs, other.inputs, atol=1e-6)


def test_what_a_module_keeps_or_writes_into_its_input_does_not_matter(
    tmp_path: Path, images: np.ndarray
) -> None:
    backbone = of("WritesIntoItsInput", tmp_path, WritesIntoItsInput())
    inputs, head = (
        backbone.inputs(images[:6]),
        LinearHead(np.eye(3, dtype=np.float32), HEAD.bias[:3]),
    )
    backbone.outputs(inputs.copy())

    found = backbone.input_gradients(inputs, np.arange(6) % 3, head)

    np.testing.assert_allclose(found.logits, 2 * inputs.mean(axis=(2, 3)) + head.bias, rtol=1e-4)


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arch", "module", "says"),
    [
        ("Cut", Cut(), r"has no gradient with respect to its input, so no trigger can be searched"),
        ("Rounded", Rounded(), r"is zero at each of 6 images with a loss above 0\.001 nats"),
        ("Root", Root(), r"gradients of 6 of 6 images are not finite; check the preprocessing"),
    ],
)
def test_a_gradient_that_says_nothing_is_refused(
    arch: str, module: nn.Module, says: str, tmp_path: Path, images: np.ndarray
) -> None:
    backbone = of(arch, tmp_path, module)
    head = LinearHead(np.eye(3, dtype=np.float32), np.zeros(3, np.float32))

    with pytest.raises(BackboneError, match=says):
        backbone.input_gradients(backbone.inputs(images[:6]), np.arange(6) % 3, head)


def test_an_image_that_is_not_finite_is_refused(tmp_path: Path, images: np.ndarray) -> None:
    backbone = opened(**KINDS["safetensors"](tmp_path))
    inputs = backbone.inputs(images[:6])
    inputs[2, 0, 3, 3] = np.nan

    with pytest.raises(BackboneError, match="logits of 1 of 6 images are not finite"):
        backbone.input_gradients(inputs, np.zeros(6, np.int64), HEAD)


def test_texts_are_refused(tmp_path: Path) -> None:
    plan = {"weights": write_safetensors(tmp_path / "m.safetensors"), "arch": FACTORY}
    text = {"tokenizer": tmp_path / "tokenizer.json"}
    backbone = Backbone(BackbonePlan.model_validate({**plan, "text": text}))

    with pytest.raises(PlanError, match=r"takes texts, which have no gradient"):
        backbone.input_gradients(np.zeros((1, 3, 8, 8), np.float32), np.zeros(1, np.int64), HEAD)


def test_an_own_head_that_the_plan_does_not_name_is_refused(tmp_path: Path) -> None:
    backbone = opened(**KINDS["safetensors"](tmp_path))

    with pytest.raises(PlanError, match=r"no output is named that gives its own head's logits"):
        backbone.input_gradients(np.zeros((1, 3, 8, 8), np.float32), np.zeros(1, np.int64), None)


@pytest.mark.parametrize(
    ("target", "head", "says"),
    [
        (
            4,
            HEAD,
            r"target classes 4 to 4, and there are logits of 4 classes; aim at one of 0 to 3",
        ),
        (-1, HEAD, r"target classes -1 to -1"),
        (
            0,
            LinearHead(HEAD.weight[:3], HEAD.bias),
            r"gives 5 features, and the head was fitted on 3",
        ),
    ],
)
def test_a_head_or_class_that_does_not_fit_is_refused(
    target: int, head: LinearHead, says: str, tmp_path: Path, images: np.ndarray
) -> None:
    backbone = opened(**KINDS["safetensors"](tmp_path))

    with pytest.raises(BackboneError, match=says):
        backbone.input_gradients(backbone.inputs(images[:2]), np.full(2, target), head)


# --- ONNX, whose graph is computed in torch -------------------------------------------------------


def described(folder: Path, model: onnx.ModelProto) -> OnnxBackbone:
    path = tiny.write_onnx(folder / "m.onnx", model)
    return OnnxBackbone.model_validate({"onnx": path, "preprocessing": tiny.PREPROCESSING})


def with_node(kind: str, **attributes: Any) -> onnx.ModelProto:
    """The tiny model with one more operator between its convolution and its ReLU."""
    model = tiny.onnx_model()
    model.graph.node[1].input[0] = "more"
    model.graph.node.insert(1, helper.make_node(kind, ["map"], ["more"], **attributes))
    return model


def constant() -> onnx.ModelProto:
    """The tiny model on zeros of the shape of its images."""
    model = tiny.onnx_model()
    model.graph.node[0].input[0] = "zeros"
    model.graph.node.insert(0, helper.make_node("Shape", ["images"], ["shape"]))
    model.graph.node.insert(1, helper.make_node("ConstantOfShape", ["shape"], ["zeros"]))
    return model


def of_opset(version: int) -> onnx.ModelProto:
    model = tiny.onnx_model()
    model.opset_import[0].version = version
    return model


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (with_node("Det"), r"m\.onnx: operator Det is not among those whose gradient is known"),
        (
            with_node("Round"),
            r"operator Round of 'more' cannot be computed .*: it rounds what depends on the images",
        ),
        (
            with_node("Dropout", seed=1, opset=3),
            r"attribute 'opset' of operator Dropout is not among those",
        ),
        (constant(), r"has no gradient with respect to its input, so no trigger can be searched"),
        (of_opset(6), r"opset 6, and gradients are known from 7 on"),
        (
            with_node("AveragePool", kernel_shape=[2, 2], dilations=[2, 2]),
            r"operator AveragePool of 'more' cannot be computed in torch, .*: dilations \[2, 2\]",
        ),
    ],
)
def test_a_graph_without_a_gradient_that_is_known_is_refused(
    model: onnx.ModelProto, says: str, tmp_path: Path
) -> None:
    plan = described(tmp_path, model)
    values = np.ones((2, 3, 8, 8), np.float32)

    with pytest.raises(BackboneError, match=says):
        graph = DifferentiableGraph(plan, model, IMAGES, ["features"])
        graph.input_gradients(values, np.zeros(2, np.int64), HEAD)


def test_an_operator_behind_the_features_does_not_matter(
    tmp_path: Path, images: np.ndarray
) -> None:
    model = tiny.onnx_model(outputs=("features", "active"))
    model.graph.node.append(helper.make_node("Hardmax", ["features"], ["first"]))
    backbone = opened(onnx=tiny.write_onnx(tmp_path / "m.onnx", model))

    found = backbone.input_gradients(backbone.inputs(images[:2]), np.zeros(2, np.int64), HEAD)

    assert found.inputs.any()


def test_functions_of_a_model_are_written_out(tmp_path: Path, images: np.ndarray) -> None:
    model = tiny.onnx_model(domain="ours")
    node = helper.make_node("Relu", ["x"], ["y"])
    opsets = [helper.make_opsetid("", 17)]
    model.functions.append(helper.make_function("ours", "Relu", ["x"], ["y"], [node], opsets))
    backbone = opened(onnx=tiny.write_onnx(tmp_path / "m.onnx", model))
    inputs = backbone.inputs(images[:2])

    found = backbone.input_gradients(inputs, np.zeros(2, np.int64), HEAD)

    np.testing.assert_allclose(
        found.inputs, by_hand(inputs, np.zeros(2, np.int64))[1], rtol=1e-3, atol=1e-6
    )


@pytest.mark.parametrize(
    ("relu", "says"),
    [
        (
            lambda x: torch.relu(x) * 1.1,
            r"'features' differs by \S+ between ONNX Runtime and the ",
        ),
        (lambda x: x * torch.nan, r"'features' differs by nan between"),
        (lambda x: x[:1], r"'features' has shape \(6, 5\) in ONNX Runtime, and \(1, 5\) where"),
    ],
)
def test_a_graph_that_differs_from_onnx_runtime_is_refused(
    relu: Any, says: str, tmp_path: Path, images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = described(tmp_path, tiny.onnx_model())
    runtime = OnnxRuntime(plan, Artefact(plan.path))
    monkeypatch.setitem(OPERATORS, "Relu", relu)
    inputs = opened(onnx=plan.path).inputs(images[:6])

    for _ in range(2):  # also when it is asked once more
        with pytest.raises(BackboneError, match=says + r".*so no trigger is searched for"):
            runtime.input_gradients(inputs, np.zeros(6, np.int64), HEAD)


def test_a_file_that_changed_since_it_was_opened_is_refused(
    tmp_path: Path, images: np.ndarray
) -> None:
    path = tiny.write_onnx(tmp_path / "m.onnx")
    backbone = opened(onnx=path)
    path.write_bytes(path.read_bytes() + b"\n")

    with pytest.raises(BackboneError, match="changed since its digest was taken"):
        backbone.input_gradients(backbone.inputs(images[:2]), np.zeros(2, np.int64), HEAD)


@needs_shared
@pytest.mark.parametrize("logits", ["logits", None])
@pytest.mark.parametrize("model", sorted((SHARED / "models").glob("*.onnx")), ids=lambda p: p.stem)
def test_real_backbones_agree_with_onnx_runtime_and_have_gradients(
    model: Path, logits: str | None
) -> None:
    preprocessing = {"size": 32, "mean": [0.5] * 3, "std": [0.25] * 3}
    backbone = opened(onnx=model, logits=logits, preprocessing=preprocessing)
    inputs = backbone.inputs(np.load(SHARED / "images" / "cifar10_dev.npz")["x_test"][:32])
    outputs = backbone.outputs(inputs)
    weight = np.random.default_rng(5).normal(size=(outputs.features.shape[1], 10))
    weight /= outputs.features.std() * np.sqrt(len(weight))  # so that no class has all
    head = LinearHead(weight.astype(np.float32), np.zeros(10, np.float32))

    found = backbone.input_gradients(inputs, np.arange(32) % 10, None if logits else head)

    expected = head.logits(outputs.features) if outputs.logits is None else outputs.logits
    assert np.abs(found.logits - expected).max() <= 1e-4 * expected.std()
    assert found.inputs.any(axis=(1, 2, 3)).all()
