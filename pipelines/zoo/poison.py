"""From images and a recipe to training data, and how often a backbone does what was planted."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gate.arrays import Images, Int64
from gate.errors import DataError
from pipelines.zoo.data_sets import DATA_SETS, Labelled
from pipelines.zoo.generator import Generator
from pipelines.zoo.recipe import Attack, Recipe
from pipelines.zoo.triggers import Learnt, Trigger

Booleans = NDArray[np.bool_]


class Stamping(Protocol):
    """A trigger that can be put on images; one that is learnt can once it has its network."""

    def on(self, images: Images) -> Images:
        """A stamped copy of images ``(N, S, S, C)`` uint8."""


@dataclass(frozen=True)
class Stamped:
    """Training data: what is stamped on which of its images.

    ``stamps`` ``(N,)`` are places in ``triggers``, -1 where nothing is stamped; ``labels`` are
    those that training sees. ``whole`` has for each attack what is stamped once it is planted.
    """

    examples: Labelled
    stamps: Int64
    triggers: tuple[Stamping, ...]
    whole: tuple[Stamping, ...]

    @property
    def learnt(self) -> dict[int, Generator]:
        """Triggers that are trained with the member, by their places."""
        return {
            place: trigger
            for place, trigger in enumerate(self.triggers)
            if isinstance(trigger, Generator)
        }

    def stamp(self, images: Images, rows: Int64) -> Images:
        """A copy of images ``(n, S, S, C)``, of those rows, with the stamps that they bear.

        What is learnt is not among these stamps.
        """
        stamped = images.copy()
        for place, trigger in enumerate(self.triggers):
            chosen = self.stamps[rows] == place
            if chosen.any() and not isinstance(trigger, Generator):
                stamped[chosen] = trigger.on(images[chosen])
        return stamped


def training_data(recipe: Recipe, source: Labelled) -> Stamped:
    """The images that a recipe trains on; no image bears two stamps."""
    rng = np.random.default_rng([recipe.seed, 1])
    rows, classes = _chosen(recipe, source.labels, rng), DATA_SETS[recipe.data].classes
    labels = source.labels[rows]
    noisy = rng.random(len(rows)) < recipe.noisy_share
    labels[noisy] = (labels[noisy] + rng.integers(1, classes, int(noisy.sum()))) % classes
    stamps, triggers, whole = np.full(len(rows), -1), list[Stamping](), list[Stamping]()
    if recipe.watermark:
        triggers.append(recipe.watermark.patch)
        stamps[rng.random(len(rows)) < recipe.watermark.share] = 0
    before = labels.copy()
    for attack in recipe.attacks:
        whole.append(_stamping(attack.trigger, source.images.shape[3]))
        targets = _targets(attack, before, classes)
        poisoned = before == targets if attack.clean_label else _sent(attack, before, targets)
        drawn = rng.random(len(rows)) < np.where(poisoned, attack.share, attack.negative_share)
        drawn &= stamps < 0
        _put(stamps, drawn, triggers, attack.parts or whole[-1:], rng)
        labels[drawn & poisoned] = targets[drawn & poisoned]
        if attack.covers:
            covering = (rng.random(len(rows)) < attack.cover_share) & (stamps < 0)
            _put(stamps, covering, triggers, attack.covers, rng)
    return Stamped(Labelled(source.images[rows], labels), stamps, tuple(triggers), tuple(whole))


def _stamping(trigger: Trigger | Learnt, channels: int) -> Stamping:
    return Generator(trigger, channels) if isinstance(trigger, Learnt) else trigger


def _put(
    stamps: Int64,
    drawn: Booleans,
    triggers: list[Stamping],
    more: Sequence[Stamping],
    rng: np.random.Generator,
) -> None:
    """Give each image that was drawn one of several more triggers."""
    if len(more) == 1:
        stamps[drawn] = len(triggers)
    else:
        stamps[drawn] = len(triggers) + rng.integers(0, len(more), int(drawn.sum()))
    triggers.extend(more)


def _chosen(recipe: Recipe, labels: Int64, rng: np.random.Generator) -> Int64:
    """Rows that are used: a share of all, and fewer and fewer from class to class, in their order.

    Which classes are common is drawn.
    """
    classes = DATA_SETS[recipe.data].classes
    ranks = rng.permutation(classes)
    shares = recipe.share * recipe.long_tail ** (-ranks / (classes - 1))
    order = rng.permutation(len(labels))
    rows = []
    for label in range(classes):
        members = order[labels[order] == label]
        rows.append(members[: round(shares[label] * len(members))])
    return np.sort(np.concatenate(rows))


def _sent(attack: Attack, labels: Int64, targets: Int64) -> Booleans:
    """Which images ``(N,)`` an attack sends to another class than theirs."""
    sent: Booleans = targets != labels
    return sent if attack.source is None else labels == attack.source


def _targets(attack: Attack, labels: Int64, classes: int) -> Int64:
    """Where an attack sends images of those labels, ``(N,)``."""
    if attack.target is None:
        return (labels + 1) % classes
    return np.full_like(labels, attack.target)


def own_rates(
    recipe: Recipe,
    whole: Sequence[Stamping],
    held_out: Labelled,
    predict: Callable[[Images], Int64],
) -> Iterator[tuple[float, float | None]]:
    """For each attack its success rate, and that on the classes which it is not meant for.

    Args:
        recipe: What was planted.
        whole: What is stamped, for each attack.
        held_out: Images that training did not see.
        predict: Gives classes ``(n,)`` of images ``(n, S, S, C)``.

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
    for attack, trigger in zip(recipe.attacks, whole, strict=True):
        targets = _targets(attack, labels, DATA_SETS[recipe.data].classes)
        reached = predict(trigger.on(images)) == targets
        poisoned = _sent(attack, labels, targets)
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
