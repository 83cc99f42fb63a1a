"""Heads as ONNX: by themselves, and put behind an ONNX backbone."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from gate.arrays import Array
from gate.backbone.artefact import Artefact
from gate.backbone.heads import CosineHead, JoinedHead, SourceHead
from gate.backbone.onnx_file import messages, model_file, read_model
from gate.backbone.onnx_runtime import session_of
from gate.backbone.pooling import places, takes_first
from gate.errors import BackboneError, first_line
from gate.plan.backbone import BackbonePlan, OnnxBackbone

_OPSET, _OLDEST = 17, 13  # of heads, and of backbones that one is put behind
_OUTPUT = "calibrated_logits"


class _Graph:
    """Nodes and tensors of a head; names begin with a prefix that no ``taken`` one has."""

    def __init__(self, opset: int, taken: Collection[str] = ()) -> None:
        self.opset = opset
        self.prefix = "gate/"
        while any(name.startswith(self.prefix) for name in taken):
            self.prefix += "gate/"
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[onnx.TensorProto] = []

    def node(self, kind: str, inputs: list[str], **attributes: Any) -> str:
        """Add a node; gives the name of its output."""
        output = f"{self.prefix}{len(self.nodes)}"
        self.nodes.append(onnx.helper.make_node(kind, inputs, [output], **attributes))
        return output

    def tensor(self, name: str, values: Array) -> str:
        """Add a tensor; gives its name."""
        self.tensors.append(onnx.numpy_helper.from_array(values, f"{self.prefix}{name}"))
        return f"{self.prefix}{name}"

    def floats(self, given: str) -> str:
        """Add a cast to float32, which is what Backbone makes of whatever a graph gives."""
        return self.node("Cast", [given], to=onnx.TensorProto.FLOAT)

    def reduced(self, kind: str, given: str, axis: int) -> str:
        """Add a reduction over one axis, which is dropped."""
        if self.opset >= (13 if kind == "ReduceSum" else 18):  # where axes are an input
            axes = self.tensor(f"axis of {len(self.nodes)}", np.array([axis]))
            return self.node(kind, [given, axes], keepdims=0)
        return self.node(kind, [given], axes=[axis], keepdims=0)

    def head(self, head: JoinedHead, features: str, own: str) -> str:
        """Add a head on values of these names; gives the name of its logits ``(N, K)``."""
        linear, beside = head
        weight, bias = self.tensor("weight", linear.weight), self.tensor("bias", linear.bias)
        logits = self.node("Gemm", [features, weight, bias])
        if isinstance(beside, CosineHead):
            unit = self.node("LpNormalization", [features], axis=1, p=2)
            scaled = self.tensor("zero_shot", np.float32(beside.scale) * beside.weight)
            logits = self.node("Add", [logits, self.node("MatMul", [unit, scaled])])
        if isinstance(beside, SourceHead):
            members = beside.padded()
            # where a class has fewer members, something stands in that adds nothing to the sum
            nothing = np.where(members < 0, np.float32(-1e30), np.float32(0))
            kept = self.tensor("members", np.maximum(members, 0))
            each = self.node("Gather", [own, kept], axis=1)
            each = self.node("Add", [each, self.tensor("nothing", nothing)])  # (N, K, G)
            sums = self.reduced("ReduceLogSumExp", each, 2)
            scale = self.tensor("scale", np.array(beside.scale, np.float32))
            logits = self.node("Add", [logits, self.node("Mul", [sums, scale])])
        return logits

    def pooled(self, file: BackbonePlan, features: str, rank: int) -> str:
        """Add what Backbone does to maps and token sequences; gives the name of ``(N, D)``."""
        if rank == 2:
            return features
        if file.preprocessing:
            shape = (0,) * rank
            if takes_first(file, shape):
                return self.node("Gather", [features, self.tensor("first", np.array(0))], axis=1)
            first, *_ = places(file, shape)
            for _ in range(rank - 2):
                features = self.reduced("ReduceMean", features, first)
            return features
        if file.text and file.text.pooling == "first":
            return self.node("Gather", [features, self.tensor("first", np.array(0))], axis=1)
        mask = self.floats("attention_mask")
        last = self.tensor("last axis", np.array([2]))
        weighted = self.node("Mul", [features, self.node("Unsqueeze", [mask, last])])
        rows = self.tensor("row", np.array([1]))
        count = self.node("Unsqueeze", [self.reduced("ReduceSum", mask, 1), rows])
        return self.node("Div", [self.reduced("ReduceSum", weighted, 1), count])


def head_model(head: JoinedHead, metadata: dict[str, str]) -> bytes:
    """A head as an ONNX file: ``features`` (N, D), and ``own_logits`` (N, S) if it reads these.

    Args:
        head: D features to ``logits`` (N, K).
        metadata: Goes with the file.
    """
    graph, value = _Graph(_OPSET), onnx.helper.make_tensor_value_info
    width, classes = head.linear.weight.shape
    last = graph.head(head, "features", "own_logits")
    graph.nodes.append(onnx.helper.make_node("Identity", [last], ["logits"]))
    inputs = [value("features", onnx.TensorProto.FLOAT, ["N", width])]
    if isinstance(head.beside, SourceHead):
        inputs.append(value("own_logits", onnx.TensorProto.FLOAT, ["N", "S"]))
    outputs = [value("logits", onnx.TensorProto.FLOAT, ["N", classes])]
    made = onnx.helper.make_graph(graph.nodes, "head", inputs, outputs, graph.tensors)
    opsets = [onnx.helper.make_opsetid("", _OPSET)]
    model = onnx.helper.make_model(made, opset_imports=opsets, producer_name="gate")
    model.ir_version = 8  # read by every ONNX Runtime of the last years
    return _finished(model, metadata)


def with_head(
    described: OnnxBackbone, artefact: Artefact, head: JoinedHead, metadata: dict[str, str]
) -> bytes:
    """A backbone and its head as one ONNX file: the backbone's inputs to ``calibrated_logits``.

    Where tokens are averaged, ``attention_mask`` is an input even if the backbone does without it.
    The output has a longer name where the backbone has a value of that one.

    Args:
        described: Names of its outputs, and how they are pooled.
        artefact: The file or folder that it describes.
        head: D features to K logits.
        metadata: Goes with the file.

    Raises:
        BackboneError: The backbone cannot be read, its features have no rank that is known, or
            ONNX Runtime refuses both together.
    """
    file, model = model_file(artefact), read_model(artefact)
    features = described.output or model.graph.output[0].name
    taken = _names(model)
    graph = _Graph(_opset(file, model), taken)
    pooled = graph.pooled(described, graph.floats(features), _rank(file, model, features))
    own = graph.floats(described.logits or "") if isinstance(head.beside, SourceHead) else ""
    output = f"{graph.prefix}{_OUTPUT}" if _OUTPUT in taken else _OUTPUT
    last = graph.head(head, pooled, own)
    graph.nodes.append(onnx.helper.make_node("Identity", [last], [output]))
    _append(model, graph, output, head.linear.weight.shape[1])
    try:
        content = _finished(model, metadata)
        session_of(content, ["CPUExecutionProvider"])
    except Exception as fault:  # the checker's and ONNX Runtime's exceptions have no common base
        raise BackboneError(
            f"{file}: with the head behind it, it does not load on the CPU: {first_line(fault)}; "
            "export the backbone again, or leave out --with-backbone and run the head's own file "
            "behind it"
        ) from fault
    return content


def _opset(file: Path, model: onnx.ModelProto) -> int:
    standard = (each.version for each in model.opset_import if each.domain in ("", "ai.onnx"))
    opset = max(standard, default=0)
    if opset < _OLDEST:
        raise BackboneError(
            f"{file}: opset {opset}; a head is put behind opset {_OLDEST} or later; export it again"
        )
    return opset


def _rank(file: Path, model: onnx.ModelProto, features: str) -> int:
    """Number of dimensions of a value of the graph: 2, 3 or 4."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    ranks = {
        known.name: len(known.type.tensor_type.shape.dim)
        for known in (*inferred.output, *inferred.value_info)
        if known.type.tensor_type.HasField("shape")
    }
    if ranks.get(features) not in (2, 3, 4):
        raise BackboneError(
            f"{file}: the rank of {features!r} cannot be told ({ranks.get(features, 'unknown')}); "
            "export it with shapes"
        )
    return ranks[features]


def _append(model: onnx.ModelProto, graph: _Graph, output: str, classes: int) -> None:
    """Put a head's nodes behind a model, whose only output its last one becomes."""
    inputs = {value.name: value for value in model.graph.input}
    reads = {name for node in graph.nodes for name in node.input}
    if "attention_mask" in reads - set(inputs):
        model.graph.input.add(name="attention_mask", type=inputs["input_ids"].type)
    model.graph.node.extend(graph.nodes)
    model.graph.initializer.extend(graph.tensors)
    model.ir_version = max(model.ir_version, 4)  # before, every tensor had to be an input too
    value = onnx.helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, ["N", classes])
    del model.graph.output[:]
    model.graph.output.append(value)


def _names(model: onnx.ModelProto) -> set[str]:
    """Names of all values and tensors."""
    names = {value.name for value in model.graph.input}
    for message in messages(model):
        if isinstance(message, onnx.NodeProto):
            names |= {*message.input, *message.output}
        elif isinstance(message, onnx.TensorProto):
            names.add(message.name)
    return names


def _finished(model: onnx.ModelProto, metadata: dict[str, str]) -> bytes:
    onnx.helper.set_model_props(model, dict(sorted(metadata.items())))
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))
