"""Operators of an ONNX graph by which an output depends on chance, or on a batch's other rows."""

from typing import Any

import numpy as np
import onnx

from gate.arrays import Array
from gate.backbone.onnx_file import nodes_in
from gate.backbone.unstable import Unstable

_DRAWING = {
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
    "Multinomial",
    "Bernoulli",
}
# they take the range of whole tensors, and so of all rows of a batch
_RANGING = {"DynamicQuantizeLinear", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM"}
_NEW_DROPOUT, _NEW_NORM, _OLD = 12, 14, 7  # operator sets that changed what training mode is


def unstable_operators(model: onnx.ModelProto) -> list[Unstable]:
    """Those of a graph, wherever they stand: they need not reach its outputs."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in nodes_in(model):
        if node.op_type == "Constant" and (value := _attributes(node).get("value")) is not None:
            constants[node.output[0]] = value
    version = max((s.version for s in model.opset_import if s.domain in ("", "ai.onnx")), default=0)
    known = {name: onnx.numpy_helper.to_array(t) for name, t in constants.items() if _is_small(t)}
    return [found for node in nodes_in(model) if (found := _of_node(node, known, version))]


def _of_node(node: Any, known: dict[str, Array], version: int) -> Unstable | None:
    kind, given = node.op_type, _attributes(node)
    name = f"{kind} {(node.name or next(iter(node.output), ''))!r}"
    if kind == "Dropout" and _drops(node, given, known, version):
        return Unstable("chance", f"{name} in training mode")
    if kind in _DRAWING:
        return Unstable("chance", name)
    if kind == "BatchNormalization":
        old = version < _OLD and not given.get("is_test", 0)
        if old or (version >= _NEW_NORM and given.get("training_mode", 0)):
            return Unstable("batch", f"{name} in training mode")
    if kind in _RANGING:
        return Unstable("batch", f"{name}, which takes its range of a whole batch")
    if _spans_rows(node, given, known):
        return Unstable("batch", f"{name} over the first axis")
    return None


def _drops(node: Any, given: dict[str, Any], known: dict[str, Array], version: int) -> bool:
    """Whether a Dropout is on: its mode and its ratio are inputs, which may be computed."""
    if version < _NEW_DROPOUT:
        return version < _OLD and not given.get("is_test", 0)
    ratio, mode = ([*node.input, "", ""])[1:3]
    if not mode:
        return False
    return all(np.any(known.get(name, np.True_)) for name in (mode, ratio) if name)


def _spans_rows(node: Any, given: dict[str, Any], known: dict[str, Array]) -> bool:
    """Whether an operator puts rows together: it reduces or normalises along the first axis."""
    kind = node.op_type
    if kind in ("Softmax", "LogSoftmax", "LpNormalization", "Hardmax"):
        return bool(given.get("axis", -1) == 0)
    if kind == "MeanVarianceNormalization":
        return 0 in given.get("axes", [0, 2, 3])
    if not kind.startswith("Reduce"):
        return False
    axes = given.get("axes")
    if axes is None and len(node.input) > 1 and node.input[1]:
        axes = known.get(node.input[1], np.array([-1])).reshape(-1).tolist()
    return 0 in axes if axes else not given.get("noop_with_empty_axes", 0)


def _attributes(node: Any) -> dict[str, Any]:
    return {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}


def _is_small(tensor: onnx.TensorProto) -> bool:
    """Whether it may be a switch, a ratio or a list of axes."""
    return len(tensor.dims) <= 1 and all(size <= 8 for size in tensor.dims)
