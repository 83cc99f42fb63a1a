"""Dictionaries and lists that refuse to be changed, for values that are frozen all the way down.

They compare, and are written as JSON, as what they are made of. Refusing stops mistakes: whoever
calls ``dict.__setitem__`` itself gets past it, as past any frozen model.
"""

from collections.abc import Mapping
from typing import Any, NoReturn, TypeVar

Key = TypeVar("Key")
Item = TypeVar("Item")


def _refuse(self: object, *_: Any, **__: Any) -> NoReturn:
    raise TypeError(f"{type(self).__name__} is part of a frozen value; make a new value instead")


class FrozenDict(dict[Key, Item]):
    """A dictionary that cannot be changed.

    >>> labels = FrozenDict(task="digits")
    >>> labels == {"task": "digits"}
    True
    >>> labels["task"] = "letters"
    Traceback (most recent call last):
    TypeError: FrozenDict is part of a frozen value; make a new value instead
    """

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __hash__(self) -> int:  # type: ignore[override]  # a plain one has none, since it changes
        return hash(frozenset(self.items()))

    def __reduce__(self) -> tuple[type, tuple[dict[Key, Item]]]:
        # pickle and copy would otherwise fill an empty one, key by key
        return type(self), (dict(self),)


class FrozenList(list[Item]):
    """A list that cannot be changed."""

    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse
    append = clear = extend = insert = pop = remove = reverse = sort = _refuse

    def __hash__(self) -> int:  # type: ignore[override]  # a plain one has none, since it changes
        return hash(tuple(self))

    def __reduce__(self) -> tuple[type, tuple[list[Item]]]:
        return type(self), (list(self),)


def frozen(content: Any) -> Any:
    """What JSON holds (dictionaries, lists, text, numbers), unchangeable to its innermost part."""
    if isinstance(content, Mapping):
        return FrozenDict({name: frozen(item) for name, item in content.items()})
    if isinstance(content, list):
        return FrozenList(map(frozen, content))
    return content
