"""What an ONNX graph says of itself, and which value is taken for the features."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from gate.backbone.backbone import Backbone
from gate.backbone.declared_input import Declared
from gate.backbone.heads import JoinedHead, LinearHead
from gate.backbone.onnx_description import Output, describe
from gate.backbone.onnx_runtime import session_of
from gate.errors import BackboneError
from gate.plan.backbone import BackbonePlan
from tests import tiny

HEAD = np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32)


def classifier(
    *tail: tuple[str, list[str], str], outputs: tuple[str, ...], opset: int = 13, **more: Any
) -> onnx.ModelProto:
    """Tiny with nodes behind its pooled map, each ``(operator, inputs, output)``."""
    value = helper.make_tensor_value_info
    nodes = [
        helper.make_node("Conv", ["images", "weight"], ["map"]),
        helper.make_node("Relu", ["map"], ["active"]),
        helper.make_node("GlobalAveragePool", ["active"], ["pool"]),
        helper.make_node("Flatten", ["pool"], ["flat"]),
    ]
    nodes += [helper.make_node(kind, reads, [gives]) for kind, reads, gives in tail]
    tensors = {"weight": tiny.WEIGHT, "w": HEAD, "b": np.ones(3, np.float32), **more}
    tensors["w1"] = HEAD.T[:, :, None, None]
    graph = helper.make_graph(
        nodes,
        "classifier",
        [value("images", TensorProto.FLOAT, ["N", 3, tiny.SIDE, tiny.SIDE])],
        [value(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(each), name) for name, each in tensors.items()],
    )
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=min(8, opset))


GEMM = ("Gemm", ["flat", "w", "b"], "scores")
RULE = {
    "an output that is called so": (
        [GEMM, ("Identity", ["flat"], "image_embeds")],
        ("scores", "image_embeds"),
        "image_embeds",
    ),
    "what feeds the last linear layer": ([GEMM], ("scores",), "flat"),
    "what feeds a product and its bias": (
        [("MatMul", ["flat", "w"], "m"), ("Add", ["m", "b"], "scores")],
        ("scores",),
        "flat",
    ),
    "what feeds a convolution of one place": (
        [("Conv", ["pool", "w1"], "maps"), ("Flatten", ["maps"], "scores")],
        ("scores",),
        "pool",
    ),
    "what is behind a softmax": ([GEMM, ("Softmax", ["scores"], "p")], ("p",), "flat"),
    "what is behind a softmax that is written out": (
        [
            GEMM,
            ("Exp", ["scores"], "e"),
            ("ReduceSum", ["e", "axis"], "sum"),
            ("Div", ["e", "sum"], "p"),
        ],
        ("p",),
        "flat",
    ),
    "what a softmax reads, where no layer is": ([("Softmax", ["flat"], "p")], ("p",), "flat"),
    "never a softmax, whatever it is called": (
        [GEMM, ("Softmax", ["scores"], "features")],
        ("features",),
        "flat",
    ),
    "or else the first output": ([("Relu", ["flat"], "out")], ("out", "map"), "out"),
}


@pytest.mark.parametrize(("tail", "outputs", "value"), RULE.values(), ids=RULE)
def test_features_of_a_plan_that_names_none_are(
    tmp_path: Path, tail: Any, outputs: tuple[str, ...], value: str
) -> None:
    model = classifier(*tail, outputs=outputs, axis=np.array([1]))
    path = tiny.write_onnx(tmp_path / "m.onnx", model)
    plan = {"onnx": path, "preprocessing": tiny.PREPROCESSING}
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), np.uint8)

    backbone = Backbone(BackbonePlan.model_validate(plan))

    assert describe(model).features.value == value
    assert backbone.plan.settings["output"] == value
    assert any(f"features are {value!r}" in each for each in backbone.remarks)
    np.testing.assert_allclose(
        backbone.features(images), tiny.by_hand(images), rtol=1e-4, atol=1e-5
    )
    assert Backbone(backbone.plan).plan == backbone.plan


@pytest.mark.parametrize("opset", [9, 13, 17, 21])
def test_a_graph_is_described_by_what_it_takes_and_gives(opset: int) -> None:
    told = describe(
        classifier(GEMM, ("Softmax", ["scores"], "p"), outputs=("p", "scores", "flat"), opset=opset)
    )

    assert told.opsets == {"ai.onnx": opset}
    assert told.inputs == (Declared("images", "float32", ("N", 3, 8, 8)),)
    assert [each.what for each in told.outputs] == ["probabilities", "logits", "pooled"]
    assert told.outputs[0] == Output("p", "float32", None, "probabilities")
    assert told.parameters == 5 * 27 + 15 + 3 + 15


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"output": "p"}, "output 'p' comes of a Softmax: probabilities, .* write output: flat"),
        ({"logits": "p"}, "logits 'p' comes of a Softmax: .* no logits; write logits: scores"),
    ],
)
def test_probabilities_are_refused_with_the_value_to_name(
    tmp_path: Path, changes: dict[str, str], says: str
) -> None:
    model = classifier(GEMM, ("Softmax", ["scores"], "p"), outputs=("p",))
    path = tiny.write_onnx(tmp_path / "m.onnx", model)
    plan = {"onnx": path, "preprocessing": tiny.PREPROCESSING, **changes}

    with pytest.raises(BackboneError, match=says):
        Backbone(BackbonePlan.model_validate(plan))


def tokens() -> onnx.ModelProto:
    """Tiny's active map as tokens ``(N, 36, 5)``."""
    model = classifier(outputs=("active",))
    shape = numpy_helper.from_array(np.array([0, 5, 36]), "three")
    model.graph.initializer.append(shape)
    model.graph.node.append(helper.make_node("Reshape", ["active", "three"], ["rows"]))
    model.graph.node.append(helper.make_node("Transpose", ["rows"], ["tokens"], perm=[0, 2, 1]))
    del model.graph.output[:]
    out = helper.make_tensor_value_info("tokens", TensorProto.FLOAT, ["N", 36, 5])
    model.graph.output.append(out)
    return model


@pytest.mark.parametrize("pooling", ["mean", "first"])
def test_tokens_of_images_are_pooled_as_the_plan_says(tmp_path: Path, pooling: str) -> None:
    path = tiny.write_onnx(tmp_path / "m.onnx", tokens())
    plan = {"onnx": path, "preprocessing": tiny.PREPROCESSING, "pooling": pooling}
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), np.uint8)
    backbone = Backbone(BackbonePlan.model_validate(plan))

    found = backbone.features(images)

    corner = images[:, :3, :3]  # what the first place of the map sees
    mean, std = (np.array(tiny.PREPROCESSING[of]) for of in ("mean", "std"))
    first = np.einsum("nhwi,oihw->no", (corner / 255 - mean) / std, tiny.WEIGHT)
    expected = tiny.by_hand(images) if pooling == "mean" else np.maximum(first, 0)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert backbone.plan.settings["pooling"] == pooling


@pytest.mark.parametrize(("pooling", "model"), [("none", tokens()), ("first", classifier(
    ("Relu", ["active"], "maps"), outputs=("maps",)))])  # fmt: skip
def test_an_output_that_does_not_go_with_the_pooling_is_refused(
    tmp_path: Path, pooling: str, model: onnx.ModelProto
) -> None:
    path = tiny.write_onnx(tmp_path / "m.onnx", model)
    plan = {"onnx": path, "preprocessing": tiny.PREPROCESSING, "pooling": pooling}
    backbone = Backbone(BackbonePlan.model_validate(plan))

    with pytest.raises(BackboneError, match=f"do not go with pooling: {pooling}"):
        backbone.features(np.zeros((2, 8, 8, 3), np.uint8))


def test_a_graph_that_leads_back_to_where_it_began_is_described_all_the_same() -> None:
    model = classifier(("Identity", ["two"], "one"), ("Softmax", ["one"], "two"), outputs=("one",))

    assert describe(model).features.value in ("one", "two")


@pytest.mark.parametrize("pooling", ["mean", "first"])
def test_a_head_behind_tokens_reads_what_the_plan_pools(tmp_path: Path, pooling: str) -> None:
    path = tiny.write_onnx(tmp_path / "m.onnx", tokens())
    plan = {"onnx": path, "preprocessing": tiny.PREPROCESSING, "pooling": pooling}
    backbone = Backbone(BackbonePlan.model_validate(plan))
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), np.uint8)
    head = LinearHead(HEAD, np.ones(3, np.float32))

    whole = session_of(backbone.with_head(JoinedHead(head, None), {}), ["CPUExecutionProvider"])

    (found,) = whole.run(None, {"images": backbone.inputs(images)})
    np.testing.assert_allclose(found, backbone.features(images) @ HEAD + 1, rtol=1e-4, atol=1e-5)
