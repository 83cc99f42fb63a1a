"""YAML files into frozen models: unknown, duplicate and mistyped keys are refused by name."""

import difflib
import re
import types
import typing
from collections.abc import Hashable, Iterable, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from gate import files
from gate.errors import GateError

Model = TypeVar("Model", bound=BaseModel)
_HALF = re.compile("[\ud800-\udfff]")
_TOLD = ("value_error", "json_invalid")  # these say what was found; of JSON it is the whole file
_LONGEST = 4 << 20  # bytes; the names of ImageNet-21k's classes take half a MiB
# PyYAML reads 50,000 values a second, and a tenth of it where Python's stack is so deep that each
# call asks for more; a plan has seven levels, and of ImageNet-21k 21,841 names a split
_MOST_VALUES, _DEEPEST = 100_000, 16
_MOST_FAULTS = 20  # that a message tells one by one


class _Loader(yaml.SafeLoader):
    """Safe YAML without its traps: what a reader takes for one thing is not read as another."""

    values = depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]  # PyYAML's own
        self.values += 1
        if self.values > _MOST_VALUES:
            raise _fault(event, f"more than {_MOST_VALUES} values and keys; take some out")
        if self.depth > _DEEPEST:
            raise _fault(event, f"nested more than {_DEEPEST} deep; write it flatter")
        if isinstance(event, yaml.AliasEvent):
            # a few aliases of aliases are a gigabyte once written out
            raise _fault(event, "aliases (*) are refused; write the value out")
        if event.tag is not None:  # !!binary aGk= would be read as hi
            raise _fault(event, "tags (!) are refused; write the value alone")
        if isinstance(event, yaml.ScalarEvent) and _HALF.search(event.value):
            # no file can hold one: it would be read here and trip whoever writes it
            says = "half a character (\\ud800 .. \\udfff) is refused; write it whole"
            raise _fault(event, f"{event.value!a}: {says}")
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                raise _fault(key_node, "merge keys (<<) are refused; write the keys out")
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key_node, yaml.ScalarNode):
                raise _fault(key_node, "a list or mapping is no key")
            if type(key) is int:  # labels of classes; what was refused above is written otherwise
                key_node.tag = "tag:yaml.org,2002:str"
                key = key_node.value
            if not isinstance(key, str):
                reads = f"YAML reads the key {key_node.value} as {_KIND[key_node.tag]}"
                raise _fault(key_node, f"{reads}; write '{key_node.value}' in quotes")
            if key in seen:  # PyYAML would keep the last one
                raise _fault(key_node, f"key {key!r} stands twice")
            seen.add(key)
        return super().construct_mapping(node, deep)

    def construct_number(self, node: yaml.ScalarNode) -> int | float:
        """A number; 1:30 (to YAML 1.1: 90), 010 (8), 0x10 and 1_000 are refused."""
        digits = node.value.lstrip("+-").lower()
        octal = digits.isdigit() and len(digits) > 1 and digits[0] == "0"
        if (octal or set(digits) - set("0123456789.e+-")) and digits not in (".inf", ".nan"):
            raise _fault(
                node,
                f"{node.value} is read as another number than it looks like; "
                "write it in plain decimal digits, or text in quotes",
            )
        if node.tag == "tag:yaml.org,2002:int":
            return self.construct_yaml_int(node)
        return self.construct_yaml_float(node)


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_number)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_number)

_KIND = {
    "tag:yaml.org,2002:bool": "a boolean",
    "tag:yaml.org,2002:int": "a number",
    "tag:yaml.org,2002:float": "a number",
    "tag:yaml.org,2002:null": "nothing",
    "tag:yaml.org,2002:timestamp": "a date",
}


def _fault(at: Any, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=at.start_mark)


class Place(NamedTuple):
    """A line of a file, the first of which is 1."""

    file: Path
    line: int


class Document(Generic[Model]):
    """What a file says, and where in the file it says so."""

    def __init__(self, path: Path, value: Model, node: yaml.Node) -> None:
        self.path, self.value, self._node = path, value, node

    def place(self, *location: int | str) -> str:
        """``file:line:column`` of a value, such as ``place("rules", 0)``."""
        return f"{self.path}{_mark(self._node, location)}"

    def line(self, *location: int | str) -> Place:
        """The line on which a value begins, for those who draw beside it."""
        return Place(self.path, _find(self._node, location)[0].start_mark.line + 1)


def load(path: Path, model: type[Model], error: type[GateError]) -> Model:
    """Read one YAML file into one model.

    Args:
        path: The file.
        model: What it must be.
        error: What to raise when it is not.

    Raises:
        GateError: Of type ``error``: the file is missing, is not YAML, or does not fit the model;
            one line a fault, with its place and, for an unknown key, the nearest known one.
    """
    return read(path, model, error).value


def read(path: Path, model: type[Model], error: type[GateError]) -> Document[Model]:
    """Read as :func:`load` does, and keep the places.

    Raises:
        GateError: As for :func:`load`.
    """
    try:
        if not path.exists():
            raise error(f"{path}: no such file; check the path")
        loader = _Loader(files.read(path, error, _LONGEST).decode())
        node = loader.get_single_node()
        content = loader.construct_document(node) if node else None
    except UnicodeDecodeError as fault:
        raise error(f"{path}: cannot be read: {fault}") from fault
    except OSError as fault:  # a name of 5,000 characters
        raise error(f"{path}: cannot be read: {fault.strerror or fault}; check the path") from fault
    except yaml.MarkedYAMLError as fault:
        mark = fault.problem_mark
        place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise error(f"{path}{place}: not valid YAML: {fault.problem}") from fault
    except (yaml.YAMLError, ValueError, RecursionError) as fault:  # such as a day of no calendar
        raise error(f"{path}: not valid YAML: {fault}") from fault
    if node is None or not isinstance(content, dict):
        raise error(
            f"{path}: expected keys such as {', '.join(map(str, list(_fields(model))[:3]))}, found "
            f"{'nothing' if content is None else type(content).__name__}"
        )
    try:
        return Document(path, model.model_validate(content), node)
    except ValidationError as fault:
        raise error("\n".join(explain(fault, path, model, node))) from fault


def dump(content: object) -> str:
    """YAML text that :func:`load` reads back."""
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)


def _mark(node: yaml.Node, location: Sequence[int | str], *, of_key: bool = False) -> str:
    found, key = _find(node, location)
    mark = (key if of_key and key else found).start_mark
    return f":{mark.line + 1}:{mark.column + 1}"


def _find(node: yaml.Node, location: Sequence[int | str]) -> tuple[yaml.Node, yaml.Node | None]:
    """The node at a place and its key; where the place is not in the file, what is around it."""
    key = None
    for part in location:
        if isinstance(node, yaml.MappingNode):
            pairs = {name.value: (name, value) for name, value in node.value}
            if part in pairs:
                key, node = pairs[str(part)]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            # of a list that is too short, what is missing has no place
            key, node = None, node.value[part] if part < len(node.value) else node
    return node, key


def _trap(node: yaml.Node, kind: str) -> str:
    """What to say where YAML reads a bare word as something else than its writer meant."""
    if not isinstance(node, yaml.ScalarNode) or node.style:
        return ""
    if kind == "string_type" and node.tag in _KIND:
        return f"; YAML reads {node.value} as {_KIND[node.tag]}: write '{node.value}' in quotes"
    if kind in ("float_type", "int_type") and node.tag == "tag:yaml.org,2002:str":
        try:
            number = format(Decimal(node.value), "f")
        except InvalidOperation:
            return ""
        exponent = node.value.replace("e", ".0e") if "." not in node.value else ""
        return f"; YAML reads {node.value} as text: write {number}" + (
            f" or {exponent}" if "e-" in exponent else ""
        )
    return ""


def explain(
    fault: ValidationError, path: Path, model: type[BaseModel], node: yaml.Node | None = None
) -> list[str]:
    """One line for each fault: file, place, what was found, and the nearest known key.

    Given the document's node, the place has a line and a column. Many faults are counted, and the
    first of them told.
    """
    lines = []
    faults = fault.errors()
    # a list counts as too short when its items are faulty; the items tell why
    around = {item["loc"][:length] for item in faults for length in range(len(item["loc"]))}
    faults = [item for item in faults if item["loc"] not in around]
    for item in faults[:_MOST_FAULTS]:
        place = ".".join(map(str, item["loc"]))
        says = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            *above, key = item["loc"]
            says = f"unknown key; {nearest(str(key), _keys_at(model, above))}"
        elif item["type"] not in _TOLD and not isinstance(item["input"], dict | list):
            says += f" (found {item['input']!r})"
        file = str(path)
        if node:
            file += _mark(node, item["loc"], of_key=item["type"] == "extra_forbidden")
            says += _trap(_find(node, item["loc"])[0], item["type"])
        lines.append(f"{file}: {place}: {says}" if place else f"{file}: {says}")
    if len(faults) > _MOST_FAULTS:
        lines.append(f"{path}: and {len(faults) - _MOST_FAULTS} more like these; mend them first")
    return lines


def nearest(name: str, known: Iterable[str]) -> str:
    """What to say of an unknown name.

    >>> nearest("at_mots", ["at_most", "at_least"])
    "did you mean 'at_most'?"
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names) or 'none'}"


def _keys_at(model: type[BaseModel], location: Sequence[int | str]) -> list[str]:
    """Names of the fields that the model knows at a place inside a document."""
    kinds: list[Any] = [model]
    for part in location:
        kinds = [inner for kind in kinds for inner in _step(kind, part)]
    return [str(name) for kind in kinds for name in _fields(kind)]


def _fields(kind: Any) -> dict[int | str, Any]:
    """The types of a model's fields, by their names in a document; nothing else has fields."""
    if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
        return {}
    # a model whose fields are those of one of several forms is read as any of them, these first
    known = {name: f for each in kind.__subclasses__() for name, f in each.model_fields.items()}
    fields = {name: f for name, f in known.items() if name not in kind.model_fields}
    fields |= kind.model_fields
    return {field.alias or name: field.annotation for name, field in fields.items()}


def _step(kind: Any, part: int | str) -> list[Any]:
    """The models that may stand one step further down."""
    if fields := _fields(kind):
        if part in fields:
            return _flat(fields[part])
        # a union's branch is named in the location, and is no key of the document
        return [kind] if part == kind.__name__ else []
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is dict:
        return _flat(arguments[1])
    if origin in (tuple, list):
        return _flat(arguments[0])
    return []


def _flat(annotation: Any) -> list[Any]:
    """The members of a union, or the type itself, Annotated peeled off."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _flat(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return [inner for member in typing.get_args(annotation) for inner in _flat(member)]
    return [annotation]
