"""The input that a file declares, held against the plan: layout, sides, channels, type, batch."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gate.arrays import Array
from gate.errors import BackboneError
from gate.plan.backbone import BackbonePlan, Preprocessing

_FLOATS = ("float32", "float16", "bfloat16", "float64")
_BYTES = ("uint8", "uint16", "uint32", "uint64", "int16", "int32", "int64")  # that hold 0 .. 255
_RANK = 4


class Declared(NamedTuple):
    """One input as a file declares it; a dimension that is no number may be any.

    A shape that is None is not declared at all.
    """

    name: str
    type: str
    shape: tuple[int | str | None, ...] | None

    @property
    def batch(self) -> int | None:
        """Examples that it takes at once, where it takes no other number."""
        first = self.shape[0] if self.shape else None
        return first if isinstance(first, int) else None

    @property
    def is_of_integers(self) -> bool:
        """Whether it takes pixels as they are, 0 .. 255."""
        return self.type in _BYTES

    @property
    def says(self) -> str:
        """Its name, type and shape, for messages."""
        shape = "any shape" if self.shape is None else _written(self.shape)
        return f"{self.name!r} {self.type} {shape}"


class Found(NamedTuple):
    """What an opened file says.

    Args:
        settings: Values of keys that the plan leaves open; see `BackbonePlan.settled`.
        remarks: What a reader of its numbers must know, as whole sentences.
    """

    settings: Mapping[str, Any]
    remarks: tuple[str, ...] = ()


def settings_of_images(plan: BackbonePlan, wanted: Preprocessing, declared: Declared) -> Found:
    """Layout and scale, where the file says more than the plan.

    Args:
        plan: For messages.
        wanted: Its preprocessing.
        declared: The only input.

    Raises:
        BackboneError: Both contradict each other; says what to write.
    """
    layout = _layout(plan, wanted, declared)
    if declared.type in _FLOATS:
        return Found({"preprocessing": {"layout": layout}})
    if not declared.is_of_integers:
        raise BackboneError(
            f"{plan.path}: takes {declared.says}, and pixels of 0 .. 255 go into floating point "
            "numbers or uint8; export it with such an input"
        )
    if wanted.rescale not in (None, 1):
        raise BackboneError(
            f"{plan.path}: takes {declared.says}, whole numbers, so pixels go in as 0 .. 255; the "
            f"plan says rescale {wanted.rescale:g}; leave it out"
        )
    raw = {"layout": layout, "rescale": 1.0, "mean": None, "std": None}
    remark = f"takes {declared.type}: pixels go in as they are, 0 .. 255"
    if wanted.mean or wanted.std:
        remark += "; mean and std in the plan are left aside, since no whole numbers would come of "
        remark += "them"
    return Found({"preprocessing": raw}, (remark,))


def _layout(plan: BackbonePlan, wanted: Preprocessing, declared: Declared) -> str:
    shape = declared.shape
    if shape is None:
        return wanted.layout or "NCHW"
    if len(shape) != _RANK:
        raise BackboneError(
            f"{plan.path}: takes {declared.says}, and images are (N, C, H, W) or (N, H, W, C); "
            "export it with such an input"
        )
    side, channels = wanted.size, wanted.channels
    by_layout = {"NCHW": (channels, side, side), "NHWC": (side, side, channels)}
    fitting = [
        layout
        for layout, expected in by_layout.items()
        if all(
            not isinstance(of, int) or of == e for of, e in zip(shape[1:], expected, strict=True)
        )
    ]
    if (wanted.layout or "NCHW") in fitting:
        return wanted.layout or "NCHW"
    if fitting and wanted.layout is None:
        return fitting[0]
    what = "the plan gives " + " or ".join(
        f"{layout} {_written(('N', *by_layout[layout]))}"
        for layout in ([wanted.layout] if wanted.layout else by_layout)
    )
    raise BackboneError(
        f"{plan.path}: takes {declared.says}, and {what}; write {_instead(wanted, shape)} under "
        "preprocessing in the plan"
    )


def _instead(wanted: Preprocessing, shape: tuple[int | str | None, ...]) -> str:
    """What to write in the plan so that it fits, as far as that can be told."""
    for layout, (channel, *sides) in {
        "NCHW": (shape[1], shape[2], shape[3]),
        "NHWC": (shape[3], shape[1], shape[2]),
    }.items():
        known = {side for side in sides if isinstance(side, int)}
        if channel not in (1, 3) or len(known) > 1:
            continue
        keys = {"channels": channel, "size": next(iter(known), wanted.size), "layout": layout}
        differs = {
            key: value
            for key, value in keys.items()
            if value != getattr(wanted, key) and (key != "layout" or wanted.layout)
        }
        return " and ".join(f"{key}: {value}" for key, value in differs.items())
    return "another backbone, of square images with one or three channels, whose input fits what is"


def _written(shape: tuple[int | str | None, ...]) -> str:
    """A shape as it is read: ``(N, 3, 224, 224)``."""
    return f"({', '.join('?' if each is None else str(each) for each in shape)})"


def in_pieces(
    path: Path,
    size: int | None,
    passed: Callable[[dict[str, Array]], list[Array]],
    batch: dict[str, Array],
) -> list[Array]:
    """A batch in pieces of a fixed number of examples, the last one filled up with repeats.

    Args:
        path: Of the file, for messages.
        size: Examples a piece; None for all at once.
        passed: Gives outputs of a piece, each with a row an example.
        batch: N examples under each name.

    Returns:
        Outputs of N rows.

    Raises:
        BackboneError: A piece gives another number of rows.
    """
    count = len(next(iter(batch.values())))
    if size is None or size == count:
        return passed(batch)
    pieces = []
    for start in range(0, count, size):
        rows = np.minimum(np.arange(start, start + size), count - 1)
        outputs = passed({name: values[rows] for name, values in batch.items()})
        for output in outputs:
            if len(np.atleast_1d(output)) != size:
                raise BackboneError(
                    f"{path}: a batch of {size}, as it is declared, gave {np.shape(output)} and "
                    f"not {size} rows; export it with a dynamic batch axis"
                )
        pieces.append(outputs)
    return [np.concatenate(each)[:count] for each in zip(*pieces, strict=True)]
