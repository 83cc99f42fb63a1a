"""Module criticality as a measure: how far a module lies from its origin, over the noise it bears.

``mu = min over a, s of a^2 ||F - 0||^2 / s^2 such that E_u[loss(at a, plus u)] <= eps``, for a
module's weights F and their origin 0, ``at a`` between both, and noise u ~ N(0, s^2) on each.
"""

import math
from bisect import bisect_left
from collections.abc import Callable
from functools import cache

import numpy as np

from gate import stats
from gate.backbone.altered_weights import (
    Architecture,
    Weights,
    interpolated,
    norm,
    rewound,
    shifted,
    standard_noise,
)
from gate.backbone.heads import LinearHead
from gate.measure.altered import Altered, Sample

SHARES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)  # of the way from the origin
HALVINGS = 6  # of the largest noise, which is as large as the weights, in steps of a square root
SCALES = tuple(2 ** (-step / 2) for step in range(2 * HALVINGS + 1))

MOST_PLACES = 1 + len(SHARES[1:]) * len(SCALES)  # at which noise is drawn


def smallest(
    distance: float, size: float, rise: Callable[[float, float], stats.Interval], allowed: float
) -> stats.Interval | None:
    """The smallest ``a^2 distance^2 / s^2`` at which the loss rises by no more than is allowed.

    The largest noise at a share a is found by bisection, since loss grows with noise; the shares
    and the scales are a grid, so the result is exact to a factor of two.

    Args:
        distance: From the origin.
        size: The noise that is tried first; then those less by up to a factor of 64.
        rise: Of the loss at a share of the way under noise of a scale, with its interval.
        allowed: In nats.

    Returns:
        With the ends that follow from those of the rise; None where even the smallest noise raises
        the loss by more, at each share, at the upper end of that rise.

    >>> smallest(2.0, 1.0, lambda a, s: stats.Interval(s, s, s), 0.5)
    Interval(value=0.0, low=0.0, high=0.0)
    >>> smallest(2.0, 1.0, lambda a, s: stats.Interval(*[s + 2 * (a < 1)] * 3), 0.5)
    Interval(value=16.0, low=16.0, high=16.0)
    """
    if not distance:
        return stats.Interval(0.0, 0.0, 0.0)
    rise = cache(rise)
    least = dict.fromkeys(stats.Interval._fields, math.inf)
    for share in SHARES:
        scales = [size * scale for scale in (SCALES if share else SCALES[-1:])]
        for end, found in least.items():
            if (share * distance / size) ** 2 >= found:
                continue  # not even the largest noise would make it less

            def bears(scale: float, share: float = share, end: str = end) -> bool:
                return float(getattr(rise(share, scale), end)) <= allowed

            if (first := bisect_left(scales, True, key=bears)) < len(scales):
                least[end] = min(found, (share * distance / scales[first]) ** 2)
    if not math.isfinite(max(least.values())):
        return None
    low, value, high = sorted(least.values())
    return stats.Interval(value, low, high)


def path_norm(
    altered: Altered,
    architecture: Architecture,
    others: Weights,
    module: str,
    images: Sample,
    head: LinearHead | None,
    allowed: float,
    draws: int,
    seed: int,
) -> stats.Interval | None:
    """The measure of one module, with an interval for the draws of its noise.

    Args:
        altered: The network.
        architecture: Of it.
        others: The weights of the origin.
        module: Its name.
        images: Training images, of which the loss is.
        head: Classifies them, as in `Altered.classes`.
        allowed: Rise of the loss over that of the network as it is, in nats: eps less that loss.
        draws: Of the noise; at each share and scale the same ones, scaled.
        seed: Draws them.

    Returns:
        None where no noise that was tried is borne; see `smallest`.

    Source:
        Chatterji, Neyshabur and Sedghi 2020, "The intriguing role of module criticality in the
        generalization of deep networks".
    """
    weights, names = altered.weights, architecture.parameters_of(module)
    origin = rewound(weights, others, module)
    apart = norm({name: weights[name].double() - origin[name].double() for name in names})
    size = max(norm({name: weights[name] for name in names}), apart)
    count = sum(weights[name].numel() for name in names)
    noises = [standard_noise(weights, names, [seed, draw]) for draw in range(draws)]
    before = altered.loss(weights, f"loss of {module}", images, head)

    def rise(share: float, scale: float) -> stats.Interval:
        centre = interpolated(origin, weights, share)
        what = f"noise {scale:.2g} on {module} at {share:g}"
        rises = [
            altered.loss(shifted(centre, noise, scale), what, images, head) - before
            for noise in noises
        ]
        left_out = [(sum(rises) - each) / (draws - 1) for each in rises]
        return stats.jackknife(float(np.mean(rises)), left_out)

    return smallest(apart, size / math.sqrt(count), rise, allowed)
