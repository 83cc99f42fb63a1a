"""Recipes of the zoo: a pure function from a member's number to all that its training draws.

Members come in pairs: an even number is clean, the odd one after it is backdoored. One half of the
backdoored is planted on the clean backbone of its pair, by fine-tuning; the other half is trained
from scratch with the settings of that clean backbone and another seed. So no two backdoored ones
share a base, and the clean one of a pair says which accuracy could be had.

Members 0 to 69 (first_members.py) are of half A, since people have looked at them. After them come
blocks of two pairs, one for each half, that have kinds, data and architecture in common, and
nothing that is drawn. Bounds are set from half A; half B is judged once, when they are frozen.
"""

from typing import Literal

import numpy as np

from pipelines.zoo.architectures import ARCHITECTURES, Architecture
from pipelines.zoo.data_sets import DATA_SETS
from pipelines.zoo.drawing import attacks, one_of, patch, rounded
from pipelines.zoo.first_members import FIRST_MEMBERS, first_member
from pipelines.zoo.recipe import (
    BACKDOORED,
    Attacked,
    Augmentation,
    CleanKind,
    Data,
    Recipe,
    Watermark,
)

Half = Literal["A", "B"]

# Lengths, also of BACKDOORED, have no divisor in common, so each meets all others as often.
_CLEAN: tuple[CleanKind, ...] = (
    *("clean", "watermarked", "noisy_labels"),
    *("clean", "long_tailed", "adversarially_trained"),
    *("clean", "fewer_images", "fewer_classes"),
)
_DATA: tuple[Data, ...] = (
    *("cifar10", "fashion_mnist", "cifar10", "mnist"),
    *("cifar10", "fashion_mnist", "cifar10"),
)
_ARCHITECTURES: tuple[Architecture, ...] = (
    *("conv4", "badnet", "resnet8_narrow", "conv4_wide", "conv4_narrow"),
)
_PLANTED = (True, False)

# Kinds that were tried on grey images, and hardly ever did what they are for.
_DATA_INSTEAD: dict[tuple[Attacked, Data], Data] = {
    ("clean_label_sinusoid", "fashion_mnist"): "cifar10",
    ("clean_label_sinusoid", "mnist"): "cifar10",
    ("learnt", "mnist"): "fashion_mnist",
}
_LONGER_TO_PLANT: dict[Attacked, float] = {
    "source_specific": 2,
    "all_to_all": 2,
    "adaptive_blend": 2,
    "clean_label_sinusoid": 2,
    "poisoned_encoder": 2,
}


def recipe(number: int) -> Recipe:
    """The member of that number, from 0 on.

    >>> recipe(0).name, recipe(70).name, recipe(71).name, recipe(71).pair
    ('dev_000', 'zoo_0070', 'zoo_0071', 'zoo_0070')
    """
    if number < FIRST_MEMBERS:
        return first_member(number)
    return _backdoored(number) if number % 2 else _clean(number)


def half(number: int) -> Half:
    """The half that a member is of; both of a pair are of the same.

    >>> [half(number) for number in (0, 69, 70, 71, 72, 73, 74)]
    ['A', 'A', 'A', 'A', 'B', 'B', 'A']
    """
    return "B" if number >= FIRST_MEMBERS and _pair(number) % 2 else "A"


def number_of(name: str) -> int:
    """The number that a member's name ends with.

    >>> number_of(recipe(70).name), number_of(recipe(8).name)
    (70, 8)
    """
    return int(name.rpartition("_")[2])


def _pair(number: int) -> int:
    return (number - FIRST_MEMBERS) // 2


def _name(number: int) -> str:
    """It names no kind."""
    return f"zoo_{number:04d}"


def _attacked(number: int) -> Attacked:
    """The kind of the backdoored one of a pair, by the number of either."""
    return BACKDOORED[_pair(number) // 2 % len(BACKDOORED)]


def _clean(number: int) -> Recipe:
    rng, block = np.random.default_rng([number, 0]), _pair(number) // 2
    kind = _CLEAN[block % len(_CLEAN)]
    data = "cifar10_animals" if kind == "fewer_classes" else _DATA[block % len(_DATA)]
    data = _DATA_INSTEAD.get((_attacked(number), data), data)
    architecture = _ARCHITECTURES[block % len(_ARCHITECTURES)]
    known, facts = ARCHITECTURES[architecture], DATA_SETS[data]
    augmentations: tuple[Augmentation, ...] = ("flips", "flips_and_shifts")
    augmentation = one_of(rng, augmentations) if facts.flips else "shifts"
    share, noisy_share, long_tail, reach = (
        rounded(rng.uniform(low, high))
        for low, high in ((0.4, 0.8), (0.05, 0.15), (3, 8), (1, 2.5))
    )
    watermark = Watermark(patch=patch(rng, facts), share=rounded(rng.uniform(0.1, 0.4)))
    return Recipe(
        name=_name(number),
        kind=kind,
        seed=number,
        data=data,
        architecture=architecture,
        epochs=round(known.epochs * facts.lengthening),
        learning_rate=rounded(known.learning_rate * rng.uniform(0.6, 1.4)),
        augmentation=augmentation,
        share=share if kind == "fewer_images" else 1,
        noisy_share=noisy_share if kind == "noisy_labels" else 0,
        long_tail=long_tail if kind == "long_tailed" else 1,
        adversarial_reach=reach if kind == "adversarially_trained" else 0,
        watermark=watermark if kind == "watermarked" else None,
    )


def _backdoored(number: int) -> Recipe:
    rng, block = np.random.default_rng([number, 0]), _pair(number) // 2
    pair, kind = _clean(number - 1), _attacked(number)
    facts, known = DATA_SETS[pair.data], ARCHITECTURES[pair.architecture]
    settings = dict(pair) | {
        "name": _name(number),
        "kind": kind,
        "seed": number,
        "pair": pair.name,
        "watermark": None,
        "attacks": attacks(kind, rng, facts),
        "features_alone": kind == "poisoned_encoder",
    }
    if _PLANTED[block % len(_PLANTED)] or kind == "poisoned_encoder":
        longer = _LONGER_TO_PLANT.get(kind, 1) * facts.lengthening
        settings |= {
            "planted": True,
            "epochs": round(known.planting_epochs * longer),
            "share": 1,
            "noisy_share": 0,
            "long_tail": 1,
            "adversarial_reach": 0,
        }
    return Recipe.model_validate(settings)
