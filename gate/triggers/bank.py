"""From grids to triggers: each stamp with the controls that it is held against."""

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np

from gate.errors import PlanError
from gate.triggers.controls import controls_of
from gate.triggers.drawing import LETTERS, Motif, draw, grey, random_text
from gate.triggers.grid import CLASS_NAME, RANDOM_TEXT, Place, TriggerGrid
from gate.triggers.stamp import Patch, Stamp, Trigger


def bank(
    grids: tuple[TriggerGrid, ...], side: int, channels: int, seed: int, classes: tuple[str, ...]
) -> list[Trigger]:
    """All triggers of the grids for images of one size, each once.

    Sizes of as many pixels give one trigger, and so do colours of one mean on grey images; it goes
    by the name that comes first.

    Args:
        grids: From the plan.
        side: Of the image, in pixels.
        channels: 3, or 1 for grey images (a colour becomes its mean).
        seed: Draws noise, letters and permutations.
        classes: Names that a typographic trigger may write.

    Raises:
        PlanError: A patch that is smaller than a pixel, two different triggers of one name, or a
            text that does not fit.
        DataError: A picture that is missing, does not decode or has no alpha.
    """
    keys: dict[str, str] = {}  # by name
    triggers: dict[str, Trigger] = {}  # by key
    for one in (one for grid in grids for one in _each(grid, seed, classes)):
        trigger = _trigger(one, side, channels, seed)
        name, key = trigger.stamp.name, trigger.stamp.key
        if keys.setdefault(name, key) != key:
            raise PlanError(
                f"two different triggers are called {name!r}, by pictures of one name or "
                "opacities of one percentage; drop or rename one"
            )
        triggers.setdefault(key, trigger)
    return list(triggers.values())


def _each(grid: TriggerGrid, seed: int, classes: tuple[str, ...]) -> Iterator[TriggerGrid]:
    """The grid's triggers, each as a grid of one."""
    contents = _contents(grid, seed, classes)
    for share, opacity, place, content in product(grid.size, grid.opacity, grid.place, contents):
        one = {"size": share, "place": place, "opacity": opacity, **content}
        fields = {name: (value,) for name, value in one.items()}
        yield TriggerGrid.model_validate({"pattern": grid.pattern, **fields})


def _contents(grid: TriggerGrid, seed: int, classes: tuple[str, ...]) -> list[dict[str, str]]:
    """What the triggers of a grid are made of: each colour, text and picture."""
    if grid.pattern == "overlay":
        return [{"picture": picture} for picture in grid.picture]
    if grid.pattern == "square":
        return [{"colour": colour} for colour in grid.colour]
    if grid.pattern != "text":
        return [{}]
    rng = np.random.default_rng([seed, len(LETTERS)])
    return [
        {"colour": colour, "text": word}
        for text, colour in product(grid.text, grid.colour)
        for word in _words(text, classes, rng)
    ]


def _words(text: str, classes: tuple[str, ...], rng: np.random.Generator) -> tuple[str, ...]:
    if text == CLASS_NAME:
        return classes
    return (random_text(8, rng),) if text == RANDOM_TEXT else (text,)


def _trigger(one: TriggerGrid, side: int, channels: int, seed: int) -> Trigger:
    """The trigger of a grid of one, and its controls.

    Raises:
        PlanError: It is smaller than a pixel.
    """
    (share,), (place,), (opacity,) = one.size, one.place, one.opacity
    size = round(share * side)
    if size < 1:
        raise PlanError(
            f"pattern {one.pattern}: size {share:g} of {side} pixels is smaller than a "
            f"pixel; raise it to {1 / side:.2g} or more"
        )
    colour, text = next(iter(one.colour), None), next(iter(one.text), None)
    motif = Motif(one.pattern, size, opacity, colour, text, next(iter(one.picture), None))
    rng = np.random.default_rng([seed, size])
    patch = grey(draw(motif, rng), channels)
    name = f"{_called(motif)} {size}px {place}{f' {opacity:.0%}' if opacity < 1 else ''}"
    controls = (
        _placed(f"{name}: {of}", grey(control, channels), place, side)
        for of, control in controls_of(motif, patch, rng)
    )
    return Trigger(_placed(name, patch, place, side), tuple(controls), one)


def _called(motif: Motif) -> str:
    if motif.pattern == "overlay":
        return f"{Path(str(motif.picture)).stem} overlay"
    if motif.pattern == "text":
        return f"{motif.colour} text {motif.text!r}"
    return f"{motif.colour} square" if motif.pattern == "square" else motif.pattern


def _placed(name: str, patch: Patch, place: Place, side: int) -> Stamp:
    far = side - len(patch.add)
    tops = {"top": 0, "bottom": far, "centre": far // 2}
    lefts = {"left": 0, "right": far, "centre": far // 2}
    vertical, _, horizontal = place.partition("_")
    return Stamp(name, *patch, tops[vertical], lefts[horizontal or "centre"])
