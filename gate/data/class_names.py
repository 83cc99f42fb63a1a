"""Names of classes: from the plan, from a file of names, or from the data themselves."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from gate import files
from gate.errors import DataError
from gate.plan.split import SplitPlan
from gate.strict_yaml import nearest


@dataclass(frozen=True)
class ClassNames:
    """Names of K classes in order, and which labels mean them, where not their place alone."""

    classes: tuple[str, ...]
    by_label: Mapping[str, str] | None = None

    @property
    def settings(self) -> Any:
        """What of them changes a number."""
        return [self.classes, dict(self.by_label) if self.by_label is not None else None]

    def place(self, label: object) -> int | None:
        """The place of a label's class: by the mapping, by name, or as a number from 0; or None.

        >>> names = ClassNames(("dark", "blond"), {"-1": "dark", "1": "blond"})
        >>> names.place(-1.0), names.place("blond"), names.place(0)
        (0, 1, None)
        """
        if isinstance(label, float) and label.is_integer():
            label = int(label)
        if self.by_label is not None and (name := self.by_label.get(str(label))) is not None:
            return self._places[name]
        if isinstance(label, str):
            return self._places.get(label)
        if self.by_label is None and isinstance(label, int) and 0 <= label < len(self.classes):
            return int(label)
        return None

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.classes)}

    def refusal(self, label: object) -> str:
        """What to say of a label that is none of these."""
        if self.by_label is not None:
            return f"; {nearest(str(label), [*self.by_label])}, as the plan's classes say"
        if isinstance(label, str):
            return f"; {nearest(label, self.classes)}"
        return (
            f", out of range 0 .. {len(self.classes) - 1}; if that is how a class is written, map "
            "labels to names in the plan, such as classes: {1: cat, 2: dog}"
        )


def class_names(
    plan: SplitPlan, stated: tuple[str, ...] | None, values: Sequence[Any]
) -> ClassNames:
    """The classes of a split.

    Args:
        plan: Its ``classes`` go before what the data say.
        stated: What the file says, if it does.
        values: Its labels ``(N,)``, whose names in order are taken where nothing else says.

    Raises:
        DataError: Labels are numbers that nothing names, two classes have one name, or a file of
            names cannot be read.
    """
    found: Any = plan.classes
    if isinstance(found, Path):
        found = _in_file(found)
    if found is None:
        found = stated
    if found is None:
        if not all(isinstance(value, str) for value in values):
            raise DataError(
                f"{plan.path}: labels are numbers and the file does not name its classes, so a "
                "label out of range could not be told; state classes in the plan, in order"
            )
        return ClassNames(tuple(sorted(set(values))))
    names = tuple(found.values() if isinstance(found, Mapping) else found)
    if twice := [name for name in names if names.count(name) > 1]:
        raise DataError(
            f"{plan.path}: two classes are called {twice[0]!r}; give each a name of its own"
        )
    return ClassNames(names, found if isinstance(found, Mapping) else None)


def _in_file(path: Path) -> tuple[str, ...] | dict[str, str]:
    """Names as a file has them: a line each, a JSON list or mapping, or a config.json."""
    try:
        content = files.read(path, DataError).decode("utf-8-sig")
        if path.suffix != ".json":
            return tuple(line.strip() for line in content.strip().splitlines())
        found = json.loads(content)
        if isinstance(found, dict):
            found = found.get("id2label") or found
            if all(type(value) is int for value in found.values()):  # class_to_idx
                found = {str(value): name for name, value in found.items()}
            if all(label.isdecimal() for label in found):
                found = {label: found[label] for label in sorted(found, key=int)}
        names = list(found.values()) if isinstance(found, dict) else found
        if not names or not all(isinstance(name, str) and name for name in names):
            raise ValueError("a name is no text")
    except (ValueError, AttributeError, TypeError) as fault:
        raise DataError(
            f"{path}: gives no names of classes: {fault}; write a name a line, a JSON list of "
            'names, or a mapping such as {"0": "cat"}'
        ) from fault
    return found if isinstance(found, dict) else tuple(found)
