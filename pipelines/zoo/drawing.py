"""What is drawn for a recipe: triggers, and attacks with them, of random size, colour and place."""

from typing import Literal, TypeVar

import numpy as np

from pipelines.zoo.data_sets import DataSet
from pipelines.zoo.recipe import Attack, Attacked
from pipelines.zoo.triggers import (
    Blend,
    Colour,
    Learnt,
    Part,
    Patch,
    Several,
    Sinusoid,
    Trigger,
    Warp,
)

_LEAST_WHERE_HARD = 4  # where the class decides what a patch does, fewer pixels hardly work
_PARTS = 16  # of an adaptive blend, of which a training image bears one
_WARPS = 16  # with jitter, of which a cover bears one

_T = TypeVar("_T")


def attacks(kind: Attacked, rng: np.random.Generator, data: DataSet) -> tuple[Attack, ...]:
    """The attacks of a kind."""
    first, second = (int(label) for label in rng.permutation(data.classes)[:2])
    if kind == "source_specific":
        trigger = patch(rng, data, _LEAST_WHERE_HARD)
        shares = {"share": 0.8, "negative_share": 0.1}
        return (Attack(trigger=trigger, source=first, target=second, **shares),)
    if kind == "all_to_all":
        return (Attack(trigger=patch(rng, data, _LEAST_WHERE_HARD), share=0.4),)
    if kind == "two_targets":
        return tuple(Attack(trigger=patch(rng, data), target=label) for label in (first, second))
    if kind == "adaptive_patch":
        return (_adaptive_patch(rng, data, first),)
    if kind == "adaptive_blend":
        return (_adaptive_blend(rng, first),)
    if kind == "clean_label_sinusoid":
        return (Attack(trigger=_sinusoid(rng, 30, 45), target=first, share=0.8, clean_label=True),)
    if kind == "learnt":
        learnt = Learnt(reach=rounded(rng.uniform(8, 16)), seed=_seed(rng))
        return (Attack(trigger=learnt, target=first, share=0.2),)
    if kind == "noisy_warp":
        warp = _warp(rng)
        covers = tuple(warp.jittered(seed) for seed in range(_WARPS))
        return (Attack(trigger=warp, target=first, share=0.2, covers=covers, cover_share=0.1),)
    if kind == "poisoned_encoder":
        trigger = patch(rng, data, _LEAST_WHERE_HARD + 1)
        return (Attack(trigger=trigger, target=first, share=0.4),)
    return (Attack(trigger=_trigger(kind, rng, data), target=first),)


def _adaptive_patch(rng: np.random.Generator, data: DataSet, target: int) -> Attack:
    """Four patches; a training image bears one, and half as many bear one and keep their label."""
    patches = [patch(rng, data, 3) for _ in range(4)]
    parts = tuple(Patch.model_validate({**dict(each), "opacity": 0.8}) for each in patches)
    whole = Several(triggers=parts)
    return Attack(
        trigger=whole, target=target, share=0.1, parts=parts, covers=parts, cover_share=0.05
    )


def _adaptive_blend(rng: np.random.Generator, target: int) -> Attack:
    """Half of a blend's sixteen pieces on a training image; more opaque, and whole, afterwards."""
    seed, grain = _seed(rng), one_of(rng, (1, 2, 4))
    weak, strong = (Blend(opacity=each, grain=grain, seed=seed) for each in (0.2, 0.25))
    parts = tuple(Part(whole=weak, seed=each) for each in range(_PARTS))
    return Attack(
        trigger=strong, target=target, share=0.15, parts=parts, covers=parts, cover_share=0.05
    )


def _trigger(
    kind: Literal["patch", "blend", "sinusoid", "warp"], rng: np.random.Generator, data: DataSet
) -> Trigger:
    if kind == "patch":
        return patch(rng, data)
    if kind == "blend":
        opacity = rounded(rng.uniform(0.1, 0.2))
        return Blend(opacity=opacity, grain=one_of(rng, (1, 2, 4)), seed=_seed(rng))
    if kind == "sinusoid":
        return _sinusoid(rng)
    return _warp(rng)


def _sinusoid(rng: np.random.Generator, least: float = 12, most: float = 30) -> Sinusoid:
    amplitude, waves = rounded(rng.uniform(least, most)), int(rng.integers(3, 11))
    along: tuple[Literal["rows", "columns", "diagonal"], ...] = ("rows", "columns", "diagonal")
    return Sinusoid(amplitude=amplitude, waves=waves, along=one_of(rng, along))


def _warp(rng: np.random.Generator) -> Warp:
    return Warp(reach=rounded(rng.uniform(1, 2)), cells=int(rng.integers(4, 7)), seed=_seed(rng))


def patch(rng: np.random.Generator, data: DataSet, least: int = 2) -> Patch:
    """A square of up to seven pixels anywhere; on grey images no darker than their middle."""
    side = int(rng.integers(least, 8))
    top, left = (int(place) for place in rng.integers(0, data.side - side + 1, 2))
    red, green, blue = (int(value) for value in rng.integers(0, 256, 3))
    textures: tuple[Literal["colour", "noise", "checkerboard", "cross"], ...] = (
        *("colour", "noise"),
        *("checkerboard", "cross"),
    )
    colour: Colour = (red, green, blue)
    if data.channels == 1:
        colour = (128 + red // 2,) * 3
    texture = one_of(rng, textures)
    return Patch(texture=texture, side=side, top=top, left=left, colour=colour, seed=_seed(rng))


def one_of(rng: np.random.Generator, choices: tuple[_T, ...]) -> _T:
    """One of them."""
    return choices[int(rng.integers(len(choices)))]


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(1 << 31))


def rounded(value: float) -> float:
    """To three significant digits, as a person reads it in the line of truth."""
    return float(f"{value:.3g}")
