"""Dose-response: what becomes of accuracy as training leans on an attribute more and more."""

from typing import TYPE_CHECKING

from gate.reports.pictures.figure import (
    BLUE,
    Measured,
    by_label,
    figure_of,
    reach,
    shown,
)

if TYPE_CHECKING:
    from gate.reports.pictures.figure import Figure


def dose_response(measured: Measured, task: str) -> "Figure | None":
    """Accuracy against the correlation of training, one panel an attribute."""
    attributes = dict.fromkeys(
        m.about["attribute"]
        for m in measured
        if m.metric == "conflicting_accuracy" and m.about["task"] == task
    )
    if not attributes:
        return None
    figure, panels = figure_of(
        f"{shown(task)}: accuracy against the correlation, by its strength in training",
        "a line that falls takes the shortcut; 95 % intervals",
        len(attributes),
    )
    for axes, attribute in zip(panels, attributes, strict=True):
        found = by_label(
            measured, "conflicting_accuracy", "correlation", task=task, attribute=attribute
        )
        doses = sorted(found.items(), key=lambda item: float(item[0]))
        at, each = [float(dose) for dose, _ in doses], [m for _, m in doses]
        axes.errorbar(at, [m.value for m in each], reach(each), fmt="o-", color=BLUE, capsize=3)
        axes.set(
            title=f"attribute {shown(attribute)}",
            xlabel="correlation of attribute and label in training",
            ylabel="accuracy",
            ylim=(0, 1.02),
        )
    return figure
