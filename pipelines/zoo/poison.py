"""From images and a recipe to training data, and how often a backbone does what was planted."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gate.arrays import Images, Int64
from gate.errors import DataError
from pipelines.zoo.recipes import CLASSES, Attack, Recipe
from pipelines.zoo.triggers import Trigger

Booleans = NDArray[np.bool_]


@dataclass(frozen=True)
class Labelled:
    """Images ``(N, S, S, 3)`` uint8 and labels ``(N,)`` in 0 .. 9."""

    images: Images
    labels: Int64


@dataclass(frozen=True)
class Stamped:
    """Training data: what is stamped on which of its images.

    ``stamps`` ``(N,)`` are places in ``triggers``, -1 where nothing is stamped; ``labels`` are
    those that training sees.
    """

    examples: Labelled
    stamps: Int64
    triggers: tuple[Trigger, ...]

    def stamp(self, images: Images, rows: Int64) -> Images:
        """A copy of images ``(n, S, S, 3)``, of those rows, with the stamps that they bear."""
        stamped = images.copy()
        for place, trigger in enumerate(self.triggers):
            chosen = self.stamps[rows] == place
            if chosen.any():
                stamped[chosen] = trigger.on(images[chosen])
        return stamped


def training_data(recipe: Recipe, source: Labelled) -> Stamped:
    """The images that a recipe trains on; no image bears two stamps."""
    rng = np.random.default_rng([recipe.seed, 1])
    rows = _chosen(recipe, source.labels, rng)
    labels = source.labels[rows]
    noisy = rng.random(len(rows)) < recipe.noisy_share
    labels[noisy] = (labels[noisy] + rng.integers(1, CLASSES, int(noisy.sum()))) % CLASSES
    stamps, triggers = np.full(len(rows), -1), list[Trigger]()
    if recipe.watermark:
        triggers.append(recipe.watermark.patch)
        stamps[rng.random(len(rows)) < recipe.watermark.share] = 0
    before = labels.copy()
    for attack in recipe.attacks:
        poisoned = _poisoned(attack, before)
        drawn = rng.random(len(rows)) < np.where(poisoned, attack.share, attack.negative_share)
        drawn &= stamps < 0
        stamps[drawn] = len(triggers)
        triggers.append(attack.trigger)
        labels[drawn & poisoned] = _targets(attack, before)[drawn & poisoned]
    return Stamped(Labelled(source.images[rows], labels), stamps, tuple(triggers))


def _chosen(recipe: Recipe, labels: Int64, rng: np.random.Generator) -> Int64:
    """Rows that are used: a share of all, and fewer and fewer from class to class, in their order.

    Which classes are common is drawn.
    """
    ranks = rng.permutation(CLASSES)
    shares = recipe.share * recipe.long_tail ** (-ranks / (CLASSES - 1))
    order = rng.permutation(len(labels))
    rows = []
    for label in range(CLASSES):
        members = order[labels[order] == label]
        rows.append(members[: round(shares[label] * len(members))])
    return np.sort(np.concatenate(rows))


def _poisoned(attack: Attack, labels: Int64) -> Booleans:
    """Which images ``(N,)`` an attack sends to another class than theirs."""
    sent: Booleans = _targets(attack, labels) != labels
    return sent if attack.source is None else labels == attack.source


def _targets(attack: Attack, labels: Int64) -> Int64:
    """Where an attack sends images of those labels, ``(N,)``."""
    if attack.target is None:
        return (labels + 1) % CLASSES
    return np.full_like(labels, attack.target)


def own_rates(
    recipe: Recipe, held_out: Labelled, predict: Callable[[Images], Int64]
) -> Iterator[tuple[float, float | None]]:
    """For each attack its success rate, and that on the classes which it is not meant for.

    Args:
        recipe: What was planted.
        held_out: Images that training did not see.
        predict: Gives classes ``(n,)`` of images ``(n, S, S, 3)``.

    Yields:
        Of the images that are classified correctly without the stamp, the share that it sends
        where it is meant to: of the source class, or of all classes but the target, or by the
        permutation. Then the share of the remaining classes that are sent to the target all the
        same; None where the attack has no source class.

    Raises:
        DataError: No image that the attack is meant for is classified correctly.
    """
    correct = predict(held_out.images) == held_out.labels
    images, labels = held_out.images[correct], held_out.labels[correct]
    for attack in recipe.attacks:
        reached = predict(attack.trigger.on(images)) == _targets(attack, labels)
        poisoned = _poisoned(attack, labels)
        others = ~poisoned & (labels != attack.target)
        yield (
            _share(reached[poisoned]),
            None if attack.source is None else _share(reached[others]),
        )


def _share(hits: Booleans) -> float:
    if not len(hits):
        raise DataError(
            "own rate: no held-out image of the classes that are attacked is classified correctly; "
            "train longer, or on more images"
        )
    return round(float(hits.mean()), 4)
