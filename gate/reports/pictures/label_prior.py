"""The label prior, and what generalized logit adjustment (GLA) does about it."""

from typing import TYPE_CHECKING

from gate.reports.pictures.figure import (
    NAMED_AT_MOST,
    Measured,
    by_label,
    draw_over,
    figure_of,
    in_order,
    key,
    places,
    reach,
    shown,
)
from gate.values import Measurement

if TYPE_CHECKING:
    from gate.reports.pictures.figure import Figure

# colours of Okabe and Ito, which colour-blind readers tell apart
_METHODS = {
    "zero_shot": ("zero-shot", "#999999"),
    "debiased": ("zero-shot, debiased", "#56b4e9"),
    "fine_tuned": ("fine-tuned", "#0072b2"),
    "logit_adjustment": ("logit adjustment", "#009e73"),
    "plain_ensemble": ("plain ensemble", "#e69f00"),
    "wise_ft": ("WiSE-FT", "#cc79a7"),
    "gla": ("GLA", "#d55e00"),
}
_GROUPS = ("head", "many", "medium", "tail", "few")


def classes(measured: Measured, task: str) -> "Figure | None":
    """Accuracy of each class before and after GLA, the classes sorted by their share q."""
    shares = _shares(measured, task)
    before, after = (
        by_label(measured, "class_accuracy", "class", task=task, method=method)
        for method in ("fine_tuned", "gla")
    )
    if not shares.keys() & (before.keys() | after.keys()):
        return None
    figure, (axes,) = figure_of(
        f"{shown(task)}: accuracy of each class, before and after generalized logit adjustment",
        f"{len(shares)} classes, largest estimated share q first; 95 % intervals",
    )
    apart = 0.12 if len(shares) <= NAMED_AT_MOST else 0
    draw_over(axes, shares, before, "before (fine-tuned)", _METHODS["fine_tuned"][1], -apart)
    draw_over(axes, shares, after, "after (GLA)", _METHODS["gla"][1], apart)
    axes.set(ylabel="accuracy", ylim=(0, 1.02))
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def prior(measured: Measured, task: str) -> "Figure | None":
    """The estimated share q of each class, the largest first."""
    shares = _shares(measured, task)
    if not shares:
        return None
    figure, (axes,) = figure_of(
        f"{shown(task)}: label prior, the estimated share q of each class",
        f"{len(shares)} classes, largest share first; 95 % intervals",
    )
    draw_over(axes, shares, shares, "q", _METHODS["fine_tuned"][1])
    uniform = f"uniform, 1/{len(shares)}"
    axes.axhline(1 / len(shares), color="black", linestyle="--", linewidth=1, label=uniform)
    axes.set(ylabel="share q", ylim=(0, None))
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def groups(measured: Measured, task: str) -> "Figure | None":
    """Accuracy of each method in groups of classes, one panel a test split."""
    labels = {"task", "split", "method", "group"}
    found = [
        m.about
        for m in measured
        if m.metric == "group_accuracy" and m.about.keys() == labels and m.about["task"] == task
    ]
    if not found:
        return None
    splits = in_order((about["split"] for about in found), ())
    methods = in_order((about["method"] for about in found), tuple(_METHODS))
    groups = in_order((about["group"] for about in found), _GROUPS)
    figure, panels = figure_of(
        f"{shown(task)}: accuracy in groups of classes, by method", "95 % intervals", len(splits)
    )
    width, legend = 0.85 / len(methods), []
    for method in methods:
        label, colour = _METHODS.get(method, (shown(method.replace("_", " ")), "#222222"))
        legend.append(key(colour, label))
    for axes, split in zip(panels, splits, strict=True):
        for place, method in enumerate(methods):
            by_group = by_label(
                measured, "group_accuracy", "group", task=task, split=split, method=method
            )
            at, bars = places(groups, by_group, (place + 0.5 - len(methods) / 2) * width)
            values, color = [m.value for m in bars], legend[place].get_facecolor()
            axes.bar(at, values, width, yerr=reach(bars), color=color, ecolor="#444444", capsize=2)
        axes.set(title=f"test split {shown(split)}", ylabel="accuracy", ylim=(0, 1.02))
        axes.set_xticks(range(len(groups)), [shown(group) for group in groups])
    figure.legend(handles=legend, loc="outside lower center", ncols=4)
    return figure


def _shares(measured: Measured, task: str) -> dict[str, Measurement]:
    """The share q of each class, the largest first."""
    shares = by_label(measured, "label_prior", "class", task=task)
    return dict(sorted(shares.items(), key=lambda item: -item[1].value))
