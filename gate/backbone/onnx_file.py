"""What an ONNX file may hold: known operators, and weights inside it or beside it."""

from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import onnx

from gate.errors import BackboneError, first_line

# operators that ONNX Runtime brings itself; others would need a library of somebody's
_DOMAINS = {"", "ai.onnx", "ai.onnx.ml", "com.microsoft"}


def model_file(path: Path) -> Path:
    """The ONNX file of a backbone: the path itself, or the only one in its folder.

    Raises:
        BackboneError: The folder has none, or several.
    """
    if not path.is_dir():
        return path
    files = sorted(path.glob("*.onnx"))
    if len(files) != 1:
        raise BackboneError(f"{path}: {len(files)} .onnx files in the folder, expected one")
    return files[0]


def load(file: Path) -> onnx.ModelProto:
    """The model of a file, without weights that lie beside it.

    Raises:
        BackboneError: It cannot be read, or is no ONNX model.
    """
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


def graphs(model: onnx.ModelProto) -> Iterator[tuple[Iterable[Any], Iterable[Any]]]:
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


def require_known_domains(file: Path, model: onnx.ModelProto) -> None:
    """Refuse operators that ONNX Runtime does not bring itself.

    Raises:
        BackboneError: Names the first operator of an unknown domain.
    """
    known = _DOMAINS | {function.domain for function in model.functions}
    for nodes, _ in graphs(model):
        for node in nodes:
            if node.domain not in known:
                raise BackboneError(
                    f"{file}: operator {node.op_type} is of the unknown domain {node.domain!r}; "
                    "export it with standard operators"
                )


def require_weights_inside(path: Path, file: Path, model: onnx.ModelProto) -> bool:
    """Whether weights lie in files beside the model; files outside its folder are refused.

    Raises:
        BackboneError: Weights lie elsewhere, are missing, or lie beside a file named by itself.
    """
    beside = False
    for _, tensors in graphs(model):
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
