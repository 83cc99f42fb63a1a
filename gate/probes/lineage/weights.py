"""What two networks have in common by their weights alone."""

from collections.abc import Iterator, Sequence

import numpy as np

from gate import stats
from gate.arrays import Float64
from gate.lineage.alignment import alignment, mean_alignment
from gate.lineage.pairing import Pair, relative_distance
from gate.lineage.permutation import correspondences, exceedances
from gate.probes.lineage import METRICS, Lineage
from gate.values import Measurement


def by_weights(
    ancestor: str, pairs: Sequence[Pair], settings: Lineage, seed: int
) -> Iterator[Measurement | str]:
    """The test of independence, alignment of kernels as they stand, and the distance.

    Args:
        ancestor: Its digest.
        pairs: Layers of both.
        settings: How many orders the test draws.
        seed: Draws them.
    """
    about = {"ancestor": ancestor}
    if tables := correspondences(pairs):
        hits, draws = exceedances(tables, settings.permutations, np.random.default_rng(seed))
        p_value = stats.permutation_p_value(hits, draws)
        yield METRICS.measurement("independence_p_value", p_value, draws, **about)
    else:
        yield (
            "independence_p_value is not measured: no layer of both gives channels that further "
            "layers alone read, so that their order would mean nothing"
        )
    yield from alignments(
        "weight_alignment", pairs, [alignment(pair) for pair in pairs], seed, about
    )
    try:
        distance = relative_distance(pairs)
    except ValueError as fault:
        yield f"relative_parameter_distance is not measured: {fault}"
        return
    exact = stats.Interval(distance, distance, distance)  # of these weights: nothing was drawn
    n = sum(pair.candidate.weight.size for pair in pairs)
    yield METRICS.measurement("relative_parameter_distance", exact, n, **about)


def alignments(
    metric: str,
    pairs: Sequence[Pair],
    channels: Sequence[Float64],
    seed: int,
    about: dict[str, str],
) -> Iterator[Measurement | str]:
    """The mean cosine of all channels, and of each layer's.

    Args:
        metric: Of all; that of a layer is called after it.
        pairs: Layers of both.
        channels: Of each, cosines of its kernels; none where all are zero in both.
        seed: Draws resamples.
        about: Labels.
    """
    labels = layer_labels(pairs)
    if empty := [label for label, of in zip(labels, channels, strict=True) if not len(of)]:
        yield f"{metric}: left out, since all weights are zero in both: {', '.join(empty)}"
    there = [(label, of) for label, of in zip(labels, channels, strict=True) if len(of)]
    if not there:
        yield f"{metric} is not measured: all weights are zero in both"
        return
    means = mean_alignment([of for _, of in there], np.random.default_rng(seed))
    yield METRICS.measurement(metric, means.whole, sum(len(of) for _, of in there), **about)
    for (label, of), mean in zip(there, means.layers, strict=True):
        yield METRICS.measurement(f"layer_{metric}", mean, len(of), **about, layer=label)


def layer_labels(pairs: Sequence[Pair]) -> list[str]:
    """What each layer is called, in the candidate's words where they show and tell it apart."""
    names = [pair.candidate.name for pair in pairs]
    return [
        name if name and name.isprintable() and names.count(name) == 1 else f"layer {place}"
        for place, name in enumerate(names, 1)
    ]
