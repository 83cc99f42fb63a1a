"""The graph of an ONNX file, computed in torch for the sake of its gradient.

ONNX Runtime runs a backbone wherever a number is reported; this is for searching alone, and only
where both agree. A file brings its program with it, so this too runs in the child process.
"""

import inspect
from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx
import onnx.inliner
import torch
from torch import Tensor

from gate.arrays import Array, Float32, Int64
from gate.backbone.declared_input import Declared, in_pieces
from gate.backbone.heads import LinearHead
from gate.backbone.input_gradients import input_gradients
from gate.backbone.onnx_operators import OPERATORS, Computed, Operator, tensor_of
from gate.errors import BackboneError, failing_as
from gate.plan.backbone import OnnxBackbone

_OLDEST = 7  # before, operators broadcast by an attribute
_INSTEAD = "export it by torch.onnx.export, or give safetensors with an arch"
# Of the standard deviation of what ONNX Runtime computes. On CPUs at most 1.1e-5 was measured, on
# the dev files and on 18 networks of timm and torchvision; on a GPU, ONNX Runtime rounds factors to
# 11 bits (TF32), an error of 5e-4 each. A wrong operator is far beyond.
_TOLERANCE = 1e-2


class DifferentiableGraph:
    """The part of an ONNX graph that the wanted values need, with its weights.

    Args:
        plan: Its description, for messages and for how features are pooled.
        model: As `onnx_file.read_model` gives it, which lets nothing lie outside its digest.
        images: The input.
        wanted: Names of the values that hold the features and, if wanted, the own head's logits.

    Raises:
        BackboneError: It has an operator, an attribute or a weight that is not known here.
    """

    def __init__(
        self, plan: OnnxBackbone, model: onnx.ModelProto, images: Declared, wanted: list[str]
    ) -> None:
        self._plan, self._images, self._wanted = plan, images, wanted
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        with failing_as(BackboneError, f"{plan.path}: cannot be computed in torch", _INSTEAD):
            if model.functions:
                model = onnx.inliner.inline_local_functions(model)
            self._opset = max(each.version for each in model.opset_import if _standard(each.domain))
            nodes = _needed(model.graph.node, wanted)
            read = {name for node in nodes for name in node.input}
            self._weights = {
                each.name: self._placed(tensor_of(each))
                for each in model.graph.initializer
                if each.name in read
            }
        if self._opset < _OLDEST:
            raise BackboneError(
                f"{plan.path}: opset {self._opset}, and gradients are known from {_OLDEST} on, so "
                f"no trigger can be searched for by gradient; {_INSTEAD}"
            )
        self._steps = [_Step(plan, node, self._opset, self._placed) for node in nodes]

    def input_gradients(
        self, inputs: Float32, targets: Int64, head: LinearHead | None
    ) -> list[Float32]:
        """Logits of a batch of images, and gradients; see `input_gradients.input_gradients`."""

        def passed(piece: dict[str, Array]) -> list[Array]:
            batch = torch.from_numpy(piece["images"]).to(self._device)
            return [*input_gradients(self._plan, self._forward, batch, piece["targets"], head)]

        return in_pieces(
            self._plan.path, self._images.batch, passed, {"images": inputs, "targets": targets}
        )

    def require_agreement(self, inputs: Float32, by_runtime: list[Float32]) -> None:
        """Compare with ONNX Runtime.

        Args:
            inputs: A batch of images.
            by_runtime: What ONNX Runtime gives for it.

        Raises:
            BackboneError: Some number is further off than the tolerance, or neither is finite.
        """
        refused = f"{self._plan.path}: cannot be computed in torch"
        with failing_as(BackboneError, refused, _INSTEAD), torch.no_grad():
            computed = in_pieces(
                self._plan.path, self._images.batch, self._values, {"images": inputs}
            )
        for name, ours, there in zip(self._wanted, computed, by_runtime, strict=True):
            if ours.shape != there.shape:
                raise BackboneError(
                    f"{self._plan.path}: {name!r} has shape {there.shape} in ONNX Runtime, and "
                    f"{ours.shape} where gradients are computed, so no trigger is searched for; "
                    f"{_INSTEAD}"
                )
            furthest, spread = float(np.abs(ours - there).max()), float(there.std())
            if not furthest <= _TOLERANCE * spread:  # NaN is not within it
                raise BackboneError(
                    f"{self._plan.path}: {name!r} differs by {furthest:.3g} between ONNX Runtime "
                    "and the graph in torch where gradients are computed, and at most "
                    f"{_TOLERANCE * spread:.3g} is allowed ({_TOLERANCE:g} of its standard "
                    f"deviation), so no trigger is searched for; {_INSTEAD}"
                )

    def _values(self, batch: dict[str, Array]) -> list[Array]:
        """The wanted values of a batch, as arrays."""
        computed = self._forward(torch.from_numpy(batch["images"]).to(self._device))
        return [each.float().cpu().numpy() for each in computed]

    def _forward(self, images: Tensor) -> list[Tensor]:
        """The wanted values of a batch."""
        kind = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float64": torch.float64}
        # whole numbers go in as they are: rounding has no slope, and the graph casts them at once
        given = images.to(kind.get(self._images.type, images.dtype))
        values: dict[str, Tensor] = {**self._weights, self._images.name: given}
        for step in self._steps:
            values |= step(values)
        return [values[name] for name in self._wanted]

    def _placed(self, tensor: Tensor) -> Tensor:
        """Where it is computed with: whole numbers mostly are shapes, which Python reads."""
        return tensor.to(self._device) if tensor.is_floating_point() else tensor


class _Step:
    """One node: what it computes of values by name."""

    def __init__(self, plan: OnnxBackbone, node: onnx.NodeProto, opset: int, placed: Any) -> None:
        self._plan, self._node = plan, node
        self._operator = _operator(plan, node)
        known = _keywords(self._operator)
        self._attributes: dict[str, Any] = {}
        for attribute in node.attribute:
            if attribute.name not in known - {"opset", "outputs"}:
                raise BackboneError(
                    f"{plan.path}: attribute {attribute.name!r} of operator {node.op_type} is not "
                    "among those whose gradient is known, so no trigger can be searched for by "
                    f"gradient; {_INSTEAD}"
                )
            with self._failing():
                value = onnx.helper.get_attribute_value(attribute)
                if isinstance(value, onnx.TensorProto):
                    value = placed(tensor_of(value))
                self._attributes[attribute.name] = (
                    value.decode() if isinstance(value, bytes) else value
                )
        stated = {"opset": opset, "outputs": len(node.output)}
        self._attributes |= {name: value for name, value in stated.items() if name in known}

    def __call__(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """Its outputs by name."""
        with self._failing():
            if missing := [name for name in self._node.input if name and name not in values]:
                raise ValueError(f"reads {missing[0]!r}, which nothing gives")
            inputs = _together([values[name] if name else None for name in self._node.input])
            outputs: Computed = self._operator(*inputs, **self._attributes)
        given = (outputs,) if isinstance(outputs, Tensor) else outputs
        return {name: each for name, each in zip(self._node.output, given, strict=False) if name}

    def _failing(self) -> Any:
        what = f"{self._plan.path}: operator {self._node.op_type} of {self._node.output[0]!r}"
        return failing_as(
            BackboneError,
            f"{what} cannot be computed in torch, so no trigger can be searched for by gradient",
            _INSTEAD,
        )


def _operator(plan: OnnxBackbone, node: onnx.NodeProto) -> Operator:
    if _standard(node.domain) and node.op_type in OPERATORS:
        return OPERATORS[node.op_type]
    of = "" if _standard(node.domain) else f" of {node.domain}"
    raise BackboneError(
        f"{plan.path}: operator {node.op_type}{of} is not among those whose gradient is known, so "
        f"no trigger can be searched for by gradient; {_INSTEAD}"
    )


def _standard(domain: str) -> bool:
    return domain in ("", "ai.onnx")


def _keywords(operator: Operator) -> set[str]:
    """Names of the attributes that an operator takes."""
    try:
        parameters = inspect.signature(operator).parameters.values()
    except ValueError:  # torch's own functions, which stand in the table where there are none
        return set()
    return {each.name for each in parameters if each.kind is each.KEYWORD_ONLY}


def _together(inputs: list[Tensor | None]) -> list[Tensor | None]:
    """Inputs on one device: the GPU if one of them is there."""
    devices = {each.device for each in inputs if each is not None}
    if len(devices) < 2:
        return inputs
    (gpu,) = (device for device in devices if device.type != "cpu")
    return [None if each is None else each.to(gpu) for each in inputs]


def _needed(nodes: Iterable[onnx.NodeProto], wanted: list[str]) -> list[onnx.NodeProto]:
    """The nodes that the wanted values are computed by, in their order."""
    names, needed = set(wanted), []
    for node in reversed(list(nodes)):
        if names.intersection(node.output):
            names.update(node.input)
            needed.append(node)
    return needed[::-1]
