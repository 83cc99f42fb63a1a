"""A torch.export archive, copied member by member once each is known to be data.

``torch.export.load`` unpickles some members, evaluates the text of shape expressions and of guards,
and resolves operator names by attribute, so an archive can run code. This copy holds what is on a
list and nothing else: plain weights, a graph of ``aten`` operators, shapes in a small arithmetic.
"""

import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

from gate.errors import BackboneError, failing_as

_COPIED = re.compile(
    r"archive_format|archive_version|byteorder|\.data/(version|serialization_id)|models/model\.json"
    r"|data/weights/(weight_\d+|model_weights_config\.json)"
    r"|data/constants/(tensor_\d+|model_constants_config\.json)"
)
_SAMPLE_INPUTS = "data/sample_inputs/model.pt"  # a pickle, and not needed to run
_OPERATOR = re.compile(
    r"torch\.ops\.aten\.(?!from_file)\w+(\.\w+)?"
    r"|_operator\.(getitem|add|sub|mul|floordiv|mod|neg|eq|ne|lt|le|gt|ge)|torch\.sym_(max|min)"
)
_EXPRESSION = re.compile(
    r"(Symbol|Integer|Rational|Add|Mul|Pow|Max|Min|positive|integer|nonnegative|True|False"
    r"|[su]\d+|\d+|['\s(),=+*/-])*"
)
_WORD = re.compile(r"[\w.:/+ -]*")
_SPECIFICATIONS = ("in_spec", "out_spec")
_CONTAINERS = (None, "builtins.tuple", "builtins.list", "builtins.dict")


def vetted_copy(path: Path, content: bytes) -> io.BytesIO:
    """The content of an archive as ``torch.export.load`` may read it; the path is for messages.

    Raises:
        BackboneError: Not such an archive, or one that holds more than data.
    """
    copy = io.BytesIO()
    unreadable = f"{path}: not a torch.export archive, or truncated"
    do = "a .pt file of torch.save is a pickle and is never loaded: convert it to safetensors"
    with (
        failing_as(BackboneError, unreadable, do),
        zipfile.ZipFile(io.BytesIO(content)) as archive,
        zipfile.ZipFile(copy, "w") as vetted,
    ):
        names = archive.namelist()
        if len(names) != len(set(names)):
            raise BackboneError(f"{path}: a member stands twice in the archive; refused")
        if (size := sum(each.file_size for each in archive.infolist())) > len(content):
            raise BackboneError(
                f"{path}: {len(content)} bytes are said to hold {size}; an archive that is "
                "compressed, or whose members overlap, is refused; write it by "
                "torch.export.save"
            )
        for name in names:
            root, _, member = name.partition("/")
            data = archive.read(name)
            if member == _SAMPLE_INPUTS:
                data = b""
            elif not _COPIED.fullmatch(member):
                raise BackboneError(
                    f"{path}: member {member!r} is not plain weights or a graph (a pickle, or "
                    "compiled code); export with torch.export.save and nothing beside"
                )
            elif member.endswith(".json"):
                data = json.dumps(_vetted(path, json.loads(data))).encode()
            vetted.writestr(f"{root}/{member}", data)
    copy.seek(0)
    return copy


def _vetted(path: Path, node: Any, key: str = "") -> Any:
    if isinstance(node, dict):
        if node.get("use_pickle"):
            raise BackboneError(f"{path}: a tensor is stored as a pickle; refused")
        # text for debugging, from which the loader would resolve names, and code for checks
        dropped: dict[str, Any] = {"metadata": {}, "guards_code": []}
        return {
            _word(path, name): dropped[name] if name in dropped else _vetted(path, inner, name)
            for name, inner in node.items()
        }
    if isinstance(node, list):
        return [_vetted(path, inner, key) for inner in node]
    if isinstance(node, str):
        if key in _SPECIFICATIONS:
            _require_plain_containers(path, json.loads(node))
        elif key == "expr_str":
            if not _EXPRESSION.fullmatch(node):
                raise BackboneError(f"{path}: shape expression {node[:80]!r} is refused")
        elif key == "target" and not _OPERATOR.fullmatch(node):
            raise BackboneError(
                f"{path}: operator {node[:80]!r} is refused; only aten operators run"
            )
        else:
            _word(path, node)
    return node


def _word(path: Path, text: str) -> str:
    if not _WORD.fullmatch(text):
        raise BackboneError(f"{path}: the graph holds the text {text[:80]!r}, which is refused")
    return text


def _require_plain_containers(path: Path, node: Any) -> None:
    if isinstance(node, dict):
        if node.get("type") not in _CONTAINERS:
            raise BackboneError(
                f"{path}: takes or returns {node['type']!r}; only tensors in tuples"
            )
        node = list(node.values())
    if isinstance(node, list):
        for inner in node:
            _require_plain_containers(path, inner)
