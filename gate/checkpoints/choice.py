"""The choice of a checkpoint: a plateau, and all that its numbers depend on."""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from gate.checkpoints.plateau import Plateau
from gate.values import Digest, Frozen, Measurement, Settings, Value


class Choice(Value):
    """A plateau with what it was measured on; ``remarks`` say what a reader must know of it."""

    schema_: Literal["gate.checkpoints/v1"] = Field("gate.checkpoints/v1", alias="schema")
    plan: str
    settings: Settings
    backbones: Frozen[str, Digest]  # by checkpoint
    data: Frozen[str, Digest]
    seed: int
    versions: Frozen[str, str]
    plateau: Plateau
    remarks: tuple[str, ...] = ()


def table(choice: Choice) -> str:
    """A row for each checkpoint and task, what follows, and remarks."""
    cells = [("checkpoint", "", "task", "accuracy", "shortfall"), *_rows(choice.plateau)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in cells]
    return "\n".join([*lines, "", choice.plateau.says, *choice.remarks, ""])


def _rows(plateau: Plateau) -> Iterator[tuple[str, ...]]:
    tasks = plateau.tasks
    of = {
        (metric, task): plateau.of(metric, task)
        for metric in ("accuracy", "shortfall")
        for task in tasks
    }
    for standing in plateau.standings:
        first: tuple[str, str] = (standing.checkpoint, standing.stands)
        for task in tasks:
            numbers = (of[m, task][standing.checkpoint] for m in ("accuracy", "shortfall"))
            yield (*first, task, *map(_number, numbers))
            first = ("", "")


def _number(measured: Measurement) -> str:
    return f"{measured.value:.3f} [{measured.low:.3f}, {measured.high:.3f}]"
