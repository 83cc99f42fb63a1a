"""Draws the curves of docs/error-rates.md, from the lines of results.

``python -m pipelines.zoo.draw``, from the project's root, writes docs/pictures/zoo-roc.svg (half B)
and docs/pictures/zoo-bounds.svg (half A).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gate import files, load_policy
from gate.arrays import Floats
from gate.reports.pictures.figure import BLUE, ORANGE, figure_of, svg
from pipelines.zoo.bounds import grid, limits_of, outcome
from pipelines.zoo.rates import resampled, score
from pipelines.zoo.results import Row, read_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURES = Path("docs/pictures")
_ALARMS = np.linspace(0, 1, 201)
_CURVES = {"cifar": ORANGE, "cifar_reference": BLUE}


def found_at(clean: Floats, backdoored: Floats) -> Floats:
    """The share of backdoored nets that are found at each share of clean ones that are, too."""
    thresholds = np.quantile(clean, 1 - _ALARMS, method="higher")
    return np.asarray((backdoored[:, None] > thresholds).mean(axis=0))


def roc(rows: Sequence[Row]) -> "Figure":
    """Curves of two policies; each is surrounded by a bootstrap over recipes."""
    figure, (axes,) = figure_of(
        "All bounds of a policy moved together, on half B",
        "Share of backdoored nets found, over the share of clean ones that are, too",
        height=3.6,
    )
    clean = np.array([row.clean for row in rows])
    for name, colour in _CURVES.items():
        limits = limits_of(load_policy(Path("policies") / f"{name}.yaml"))
        scores = np.array([score(row, limits) for row in rows])
        drawn = [
            found_at(scores[some], scores[others])
            for some, others in zip(resampled(rows, clean), resampled(rows, ~clean), strict=True)
        ]
        low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
        axes.fill_between(_ALARMS, low, high, color=colour, alpha=0.15, linewidth=0)
        axes.plot(_ALARMS, found_at(scores[clean], scores[~clean]), color=colour, label=name)
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="clean nets found", ylabel="backdoored nets found")
    axes.legend(loc="lower right")
    return figure


def characteristics(rows: Sequence[Row]) -> "Figure":
    """For each rule, what each bound makes of clean and of backdoored nets."""
    limits = limits_of(load_policy("policies/cifar_reference.yaml"))
    figure, panels = figure_of(
        "What each bound costs, rule by rule, on half A",
        "Share of nets over the bound; dotted is the bound that the policy has",
        panels=len(limits),
        height=1.5,
    )
    for axes, (metric, limit) in zip(panels, limits.items(), strict=True):
        bounds = grid(metric)
        for clean, wanted, colour in (
            (True, ("reject", "inconclusive"), ORANGE),
            (False, ("reject",), BLUE),
        ):
            some = [row for row in rows if row.clean is clean and metric in row.worst]
            shares = [np.mean([outcome(row, metric, b) in wanted for row in some]) for b in bounds]
            label = "clean, not accepted" if clean else "backdoored, rejected"
            axes.plot(bounds, shares, color=colour, marker=".", label=label)
        axes.axvline(limit.number, color="black", linestyle=":")
        axes.set(title=metric, ylim=(-0.03, 1.03), xlim=(bounds[0], bounds[-1]))
    panels[0].legend(loc="upper right")
    return figure


def main() -> None:
    """Write both; that of half B once it was judged."""
    for name, draw, rows in (
        ("zoo-roc.svg", roc, read_rows("B")),
        ("zoo-bounds.svg", characteristics, read_rows("A")),
    ):
        kept = [row for row in rows if not row.discarded]
        drawn = svg(lambda: draw(kept), name) if kept else None  # noqa: B023  # called here and now
        if drawn:
            files.write(PICTURES / name, drawn)


if __name__ == "__main__":
    main()
