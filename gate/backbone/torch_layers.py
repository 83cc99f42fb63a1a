"""The steps of a torch.export program, with its weights, as `gate.lineage` reads them."""

from collections.abc import Collection
from typing import Any

import numpy as np
import torch
from torch.fx import GraphModule, Interpreter, Node

from gate.arrays import Array, Float32
from gate.backbone.pooling import channel_means
from gate.errors import BackboneError, failing_as
from gate.lineage.network import Kind, Layer, Site, Step, layers_of
from gate.plan.backbone import BackbonePlan

_CHANNELWISE = {
    *("relu", "relu6", "hardtanh", "clamp", "clamp_min", "clamp_max", "leaky_relu", "prelu"),
    *("sigmoid", "hardsigmoid", "hardswish", "silu", "gelu", "mish", "tanh", "elu", "selu"),
    *("celu", "softplus", "softsign", "erf", "exp", "sqrt", "abs", "neg", "pow", "add", "sub"),
    *("mul", "div", "dropout", "feature_dropout", "alpha_dropout", "contiguous", "clone", "detach"),
    *("alias", "to", "_to_copy", "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d"),
    *("adaptive_max_pool2d",),
}
_OVER_PLACES = ([2, 3], [-2, -1])  # axes of maps
_TOLERANCE = 1e-4  # of the standard deviation of features, between a module and its graph


class TorchGraph:
    """The graph of a module: its layers, and what passes through them.

    Args:
        plan: Its file, for messages, and the submodule that gives the features.
        graph: As ``ExportedProgram.module()`` gives it.
    """

    def __init__(self, plan: BackbonePlan, graph: GraphModule) -> None:
        self._plan, self._graph = plan, graph
        self.features = self._given_by(getattr(plan, "layer", None))
        self._logits = self._given_by(plan.logits) if plan.logits else None

    @property
    def layers(self) -> list[Layer]:
        """Those that the features are computed by."""
        inputs = [node.name for node in self._graph.graph.nodes if node.op == "placeholder"]
        with failing_as(BackboneError, f"{self._plan.path}: its layers cannot be read"):
            return layers_of(steps_of(self._graph), inputs, self.features)

    def run(self, images: torch.Tensor, sites: Collection[Site]) -> list[Float32]:
        """Features and, if the plan names them, logits; then each site's channels ``(N, C)``."""
        wholes = [self.features, *([self._logits] if self._logits else [])]
        shape = tuple(images.shape)
        refused = f"{self._plan.path}: its graph refused a batch of shape {shape}"
        with failing_as(BackboneError, refused, f"check {self._plan.hint}"), torch.no_grad():
            noting = _Noting(self._graph, wholes, sites)
            noting.run(images)
            whole = [noting.wholes[name] for name in wholes]
            return [*whole, *(noting.means[site] for site in sites)]

    def require_agreement(self, images: torch.Tensor, by_module: Float32) -> None:
        """Compare features with those that the module itself gives.

        Raises:
            BackboneError: They differ.
        """
        features = self.run(images, ())[0]
        if not np.isfinite(by_module).all():
            return  # refused wherever they are used
        spread = _TOLERANCE * float(by_module.std())
        if features.shape != by_module.shape or not np.abs(features - by_module).max() <= spread:
            raise BackboneError(
                f"{self._plan.path}: its graph as torch.export sees it gives other features than "
                "the module; name a layer whose last step gives its output, or export it to ONNX"
            )

    def _given_by(self, layer: str | None) -> str:
        """The node that gives the output of a submodule, or of the whole."""
        if layer is None:
            (output,) = (node for node in self._graph.graph.nodes if node.op == "output")
            value: Any = output.args[0]
            while isinstance(value, (tuple, list)):
                value = value[0]
            return str(value.name)
        inside = [
            node.name
            for node in self._graph.graph.nodes
            if any(path == layer for path, _ in node.meta.get("nn_module_stack", {}).values())
        ]
        if not inside:
            raise BackboneError(
                f"{self._plan.path}: torch.export sees no step of layer {layer!r}; name another"
            )
        return str(inside[-1])


class _Noting(Interpreter):
    """Runs a graph, and notes values on its way, before anything may write into them."""

    def __init__(
        self, graph: GraphModule, wholes: Collection[str], sites: Collection[Site]
    ) -> None:
        super().__init__(graph)
        self._sites = sites
        self._wholes = set(wholes)
        self.wholes: dict[str, Float32] = {}
        self.means: dict[Site, Float32] = {}

    def run_node(self, n: Node) -> Any:
        value = super().run_node(n)
        if n.name in self._wholes:
            self.wholes[n.name] = value.float().cpu().numpy().copy()
        for site in self._sites:
            if site.value == n.name:
                self.means[site] = channel_means(value.float().cpu().numpy(), site.axis)
        return value


def graph_of(plan: BackbonePlan, module: torch.nn.Module, images: torch.Tensor) -> GraphModule:
    """The graph of a module, for any number of images.

    Raises:
        BackboneError: torch.export cannot follow it.
    """
    what = f"{plan.path}: torch.export cannot follow its architecture"
    do = "write its forward without branches that depend on values, or export it to ONNX"
    with failing_as(BackboneError, what, do):
        shapes = ({0: torch.export.Dim.DYNAMIC},)
        program = torch.export.export(module, (images,), dynamic_shapes=shapes)
        graph: GraphModule = program.module()
        return graph


def steps_of(graph: GraphModule) -> list[Step]:
    """What a graph computes, in its order."""
    return [
        _step(graph, node)
        for node in graph.graph.nodes
        if node.op in ("call_function", "call_module")
    ]


def _step(graph: GraphModule, node: Node) -> Step:
    reads = tuple(each.name for each in node.all_input_nodes if each.op != "get_attr")
    bare = Step("other", node.name, reads, node.name)
    words = str(node.target).split(".")
    if node.op != "call_function" or words[0] != "aten" or not reads:
        return bare
    operator = words[1].removesuffix("_")
    arguments = dict(enumerate(node.args))
    match operator:
        case "conv2d" | "linear":
            return _linear(graph, node, bare)
        case "batch_norm":
            return _normalisation(graph, node, bare)
        case "sym_size":
            return bare._replace(kind="shape")
        case "mean" | "amax" if _dimensions(arguments.get(1)) in _OVER_PLACES:
            return bare._replace(kind="channelwise" if arguments.get(2) else "flattening")
        case "flatten" if arguments.get(1) == 1 and arguments.get(2, -1) == -1:
            return bare._replace(kind="flattening")
        case "view" | "reshape" if len(arguments[1]) == 2:  # type: ignore[arg-type]  # sizes
            return bare._replace(kind="flattening")
        case "pad" | "constant_pad_nd" if len(arguments[1]) <= 4:  # type: ignore[arg-type]  # sizes
            return bare._replace(kind="channelwise")
        case _ if operator in _CHANNELWISE:
            return bare._replace(kind="channelwise")
    return bare


def _dimensions(axes: Any) -> list[int] | None:
    return sorted(axes) if isinstance(axes, (list, tuple)) else None


def _linear(graph: GraphModule, node: Node, bare: Step) -> Step:
    weight, held_as = _held(graph, node.args[1]), str(getattr(node.args[1], "target", ""))
    arguments = dict(enumerate(node.args))
    if weight is None or len(bare.reads) != 1 or weight.ndim not in (2, 4):
        return bare
    kind: Kind = "convolution" if weight.ndim == 4 else "linear"
    groups = arguments.get(6, node.kwargs.get("groups", 1))
    if kind == "convolution" and groups != 1:
        is_one_each = groups == len(weight) and weight.shape[1] == 1
        return bare._replace(kind="channelwise" if is_one_each else "other")
    name = held_as.removesuffix(".weight") or node.name
    return bare._replace(kind=kind, name=name, weight=weight, parameter=held_as)


def _normalisation(graph: GraphModule, node: Node, bare: Step) -> Step:
    arguments = dict(enumerate(node.args))
    scale, mean, variance = (_held(graph, arguments.get(place)) for place in (1, 3, 4))
    if arguments.get(5) or mean is None or variance is None:  # in training, it mixes images
        return bare
    factor = 1 / np.sqrt(variance.astype(np.float64) + float(arguments.get(7, 1e-5)))  # type: ignore[arg-type]  # a number
    return bare._replace(kind="normalisation", scale=factor if scale is None else factor * scale)


def _held(graph: GraphModule, node: Any) -> Array | None:
    """The numbers of a weight or a buffer; None where something computes them."""
    if not isinstance(node, Node) or node.op != "get_attr":
        return None
    value: Any = graph
    for name in str(node.target).split("."):
        value = getattr(value, name)
    return np.asarray(value.detach().double().cpu().numpy())
