"""How alike corresponding kernels are, as they stand and after channels were matched."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from scipy.optimize import linear_sum_assignment

from gate import stats
from gate.arrays import Array, Float64, Int64
from gate.lineage.network import by_channel
from gate.lineage.pairing import Pair

_RESAMPLES = 2000
_TAILS = (100 * (1 - stats.LEVEL) / 2, 100 * (1 + stats.LEVEL) / 2)  # per cent


class Activations(NamedTuple):
    """What a layer reads and gives for N images, a mean over places each.

    Args:
        reads: ``(N, I)``; None where it reads the input of the network.
        gives: ``(N, O)``.
    """

    reads: Array | None
    gives: Array


def unit(rows: Float64) -> Float64:
    """Rows ``(N, D)`` divided by their length; a row of zeros stays."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(length > 0, length, 1))


def cosines(first: Float64, second: Float64) -> Float64:
    """Cosines ``(C, C)`` of each row ``(C, D)`` of one matrix and each of another."""
    return np.asarray(unit(first) @ unit(second).T)


def matching(candidate: Float64, ancestor: Float64) -> Int64:
    """For each channel of the candidate the one of the ancestor that it is matched with.

    The sum of the correlations of matched channels is the largest that there is, so scaling a
    channel up or down changes nothing; one that is the same for all images correlates with none.

    Args:
        candidate: Activations ``(N, C)``.
        ancestor: Those of the same images.

    Returns:
        ``(C,)``, a permutation.

    Raises:
        ValueError: All channels of one of them are the same for all images.

    Source:
        Li et al. 2016, "Convergent Learning: Do different neural networks learn the same
        representations?", section 3 (bipartite matching by correlation).

    >>> x = np.array([[0.0, 1.0], [1.0, 5.0], [2.0, 2.0]])
    >>> matching(x, 10 * x[:, ::-1]).tolist()
    [1, 0]
    """
    centred = [values - values.mean(axis=0) for values in (candidate, ancestor)]
    if not all(values.any() for values in centred):
        raise ValueError(f"all of {candidate.shape[1]} channels are the same for all images")
    correlations = unit(centred[0].T) @ unit(centred[1].T).T
    return np.asarray(linear_sum_assignment(correlations, maximize=True)[1], np.int64)


def alignment(pair: Pair) -> Float64:
    """Cosine ``(O,)`` of each kernel of the candidate and the one in its place of the ancestor."""
    return _kernel_cosines(pair.candidate.weight, pair.ancestor.weight)


def aligned_alignment(pair: Pair, candidate: Activations, ancestor: Activations) -> Float64:
    """Cosine ``(O,)`` of matched kernels, whose inputs are matched and brought to one scale.

    What permutes channels, or rescales them by positive factors, and puts both right again behind,
    changes nothing here: each input is weighed by the standard deviation of its activations.

    Raises:
        ValueError: All channels that a layer reads or gives are the same for all images.
    """
    ours, theirs = (each.weight for each in pair)
    outputs, inputs = ours.shape[:2]
    if candidate.reads is not None and ancestor.reads is not None:
        read = [by_channel(each, inputs) for each in (candidate.reads, ancestor.reads)]
        ours, theirs = (
            weight * values.std(axis=0)[:, None]
            for weight, values in zip((ours, theirs), read, strict=True)
        )
        theirs = theirs[:, matching(*read)]
    given = [by_channel(each, outputs) for each in (candidate.gives, ancestor.gives)]
    return _kernel_cosines(ours, theirs[matching(*given)])


def _kernel_cosines(ours: Float64, theirs: Float64) -> Float64:
    """Cosines ``(O',)`` of kernels ``(O, I, P)``, without those that both have as zeros alone."""
    rows = [weight.reshape(len(weight), -1) for weight in (ours, theirs)]
    there = rows[0].any(axis=1) | rows[1].any(axis=1)
    return np.asarray((unit(rows[0]) * unit(rows[1])).sum(axis=1)[there]).clip(-1, 1)


class Alignment(NamedTuple):
    """Mean cosine of each layer, and of all their channels, with bootstrap intervals."""

    layers: list[stats.Interval]
    whole: stats.Interval


def mean_alignment(channels: Sequence[Float64], generator: Generator) -> Alignment:
    """Means over channels, with intervals by bootstrap over the channels of each layer.

    Args:
        channels: Of each layer, cosines ``(O,)``, one at the least. A layer of a single one says
            nothing of how they vary: its own interval is all that there is.
        generator: Draws.

    Source:
        Efron 1979; percentiles of 2,000 resamples, the layers as strata.
    """
    sums, layers = np.zeros(_RESAMPLES), []
    for values in channels:
        count = len(values)
        drawn = np.zeros(_RESAMPLES)
        for start in range(0, _RESAMPLES, 100):
            drawn[start : start + 100] = values[generator.integers(0, count, (100, count))].sum(
                axis=1
            )
        sums += drawn
        layers.append(
            _percentiles(float(values.mean()), drawn / count)
            if count > 1
            else stats.Interval(float(values[0]), -1.0, 1.0)
        )
    total = sum(map(len, channels))
    value = sum(float(values.sum()) for values in channels) / total
    return Alignment(layers, _percentiles(value, sums / total))


def _percentiles(value: float, drawn: Float64) -> stats.Interval:
    low, high = np.percentile(drawn, _TAILS).tolist()
    return stats.Interval(value, min(low, value), max(high, value))
