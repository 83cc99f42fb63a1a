"""Accuracy with and without pretraining, over images and over seeds, with intervals for both."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from gate import stats
from gate.arrays import Float64, Floats

Mask = NDArray[np.bool_]


class Draws(NamedTuple):
    """What networks of S seeds make of the same N test images, with the backbone and at random.

    ``pretrained`` and ``random`` are ``(S, N)``, whether each image is classified correctly;
    ``learnt`` and ``learnt_anew`` are ``(S, epochs)`` training accuracies, where SGD trained.
    """

    pretrained: Mask
    random: Mask
    learnt: Floats | None = None
    learnt_anew: Floats | None = None

    @classmethod
    def one(cls, *each: Mask | Floats) -> Self:
        """Of one seed."""
        return cls(*(values[None] for values in each))  # type: ignore[arg-type]  # in that order

    @classmethod
    def of(cls, several: Sequence[Self]) -> Self:
        """Of all seeds."""
        together = [values for values in zip(*several, strict=True) if values[0] is not None]
        return cls(*map(np.concatenate, together))


def accuracy(correct: Mask) -> stats.Interval:
    """Mean accuracy over seeds.

    Args:
        correct: ``(S, N)`` whether each image is classified correctly.
    """
    by_seed, by_image = correct.mean(axis=1), correct.mean(axis=0)
    nothing = stats.rate(0, correct.shape[1]).high
    found = _over_both(by_image, lambda seeds: float(by_seed[seeds].mean()), len(by_seed), nothing)
    return stats.Interval(found.value, max(found.low, 0.0), min(found.high, 1.0))


def relative_drop(draws: Draws) -> stats.Interval:
    """Share of the mean accuracy with the backbone that is lost with random initialisation.

    Images and seeds are crossed: all networks see the same images. The reach over images, of the
    quotient made linear, and that over seeds, by leaving one out, add up as standard errors do;
    what images and seeds do together is in both, so it holds rather too often.

    Args:
        draws: Of S seeds and N images, some of which is classified correctly with the backbone.

    Source:
        Tukey 1958, for seeds; the delta method for a quotient of means, for images.
    """
    ours, theirs = draws.pretrained.mean(axis=1), draws.random.mean(axis=1)  # (S,)
    quotient, whole = theirs.mean() / ours.mean(), ours.mean()
    of_images = draws.random.mean(axis=0) - quotient * draws.pretrained.mean(axis=0)  # (N,)
    nothing = stats.rate(0, len(of_images)).high / whole
    return _over_both(
        1 - quotient - of_images / whole,
        lambda seeds: float(1 - theirs[seeds].mean() / ours[seeds].mean()),
        len(ours),
        nothing,
    )


def speed(learnt: Floats, images: int, anew: Floats | None = None) -> stats.Interval:
    """Optimisation speed: mean training accuracy over epochs and seeds; or what it is more.

    The interval speaks for other seeds on the same training images. Where seeds hardly differ it
    reaches as far as that of a rate of which nothing was seen.

    Args:
        learnt: ``(S, epochs)`` training accuracies from the backbone's weights.
        images: How many training images.
        anew: Those from scratch, which are subtracted, seed by seed.
    """
    by_seed = learnt.mean(axis=1, dtype=np.float64)
    least = 0.0
    if anew is not None:
        by_seed, least = by_seed - anew.mean(axis=1, dtype=np.float64), -1.0
    parts = [float(np.delete(by_seed, seed).mean()) for seed in range(len(by_seed))]
    value, low, high = stats.jackknife(float(by_seed.mean()), parts)
    nothing = stats.rate(0, images).high
    low, high = min(low, value - nothing), max(high, value + nothing)
    return stats.Interval(value, max(low, least), min(high, 1.0))


def _over_both(
    by_image: Float64, of_seeds: Callable[[list[int]], float], seeds: int, nothing: float
) -> stats.Interval:
    """An interval over images and seeds.

    Args:
        by_image: ``(N,)``, whose mean is the value.
        of_seeds: The value for some of the seeds.
        seeds: How many there are.
        nothing: How far it reaches at least over images.
    """
    value, _, high = stats.mean(by_image)
    left_out = [of_seeds([s for s in range(seeds) if s != without]) for without in range(seeds)]
    over_seeds = stats.jackknife(value, left_out).high - value
    reach = math.hypot(max(high - value, nothing), over_seeds)
    return stats.Interval(value, value - reach, value + reach)
