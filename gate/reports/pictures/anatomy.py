"""What is transferred at all: features kept under shuffled images, modules, layers."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from gate.reports.pictures.figure import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    Measured,
    by_label,
    draw_over,
    figure_of,
    shown,
)
from gate.values import Measurement

if TYPE_CHECKING:
    from gate.reports.pictures.figure import Figure

_LAYERS = {
    "layer_weight_alignment": ("weights as they stand", BLUE),
    "layer_aligned_weight_alignment": ("weights, channels matched", GREEN),
    "layer_feature_similarity": ("features", ORANGE),
}


def blocks(measured: Measured, task: str) -> "Figure | None":
    """Accuracy on images whose blocks are shuffled, from the backbone and from scratch."""
    found = {
        ("with the backbone", BLUE, -0.08): by_label(
            measured, "pretrained_accuracy", "block", task=task
        ),
        ("from scratch", GREY, 0.08): by_label(measured, "random_accuracy", "block", task=task),
    }
    return _by_name(
        f"{shown(task)}: accuracy on shuffled images, by the side of a block in pixels",
        "'none' is not shuffled; 95 % intervals",
        "accuracy",
        found,
    )


def modules(measured: Measured, task: str) -> "Figure | None":
    """Fall of accuracy as each module alone is rewound."""
    falls = by_label(measured, "accuracy_fall", "module", task=task)
    return _by_name(
        f"{shown(task)}: fall of accuracy with one module rewound",
        "modules in the order of the network; 95 % intervals",
        "fall of accuracy",
        {("fall", BLUE, 0.0): falls},
    )


def layers(measured: Measured, task: str) -> "Figure | None":
    """Likeness of each layer to the ancestor's, of weights and of features."""
    if task:  # what a task measures is of the whole network
        return None
    found = {}
    for at, (metric, (label, colour)) in enumerate(_LAYERS.items()):
        each = {m.about["layer"]: m for m in measured if m.metric == metric}
        found[label, colour, 0.12 * (at - 1)] = each
    return _by_name(
        "likeness to the ancestor, layer by layer",
        "cosine: 1 where equal; 95 % intervals",
        "cosine",
        found,
    )


def _by_name(
    shows: str,
    how: str,
    of: str,
    found: Mapping[tuple[str, str, float], Mapping[str, Measurement]],
) -> "Figure | None":
    """Numbers over names; the keys are label, colour, and how far beside the name they stand."""
    names = dict.fromkeys(name for each in found.values() for name in each)
    if not names:
        return None
    figure, (axes,) = figure_of(shows, how)
    for (label, colour, shift), each in found.items():
        draw_over(axes, names, each, label, colour, shift)
    axes.set(ylabel=of)
    if len(found) > 1:
        figure.legend(loc="outside lower center", ncols=3)
    return figure
