"""Each operator in torch computes what it does in ONNX Runtime."""

from typing import Any, NamedTuple

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper

from gate.backbone.declared_input import Declared
from gate.backbone.onnx_gradients import DifferentiableGraph
from gate.backbone.onnx_operators import OPERATORS
from gate.backbone.onnx_runtime import session_of
from gate.errors import BackboneError
from gate.plan.backbone import OnnxBackbone
from tests import tiny

RNG = np.random.default_rng(11)
X = RNG.normal(size=(2, 4, 7, 7)).astype(np.float32)
POSITIVE = np.abs(X) + np.float32(0.5)
ROWS = RNG.normal(size=(2, 3, 4)).astype(np.float32)
CHANNELS = np.abs(RNG.normal(size=(4, 4))).astype(np.float32) + np.float32(0.1)
KERNEL = RNG.normal(size=(6, 4, 3, 3)).astype(np.float32)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def number(value: float) -> np.ndarray:
    return np.array(value, np.float32)


class Case(NamedTuple):
    """An operator, its other inputs (None: left out), its attributes; and the set it is of."""

    kind: str
    inputs: tuple[np.ndarray | None, ...] = ()
    attributes: dict[str, Any] = {}  # noqa: RUF012  # never changed
    opset: int = 17
    x: np.ndarray | None = X
    outputs: int = 1


CASES = [
    *(Case(kind) for kind in ("Abs", "Neg", "Relu", "Sigmoid", "Tanh", "Erf", "Exp", "Sin", "Cos")),
    *(Case(kind) for kind in ("Softplus", "Softsign", "HardSwish", "Identity", "Elu", "Selu")),
    *(Case(kind) for kind in ("Celu", "LeakyRelu", "HardSigmoid", "Shape", "Size", "Flatten")),
    *(Case(kind) for kind in ("GlobalAveragePool", "GlobalMaxPool", "Transpose", "Dropout")),
    *(Case(kind) for kind in ("Ceil", "Floor", "Round")),
    *(Case(kind, x=POSITIVE) for kind in ("Log", "Sqrt", "Reciprocal")),
    *(
        Case(kind, (POSITIVE[:1],))
        for kind in ("Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Mean")
    ),
    *(Case(kind, (X[:, ::-1].copy(), X[:1])) for kind in ("Max", "Min", "Sum", "Mean")),
    *(
        Case(kind, (X[:, ::-1].copy(),))
        for kind in ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")
    ),
    *(Case(kind, (X > 1,), x=X > 0) for kind in ("And", "Or")),
    Case("Not", x=X > 0),
    Case("Mish", opset=18),
    Case("Swish", attributes={"alpha": 1.5}, opset=24),
    Case("Gelu", opset=20),
    Case("Gelu", attributes={"approximate": "tanh"}, opset=20),
    Case("Elu", attributes={"alpha": 0.5}),
    Case("Celu", attributes={"alpha": 0.5}),
    Case("Selu", attributes={"alpha": 1.5, "gamma": 1.1}),
    Case("LeakyRelu", attributes={"alpha": 0.2}),
    Case("HardSigmoid", attributes={"alpha": 0.3, "beta": 0.4}),
    Case("PRelu", (CHANNELS[0][:, None, None],)),
    Case("Clip", (number(0), number(1))),
    Case("Clip", (None, number(0.5))),
    Case("Clip"),
    Case("Clip", attributes={"min": 0.0, "max": 6.0}, opset=7),
    Case("Pow", (number(2),)),
    Case("Pow", (X[:1],), x=POSITIVE),
    Case("Div", (ints(2, 3, -2, 3),), x=ints(7, -7, 7, 8)),
    Case("Mod", (ints(3, 3, -3, 3),), x=ints(7, -7, 7, 9)),
    Case("Mod", (POSITIVE,), {"fmod": 1}),
    Case("Where", (X, POSITIVE), x=X > 0),
    Case("Cast", attributes={"to": 7}),
    Case("Cast", attributes={"to": 10}),
    Case("CastLike", (ints(1),)),
    Case("Dropout", (number(0.5), np.array(False))),
    Case("Dropout", attributes={"ratio": 0.2}, opset=7),
    # shapes
    Case("Shape", attributes={"start": 1, "end": -1}),
    Case("Reshape", (ints(0, -1, 7),)),
    Case("Reshape", (ints(0, 3),), {"allowzero": 1}, x=np.zeros((0, 4), np.float32)),
    Case("Flatten", attributes={"axis": 2}),
    Case("Flatten", attributes={"axis": -3}),
    Case("Flatten", attributes={"axis": 0}),
    Case("Transpose", attributes={"perm": [0, 2, 3, 1]}),
    Case("Squeeze", (ints(0, -1),), x=X[:1, :, :, :1]),
    Case("Squeeze", x=X[:1, :, :, :1]),
    Case("Squeeze", attributes={"axes": [0]}, opset=11, x=X[:1]),
    Case("Unsqueeze", (ints(0, -1),)),
    Case("Unsqueeze", attributes={"axes": [3, 1]}, opset=11),
    Case("Concat", (X, POSITIVE), {"axis": 1}),
    Case("Concat", (X,), {"axis": -2}),
    Case("Split", attributes={"axis": 1}, outputs=2),
    Case("Split", (ints(1, 3),), {"axis": 1}, outputs=2),
    Case("Split", attributes={"axis": -1, "num_outputs": 3}, opset=18, outputs=3),
    Case("Split", attributes={"axis": 1, "split": [3, 1]}, opset=11, outputs=2),
    Case("Slice", (ints(1, -3), ints(4, 2**62), ints(1, 3))),
    Case("Slice", (ints(0, 1), ints(1, 9))),
    Case("Slice", (ints(-1, 5), ints(-(2**62), 0), ints(-1, 2), ints(-2, -1))),
    Case("Slice", (ints(0), ints(7), ints(2), ints(3))),
    Case("Slice", attributes={"starts": [1], "ends": [3], "axes": [1]}, opset=9),
    Case("Gather", (ints(0, -1, 2),), {"axis": 1}),
    Case("Gather", (np.array(-1),), {"axis": -1}),
    Case("Gather", (np.array([[0, 1], [1, 0]]),)),
    Case("Gather", (np.array(-1),), x=ints(3, 4)),
    Case("GatherND", (np.array([[0, 1], [1, -1]]),)),
    Case("GatherND", (np.array([[[0, 1], [1, -1]]]),)),
    Case("GatherND", (np.array([[0, 1], [1, -1]]),), {"batch_dims": 1}),
    Case("GatherND", (np.array([[[[0], [6]]] * 4] * 2),), {"batch_dims": 2}),
    Case("CumSum", (np.array(1),)),
    Case("CumSum", (np.array(-1),), {"exclusive": 1, "reverse": 1}),
    Case("CumSum", (np.array(0),), {"exclusive": 1}, x=ints(3, 4, 9)),
    Case("ScatterND", (np.array([[[0, 1], [1, -1]]]), X[:1, :2]), x=POSITIVE),
    Case("GatherElements", (RNG.integers(-4, 4, X.shape),), {"axis": 1}),
    Case("Expand", (ints(3, 1, 1, 7),), x=X[:1, :, :, :1]),
    Case(
        "Expand",
        (
            ints(
                1,
            ),
        ),
    ),
    Case("Tile", (ints(1, 2, 1, 3),)),
    Case("Pad", (ints(0, 1, 0, 2, 0, 0, 3, 1),)),
    Case("Pad", (ints(0, 0, -1, 0, 0, 0, 0, -2), number(1.5))),
    Case("Pad", (ints(1, 2), None, ints(-1)), opset=18),
    Case("Pad", (ints(0, 1, 2, 2, 0, 0, 3, 1),), {"mode": "reflect"}),
    Case("Pad", (ints(0, 0, 2, 2, 0, 0, 3, 1),), {"mode": "edge"}),
    Case("Pad", (ints(0, 0, 2, 2, 0, 0, 3, 1),), {"mode": "wrap"}, opset=19),
    Case("Pad", attributes={"pads": [0, 0, 1, 1, 0, 0, 1, 1], "value": 2.0}, opset=9),
    Case("Constant", attributes={"value": numpy_helper.from_array(X)}, x=None),
    Case("Constant", attributes={"value_float": 1.5}, x=None),
    Case("Constant", attributes={"value_floats": [1.5, 2.0]}, x=None),
    Case("Constant", attributes={"value_int": 3}, x=None),
    Case("Constant", attributes={"value_ints": [3, 4]}, x=None),
    Case("ConstantOfShape", x=ints(2, 3)),
    Case("ConstantOfShape", attributes={"value": numpy_helper.from_array(ints(4))}, x=ints(2)),
    Case("Range", (np.array(9), np.array(2)), x=np.array(1)),
    # sums and products
    *(
        Case(kind, attributes={"axes": [2, 3], "keepdims": keep})
        for kind in ("ReduceMean", "ReduceMax", "ReduceMin", "ReduceL2")
        for keep in (0, 1)
    ),
    *(Case(kind, (ints(-1),), opset=18) for kind in ("ReduceMean", "ReduceMax", "ReduceMin")),
    *(Case(kind) for kind in ("ReduceMean", "ReduceMax", "ReduceMin", "ReduceL2", "ReduceSum")),
    Case("ReduceL2", (ints(1, 2),), opset=18),
    Case("ReduceSum", (ints(1, -1),), {"keepdims": 0}),
    Case("ReduceSum", attributes={"axes": [1]}, opset=11),
    Case("ReduceMean", attributes={"noop_with_empty_axes": 1}, opset=18),
    Case("Softmax"),
    Case("Softmax", attributes={"axis": 1}),
    Case("Softmax", attributes={"axis": 2}, opset=11),
    Case("Softmax", opset=7),
    Case("LogSoftmax", attributes={"axis": 1}),
    Case("LogSoftmax", opset=11),
    Case("MatMul", (RNG.normal(size=(2, 4, 5)).astype(np.float32),), x=ROWS),
    Case("MatMul", (CHANNELS,), x=ROWS),
    Case("Gemm", (CHANNELS, CHANNELS[0]), {"transB": 1}, x=ROWS[0]),
    Case("Gemm", (ROWS[1], number(2)), {"transA": 1, "alpha": 0.5, "beta": 3.0}, x=ROWS[0]),
    Case("Gemm", (CHANNELS,), x=ROWS[0]),
    Case("Einsum", (CHANNELS,), {"equation": "ntd,de->nte"}, x=ROWS),
    # windows
    Case("Conv", (KERNEL,)),
    Case("Conv", (KERNEL, CHANNELS.reshape(-1)[:6]), {"pads": [1, 0, 2, 1], "strides": [2, 1]}),
    Case("Conv", (KERNEL,), {"dilations": [2, 2], "kernel_shape": [3, 3]}),
    Case("Conv", (KERNEL[:4, :1],), {"group": 4, "pads": [1, 1, 1, 1]}),
    Case("Conv", (KERNEL[:, :2],), {"group": 2}),
    Case("Conv", (KERNEL,), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    Case("Conv", (KERNEL[:, :, :2, :2],), {"auto_pad": "SAME_LOWER"}),
    Case("Conv", (KERNEL,), {"auto_pad": "VALID"}),
    Case("Conv", (KERNEL[:, :, 0],), {"pads": [1, 1]}, x=X[:, :, 0]),
    *(
        Case(kind, attributes={"kernel_shape": [3, 3], **attributes}, opset=opset)
        for kind in ("MaxPool", "AveragePool")
        for opset, attributes in (
            (7, {}),
            (17, {"strides": [2, 2]}),
            (17, {"strides": [2, 2], "pads": [1, 0, 1, 2]}),
            (19, {"strides": [2, 2], "pads": [1, 1, 1, 1], "ceil_mode": 1}),
            (19, {"strides": [3, 3], "pads": [0, 1, 0, 1], "ceil_mode": 1}),
            (17, {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
        )
    ),
    Case("MaxPool", attributes={"kernel_shape": [2, 2], "dilations": [2, 3]}),
    Case("MaxPool", attributes={"kernel_shape": [3]}, x=X[:, :, 0]),
    Case(
        "AveragePool",
        attributes={"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1},
    ),
    Case(
        "AveragePool",
        attributes={
            "kernel_shape": [3, 3],
            "pads": [1, 1, 1, 1],
            "strides": [3, 3],
            "count_include_pad": 1,
            "ceil_mode": 1,
        },
        opset=19,
    ),
    # normalisation
    Case("BatchNormalization", tuple(CHANNELS), {"epsilon": 1e-3}),
    Case("BatchNormalization", tuple(CHANNELS), opset=7),
    Case("BatchNormalization", tuple(CHANNELS), {"training_mode": 1, "momentum": 0.7}, outputs=3),
    Case("InstanceNormalization", tuple(CHANNELS[:2]), {"epsilon": 1e-3}),
    Case("LayerNormalization", (CHANNELS[0], CHANNELS[1]), x=ROWS),
    Case("LayerNormalization", (X[0, 0],), {"axis": 2, "epsilon": 1e-2}),
    Case("GroupNormalization", tuple(CHANNELS[:2]), {"num_groups": 2}, opset=21),
    Case("LpNormalization", attributes={"axis": 1}),
    Case("LpNormalization", attributes={"p": 1}),
    Case("LRN", attributes={"size": 3, "alpha": 0.1, "beta": 0.5, "bias": 2.0}),
]


def model_of(case: Case) -> tuple[onnx.ModelProto, dict[str, np.ndarray], list[str]]:
    """A graph of one node, what is fed to it, and names of its outputs."""
    given = {"x": case.x} if case.x is not None else {}
    others = {f"input {i}": each for i, each in enumerate(case.inputs)}
    outputs = [f"output {i}" for i in range(case.outputs)]
    names = [name if each is not None else "" for name, each in (given | others).items()]
    node = helper.make_node(case.kind, names, outputs, **case.attributes)
    tensors = [numpy_helper.from_array(v, name) for name, v in others.items() if v is not None]
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
        for name, v in given.items()
    ]
    outs = [onnx.ValueInfoProto(name=name) for name in outputs]
    graph = helper.make_graph([node], "one", inputs, outs, tensors)
    opsets = [helper.make_opsetid("", case.opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8), given, outputs


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.kind}-{case.opset}")
def test_an_operator_computes_what_onnx_runtime_does(case: Case) -> None:
    model, given, outputs = model_of(case)
    plan = OnnxBackbone.model_validate({"onnx": "m.onnx", "preprocessing": tiny.PREPROCESSING})
    expected = session_of(model.SerializeToString(), ["CPUExecutionProvider"]).run(outputs, given)

    found = DifferentiableGraph(plan, model, Declared("x", "any", None), outputs)._forward(
        torch.from_numpy(given.get("x", X))
    )

    for ours, theirs in zip(found, expected, strict=True):
        assert (ours.numpy().dtype, tuple(ours.shape)) == (theirs.dtype, theirs.shape)
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-5, atol=1e-5)


def test_every_operator_is_compared() -> None:
    assert {case.kind for case in CASES} == set(OPERATORS)


def test_batch_normalisation_of_images_in_training_mode_has_no_gradient() -> None:
    attributes = {"training_mode": 1}
    case = Case("BatchNormalization", tuple(CHANNELS), attributes, outputs=3)
    model, _, outputs = model_of(case)
    plan = OnnxBackbone.model_validate({"onnx": "m.onnx", "preprocessing": tiny.PREPROCESSING})
    graph = DifferentiableGraph(plan, model, Declared("x", "any", None), outputs)

    with pytest.raises(BackboneError, match="training mode, so images depend on each other"):
        graph._forward(torch.from_numpy(X).requires_grad_())
