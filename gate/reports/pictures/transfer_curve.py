"""Curves of transfer over a row of checkpoints."""

from typing import TYPE_CHECKING

from gate.checkpoints.plateau import Plateau
from gate.reports.pictures.figure import (
    AMBER,
    GREEN,
    GREY,
    ORANGE,
    figure_of,
    name_below,
    places,
    reach,
    shown,
    svg,
)

if TYPE_CHECKING:
    from gate.reports.pictures.figure import Figure

# of checkpoints, by where they stand
_STANDS = {
    "on plateau": GREEN,
    "worse": ORANGE,
    "unsettled": AMBER,
    "not reached": GREY,
}


def transfer_curve(plateau: Plateau) -> bytes:
    """Accuracy of each checkpoint of a row with its interval, one panel a task, as SVG.

    A colour says where a checkpoint stands, and a line where the plateau begins.
    """
    return svg(lambda: _transfer_curve(plateau), salt="checkpoints.svg") or b""


def _transfer_curve(plateau: Plateau) -> "Figure":
    names, tasks = plateau.checkpoints, plateau.tasks
    figure, panels = figure_of(
        "accuracy of heads on each checkpoint's frozen features",
        f"{len(names)} checkpoints, tolerance {plateau.tolerance:g}; 95 % intervals",
        len(tasks),
    )
    begins = names.index(plateau.earliest) if plateau.earliest is not None else None
    for axes, task in zip(panels, tasks, strict=True):
        measured = plateau.of("accuracy", task)
        for stands, colour in _STANDS.items():
            standing = [s.checkpoint for s in plateau.standings if s.stands == stands]
            at, found = places(names, {name: measured[name] for name in standing}, 0)
            label = stands if axes is panels[0] else None
            if found:
                values, bars = [m.value for m in found], reach(found)
                axes.errorbar(at, values, bars, fmt="o", color=colour, label=label, capsize=3)
        if begins is not None:
            axes.axvline(begins, color="black", linestyle="--", linewidth=1)
        axes.set(title=f"task {shown(task)}", ylabel="accuracy", xlim=(-0.6, len(names) - 0.4))
        name_below(axes, names)
    figure.legend(loc="outside lower center", ncols=4)
    return figure
