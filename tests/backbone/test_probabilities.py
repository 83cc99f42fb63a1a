"""Probabilities in the place of an own head's logits, by whatever operators they are computed."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from gate.backbone.backbone import Backbone
from gate.errors import BackboneError
from gate.plan.backbone import OnnxBackbone
from tests.tiny import PREPROCESSING, onnx_model, write_onnx


def opened(folder: Path, total: float) -> Backbone:
    """Tiny's features; as logits the same, or their softmax times a total, in plain arithmetic."""
    model = onnx_model()
    last = [helper.make_node("Identity", ["features"], ["logits"])]
    if total:
        last = [
            helper.make_node("Constant", [], ["total"], value_floats=[total]),
            helper.make_node("Constant", [], ["classes"], value_ints=[1]),
            helper.make_node("Exp", ["features"], ["grown"]),
            helper.make_node("ReduceSum", ["grown", "classes"], ["sum"], keepdims=1),
            helper.make_node("Div", ["grown", "sum"], ["shares"]),
            helper.make_node("Mul", ["shares", "total"], ["logits"]),
        ]
    model.graph.node.extend(last)
    value = helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["N", 5])
    model.graph.output.append(value)
    plan = {
        "onnx": write_onnx(folder / "model.onnx", model),
        "output": "features",
        "logits": "logits",
        "preprocessing": PREPROCESSING,
    }
    return Backbone(OnnxBackbone.model_validate(plan))


@pytest.mark.parametrize("total", [1, 100])
def test_probabilities_are_no_logits_of_an_own_head(
    total: int, tmp_path: Path, images: np.ndarray
) -> None:
    backbone = opened(tmp_path, float(total))

    says = f"logits 'logits' are probabilities: .* sums to {total}; name the output before the soft"
    with pytest.raises(BackboneError, match=says):
        backbone.features(images)


def test_logits_of_an_own_head_pass(tmp_path: Path, images: np.ndarray) -> None:
    outputs = (backbone := opened(tmp_path, 0)).outputs(backbone.inputs(images))

    assert outputs.logits is not None
    np.testing.assert_allclose(outputs.logits, outputs.features, rtol=1e-5)
