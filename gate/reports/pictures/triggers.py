"""The bank of triggers at a glance: where, how large and in which colour a backbone gives way."""

import re
from typing import TYPE_CHECKING, NamedTuple, get_args

from gate.reports.pictures.figure import Measured, draw_cells, figure_of, in_order, shown
from gate.triggers.grid import Place

if TYPE_CHECKING:
    from gate.reports.pictures.figure import Figure

# as gate.triggers.bank calls them
_CALLED = re.compile(rf"(.+) (\d+)px ({'|'.join(get_args(Place))})( \d+%)?")
# the first that a probe measured of a trigger, the worst over what it leads to
_RATES = ("targeted_attack_success_rate", "attack_success_rate")


class _Cell(NamedTuple):
    """Where a trigger stands in the map."""

    row: str
    pixels: int
    place: str


def heat_map(measured: Measured, task: str) -> "Figure | None":
    """Attack success rate of each trigger, to the class that it carries most images to.

    A row is a pattern with its colour, a column a size and place; a cell that was not tried is
    empty.
    """
    rates: dict[_Cell, float] = {}
    for metric in reversed(_RATES):
        found: dict[_Cell, float] = {}
        for m in measured:
            cell = _cell(m.about.get("trigger", ""))
            if cell and m.metric == metric and m.about.get("task") == task:
                found[cell] = max(found.get(cell, 0.0), m.value)
        rates |= found
    if not rates:
        return None
    rows = list(dict.fromkeys(cell.row for cell in rates))
    places = in_order((cell.place for cell in rates), get_args(Place))
    columns = sorted(
        {(cell.pixels, cell.place) for cell in rates},
        key=lambda column: (column[0], places.index(column[1])),
    )
    figure, (axes,) = figure_of(
        f"{shown(task)}: attack success rate of each trigger, to the class it carries most to",
        "rates without their intervals; an empty cell was not tried",
        height=1.2 + 0.3 * len(rows),
    )
    draw_cells(
        axes,
        [[rates.get(_Cell(row, *column)) for column in columns] for row in rows],
        rows,
        [f"{pixels} px {place.replace('_', ' ')}" for pixels, place in columns],
    )
    return figure


def _cell(trigger: str) -> _Cell | None:
    called = _CALLED.fullmatch(trigger)
    if not called:
        return None
    name, pixels, place, opacity = called.groups(default="")
    return _Cell(f"{name}{opacity}", int(pixels), place)
