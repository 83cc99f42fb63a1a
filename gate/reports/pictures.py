"""The label prior and what logit adjustment (GLA) does about it, and curves of transfer, as SVG.

The only file that knows matplotlib. Pure: values in, bytes out, and the same values give the same
bytes. Names come from plans and data: they are drawn as text, never read as markup or formula.
"""

import re
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING
from urllib.parse import quote

from gate.checkpoints.plateau import Plateau
from gate.errors import EvidenceError
from gate.values import Evidence, Measurement

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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
# of checkpoints, by where they stand
_STANDS = {
    "on plateau": "#009e73",
    "worse": "#d55e00",
    "unsettled": "#e69f00",
    "not reached": "#999999",
}
_GROUPS = ("head", "many", "medium", "tail", "few")
_NAMED = 40  # with more classes, their names would run into each other
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


def pictures(evidence: Sequence[Evidence]) -> dict[str, bytes]:
    """All pictures that the evidence of the label prior is enough for; none without it.

    Returns:
        File names and SVG, up to three a task: ``TASK-classes.svg``, accuracy of each class before
        and after GLA, sorted by the share q; ``TASK-prior.svg``, q itself; ``TASK-groups.svg``,
        accuracy of each method in groups of classes, one panel a test split. In a file name,
        each byte of the task's name that is no letter, digit or one of ``_.-~`` is ``=XX``.

    Raises:
        EvidenceError: Evidence of the label prior stands twice.
    """
    found = [item.measurements for item in evidence if item.probe == "label_prior"]
    if len(found) > 1:
        raise EvidenceError(
            f"pictures: evidence of probe label_prior stands {len(found)} times; "
            "give that of one candidate"
        )
    drawn = {}
    for measured in found:
        for task in dict.fromkeys(m.about["task"] for m in measured if "task" in m.about):
            for kind, draw in (("classes", _classes), ("prior", _prior), ("groups", _groups)):
                # = and not %, which a browser would decode where a page refers to the file
                name = f"{quote(task, safe='')}-{kind}.svg".replace("%", "=")
                if picture := _svg(partial(draw, measured, task), salt=name):
                    drawn[name] = picture
    return drawn


def transfer_curve(plateau: Plateau) -> bytes:
    """Accuracy of each checkpoint of a row with its interval, one panel a task, as SVG.

    A colour says where a checkpoint stands, and a line where the plateau begins.
    """
    return _svg(lambda: _transfer_curve(plateau), salt="checkpoints.svg") or b""


_Measured = Sequence[Measurement]


def _svg(draw: "Callable[[], Figure | None]", salt: str) -> bytes | None:
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


def _classes(measured: _Measured, task: str) -> "Figure | None":
    shares = _shares(measured, task)
    before, after = (
        _of(measured, "class_accuracy", "class", task=task, method=method)
        for method in ("fine_tuned", "gla")
    )
    if not shares.keys() & (before.keys() | after.keys()):
        return None
    figure, (axes,) = _figure(
        f"{_text(task)}: accuracy of each class, before and after generalized logit adjustment",
        f"{len(shares)} classes, largest estimated share q first; 95 % intervals",
    )
    apart = 0.12 if len(shares) <= _NAMED else 0
    _over(axes, shares, before, "before (fine-tuned)", "fine_tuned", -apart)
    _over(axes, shares, after, "after (GLA)", "gla", apart)
    axes.set(ylabel="accuracy", ylim=(0, 1.02))
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def _prior(measured: _Measured, task: str) -> "Figure | None":
    shares = _shares(measured, task)
    if not shares:
        return None
    figure, (axes,) = _figure(
        f"{_text(task)}: label prior, the estimated share q of each class",
        f"{len(shares)} classes, largest share first; 95 % intervals",
    )
    _over(axes, shares, shares, "q", "fine_tuned")
    uniform = f"uniform, 1/{len(shares)}"
    axes.axhline(1 / len(shares), color="black", linestyle="--", linewidth=1, label=uniform)
    axes.set(ylabel="share q", ylim=(0, None))
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def _groups(measured: _Measured, task: str) -> "Figure | None":
    from matplotlib.patches import Patch

    labels = {"task", "split", "method", "group"}
    found = [
        m.about
        for m in measured
        if m.metric == "group_accuracy" and m.about.keys() == labels and m.about["task"] == task
    ]
    if not found:
        return None
    splits = _in_order((about["split"] for about in found), ())
    methods = _in_order((about["method"] for about in found), tuple(_METHODS))
    groups = _in_order((about["group"] for about in found), _GROUPS)
    figure, panels = _figure(
        f"{_text(task)}: accuracy in groups of classes, by method", "95 % intervals", len(splits)
    )
    width, legend = 0.85 / len(methods), []
    for method in methods:
        label, colour = _METHODS.get(method, (_text(method.replace("_", " ")), "#222222"))
        legend.append(Patch(color=colour, label=label))
    for axes, split in zip(panels, splits, strict=True):
        for place, method in enumerate(methods):
            by_group = _of(
                measured, "group_accuracy", "group", task=task, split=split, method=method
            )
            at, bars = _places(groups, by_group, (place + 0.5 - len(methods) / 2) * width)
            values, color = [m.value for m in bars], legend[place].get_facecolor()
            axes.bar(at, values, width, yerr=_reach(bars), color=color, ecolor="#444444", capsize=2)
        axes.set(title=f"test split {_text(split)}", ylabel="accuracy", ylim=(0, 1.02))
        axes.set_xticks(range(len(groups)), [_text(group) for group in groups])
    figure.legend(handles=legend, loc="outside lower center", ncols=4)
    return figure


def _transfer_curve(plateau: Plateau) -> "Figure":
    names, tasks = plateau.checkpoints, plateau.tasks
    figure, panels = _figure(
        "accuracy of heads on each checkpoint's frozen features",
        f"{len(names)} checkpoints, tolerance {plateau.tolerance:g}; 95 % intervals",
        len(tasks),
    )
    begins = names.index(plateau.earliest) if plateau.earliest is not None else None
    for axes, task in zip(panels, tasks, strict=True):
        measured = plateau.of("accuracy", task)
        for stands, colour in _STANDS.items():
            standing = [s.checkpoint for s in plateau.standings if s.stands == stands]
            at, found = _places(names, {name: measured[name] for name in standing}, 0)
            label = stands if axes is panels[0] else None
            if found:
                values, reach = [m.value for m in found], _reach(found)
                axes.errorbar(at, values, reach, fmt="o", color=colour, label=label, capsize=3)
        if begins is not None:
            axes.axvline(begins, color="black", linestyle="--", linewidth=1)
        axes.set(title=f"task {_text(task)}", ylabel="accuracy", xlim=(-0.6, len(names) - 0.4))
        _names_below(axes, names)
    figure.legend(loc="outside lower center", ncols=4)
    return figure


def _figure(shows: str, how: str, panels: int = 1) -> "tuple[Figure, list[Axes]]":
    """A figure 8 inches wide with empty panels, one below the other."""
    from matplotlib.figure import Figure

    figure = Figure((8, 1.6 + 2.4 * panels), layout="constrained", facecolor="white")
    figure.suptitle(f"{shows}\n{how}", x=0.01, ha="left", fontsize="medium")
    return figure, list(figure.subplots(panels, squeeze=False)[:, 0])


def _over(
    axes: "Axes",
    classes: Collection[str],
    measured: Mapping[str, Measurement],
    label: str,
    method: str,
    shift: float = 0,
) -> None:
    """A number with its interval for each class: points over names or, of many classes, a line."""
    colour = _METHODS[method][1]
    at, found = _places(classes, measured, shift)
    if not found:
        return
    values = [m.value for m in found]
    axes.set_xlim(-0.6, len(classes) - 0.4)
    if len(classes) > _NAMED:
        low, high = [m.low for m in found], [m.high for m in found]
        axes.fill_between(at, low, high, color=colour, alpha=0.2, linewidth=0)
        # a line helps the eye over a hundred points, and hides a thousand
        width = min(1.0, 80 / len(classes))
        axes.plot(at, values, ".-", color=colour, label=label, linewidth=width, markersize=3)
        axes.set_xticks([])
        return
    axes.errorbar(at, values, _reach(found), fmt="o", color=colour, label=label, capsize=3)
    _names_below(axes, classes)


def _names_below(axes: "Axes", classes: Collection[str]) -> None:
    """Names along the axis, slanted where they would run into each other; of many, only some."""
    each = -(-len(classes) // _NAMED)
    names = [_text(name) for name in classes][::each]
    axes.set_xticks(range(0, len(classes), each), names)
    if sum(map(len, names)) > 90:  # letters in one row
        axes.tick_params("x", labelrotation=45)
        for tick in axes.get_xticklabels():
            tick.set(ha="right", rotation_mode="anchor")


def _places(
    names: Collection[str], measured: Mapping[str, Measurement], shift: float
) -> tuple[list[float], list[Measurement]]:
    """Where along the axis each measurement stands; a name that was not measured stays empty."""
    found = {at + shift: measured[name] for at, name in enumerate(names) if name in measured}
    return [*found], [*found.values()]


def _reach(measured: Iterable[Measurement]) -> tuple[list[float], list[float]]:
    """How far each interval reaches below and above its value."""
    below_above = [(m.value - m.low, m.high - m.value) for m in measured]
    return [below for below, _ in below_above], [above for _, above in below_above]


def _shares(measured: _Measured, task: str) -> dict[str, Measurement]:
    """The share q of each class, the largest first."""
    shares = _of(measured, "label_prior", "class", task=task)
    return dict(sorted(shares.items(), key=lambda item: -item[1].value))


def _of(measured: _Measured, metric: str, each: str, **labels: str) -> dict[str, Measurement]:
    """What is about these labels and one more, by that one."""
    return {
        m.about[each]: m
        for m in measured
        if m.metric == metric and each in m.about and m.about == {**labels, each: m.about[each]}
    }


def _in_order(names: Iterable[str], order: Sequence[str]) -> list[str]:
    """Each name once: those of the order, then others as they come."""
    found = dict.fromkeys(names)
    return [*(name for name in order if name in found), *(n for n in found if n not in order)]


def _text(name: str) -> str:
    """A name on one line, cut when it is long; what cannot be printed, XML might not hold."""
    seen = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)
    return seen if len(seen) <= 24 else seen[:23] + "…"
