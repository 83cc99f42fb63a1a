"""The values of a comparison: each metric on both sides, and their difference."""

from typing import Literal

from pydantic import Field

from gate.values import About, Digest, Measurement, Value

Change = Literal["worse", "better", "changed", "unsettled", "not comparable"]
WORST_FIRST: tuple[Change, ...] = ("worse", "better", "changed", "unsettled", "not comparable")


class Difference(Value):
    """Candidate minus champion, with its own 95 % interval, and one that holds for all rows.

    ``paired`` says whether it was measured on the same examples, one by one, as a probe does where
    the plan's reference is the other side. Else the interval is that of two independent samples,
    which is wider than need be.
    """

    value: float
    low: float
    high: float
    low_of_all: float
    high_of_all: float
    paired: bool


class Row(Value):
    """One metric on both sides.

    ``change`` is what the interval says that holds for all rows at once, so that with 95 %
    confidence no row at all is called worse, better or changed by chance. ``alone`` is what the
    row's own 95 % interval says, of which one row in twenty may lie beyond 0 by chance. ``labels``
    are those that both sides share; of a worst case each side may name another one.
    """

    probe: str
    metric: str
    labels: About
    better: Literal["lower", "higher", "neither"]
    candidate: Measurement
    champion: Measurement
    difference: Difference | None
    change: Change
    alone: Change


class Unmatched(Value):
    """A measurement that the other side has not."""

    side: Literal["candidate", "champion"]
    probe: str
    metric: str
    about: About


class Comparison(Value):
    """All rows, worst first; what only one side measured; and what a reader must know."""

    schema_: Literal["gate.comparison/v1"] = Field("gate.comparison/v1", alias="schema")
    candidate: Digest
    champion: Digest
    rows: tuple[Row, ...] = Field(min_length=1)
    unmatched: tuple[Unmatched, ...]
    notes: tuple[str, ...]

    @property
    def compared(self) -> int:
        """How many rows there are whose difference could be read."""
        return sum(row.difference is not None for row in self.rows)

    def having(self, change: Change) -> tuple[Row, ...]:
        """The rows of one kind of change, by how far it goes."""
        return tuple(row for row in self.rows if row.change == change)
