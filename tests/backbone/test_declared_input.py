"""Inputs as people's files declare them: types, fixed batches, layouts, sides."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from gate.backbone.backbone import Backbone
from gate.backbone.heads import LinearHead
from gate.errors import BackboneError
from gate.plan.backbone import BackbonePlan
from tests import tiny, tiny_text

SIDE = tiny.SIDE
HEAD = LinearHead(np.eye(5, 3, dtype=np.float32), np.zeros(3, np.float32))


def images(n: int) -> np.ndarray:
    return np.random.default_rng(n).integers(0, 256, (n, SIDE, SIDE, 3), np.uint8)


def typed(kind: int, batch: Any = "N", shape: tuple[Any, ...] = (3, SIDE, SIDE)) -> Any:
    """Tiny, whose input is of a type; floating ones are computed with, whole ones are normalised.

    The weights of whole numbers are as of images normalised by the graph itself.
    """
    value = helper.make_tensor_value_info
    nhwc = shape[-1] == 3 and shape[0] != 3
    nodes = [helper.make_node("Transpose", ["images"], ["chw"], perm=[0, 3, 1, 2])] * nhwc
    last, tensors, given = "chw" if nhwc else "images", [numpy_helper.from_array(
        tiny.WEIGHT.astype(helper.tensor_dtype_to_np_dtype(kind)), "weight"
    )], kind  # fmt: skip
    if kind != TensorProto.FLOAT and kind != TensorProto.FLOAT16:  # no runtime has convolutions
        nodes.append(helper.make_node("Cast", [last], ["floats"], to=TensorProto.FLOAT))
        last, given = "floats", TensorProto.FLOAT if kind == TensorProto.UINT8 else kind
        tensors = [numpy_helper.from_array(tiny.WEIGHT, "weight")]
    if kind == TensorProto.UINT8:
        mean, std = (np.array(tiny.PREPROCESSING[of]).reshape(1, 3, 1, 1) for of in ("mean", "std"))
        tensors += [numpy_helper.from_array((255 * mean).astype(np.float32), "mean")]
        tensors += [numpy_helper.from_array((255 * std).astype(np.float32), "std")]
        nodes += [helper.make_node("Sub", [last, "mean"], ["centred"])]
        nodes += [helper.make_node("Div", ["centred", "std"], ["standard"])]
        last = "standard"
    nodes += [
        helper.make_node("Conv", [last, "weight"], ["map"]),
        helper.make_node("Relu", ["map"], ["active"]),
        helper.make_node("ReduceMean", ["active"], ["mean_map"], axes=[2, 3], keepdims=0),
        helper.make_node("Cast", ["mean_map"], ["features"], to=given),
    ]
    inputs = [value("images", kind, [batch, *shape])]
    outputs = [value("features", given, [batch, 5])]
    graph = helper.make_graph(nodes, "typed", inputs, outputs, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def opened(folder: Path, model: onnx.ModelProto, **changes: Any) -> Backbone:
    path = tiny.write_onnx(folder / f"m{len(list(folder.iterdir()))}.onnx", model)
    preprocessing = {**tiny.PREPROCESSING, **changes}
    return Backbone(BackbonePlan.model_validate({"onnx": path, "preprocessing": preprocessing}))


@pytest.mark.parametrize(
    ("kind", "off"),
    [("FLOAT16", 2e-3), ("BFLOAT16", 2e-2), ("DOUBLE", 1e-5), ("UINT8", 1e-5)],
)
def test_pixels_are_cast_to_the_type_that_a_graph_takes(
    tmp_path: Path, kind: str, off: float
) -> None:
    whole = {"mean": None, "std": None} if kind == "UINT8" else {}
    backbone = opened(tmp_path, typed(getattr(TensorProto, kind)), **whole)

    found = backbone.features(images(6))

    assert found.dtype == np.float32
    np.testing.assert_allclose(found, tiny.by_hand(images(6)), rtol=off, atol=off)


@pytest.mark.parametrize("kind", ["FLOAT16", "BFLOAT16", "DOUBLE", "UINT8"])
def test_gradients_by_pixels_are_those_of_a_float32_graph(tmp_path: Path, kind: str) -> None:
    plain = opened(tmp_path, tiny.onnx_model())
    whole = {"mean": None, "std": None} if kind == "UINT8" else {}
    of_type = opened(tmp_path, typed(getattr(TensorProto, kind)), **whole)
    given, targets = images(4), np.array([0, 1, 2, 0])

    ours, theirs = (
        b.to_pixels(b.input_gradients(b.inputs(given), targets, HEAD).inputs)
        for b in (of_type, plain)
    )

    np.testing.assert_allclose(ours, theirs, rtol=0.05, atol=0.02 * np.abs(theirs).max())


def test_mean_and_std_are_left_aside_where_a_graph_takes_whole_numbers_and_that_is_said(
    tmp_path: Path,
) -> None:
    backbone = opened(tmp_path, typed(TensorProto.UINT8))

    np.testing.assert_allclose(
        backbone.features(images(3)), tiny.by_hand(images(3)), rtol=1e-5, atol=1e-5
    )
    assert any("mean and std in the plan are left aside" in each for each in backbone.remarks)
    assert backbone.plan.settings["preprocessing"]["mean"] is None
    assert backbone.plan.settings["preprocessing"]["rescale"] == 1


def test_a_rescale_that_whole_numbers_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match=r"whole numbers, .* rescale 0.00392157; leave it out"):
        opened(tmp_path, typed(TensorProto.UINT8), rescale=1 / 255)


def test_a_type_that_holds_no_pixels_is_refused_by_its_name(tmp_path: Path) -> None:
    model = typed(TensorProto.UINT8)
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.INT8

    with pytest.raises(BackboneError, match=r"takes 'images' int8 \(N, 3, 8, 8\)"):
        opened(tmp_path, model)


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("count", [1, 4, 6])
def test_a_fixed_batch_is_passed_in_pieces_and_what_fills_the_last_one_is_cut_off(
    tmp_path: Path, batch: int, count: int
) -> None:
    backbone = opened(tmp_path, tiny.onnx_model(batch=batch))

    found = backbone.features(images(count))

    np.testing.assert_allclose(found, tiny.by_hand(images(count)), rtol=1e-4, atol=1e-5)


def test_gradients_of_a_fixed_batch_are_each_images_own(tmp_path: Path) -> None:
    given, targets = images(5), np.array([0, 1, 2, 0, 1])

    ours, theirs = (
        b.input_gradients(b.inputs(given), targets, HEAD)
        for b in (opened(tmp_path, tiny.onnx_model(batch=each)) for each in (2, "N"))
    )

    np.testing.assert_allclose(ours.inputs, theirs.inputs, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(ours.logits, theirs.logits, rtol=1e-4, atol=1e-6)


def test_a_piece_with_another_number_of_rows_is_refused(tmp_path: Path) -> None:
    model = tiny.onnx_model(batch=2)
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 10]), "shape"))
    model.graph.node.append(helper.make_node("Reshape", ["features", "shape"], ["row"]))
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("row", TensorProto.FLOAT, [1, 10]))

    with pytest.raises(BackboneError, match=r"a batch of 2, as it is declared, gave \(1, 10\)"):
        opened(tmp_path, model).features(images(3))


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("kind", [torch.float32, torch.float16, torch.uint8])
def test_an_exported_program_of_a_fixed_batch_and_another_type_gives_the_same(
    tmp_path: Path, batch: int, kind: torch.dtype
) -> None:
    module: torch.nn.Module = tiny.loaded()
    if kind == torch.float16:
        module = module.half()
    if kind == torch.uint8:
        module = Floats(module)
    example = torch.zeros(batch, 3, SIDE, SIDE).to(kind)
    torch.export.save(torch.export.export(module, (example,)), tmp_path / "m.pt2")
    plan = {"exported": tmp_path / "m.pt2", "preprocessing": tiny.PREPROCESSING}

    found = Backbone(BackbonePlan.model_validate(plan)).features(images(6))

    expected = tiny.by_hand(images(6))
    np.testing.assert_allclose(found, expected, rtol=5e-3, atol=5e-3)


class Floats(torch.nn.Module):
    """Normalises bytes itself."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, behind: torch.nn.Module) -> None:
        super().__init__()
        self.behind = behind
        for name in ("mean", "std"):
            values = torch.tensor(tiny.PREPROCESSING[name]).reshape(3, 1, 1)
            self.register_buffer(name, values)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        floats = (pixels.float() / 255 - self.mean) / self.std
        return torch.as_tensor(self.behind(floats))


def half() -> tiny.Tiny:
    return tiny.loaded().half()


def test_a_module_in_half_precision_takes_inputs_of_its_own_type(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file(half().state_dict(), tmp_path / "m.safetensors")
    plan = {
        "weights": tmp_path / "m.safetensors",
        "arch": "tests.backbone.test_declared_input:half",
        "preprocessing": tiny.PREPROCESSING,
    }

    found = Backbone(BackbonePlan.model_validate(plan)).features(images(6))

    np.testing.assert_allclose(found, tiny.by_hand(images(6)), rtol=5e-3, atol=5e-3)


def test_the_layout_is_the_one_that_the_graph_declares(tmp_path: Path) -> None:
    backbone = opened(tmp_path, typed(TensorProto.FLOAT, shape=(SIDE, SIDE, 3)))

    assert backbone.plan.settings["preprocessing"]["layout"] == "NHWC"
    np.testing.assert_allclose(
        backbone.features(images(3)), tiny.by_hand(images(3)), rtol=1e-4, atol=1e-5
    )


def test_of_a_graph_that_declares_no_sides_the_channels_tell_the_layout(tmp_path: Path) -> None:
    backbone = opened(tmp_path, typed(TensorProto.FLOAT, shape=("h", "w", 3)))

    assert backbone.preprocessing.layout == "NHWC"


@pytest.mark.parametrize(
    ("shape", "changes", "says"),
    [
        ((SIDE, SIDE, 3), {"layout": "NCHW"}, r"NCHW \(N, 3, 8, 8\); write layout: NHWC under"),
        ((3, SIDE, SIDE), {"layout": "NHWC"}, r"NHWC \(N, 8, 8, 3\); write layout: NCHW under"),
        ((3, 6, 6), {}, r"takes 'images' float32 \(N, 3, 6, 6\), .*; write size: 6 under"),
        ((6, 6, 3), {}, r"takes 'images' float32 \(N, 6, 6, 3\), .*; write size: 6 under"),
        ((3, 6, 8), {}, r"\(N, 3, 6, 8\), .* another backbone, of square images"),
    ],
)
def test_a_plan_that_the_graphs_shape_contradicts_is_refused_with_what_to_write(
    tmp_path: Path, shape: tuple[Any, ...], changes: dict[str, Any], says: str
) -> None:
    with pytest.raises(BackboneError, match=says):
        opened(tmp_path, typed(TensorProto.FLOAT, shape=shape), **changes)


def test_texts_are_padded_to_the_length_that_a_graph_declares(tmp_path: Path) -> None:
    model = onnx.load(tiny_text.write_onnx(tmp_path))
    for value in model.graph.input:
        value.type.tensor_type.shape.dim[0].dim_value = 2
        value.type.tensor_type.shape.dim[1].dim_value = 6
        value.type.tensor_type.elem_type = TensorProto.INT32
    path = tiny.write_onnx(tmp_path / "fixed.onnx", model)
    tokenizer = tiny_text.write_tokenizer(tmp_path)

    def of(most: int) -> Backbone:
        text = {"tokenizer": tokenizer, "max_tokens": most}
        return Backbone(BackbonePlan.model_validate({"onnx": path, "text": text}))

    texts = ["the ball", "stock price of the", "goal"]
    found = of(6).outputs(of(6).tokens(texts)).features

    expected = np.stack([tiny_text.by_hand(text) for text in texts])
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    with pytest.raises(BackboneError, match=r"texts of 6 tokens, .* write max_tokens: 6"):
        of(8)


@pytest.mark.parametrize("log", [False, True])
def test_an_exported_program_that_gives_probabilities_is_refused(tmp_path: Path, log: bool) -> None:
    last = torch.nn.LogSoftmax(1) if log else torch.nn.Softmax(1)
    module = torch.nn.Sequential(tiny.loaded(), torch.nn.Linear(5, 3), last, torch.nn.Flatten())
    example = torch.zeros(2, 3, SIDE, SIDE)
    torch.export.save(torch.export.export(module.eval(), (example,)), tmp_path / "m.pt2")
    plan = {"exported": tmp_path / "m.pt2", "preprocessing": tiny.PREPROCESSING}

    with pytest.raises(BackboneError, match="comes of a softmax: probabilities, and no features"):
        Backbone(BackbonePlan.model_validate(plan))


def test_of_an_exported_program_that_ends_in_a_linear_layer_it_is_said(tmp_path: Path) -> None:
    module = torch.nn.Sequential(tiny.loaded(), torch.nn.Linear(5, 3)).eval()
    example = torch.zeros(2, 3, SIDE, SIDE)
    torch.export.save(torch.export.export(module, (example,)), tmp_path / "m.pt2")
    plan = {"exported": tmp_path / "m.pt2", "preprocessing": tiny.PREPROCESSING}

    backbone = Backbone(BackbonePlan.model_validate(plan))

    assert any("which comes of a linear layer; if those are" in each for each in backbone.remarks)
