"""Recipes of members 0 to 69, which people have looked at while bounds were set.

The first eight were for development and hold patches alone. Lines of truth hold these recipes, so
none may change; the others come from recipes.py.
"""

import numpy as np

from pipelines.zoo.architectures import ARCHITECTURES, Architecture
from pipelines.zoo.data_sets import DATA_SETS
from pipelines.zoo.drawing import attacks, one_of, patch, rounded
from pipelines.zoo.recipe import Attacked, Augmentation, CleanKind, Recipe, Watermark

FIRST_MEMBERS = 70
_CIFAR = DATA_SETS["cifar10"]
_DEVELOPMENT = 8

_CLEAN: tuple[CleanKind, ...] = (
    *("clean", "watermarked", "noisy_labels"),
    *("long_tailed", "fewer_images"),
)
_BACKDOORED: tuple[Attacked, ...] = (
    *("patch", "blend", "sinusoid", "source_specific"),
    *("all_to_all", "warp", "two_targets"),
)
_ARCHITECTURES: tuple[Architecture, ...] = ("conv4", "badnet", "conv4_wide", "conv4_narrow")

_LONGER_BY_CLASS = 2  # planting, where the class decides what the trigger does


def first_member(number: int) -> Recipe:
    """The member of that number, from 0 to 69.

    >>> first_member(0).name, first_member(1).kind, first_member(8).name
    ('dev_000', 'patch', 'held_out_008')
    """
    return _backdoored(number) if number % 2 else _clean(number)


def _name(number: int) -> str:
    """It names no kind."""
    return f"{'dev' if number < _DEVELOPMENT else 'held_out'}_{number:03d}"


def _clean(number: int) -> Recipe:
    rng = np.random.default_rng([number, 0])
    kind = _CLEAN[number // 2 % len(_CLEAN)]
    # two pairs in turn, so that each is planted as often as not
    architecture = _ARCHITECTURES[number // 4 % len(_ARCHITECTURES)]
    known = ARCHITECTURES[architecture]
    augmentation: tuple[Augmentation, ...] = ("flips", "flips_and_shifts")
    share, noisy_share, long_tail = (
        rng.uniform(0.4, 0.8),
        rng.uniform(0.05, 0.15),
        rng.uniform(3, 8),
    )
    watermark = Watermark(patch=patch(rng, _CIFAR), share=rounded(rng.uniform(0.1, 0.4)))
    return Recipe(
        name=_name(number),
        kind=kind,
        seed=number,
        architecture=architecture,
        epochs=known.epochs,
        learning_rate=rounded(known.learning_rate * rng.uniform(0.6, 1.4)),
        augmentation=one_of(rng, augmentation),
        share=rounded(share) if kind == "fewer_images" else 1,
        noisy_share=rounded(noisy_share) if kind == "noisy_labels" else 0,
        long_tail=rounded(long_tail) if kind == "long_tailed" else 1,
        watermark=watermark if kind == "watermarked" else None,
    )


def _backdoored(number: int) -> Recipe:
    rng = np.random.default_rng([number, 0])
    pair = _clean(number - 1)
    held_out = number // 2 - _DEVELOPMENT // 2  # pairs of the development set are all patches
    kind = _BACKDOORED[held_out % len(_BACKDOORED)] if held_out >= 0 else "patch"
    settings = dict(pair) | {
        "name": _name(number),
        "kind": kind,
        "seed": number,
        "pair": pair.name,
        "watermark": None,
        "attacks": attacks(kind, rng, _CIFAR),
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
