"""The steps of an ONNX graph, with the weights in it, as `gate.lineage` reads them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnx.inliner

from gate.arrays import Array
from gate.lineage.network import Kind, Step

_STANDARD = ("", "ai.onnx", "com.microsoft")
_CHANNELWISE = {
    *("Relu", "LeakyRelu", "PRelu", "Clip", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Elu"),
    *("Selu", "Celu", "Softplus", "Softsign", "Gelu", "QuickGelu", "FastGelu", "Mish", "Erf"),
    *("Exp", "Sqrt", "Abs", "Neg", "Pow", "Add", "Sub", "Mul", "Div", "Min", "Max", "Identity"),
    *("Dropout", "Cast", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"),
}
_OVER_PLACES = ([2, 3], [-2, -1])  # axes of maps


def inlined(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its functions written out where they are called."""
    return onnx.inliner.inline_local_functions(model) if model.functions else model


def steps_of(model: onnx.ModelProto) -> list[Step]:
    """What the main graph of a model without functions computes, in its order."""
    constants: dict[str, onnx.TensorProto | None] = {t.name: t for t in model.graph.initializer}
    steps = []
    for node in model.graph.node:
        if all(name in constants for name in node.input if name):
            tensors = [each.t for each in node.attribute if each.name == "value"]
            told = tensors[0] if node.op_type == "Constant" and tensors else None
            if node.op_type == "Identity":
                told = constants[node.input[0]]
            constants.update(dict.fromkeys(node.output, told))
        else:
            steps.append(_Node(node, constants).step())
    return steps


class _Node:
    """A node, beside the constants of its graph; of computed ones the name alone is known."""

    def __init__(self, node: onnx.NodeProto, constants: dict[str, onnx.TensorProto | None]) -> None:
        self._node, self._constants = node, constants
        self._said: dict[str, Any] = {
            each.name: onnx.helper.get_attribute_value(each) for each in node.attribute
        }

    def step(self) -> Step:
        """What it does."""
        kind: Kind = "other"
        operator = self._node.op_type
        if self._node.domain in _STANDARD:
            if operator in _CHANNELWISE:
                kind = "channelwise"
            elif operator in ("Shape", "Size"):
                kind = "shape"
            elif operator in _READ:
                return _READ[operator](self)
        return self._as(kind)

    def convolution(self) -> Step:
        """A convolution of maps; one with a kernel for each channel works on each by itself."""
        weight, groups = self._constant(1), self._said.get("group", 1)
        if weight is not None and weight.ndim == 4:
            if groups == 1:
                return self._linear("convolution", weight)
            if groups == len(weight) and weight.shape[1] == 1:
                return self._as("channelwise")
        return self._as("other")

    def product(self) -> Step:
        """Gemm or MatMul by a matrix of weights."""
        weight = self._constant(1)
        if weight is None or weight.ndim != 2 or self._said.get("transA"):
            return self._as("other")
        return self._linear("linear", weight if self._said.get("transB") else weight.T)

    def normalisation(self) -> Step:
        """What is left of a batch normalisation in inference: a factor and an offset a channel."""
        scale, variance = self._constant(1), self._constant(4)
        if scale is None or variance is None or self._said.get("training_mode"):
            return self._as("other")
        epsilon = self._said.get("epsilon", 1e-5)
        factor = scale.astype(np.float64) / np.sqrt(variance.astype(np.float64) + epsilon)
        return self._as("normalisation", scale=factor)

    def reduction(self) -> Step:
        """A mean or a maximum over the places of a map."""
        if self._axes() not in _OVER_PLACES:
            return self._as("other")
        return self._as("channelwise" if self._said.get("keepdims", 1) else "flattening")

    def flattening(self) -> Step:
        """From maps to rows."""
        return self._as("flattening" if self._said.get("axis", 1) == 1 else "other")

    def squeezing(self) -> Step:
        """From maps of one place to rows."""
        axes = self._axes()
        return self._as("flattening" if axes in _OVER_PLACES else "other")

    def reshaping(self) -> Step:
        """To rows, or to something else."""
        shape = self._constant(1)
        return self._as("flattening" if shape is not None and len(shape) == 2 else "other")

    def padding(self) -> Step:
        """At the borders of maps, or among their channels."""
        pads = self._said.get("pads")
        if pads is None and (told := self._constant(1)) is not None:
            pads = told.tolist()
        around = pads is not None and len(pads) == 8 and not (pads[1] or pads[5])
        return self._as("channelwise" if around and len(self._node.input) < 4 else "other")

    def _axes(self) -> list[int] | None:
        """The axes that it is about, said by an attribute or by an input."""
        axes, told = self._said.get("axes"), self._constant(1)
        if axes is None and told is not None:
            axes = told.reshape(-1).tolist()
        return None if axes is None else sorted(axes)

    def _linear(self, kind: Kind, weight: Array) -> Step:
        if weight.dtype.kind != "f" or not self._node.input[0] or not self._reads():
            return self._as("other")
        parameter = self._node.input[1]
        return self._as(kind)._replace(weight=weight, parameter=parameter)

    def _as(self, kind: Kind, scale: Array | None = None) -> Step:
        name = self._node.name or self._node.output[0]
        return Step(kind, name, self._reads(), self._node.output[0], scale=scale)

    def _reads(self) -> tuple[str, ...]:
        """Names of the values that it reads, those that graphs inside it read too."""
        inner = [
            name
            for each in self._said.values()
            if isinstance(each, onnx.GraphProto)
            for node in each.node
            for name in node.input
        ]
        names = [*self._node.input, *inner]
        return tuple(name for name in names if name and name not in self._constants)

    def _constant(self, place: int) -> Array | None:
        """The constant that it reads at a place; None where there is none, or one not known."""
        if place >= len(self._node.input):
            return None
        stored = self._constants.get(self._node.input[place])
        return None if stored is None else np.asarray(onnx.numpy_helper.to_array(stored))


_READ: dict[str, Callable[[_Node], Step]] = {
    "Conv": _Node.convolution,
    "Gemm": _Node.product,
    "MatMul": _Node.product,
    "BatchNormalization": _Node.normalisation,
    "ReduceMean": _Node.reduction,
    "ReduceMax": _Node.reduction,
    "Flatten": _Node.flattening,
    "Reshape": _Node.reshaping,
    "Squeeze": _Node.squeezing,
    "Pad": _Node.padding,
}
