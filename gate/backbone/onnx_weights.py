"""Weights that lie beside an ONNX file: read from the hashed folder, and put into the model."""

import math
import re
import sys
from pathlib import Path, PurePosixPath

import onnx

from gate.backbone.artefact import Artefact
from gate.errors import BackboneError

# The checksum is let stand and not used: the digest of the folder covers the same bytes.
_KEYS = {"location", "offset", "length", "checksum"}
_DESCRIBING = {
    *("dims", "data_type", "name", "doc_string", "metadata_props"),
    *("data_location", "external_data"),
}
_BITS = {
    **dict.fromkeys(("INT4", "UINT4", "FLOAT4E2M1"), 4),
    **dict.fromkeys(("BOOL", "INT8", "UINT8"), 8),
    **dict.fromkeys(("FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ"), 8),
    **dict.fromkeys(("FLOAT16", "BFLOAT16", "INT16", "UINT16"), 16),
    **dict.fromkeys(("FLOAT", "INT32", "UINT32"), 32),
    **dict.fromkeys(("DOUBLE", "INT64", "UINT64", "COMPLEX64"), 64),
    "COMPLEX128": 128,
}
_MOST_DIMENSIONS = 64  # numpy has no more
_NUMBER = re.compile(r"[0-9]{1,18}")


def take_in_weights(artefact: Artefact, file: Path, model: onnx.ModelProto) -> None:
    """Put weights that lie beside a model into it, so that no library looks for them by a path.

    Only plain initializers of the main graph may lie elsewhere.

    Args:
        artefact: The folder of model and weights.
        file: The model's file, for messages.
        model: It is changed.

    Raises:
        BackboneError: Weights lie outside the folder, are missing, lie beside a file that is named
            by itself, or are not described by one location, offset and length that fit the file.
    """
    contents: dict[str, bytes] = {}
    for tensor in model.graph.initializer:
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        stated = _stated(file, tensor)
        name = _inside(artefact, file, tensor.name, stated.get("location", ""))
        if name not in contents:
            contents[name] = artefact.read(name)
        content, start = contents[name], _number(file, tensor.name, stated, "offset", 0)
        size = _size(file, tensor)
        length = _number(file, tensor.name, stated, "length", size)
        if length != size or start + size > len(content):
            raise BackboneError(
                f"{file}: weights of {tensor.name!r} take {size} bytes by their shape, and are "
                f"said to be {length} bytes from {start} on of {name!r}, which has {len(content)}; "
                "export it again"
            )
        tensor.ClearField("external_data")
        tensor.ClearField("data_location")
        tensor.raw_data = content[start : start + size]


def _stated(file: Path, tensor: onnx.TensorProto) -> dict[str, str]:
    """What is said of where a tensor lies: each known key once, and no data beside it."""
    keys = [entry.key for entry in tensor.external_data]
    if len(keys) != len(set(keys)) or not _KEYS.issuperset(keys):
        raise BackboneError(
            f"{file}: where weights of {tensor.name!r} lie is said by the keys {keys[:8]!a}; "
            f"expected each of {', '.join(sorted(_KEYS))} at most once; export it again"
        )
    if beside := {field.name for field, _ in tensor.ListFields()} - _DESCRIBING:
        raise BackboneError(
            f"{file}: weights of {tensor.name!r} lie beside the model and in it, too "
            f"({', '.join(sorted(beside))}); export it again"
        )
    return {entry.key: entry.value for entry in tensor.external_data}


def _inside(artefact: Artefact, file: Path, of: str, location: str) -> str:
    """The name of a file of the artefact, which a location in the model stands for."""
    inside, target = PurePosixPath(location), file.parent / location
    there = link = False
    try:
        there, link = target.is_file(), target.is_symlink()
    except OSError:  # a name that no file can have
        there = False
    if inside.is_absolute() or ".." in inside.parts or not location or link:
        raise BackboneError(
            f"{file}: weights of {of!r} lie at {location!r}, outside the model's "
            "folder; put them beside it"
        )
    if not there:
        raise BackboneError(f"{file}: weights of {of!r} are missing at {target}")
    if artefact.path == file:
        raise BackboneError(
            f"{file}: weights lie in files beside it; name the folder {file.parent} as the "
            "backbone, so that its digest covers them"
        )
    name = location.removeprefix("./")
    if name not in artefact.names:
        raise BackboneError(
            f"{file}: weights of {of!r} lie at {location!r}, which names no file of the folder "
            "in the plainest way; export it again"
        )
    return name


def _number(file: Path, of: str, stated: dict[str, str], key: str, default: int) -> int:
    if key not in stated:
        return default
    text = stated[key]
    if not _NUMBER.fullmatch(text):
        raise BackboneError(
            f"{file}: {key} of the weights of {of!r} is {text[:40]!a}, expected a number of bytes; "
            "export it again"
        )
    return int(text)


def require_fitting(file: Path, tensor: onnx.TensorProto) -> None:
    """Refuse a tensor whose bytes do not fit its shape and type: early runtimes abort on some.

    Raises:
        BackboneError: They are too many or too few.
    """
    if not tensor.HasField("raw_data") or _kind(tensor) not in _BITS:
        return
    found, size = len(tensor.raw_data), _size(file, tensor)
    if found != size:
        raise BackboneError(
            f"{file}: weights of {tensor.name!r} have {found} bytes, and {size} by their shape "
            f"{list(tensor.dims)[:8]}; export it again"
        )


def _kind(tensor: onnx.TensorProto) -> str:
    names: dict[int, str] = {number: name for name, number in onnx.TensorProto.DataType.items()}
    return names.get(tensor.data_type, str(tensor.data_type))


def _size(file: Path, tensor: onnx.TensorProto) -> int:
    """Bytes of a tensor by its shape and type."""
    kind, dims = _kind(tensor), tensor.dims
    sound = kind in _BITS and len(dims) <= _MOST_DIMENSIONS and all(each >= 0 for each in dims)
    count: int = math.prod(dims) if sound else -1
    if not 0 <= count <= sys.maxsize:
        raise BackboneError(
            f"{file}: weights of {tensor.name!r} are {kind} of shape {list(dims)[:8]}, "
            "which has no size in bytes; export it with its weights inside"
        )
    return (count * _BITS[kind] + 7) // 8
