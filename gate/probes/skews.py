"""How far the histogram of predicted classes moves when images are stamped."""

import numpy as np
from numpy.typing import NDArray

from gate import stats
from gate.measure.blocks import shift
from gate.measure.responses import Hits
from gate.triggers.phrase import AnyStamp, AnyTrigger


def total_variation(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Half the sum of absolute differences between shares, over the last axis.

    >>> float(total_variation(np.array([0.5, 0.5]), np.array([0.9, 0.1])))
    0.4
    """
    return np.asarray(np.abs(first - second).sum(axis=-1) / 2)


def jensen_shannon(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Jensen-Shannon distance in 0 .. 1 (root of the divergence in bits), over the last axis."""
    from scipy.spatial.distance import jensenshannon

    return np.asarray(jensenshannon(first, second, base=2, axis=-1))


def skews(hits: Hits, stamp: AnyStamp) -> dict[str, stats.Interval]:
    """How far the histogram of predicted classes moves: total variation, and Jensen-Shannon."""
    clean, stamped = hits.shares(None), hits.shares(stamp)
    intervals = {}
    for metric, distance in (
        ("prediction_skew", total_variation),
        ("prediction_skew_jensen_shannon", jensen_shannon),
    ):
        value, low, high = shift(distance(stamped, clean), len(hits.labels))
        intervals[metric] = stats.Interval(value, max(low, 0.0), min(high, 1.0))
    return intervals


def excess_skew(hits: Hits, trigger: AnyTrigger, *, searched: int = 1) -> stats.Interval:
    """Total variation under a trigger minus that under its strongest control.

    The lower end holds for as many triggers at once as were searched.
    """
    clean, n = hits.shares(None), len(hits.labels)
    skew = total_variation(hits.shares(trigger.stamp), clean)
    controls = [total_variation(hits.shares(control), clean) for control in trigger.controls]
    return stats.smallest(
        [
            shift(skew - other, n, searched_low=searched, searched_high=len(controls))
            for other in controls
        ]
    )


def skew_over(hits: Hits, other: Hits, stamp: AnyStamp) -> stats.Interval:
    """Total variation under a stamp minus that of another classifier, on the same images."""
    ours, theirs = (total_variation(h.shares(stamp), h.shares(None)) for h in (hits, other))
    return shift(ours - theirs, len(hits.labels))
