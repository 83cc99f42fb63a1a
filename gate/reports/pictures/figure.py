"""What every picture is made with: figures, axes, names below them, intervals; and their SVG.

The only file that knows matplotlib. The same values give the same bytes. Names come from plans and
data: they are drawn as text, never read as markup or formula.
"""

import re
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from io import BytesIO
from typing import TYPE_CHECKING

from gate.values import Measurement

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Figure  # others name it from here
    from matplotlib.patches import Patch

BLUE, ORANGE, GREEN, AMBER, GREY = "#0072b2", "#d55e00", "#009e73", "#e69f00", "#999999"
Measured = Sequence[Measurement]
NAMED_AT_MOST = 40  # with more classes, their names would run into each other
_STYLE = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": "medium",
    "font.size": 9,
    "grid.color": "#dddddd",
    "legend.frameon": False,
    "svg.fonttype": "none",  # words stay words: a search finds them, in the reader's own fonts
    "text.parse_math": False,  # a $ in the name of a class is a dollar
}


def svg(draw: "Callable[[], Figure | None]", salt: str) -> bytes | None:
    """The figure as SVG; its ids depend on the salt, so that several fit into one page."""
    from matplotlib import style

    # whatever matplotlibrc the machine has
    with warnings.catch_warnings(), style.context(["default", {**_STYLE, "svg.hashsalt": salt}]):
        # letters are measured in one font, and drawn in one that the reader has
        warnings.filterwarnings("ignore", "Glyph", UserWarning)
        figure = draw()
        if figure is None:
            return None
        written = BytesIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(written, format="svg", metadata=nothing)
    # figure_1, axes_1 and so on: nothing refers to these ids, and every picture has them
    return re.sub(rb'<g id="[^"]*"', b"<g", written.getvalue())


def figure_of(
    shows: str, how: str, panels: int = 1, height: float = 2.4
) -> "tuple[Figure, list[Axes]]":
    """A figure 8 inches wide with empty panels of some height, one below the other."""
    from matplotlib.figure import Figure as Figure  # others name it from here

    figure = Figure((8, 1.6 + height * panels), layout="constrained", facecolor="white")
    figure.suptitle(f"{shows}\n{how}", x=0.01, ha="left", fontsize="medium")
    return figure, list(figure.subplots(panels, squeeze=False)[:, 0])


def draw_over(
    axes: "Axes",
    classes: Collection[str],
    measured: Mapping[str, Measurement],
    label: str,
    colour: str,
    shift: float = 0,
) -> None:
    """A number with its interval for each class: points over names or, of many classes, a line."""
    at, found = places(classes, measured, shift)
    if not found:
        return
    values = [m.value for m in found]
    axes.set_xlim(-0.6, len(classes) - 0.4)
    if len(classes) > NAMED_AT_MOST:
        low, high = [m.low for m in found], [m.high for m in found]
        axes.fill_between(at, low, high, color=colour, alpha=0.2, linewidth=0)
        # a line helps the eye over a hundred points, and hides a thousand
        width = min(1.0, 80 / len(classes))
        axes.plot(at, values, ".-", color=colour, label=label, linewidth=width, markersize=3)
        axes.set_xticks([])
        return
    axes.errorbar(at, values, reach(found), fmt="o", color=colour, label=label, capsize=3)
    name_below(axes, classes)


def name_below(axes: "Axes", classes: Collection[str]) -> None:
    """Names along the axis, slanted where they would run into each other; of many, only some."""
    each = -(-len(classes) // NAMED_AT_MOST)
    names = [shown(name) for name in classes][::each]
    axes.set_xticks(range(0, len(classes), each), names)
    if sum(map(len, names)) > 90:  # letters in one row
        axes.tick_params("x", labelrotation=45)
        for tick in axes.get_xticklabels():
            tick.set(ha="right", rotation_mode="anchor")


def places(
    names: Collection[str], measured: Mapping[str, Measurement], shift: float
) -> tuple[list[float], list[Measurement]]:
    """Where along the axis each measurement stands; a name that was not measured stays empty."""
    found = {at + shift: measured[name] for at, name in enumerate(names) if name in measured}
    return [*found], [*found.values()]


def reach(measured: Iterable[Measurement]) -> tuple[list[float], list[float]]:
    """How far each interval reaches below and above its value."""
    below_above = [(m.value - m.low, m.high - m.value) for m in measured]
    return [below for below, _ in below_above], [above for _, above in below_above]


def shown(name: str) -> str:
    """A name on one line, cut when it is long; what cannot be printed, XML might not hold."""
    seen = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)
    return seen if len(seen) <= 24 else seen[:23] + "…"


def draw_cells(
    axes: "Axes",
    values: Sequence[Sequence[float | None]],
    rows: Sequence[str],
    columns: Sequence[str],
) -> None:
    """Numbers from 0 to 1 as a map: darker is more, and each number stands in its cell."""
    from matplotlib import colormaps
    from matplotlib.patches import Rectangle

    shade = colormaps["Blues"]
    for y, row in enumerate(values):
        for x, value in enumerate(row):
            if value is None:
                continue
            colour = shade(value)
            axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=colour, edgecolor="white"))
            ink = "white" if value > 0.55 else "black"
            axes.text(x, y, f"{value:.2f}", ha="center", va="center", color=ink, fontsize=7)
    axes.grid(visible=False)
    axes.set(xlim=(-0.5, len(columns) - 0.5), ylim=(len(rows) - 0.5, -0.5))
    axes.set_yticks(range(len(rows)), [shown(name) for name in rows])
    name_below(axes, columns)


def key(colour: str, label: str) -> "Patch":
    """A line of a legend: a colour, and what it stands for."""
    from matplotlib.patches import Patch

    return Patch(color=colour, label=label)


def by_label(measured: Measured, metric: str, each: str, **labels: str) -> dict[str, Measurement]:
    """What is about these labels and one more, by that one."""
    return {
        m.about[each]: m
        for m in measured
        if m.metric == metric and each in m.about and m.about == {**labels, each: m.about[each]}
    }


def in_order(names: Iterable[str], order: Sequence[str]) -> list[str]:
    """Each name once: those of the order, then others as they come."""
    found = dict.fromkeys(names)
    return [*(name for name in order if name in found), *(n for n in found if n not in order)]
