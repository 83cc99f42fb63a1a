"""What an ONNX file may hold: known operators, and nothing that lies outside its digest."""

from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.unknown_fields import UnknownFieldSet

from gate.backbone.artefact import Artefact
from gate.backbone.onnx_weights import require_fitting, take_in_weights
from gate.errors import BackboneError, failing_as

# operators that ONNX Runtime brings itself; others would need a library of somebody's
_DOMAINS = {"", "ai.onnx", "ai.onnx.ml", "com.microsoft"}
_OF_FILES = {"EPContext"}  # operators that read a file which an attribute of theirs names
# ONNX Runtime writes out functions wherever they are called: 30,000 nodes take it 4 s, 60,000 10 s
_MOST_NODES, _DEEPEST = 50_000, 32
_ORT_FORMAT = b"ORTM"  # at its place, ONNX Runtime reads bytes as its own format, and not as ONNX


def read_model(artefact: Artefact) -> onnx.ModelProto:
    """The model of an artefact with all its weights in it: what it needs is what was hashed.

    Raises:
        BackboneError: Not one ONNX model, an operator of an unknown domain, functions that call
            one another without end, or weights that lie outside the artefact.
    """
    file = model_file(artefact)
    model = _parsed(file, artefact.read(file.relative_to(artefact.path).as_posix()))
    _require_known_operators(file, model)
    _require_few_calls(file, model)
    take_in_weights(artefact, file, model)
    _require_nothing_outside(file, model)
    return model


def messages(whole: Any) -> Iterator[Any]:
    """A protobuf message and every message in it, wherever its descriptor says one may stand."""
    waiting = [whole]
    while waiting:
        message = waiting.pop()
        yield message
        for name in _fields(message.DESCRIPTOR)[0]:
            value = getattr(message, name)
            if not hasattr(value, "DESCRIPTOR"):  # repeated
                waiting += value
            elif message.HasField(name):
                waiting.append(value)


@cache
def _fields(descriptor: Any) -> tuple[list[str], list[str]]:
    """Names of the fields of a message that hold messages, and of those that hold text."""
    fields = descriptor.fields
    messages = [field.name for field in fields if field.message_type]
    return messages, [field.name for field in fields if field.type == field.TYPE_STRING]


def nodes_in(whole: Any) -> Iterator[onnx.NodeProto]:
    """The nodes of a model, a graph or a function, those of the graphs inside it too."""
    return (each for each in messages(whole) if isinstance(each, onnx.NodeProto))


def model_file(artefact: Artefact) -> Path:
    """The ONNX file of a backbone: the artefact itself, or the only one in its folder.

    Raises:
        BackboneError: The folder has none, or several.
    """
    if artefact.names == ["."]:
        return artefact.path
    names = [name for name in artefact.names if name.endswith(".onnx") and "/" not in name]
    if len(names) != 1:
        raise BackboneError(
            f"{artefact.path}: {len(names)} .onnx files in the folder, expected one"
        )
    return artefact.path / names[0]


def _parsed(file: Path, content: bytes) -> onnx.ModelProto:
    # protobuf raises a DecodeError, whose home differs between its releases
    with failing_as(BackboneError, f"{file}: not an ONNX model, or truncated"):
        model = onnx.load_model_from_string(content)
    if not model.graph.output or not model.graph.node:
        raise BackboneError(f"{file}: not an ONNX model: it has no graph, or no output")
    if content[4:8] == _ORT_FORMAT:
        raise BackboneError(
            f"{file}: begins like a model in ONNX Runtime's own format, as which a runtime may "
            "read it; export it again"
        )
    for message in messages(model):
        if len(UnknownFieldSet(message)):  # they might name files
            raise BackboneError(
                f"{file}: holds fields that onnx {onnx.__version__} does not know; install a later "
                "onnx, or export it for an earlier one"
            )
        for name in _fields(message.DESCRIPTOR)[1]:
            text = getattr(message, name)  # bytes where it is no UTF-8
            if not isinstance(text, str) and not all(isinstance(each, str) for each in text):
                raise BackboneError(f"{file}: {name} of a {message.DESCRIPTOR.name} is no text")
    return model


def _require_known_operators(file: Path, model: onnx.ModelProto) -> None:
    """Refuse operators that ONNX Runtime does not bring itself, and those that read files."""
    functions = {(function.domain, function.name) for function in model.functions}
    for node in nodes_in(model):
        if node.domain not in _DOMAINS and (node.domain, node.op_type) not in functions:
            raise BackboneError(
                f"{file}: operator {node.op_type} is of the unknown domain {node.domain!r}; "
                "export it with standard operators"
            )
        if node.op_type in _OF_FILES:
            raise BackboneError(
                f"{file}: operator {node.op_type} may read a file that it names, which the digest "
                "does not cover; export it with standard operators"
            )


def _require_few_calls(file: Path, model: onnx.ModelProto) -> None:
    """Refuse functions that call themselves, or make too many nodes when they are written out."""
    bodies: dict[tuple[str, str], list[onnx.NodeProto]] = {}
    for function in model.functions:
        bodies.setdefault((function.domain, function.name), []).extend(nodes_in(function))
    known: dict[tuple[str, str], tuple[int, int]] = {}

    def written_out(nodes: Iterable[onnx.NodeProto], above: int) -> tuple[int, int]:
        """How many nodes calls make, and how deep they are."""
        count = depth = 0
        for node in nodes:
            called = node.domain, node.op_type
            if called not in bodies:
                continue
            if called not in known and above < _DEEPEST:
                inner, deeper = written_out(bodies[called], above + 1)
                known[called] = inner + len(bodies[called]), deeper + 1
            inner, deeper = known.get(called, (0, _DEEPEST + 1))
            count, depth = count + inner, max(depth, deeper)
            if count > _MOST_NODES or depth > _DEEPEST:
                raise BackboneError(
                    f"{file}: function {node.op_type} calls itself, or others {_DEEPEST} deep, or "
                    f"makes more than {_MOST_NODES} nodes; export it without functions"
                )
        return count, depth

    for roots in (nodes_in(model.graph), *bodies.values()):
        written_out(roots, 0)


def _require_nothing_outside(file: Path, model: onnx.ModelProto) -> None:
    """Refuse tensors that still name a file: only plain initializers of the graph may do so."""
    for tensor in messages(model):
        if not isinstance(tensor, onnx.TensorProto):
            continue
        if tensor.external_data or tensor.data_location:
            raise BackboneError(
                f"{file}: tensor {tensor.name!r} names a file and is no plain initializer of the "
                "graph, so its weights would lie outside the digest; export it with its weights "
                "inside, or as initializers"
            )
        require_fitting(file, tensor)
