"""The choice of a checkpoint: a plateau, and all that its numbers depend on."""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from gate.checkpoints.plateau import Plateau
from gate.values import Digest, Frozen, Measurement, Measurements, Settings, Value


class Basin(Value):
    """Whether the segment between two checkpoints' weights is an (epsilon, delta)-basin on a task.

    Along it the loss keeps within epsilon of its mean, and delta beyond either end it is higher
    than that mean by at least twice epsilon; a figure for people, and nothing that a policy bounds.

    Args:
        task: The loss is that of heads fitted on its training images, anew under all weights.
        ends: The earliest on the plateau, and the last checkpoint.
        length: Of the segment, the Euclidean distance between the parameters of both.
        measurements: ``loss`` at each ``share`` of the way, those beyond the ends too, and
            ``epsilon``, in nats.
        delta: The shortest distance that was tried of which that holds, epsilon being at the upper
            end of its interval and the rise at its lower end; None if none was.
        farthest: The longest distance that was tried.

    Source:
        Neyshabur, Sedghi and Zhang 2020, definition 3.1; there epsilon is the mean distance from
        the mean, and here the largest.
    """

    task: str
    ends: tuple[str, str]
    length: float
    measurements: Measurements
    delta: float | None
    farthest: float

    @property
    def epsilon(self) -> Measurement:
        """The largest distance of the loss from its mean along the segment."""
        return next(m for m in self.measurements if m.metric == "epsilon")

    @property
    def says(self) -> str:
        """All in a sentence."""
        epsilon, (first, last) = self.epsilon, self.ends
        found = (
            f"between {first} and {last} on task {self.task}: over a distance of {self.length:.3g} "
            f"the loss keeps within {epsilon.value:.3g} nats [{epsilon.low:.3g}, "
            f"{epsilon.high:.3g}] of its mean"
        )
        if self.delta is None:
            return (
                f"no basin is shown {found}, and up to {self.farthest:.3g} beyond its ends it is "
                "not certain to rise by twice that"
            )
        return (
            f"basin {found}, and {self.delta:.3g} beyond either end it rises by twice that: a "
            f"({epsilon.high:.3g}, {self.delta:.3g})-basin"
        )


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
    basins: tuple[Basin, ...] = ()
    remarks: tuple[str, ...] = ()


def table(choice: Choice) -> str:
    """A row for each checkpoint and task, what follows, and remarks."""
    cells = [("checkpoint", "", "task", "accuracy", "shortfall"), *_rows(choice.plateau)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in cells]
    basins = [basin.says for basin in choice.basins]
    return "\n".join([*lines, "", choice.plateau.says, *basins, *choice.remarks, ""])


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
