"""ONNX: looked through before it runs. The only file that imports onnx and onnxruntime."""

import contextlib
import ctypes
import io
import logging
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from gate.errors import BackboneError, first_line
from gate.measure.head import CosineHead, LinearHead, SourceHead
from gate.plan.plan import BackboneFile
from gate.strict_yaml import nearest

log = logging.getLogger("gate")

# operators that ONNX Runtime brings itself; others would need a library of somebody's
_DOMAINS = {"", "ai.onnx", "ai.onnx.ml", "com.microsoft"}
_TOKENS = {"input_ids", "attention_mask", "token_type_ids"}
_OPSET, _OLDEST = 17, 13  # of heads, and of backbones that one is put behind


class OnnxRuntime:
    """An ONNX file on ONNX Runtime: on the GPU if one is there, else on the CPU.

    Args:
        described: Its file, or the folder of a file whose weights lie beside it; names of a graph
            output, or of any value inside the graph (default the first output), and of the own
            head's logits, if they are wanted.

    Raises:
        BackboneError: Not ONNX, truncated, weights outside its folder, an unknown operator domain,
            an unknown output, inputs that are not its kind's, or refused by ONNX Runtime.
    """

    def __init__(self, described: BackboneFile) -> None:
        path, logits = described.path, described.logits
        self._described = described
        file = _model_file(path)
        model = _load(file)
        _require_known_domains(file, model)
        beside = _require_weights_inside(path, file, model)
        names = [value.name for value in model.graph.output]
        self._outputs = [described.output or names[0], *([logits] if logits else [])]
        inner = {name for node in model.graph.node for name in node.output}
        added = [name for name in self._outputs if name not in names]
        for name in added:
            if name not in inner:
                raise BackboneError(f"{file}: no output {name!r}; {nearest(name, names)}")
            model.graph.output.append(onnx.ValueInfoProto(name=name))
        inputs = {value.name for value in model.graph.input}
        inputs -= {tensor.name for tensor in model.graph.initializer}
        if described.text and not {"input_ids"} <= inputs <= _TOKENS:
            raise BackboneError(
                f"{file}: inputs {sorted(inputs)}, expected input_ids and, if it has them, "
                "attention_mask and token_type_ids, of texts"
            )
        if not described.text and len(inputs) != 1:
            raise BackboneError(
                f"{file}: {len(inputs)} inputs {sorted(inputs)}, expected one: images"
            )
        self._inputs = sorted(inputs)
        # what was looked through is what runs; only weights beside the file need its path
        if beside and added:
            raise BackboneError(
                f"{file}: {added[0]!r} is not an output of the graph, and with weights in files "
                f"beside it none can be added; {nearest(added[0], names)}"
            )
        source = str(file) if beside else model.SerializeToString()
        self._session, provider = _session(file, source)
        self.versions = {"runtime": f"onnxruntime {onnxruntime.__version__} {provider}"}

    def run(
        self, inputs: NDArray[np.float32] | dict[str, NDArray[np.int64]]
    ) -> list[NDArray[np.float32]]:
        """The named outputs for one batch."""
        if isinstance(inputs, dict):
            ids = inputs["input_ids"]
            fed: dict[str, Any] = {"token_type_ids": np.zeros_like(ids), **inputs}
            fed = {name: fed[name] for name in self._inputs}
        else:
            fed = {self._inputs[0]: inputs}
        try:
            given = self._session.run(self._outputs, fed)
        except Exception as fault:  # ONNX Runtime's own exceptions have no common base
            shape = next(iter(fed.values())).shape
            raise BackboneError(
                f"{self._described.path}: ONNX Runtime refused a batch of shape {shape}: "
                f"{first_line(fault)}; check {self._described.hint}"
            ) from fault
        return [np.asarray(output, np.float32) for output in given]


def _model_file(path: Path) -> Path:
    if not path.is_dir():
        return path
    files = sorted(path.glob("*.onnx"))
    if len(files) != 1:
        raise BackboneError(f"{path}: {len(files)} .onnx files in the folder, expected one")
    return files[0]


def _load(file: Path) -> onnx.ModelProto:
    try:
        model = onnx.load_model(file, load_external_data=False)
    except OSError as fault:
        raise BackboneError(f"{file}: cannot be read: {fault.strerror or fault}") from fault
    except Exception as fault:  # protobuf's DecodeError, whose home differs between its releases
        raise BackboneError(
            f"{file}: not an ONNX model, or truncated: {first_line(fault)}"
        ) from fault
    if not model.graph.output or not model.graph.node:
        raise BackboneError(f"{file}: not an ONNX model: it has no graph, or no output")
    return model


def _graphs(model: onnx.ModelProto) -> Iterator[tuple[Iterable[Any], Iterable[Any]]]:
    """Nodes and tensors of the graph, of the graphs inside it, and of the model's functions."""
    waiting: list[Any] = [model.graph, *model.functions]
    while waiting:
        graph = waiting.pop()
        attributes = [attribute for node in graph.node for attribute in node.attribute]
        waiting += [a.g for a in attributes if a.type == onnx.AttributeProto.GRAPH]
        waiting += [g for a in attributes for g in a.graphs]
        tensors = [*getattr(graph, "initializer", ()), *(t for a in attributes for t in a.tensors)]
        tensors += [a.t for a in attributes if a.type == onnx.AttributeProto.TENSOR]
        for sparse in getattr(graph, "sparse_initializer", ()):
            tensors += [sparse.values, sparse.indices]
        yield graph.node, tensors


def _require_known_domains(file: Path, model: onnx.ModelProto) -> None:
    known = _DOMAINS | {function.domain for function in model.functions}
    for nodes, _ in _graphs(model):
        for node in nodes:
            if node.domain not in known:
                raise BackboneError(
                    f"{file}: operator {node.op_type} is of the unknown domain {node.domain!r}; "
                    "export it with standard operators"
                )


def _require_weights_inside(path: Path, file: Path, model: onnx.ModelProto) -> bool:
    """Whether weights lie in files beside the model; refuses files outside its folder."""
    beside = False
    for _, tensors in _graphs(model):
        for tensor in tensors:
            if tensor.data_location != onnx.TensorProto.EXTERNAL:
                continue
            beside = True
            location = next((e.value for e in tensor.external_data if e.key == "location"), "")
            inside = PurePosixPath(location)
            target = file.parent / location
            if inside.is_absolute() or ".." in inside.parts or not location or target.is_symlink():
                raise BackboneError(
                    f"{file}: weights of {tensor.name!r} lie at {location!r}, outside the model's "
                    "folder; put them beside it"
                )
            if not target.is_file():
                raise BackboneError(f"{file}: weights of {tensor.name!r} are missing at {target}")
    if beside and path == file:
        raise BackboneError(
            f"{file}: weights lie in files beside it; name the folder {file.parent} as the "
            "backbone, so that its digest covers them"
        )
    return beside


def _session(file: Path, source: str | bytes) -> tuple[Any, str]:
    providers = ["CPUExecutionProvider"]
    gpu = "CUDAExecutionProvider" in onnxruntime.get_available_providers() and _gpu_is_there()
    said = io.StringIO()
    if gpu:
        with contextlib.redirect_stdout(said):
            onnxruntime.preload_dlls()  # finds the CUDA libraries that torch brings
        providers.insert(0, "CUDAExecutionProvider")
    try:
        session = _opened(source, providers)
    except Exception as fault:  # ONNX Runtime's own exceptions have no common base
        raise BackboneError(f"{file}: ONNX Runtime refused it: {first_line(fault)}") from fault
    provider = session.get_providers()[0]
    if provider == "CUDAExecutionProvider":
        log.info("%s: ONNX Runtime runs on the GPU", file.name)
    elif gpu:
        why = said.getvalue().strip().splitlines()[:1] or ["install torch with CUDA"]
        log.warning(
            "%s: ONNX Runtime could not load CUDA and runs on the CPU: %s", file.name, why[0]
        )
    else:
        log.info("%s: no GPU here; ONNX Runtime runs on the CPU", file.name)
    return session, provider


def _opened(source: str | bytes, providers: list[str]) -> Any:
    onnxruntime.set_default_logger_severity(4)  # a provider that fails to load prints a page
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(source, options, providers=providers)


def _gpu_is_there() -> bool:
    """Asks the driver; importing torch for it would take seconds."""
    for name in ("libcuda.so.1", "nvcuda.dll"):
        try:
            driver = ctypes.CDLL(name)
        except OSError:
            continue
        count = ctypes.c_int(0)
        return (
            driver.cuInit(0) == 0
            and driver.cuDeviceGetCount(ctypes.byref(count)) == 0
            and count.value > 0
        )
    return False


# --- heads as ONNX --------------------------------------------------------------------------------


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

    def tensor(self, name: str, values: NDArray[Any]) -> str:
        """Add a tensor; gives its name."""
        self.tensors.append(onnx.numpy_helper.from_array(values, f"{self.prefix}{name}"))
        return f"{self.prefix}{name}"

    def floats(self, given: str) -> str:
        """Add a cast to float32, which is what Backbone makes of whatever a graph gives."""
        return self.node("Cast", [given], to=onnx.TensorProto.FLOAT)

    def reduced(self, kind: str, given: str, axis: int) -> str:
        """Add a reduction over one axis, which is dropped."""
        by_input = self.opset >= (13 if kind == "ReduceSum" else 18)
        if by_input:
            axes = self.tensor(f"axis of {len(self.nodes)}", np.array([axis]))
            return self.node(kind, [given, axes], keepdims=0)
        return self.node(kind, [given], axes=[axis], keepdims=0)

    def head(
        self, linear: LinearHead, beside: CosineHead | SourceHead | None, features: str, own: str
    ) -> str:
        """Add a head on values of these names; gives the name of its logits ``(N, K)``."""
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
            each = self.node(
                "Gather", [own, self.tensor("members", np.maximum(members, 0))], axis=1
            )
            each = self.node("Add", [each, self.tensor("nothing", nothing)])  # (N, K, G)
            sums = self.reduced("ReduceLogSumExp", each, 2)
            scale = self.tensor("scale", np.array(beside.scale, np.float32))
            logits = self.node("Add", [logits, self.node("Mul", [sums, scale])])
        return logits

    def pooled(self, file: BackboneFile, features: str, rank: int) -> str:
        """Add what Backbone does to maps and token sequences; gives the name of ``(N, D)``."""
        if rank == 2:
            return features
        if file.preprocessing:
            first = 2 if rank == 4 and file.preprocessing.layout == "NCHW" else 1
            for _ in range(rank - 2):
                features = self.reduced("ReduceMean", features, first)
            return features
        if file.text and file.text.pooling == "first":
            first_token = self.tensor("first", np.array(0))
            return self.node("Gather", [features, first_token], axis=1)
        mask = self.floats("attention_mask")
        places = self.tensor("last axis", np.array([2]))
        weighted = self.node("Mul", [features, self.node("Unsqueeze", [mask, places])])
        rows = self.tensor("row", np.array([1]))
        count = self.node("Unsqueeze", [self.reduced("ReduceSum", mask, 1), rows])
        return self.node("Div", [self.reduced("ReduceSum", weighted, 1), count])


def head_model(
    linear: LinearHead, beside: CosineHead | SourceHead | None, metadata: dict[str, str]
) -> bytes:
    """A head as an ONNX file: ``features`` (N, D), and ``own_logits`` (N, S) if it reads these.

    Args:
        linear: D features to K classes.
        beside: What is added to its ``logits`` (N, K).
        metadata: Goes with the file.
    """
    graph, value = _Graph(_OPSET), onnx.helper.make_tensor_value_info
    width, classes = linear.weight.shape
    last = graph.head(linear, beside, "features", "own_logits")
    graph.nodes.append(onnx.helper.make_node("Identity", [last], ["logits"]))
    inputs = [value("features", onnx.TensorProto.FLOAT, ["N", width])]
    if isinstance(beside, SourceHead):
        inputs.append(value("own_logits", onnx.TensorProto.FLOAT, ["N", "S"]))
    made = onnx.helper.make_graph(
        graph.nodes,
        "head",
        inputs,
        [value("logits", onnx.TensorProto.FLOAT, ["N", classes])],
        graph.tensors,
    )
    model = onnx.helper.make_model(
        made, opset_imports=[onnx.helper.make_opsetid("", _OPSET)], producer_name="gate"
    )
    model.ir_version = 8  # read by every ONNX Runtime of the last years
    return _finished(model, metadata)


def with_head(
    described: BackboneFile,
    linear: LinearHead,
    beside: CosineHead | SourceHead | None,
    metadata: dict[str, str],
) -> bytes:
    """A backbone and its head as one ONNX file: the backbone's inputs to ``calibrated_logits``.

    Where tokens are averaged, ``attention_mask`` is an input even if the backbone does without it.
    The output has a longer name where the backbone has a value of that one.

    Raises:
        BackboneError: The backbone cannot be read, its features have no rank that is known, or
            ONNX Runtime refuses both together.
    """
    file = _model_file(described.path)
    model = _load(file)
    if _require_weights_inside(described.path, file, model):
        onnx.load_external_data_for_model(model, str(file.parent))
    standard = (each.version for each in model.opset_import if each.domain in ("", "ai.onnx"))
    opset = max(standard, default=0)
    if opset < _OLDEST:
        raise BackboneError(
            f"{file}: opset {opset}; a head is put behind opset {_OLDEST} or later; export it again"
        )
    features = described.output or model.graph.output[0].name
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
    taken = _names(model)
    graph = _Graph(opset, taken)
    pooled = graph.pooled(described, graph.floats(features), ranks[features])
    own = graph.floats(described.logits or "") if isinstance(beside, SourceHead) else ""
    last = graph.head(linear, beside, pooled, own)
    inputs = {value.name: value for value in model.graph.input}
    reads = {name for node in graph.nodes for name in node.input}
    if "attention_mask" in reads - set(inputs):
        mask = onnx.ValueInfoProto(name="attention_mask", type=inputs["input_ids"].type)
        model.graph.input.append(mask)
    output = "calibrated_logits"
    if output in taken:
        output = f"{graph.prefix}{output}"
    model.graph.node.extend(graph.nodes)
    model.graph.node.append(onnx.helper.make_node("Identity", [last], [output]))
    model.graph.initializer.extend(graph.tensors)
    model.ir_version = max(model.ir_version, 4)  # before, every tensor had to be an input too
    shape = ["N", linear.weight.shape[1]]
    del model.graph.output[:]
    model.graph.output.append(
        onnx.helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, shape)
    )
    try:
        content = _finished(model, metadata)
        _opened(content, ["CPUExecutionProvider"])
    except Exception as fault:  # the checker's and ONNX Runtime's exceptions have no common base
        raise BackboneError(
            f"{file}: with the head behind it, it does not load on the CPU: {first_line(fault)}; "
            "export the backbone again, or leave out --with-backbone and run the head's own file "
            "behind it"
        ) from fault
    return content


def _names(model: onnx.ModelProto) -> set[str]:
    """Names of all values and tensors."""
    names = {value.name for value in model.graph.input}
    for nodes, tensors in _graphs(model):
        names |= {name for node in nodes for name in (*node.input, *node.output)}
        names |= {tensor.name for tensor in tensors}
    return names


def _finished(model: onnx.ModelProto, metadata: dict[str, str]) -> bytes:
    onnx.helper.set_model_props(model, dict(sorted(metadata.items())))
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))
