"""Layers of a backbone, and what is inside it: the same from every format."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from gate.errors import BackboneError
from gate.lineage.network import by_channel
from tests import related

WRITE: dict[str, Callable[[Path, related.Weights], dict[str, Any]]] = {
    "weights": related.write,
    "onnx": related.write_onnx,
    "exported": related.write_exported,
}
ENDING = {"weights": "m.safetensors", "onnx": "m.onnx", "exported": "m.pt2"}
quiet = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore")


@pytest.mark.parametrize("kind", WRITE)
@quiet
def test_every_format_gives_the_layers_of_the_module(kind: str, tmp_path: Path) -> None:
    weights = related.random(0)

    layers = related.opened(WRITE[kind](tmp_path / ENDING[kind], weights)).layers

    shapes = [(12, 3, 9), (16, 12, 9), (12, 16, 9), (10, 12, 9), (14, 10, 9)]
    assert [layer.weight.shape for layer in layers] == shapes
    assert [layer.readers for layer in layers] == [(), (2,), (), (4,), ()]
    assert layers[0].reads is None
    assert all(layer.reads for layer in layers[1:])
    for layer, (conv, norm) in zip(
        layers,
        [("stem", "norm"), ("conv1", "bn1"), ("conv2", "bn2"), ("last", "bn3")],
        strict=False,
    ):
        scale = weights[f"{norm}.weight"] / (weights[f"{norm}.running_var"] + 1e-5).sqrt()
        folded = (weights[f"{conv}.weight"] * scale[:, None, None, None]).flatten(2)
        np.testing.assert_allclose(layer.weight, folded, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        layers[4].weight.reshape(14, 90), weights["hidden.weight"], rtol=1e-6
    )


@pytest.mark.parametrize("kind", WRITE)
@pytest.mark.parametrize("n", [1, 30])
@quiet
def test_channels_inside_are_those_that_hooks_see(
    kind: str, n: int, tmp_path: Path, images: np.ndarray
) -> None:
    weights = related.random(0)
    backbone = related.opened(WRITE[kind](tmp_path / ENDING[kind], weights))
    module, seen = related.Residual().eval(), {}
    module.load_state_dict(weights)
    for name in ("conv1", "conv2", "last", "hidden"):
        module.get_submodule(name).register_forward_pre_hook(
            lambda _m, x, name=name: seen.update({name: x[0]})
        )
    inputs = backbone.inputs(images[:n])
    with torch.no_grad():
        features = module(torch.from_numpy(inputs))

    layers = backbone.layers
    sites = tuple(layer.reads for layer in layers if layer.reads)
    found = backbone.outputs(inputs, sites)

    np.testing.assert_allclose(found.features, features, rtol=1e-3, atol=1e-5)
    for site, layer, read in zip(sites, layers[1:], seen.values(), strict=True):
        expected = read.mean(dim=(2, 3)) if read.dim() == 4 else read
        np.testing.assert_allclose(found.sites[site], expected, rtol=1e-3, atol=1e-5)
        assert by_channel(found.sites[site], layer.weight.shape[1]).shape[0] == n
    assert layers[1].gives == layers[2].reads
    assert not backbone.outputs(inputs).sites


def test_what_torch_cannot_export_has_no_layers_and_says_so(tmp_path: Path) -> None:
    described = related.write(tmp_path / "m.safetensors", related.random(0), "branching")

    with pytest.raises(BackboneError, match=r"torch\.export cannot follow .*; write its forward"):
        _ = related.opened(described).layers


@pytest.mark.parametrize("kind", ["weights", "onnx"])
def test_weights_that_are_not_finite_are_named(kind: str, tmp_path: Path) -> None:
    weights = related.random(0)
    weights["conv1.weight"][0, 0, 0, 0] = float("nan")
    backbone = related.opened(WRITE[kind](tmp_path / ENDING[kind], weights))

    says = r"m\.\w+: \d+ of 1728 weights of layer /?conv1 are not finite.*export it again"
    with pytest.raises(BackboneError, match=says):
        _ = backbone.layers


def changed(tmp_path: Path, change: Callable[[onnx.GraphProto], None]) -> list[tuple[int, ...]]:
    described = related.write_onnx(tmp_path / "m.onnx", related.random(0))
    model = onnx.load(described["onnx"])
    change(model.graph)
    onnx.save(model, described["onnx"])
    return [layer.readers for layer in related.opened(described).layers]


def test_channels_that_something_else_reads_are_not_hidden(tmp_path: Path) -> None:
    def read_twice(graph: onnx.GraphProto) -> None:
        mean = onnx.helper.make_node("ReduceMean", ["inner"], ["mean"], axes=[1, 2, 3], keepdims=1)
        added = next(node for node in graph.node if node.output[0] == "added")
        shifted = onnx.helper.make_node("Add", ["added_", "mean"], ["added"])
        added.output[0] = "added_"
        place = list(graph.node).index(added)
        graph.node.insert(place, mean)
        graph.node.insert(place + 2, shifted)

    assert changed(tmp_path, read_twice) == [(), (), (), (4,), ()]


def test_activations_written_out_as_several_operators_hide_channels_as_one_does(
    tmp_path: Path,
) -> None:
    def swish(graph: onnx.GraphProto) -> None:
        relu = next(node for node in graph.node if node.output[0] == "inner")
        sigmoid = onnx.helper.make_node("Sigmoid", list(relu.input), ["gate"])
        graph.node.insert(list(graph.node).index(relu), sigmoid)
        relu.op_type = "Mul"
        relu.input.append("gate")

    assert changed(tmp_path, swish)[1] == (2,)


def test_a_layer_behind_the_features_is_none_of_the_backbones(tmp_path: Path) -> None:
    described = related.write_onnx(tmp_path / "m.onnx", related.random(0))

    layers = related.opened({**described, "output": "x2"}).layers

    assert len(layers) == 4
    assert layers[3].readers == ()
