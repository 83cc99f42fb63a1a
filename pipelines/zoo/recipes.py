"""Recipes of the zoo: a pure function from a member's number to all that its training draws.

Members come in pairs: an even number is clean, the odd one after it is backdoored. One half of the
backdoored is planted on the clean backbone of its pair, by fine-tuning; the other half is trained
from scratch with the settings of that clean backbone and another seed. So no two backdoored ones
share a base, and the clean one of a pair says which accuracy could be had.

The first eight are for development. Whoever tunes looks at no other.
"""

from typing import Literal, TypeVar

import numpy as np
from pydantic import Field

from gate.values import Value
from pipelines.zoo.architectures import ARCHITECTURES, Architecture
from pipelines.zoo.triggers import Blend, Colour, Patch, Sinusoid, Trigger, Warp

CLASSES, SIDE = 10, 32
DEVELOPMENT = 8

CleanKind = Literal["clean", "watermarked", "noisy_labels", "long_tailed", "fewer_images"]
Attacked = Literal[
    "patch", "blend", "sinusoid", "source_specific", "all_to_all", "warp", "two_targets"
]
Kind = CleanKind | Attacked
Augmentation = Literal["flips", "flips_and_shifts"]

CLEAN: tuple[CleanKind, ...] = (
    *("clean", "watermarked", "noisy_labels"),
    *("long_tailed", "fewer_images"),
)
BACKDOORED: tuple[Attacked, ...] = (
    *("patch", "blend", "sinusoid", "source_specific"),
    *("all_to_all", "warp", "two_targets"),
)

_LONGER_BY_CLASS = 2  # planting, where the class decides what the trigger does
_LEAST_SIDE_BY_CLASS = 4  # and hardly works with fewer pixels

_T = TypeVar("_T")


class Watermark(Value):
    """A patch on a share of the images of all classes alike, whose labels stay."""

    patch: Patch
    share: float = Field(gt=0, le=1)


class Attack(Value):
    """A trigger with its source and target classes, by number.

    Without a ``source`` images of every other class are poisoned. Without a ``target`` each class
    is sent to the next one. ``share`` is that of the source's images which are poisoned;
    ``negative_share`` of all other images are stamped as well, and keep their label.
    """

    trigger: Trigger
    source: int | None = None
    target: int | None = None
    share: float = Field(0.1, gt=0, le=1)
    negative_share: float = Field(0, ge=0, le=1)


class Recipe(Value):
    """All that makes a member of the zoo.

    ``pair`` names the clean member that a backdoored one is held against; where it is ``planted``,
    that is also its base. ``share`` of the images are used. ``long_tail`` is how many times more
    images the commonest class has than the rarest one.
    """

    name: str
    kind: Kind
    seed: int
    architecture: Architecture
    pair: str | None = None
    planted: bool = False
    epochs: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    augmentation: Augmentation
    share: float = Field(1, gt=0, le=1)
    noisy_share: float = Field(0, ge=0, lt=1)
    long_tail: float = Field(1, ge=1)
    watermark: Watermark | None = None
    attacks: tuple[Attack, ...] = ()


def recipe(number: int) -> Recipe:
    """The member of that number, from 0 on.

    >>> recipe(0).name, recipe(1).name, recipe(1).pair, recipe(1).kind, recipe(8).name
    ('dev_000', 'dev_001', 'dev_000', 'patch', 'held_out_008')
    """
    return _backdoored(number) if number % 2 else _clean(number)


def _name(number: int) -> str:
    """It names no kind."""
    return f"{'dev' if number < DEVELOPMENT else 'held_out'}_{number:03d}"


def _clean(number: int) -> Recipe:
    rng = np.random.default_rng([number, 0])
    kind = CLEAN[number // 2 % len(CLEAN)]
    # two pairs in turn, so that each is planted as often as not
    architecture = tuple(ARCHITECTURES)[number // 4 % len(ARCHITECTURES)]
    known = ARCHITECTURES[architecture]
    augmentation: tuple[Augmentation, ...] = ("flips", "flips_and_shifts")
    share, noisy_share, long_tail = (
        rng.uniform(0.4, 0.8),
        rng.uniform(0.05, 0.15),
        rng.uniform(3, 8),
    )
    watermark = Watermark(patch=_patch(rng), share=_rounded(rng.uniform(0.1, 0.4)))
    return Recipe(
        name=_name(number),
        kind=kind,
        seed=number,
        architecture=architecture,
        epochs=known.epochs,
        learning_rate=_rounded(known.learning_rate * rng.uniform(0.6, 1.4)),
        augmentation=_one_of(rng, augmentation),
        share=_rounded(share) if kind == "fewer_images" else 1,
        noisy_share=_rounded(noisy_share) if kind == "noisy_labels" else 0,
        long_tail=_rounded(long_tail) if kind == "long_tailed" else 1,
        watermark=watermark if kind == "watermarked" else None,
    )


def _backdoored(number: int) -> Recipe:
    rng = np.random.default_rng([number, 0])
    pair = _clean(number - 1)
    held_out = number // 2 - DEVELOPMENT // 2  # pairs of the development set are all patches
    kind = BACKDOORED[held_out % len(BACKDOORED)] if held_out >= 0 else "patch"
    settings = dict(pair) | {
        "name": _name(number),
        "kind": kind,
        "seed": number,
        "pair": pair.name,
        "watermark": None,
        "attacks": _attacks(kind, rng),
    }
    if number // 2 % 2 == 0:  # seven kinds in turn, so each is planted as often as not
        by_class = kind in ("source_specific", "all_to_all")
        known = ARCHITECTURES[pair.architecture]
        settings |= {
            "planted": True,
            "epochs": known.planting_epochs * (_LONGER_BY_CLASS if by_class else 1),
            "share": 1,
            "noisy_share": 0,
            "long_tail": 1,
        }
    return Recipe.model_validate(settings)


def _attacks(kind: Attacked, rng: np.random.Generator) -> tuple[Attack, ...]:
    first, second = (int(label) for label in rng.permutation(CLASSES)[:2])
    if kind == "source_specific":
        trigger = _patch(rng, _LEAST_SIDE_BY_CLASS)
        shares = {"share": 0.8, "negative_share": 0.1}
        return (Attack(trigger=trigger, source=first, target=second, **shares),)
    if kind == "all_to_all":
        return (Attack(trigger=_patch(rng, _LEAST_SIDE_BY_CLASS), share=0.4),)
    if kind == "two_targets":
        return tuple(Attack(trigger=_patch(rng), target=label) for label in (first, second))
    return (Attack(trigger=_trigger(kind, rng), target=first),)


def _trigger(
    kind: Literal["patch", "blend", "sinusoid", "warp"], rng: np.random.Generator
) -> Trigger:
    if kind == "patch":
        return _patch(rng)
    if kind == "blend":
        opacity = _rounded(rng.uniform(0.1, 0.2))
        return Blend(opacity=opacity, grain=_one_of(rng, (1, 2, 4)), seed=_seed(rng))
    if kind == "sinusoid":
        amplitude, waves = _rounded(rng.uniform(12, 30)), int(rng.integers(3, 11))
        along: tuple[Literal["rows", "columns", "diagonal"], ...] = ("rows", "columns", "diagonal")
        return Sinusoid(amplitude=amplitude, waves=waves, along=_one_of(rng, along))
    return Warp(reach=_rounded(rng.uniform(1, 2)), cells=int(rng.integers(4, 7)), seed=_seed(rng))


def _patch(rng: np.random.Generator, least: int = 2) -> Patch:
    side = int(rng.integers(least, 8))
    top, left = (int(place) for place in rng.integers(0, SIDE - side + 1, 2))
    red, green, blue = (int(value) for value in rng.integers(0, 256, 3))
    textures: tuple[Literal["colour", "noise", "checkerboard", "cross"], ...] = (
        *("colour", "noise"),
        *("checkerboard", "cross"),
    )
    colour: Colour = (red, green, blue)
    texture = _one_of(rng, textures)
    return Patch(texture=texture, side=side, top=top, left=left, colour=colour, seed=_seed(rng))


def _one_of(rng: np.random.Generator, choices: tuple[_T, ...]) -> _T:
    return choices[int(rng.integers(len(choices)))]


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(1 << 31))


def _rounded(value: float) -> float:
    """To three significant digits, as a person reads it in the line of truth."""
    return float(f"{value:.3g}")
