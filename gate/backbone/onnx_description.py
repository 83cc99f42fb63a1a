"""What an ONNX graph says of itself: inputs, outputs, and which value likely holds the features.

Pure: of a model that was read and looked through; nothing runs.
"""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import onnx

from gate.backbone.declared_input import Declared
from gate.backbone.onnx_layers import inlined

What = Literal["features", "logits", "probabilities", "pooled", "tokens", "maps", "unknown"]

# what exporters call features; torch, transformers, sentence-transformers, timm, CLIP
_CALLED_FEATURES = {
    *("features", "feature", "feats", "embedding", "embeddings", "embeds", "image_embeds"),
    *("text_embeds", "image_features", "text_features", "image_embedding", "text_embedding"),
    *("image_embeddings", "text_embeddings", "pooler_output", "pooled_output"),
    *("last_hidden_state", "sentence_embedding", "sentence_embeddings", "token_embeddings"),
}
# what changes no number, only its place or type
_SAME = {
    *("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Cast", "Dropout"),
    *("QuantizeLinear", "DequantizeLinear", "Transpose"),
}
_SOFTMAX = {"Softmax", "LogSoftmax", "Hardmax"}
_POOLING = {"GlobalAveragePool", "GlobalMaxPool", "AveragePool", "ReduceMean", "ReduceMax"}


class Output(NamedTuple):
    """One output of a graph."""

    name: str
    type: str
    shape: tuple[int | str | None, ...] | None
    what: What


class Features(NamedTuple):
    """The value that is taken for the features unless a plan names one, and why."""

    value: str
    why: str


class Description(NamedTuple):
    """A graph in short."""

    opsets: dict[str, int]  # by domain
    inputs: tuple[Declared, ...]
    outputs: tuple[Output, ...]
    features: Features
    parameters: int  # numbers in initializers of floating point, of graph and functions


class Ending(NamedTuple):
    """What a value ends in, looking back past what only moves numbers.

    Args:
        what: ``probabilities`` of a softmax or sigmoid, ``logits`` of a linear layer, or else.
        operator: Of the last node that computes something.
        feeds: The value that this node reads; empty where there is none.
    """

    what: What
    operator: str
    feeds: str


def describe(model: onnx.ModelProto) -> Description:
    """What a model takes, what it gives, and what is taken for its features."""
    graph = Graph(model)
    tensors = [each for each in model.graph.initializer if each.data_type in _FLOATING]
    return Description(
        opsets={each.domain or "ai.onnx": each.version for each in model.opset_import},
        inputs=tuple(graph.inputs),
        outputs=tuple(
            Output(each.name, each.type, each.shape, graph.what(each)) for each in graph.outputs
        ),
        features=graph.features(),
        parameters=sum(math.prod(each.dims) for each in tensors),
    )


class Graph:
    """The main graph of a model, with its functions written out."""

    def __init__(self, model: onnx.ModelProto) -> None:
        graph = inlined(model).graph
        self._constant = {each.name for each in graph.initializer}
        self._givers: dict[str, onnx.NodeProto] = {}
        for node in graph.node:
            if all(name in self._constant for name in node.input if name):
                self._constant.update(node.output)
            else:
                self._givers.update((name, node) for name in node.output if name)
        self.inputs = [declared(value) for value in graph.input if value.name not in self._constant]
        self.outputs = [declared(value) for value in graph.output]

    def features(self) -> Features:
        """The value that holds features, by rule.

        An output that is called like features; or else what feeds the last linear layer of the
        first output, or its softmax; or else the first output. Never probabilities.
        """
        for output in self.outputs:
            if output.name.lower() in _CALLED_FEATURES:
                return self._behind_probabilities(output.name, "an output of that name")
        first = self.outputs[0].name
        return self._behind_probabilities(first, "the first output")

    def _behind_probabilities(self, value: str, why: str) -> Features:
        called = value.lower() in _CALLED_FEATURES
        last = value
        ending = self.ending(value)
        for _ in self._givers:  # as in _computing
            if ending.what != "probabilities" or ending.feeds not in self._givers:
                break
            value, why = ending.feeds, f"what feeds the {ending.operator} of output {last!r}"
            called = False
            ending = self.ending(value)
        if ending.what == "logits" and not called and self._is_computed(ending.feeds):
            layer = f"the last linear layer ({ending.operator})"
            return Features(ending.feeds, f"what feeds {layer} of output {last!r}")
        return Features(value, why)

    def ending(self, value: str) -> Ending:
        """What a value ends in."""
        node = self._computing(value)
        if node is None:
            return Ending("unknown", "", "")
        if node.op_type in _SOFTMAX or node.op_type == "Sigmoid":
            return Ending("probabilities", node.op_type, node.input[0])
        if node.op_type == "Div" and (scores := self._exponentiated(node)):
            return Ending("probabilities", "softmax", scores)
        if feeds := self._feeding_linear(node):
            return Ending("logits", node.op_type, feeds)
        return Ending("pooled" if node.op_type in _POOLING else "unknown", node.op_type, "")

    def what(self, output: Declared) -> What:
        """What an output likely is."""
        ending = self.ending(output.name)
        if ending.what == "probabilities":
            return "probabilities"
        rank = len(output.shape or ())
        if output.name.lower() in _CALLED_FEATURES:
            return "tokens" if rank == 3 else "features"  # (N, T, D)
        if ending.what == "logits":
            return "logits"
        ranks: dict[int, What] = {3: "tokens", 4: "maps"}
        return ranks.get(rank, ending.what)

    def _computing(self, value: str) -> onnx.NodeProto | None:
        """The node that computes the numbers of a value; None where it is an input as it is."""
        node = self._givers.get(value)
        for _ in self._givers:  # a damaged graph may lead back to where it began
            if node is None or node.op_type not in _SAME:
                return node
            node = self._givers.get(node.input[0])
        return None

    def _is_computed(self, value: str) -> bool:
        return self._computing(value) is not None

    def _exponentiated(self, division: onnx.NodeProto) -> str:
        """The scores of a softmax that is written out: exp(x) / sum(exp(x))."""
        above, below = (self._givers.get(name) for name in division.input)
        if above is None or below is None:
            return ""
        if above.op_type == "Exp" and below.op_type == "ReduceSum":
            return str(above.input[0]) if below.input[0] in above.output else ""
        return ""

    def _feeding_linear(self, node: onnx.NodeProto) -> str:
        """The value that a linear layer reads, if the node is one or adds the bias of one."""
        inputs: Sequence[str] = node.input
        weights = [name in self._constant for name in inputs]
        if node.op_type == "Add" and sum(weights) == 1:
            behind = self._computing(inputs[weights.index(False)])
            is_product = behind is not None and behind.op_type == "MatMul"
            return self._feeding_linear(behind) if behind is not None and is_product else ""
        is_linear = node.op_type in ("Gemm", "MatMul", "FusedMatMul", "QGemm")
        if is_linear and len(weights) > 1 and weights[1] and not weights[0]:
            return inputs[0]
        if node.op_type == "Conv" and weights[1] and not weights[0]:
            behind = self._computing(inputs[0])
            return inputs[0] if behind is not None and behind.op_type in _POOLING else ""
        return ""


_FLOATING = {getattr(onnx.TensorProto, name) for name in ("FLOAT", "FLOAT16", "BFLOAT16", "DOUBLE")}


def declared(value: onnx.ValueInfoProto) -> Declared:
    """An input or output as a model declares it."""
    tensor = value.type.tensor_type
    names = {number: name for name, number in onnx.TensorProto.DataType.items()}
    kind = names.get(tensor.elem_type, "of no type").lower()
    kind = {"float": "float32", "double": "float64"}.get(kind, kind)
    if not tensor.HasField("shape"):
        return Declared(value.name, kind, None)
    shape = tuple(
        each.dim_value if each.dim_value > 0 else each.dim_param or None
        for each in tensor.shape.dim
    )
    return Declared(value.name, kind, shape)
