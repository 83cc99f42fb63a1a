"""YAML files into frozen models: unknown, duplicate and mistyped keys are refused by name."""

import difflib
import types
import typing
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from gate.errors import GateError

Model = TypeVar("Model", bound=BaseModel)


class _Loader(yaml.SafeLoader):
    """Safe YAML that refuses a key given twice; PyYAML would keep the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                raise yaml.MarkedYAMLError(
                    problem="merge keys (<<) are refused; write the keys out",
                    problem_mark=key_node.start_mark,
                )
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise yaml.MarkedYAMLError(
                    problem="a list or mapping is no key", problem_mark=key_node.start_mark
                )
            if key in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"key {key!r} stands twice", problem_mark=key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


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
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506  # it is a SafeLoader
    except FileNotFoundError:
        raise error(f"{path}: no such file; check the path") from None
    except (OSError, UnicodeDecodeError) as fault:
        raise error(f"{path}: cannot be read: {fault}") from fault
    except yaml.MarkedYAMLError as fault:
        mark = fault.problem_mark
        place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise error(f"{path}{place}: not valid YAML: {fault.problem}") from fault
    except (yaml.YAMLError, ValueError, RecursionError) as fault:  # such as a day of no calendar
        raise error(f"{path}: not valid YAML: {fault}") from fault
    if not isinstance(content, dict):
        raise error(
            f"{path}: expected keys such as {', '.join(list(model.model_fields)[:3])}, found "
            f"{'nothing' if content is None else type(content).__name__}"
        )
    try:
        return model.model_validate(content)
    except ValidationError as fault:
        raise error("\n".join(explain(fault, path, model))) from fault


def explain(fault: ValidationError, path: Path, model: type[BaseModel]) -> list[str]:
    """One line for each fault: file, place, what was found, and the nearest known key."""
    lines = []
    faults = fault.errors()
    for item in faults:
        if any(_inside(other["loc"], item["loc"]) for other in faults):
            continue  # a list counts as too short when its items are faulty; the items tell why
        place = ".".join(str(part) for part in item["loc"])
        says = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            unknown = str(item["loc"][-1])
            known = _keys_at(model, item["loc"][:-1])
            says = f"unknown key; {nearest(unknown, known)}"
        elif item["type"] != "value_error" and not isinstance(item["input"], dict | list):
            says += f" (found {item['input']!r})"
        lines.append(f"{path}: {place}: {says}" if place else f"{path}: {says}")
    return lines


def _inside(inner: tuple[int | str, ...], outer: tuple[int | str, ...]) -> bool:
    return len(inner) > len(outer) and inner[: len(outer)] == outer


def nearest(name: str, known: Iterable[str]) -> str:
    """What to say of an unknown name.

    >>> nearest("at_mots", ["at_most", "at_least"])
    "did you mean 'at_most'?"
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names) or 'none'}"


def _keys_at(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """Names of the fields that the model knows at a place inside a document."""
    kinds: list[Any] = [model]
    for part in location:
        kinds = [inner for kind in kinds for inner in _step(kind, part)]
    names: list[str] = []
    for kind in kinds:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            names += [field.alias or name for name, field in kind.model_fields.items()]
    return names


def _step(kind: Any, part: int | str) -> list[Any]:
    """The models that may stand one step further down."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        fields = {field.alias or name: field for name, field in kind.model_fields.items()}
        if part in fields:
            return _flat(fields[str(part)].annotation)
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
