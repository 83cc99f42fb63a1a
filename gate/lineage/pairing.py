"""Which layer of one network stands for which of another: by their order, or by their names."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gate.lineage.network import Layer


class Pair(NamedTuple):
    """Two layers of the same shape: the candidate's and the ancestor's."""

    candidate: Layer
    ancestor: Layer


def paired(candidate: Sequence[Layer], ancestor: Sequence[Layer]) -> list[Pair]:
    """Pairs of all layers, in the order of the candidate.

    Order comes first: names stand in a file as somebody wrote them.

    Raises:
        ValueError: Their shapes, in order, differ, and so they do by name.
    """
    names = {layer.name: place for place, layer in enumerate(ancestor)}
    by_name = [names[layer.name] for layer in candidate if layer.name in names]
    for order in (list(range(len(ancestor))), by_name):
        if len(set(order)) < len(ancestor):
            continue
        shapes = [ancestor[place].weight.shape for place in order]
        if shapes == [layer.weight.shape for layer in candidate]:
            others = _reordered(ancestor, order)
            return [Pair(*pair) for pair in zip(candidate, others, strict=True)]
    if len(candidate) != len(ancestor):
        raise ValueError(f"it has {len(candidate)} layers, and the ancestor {len(ancestor)}")
    place, (ours, theirs) = next(
        (place, pair)
        for place, pair in enumerate(zip(candidate, ancestor, strict=True), 1)
        if pair[0].weight.shape != pair[1].weight.shape
    )
    raise ValueError(
        f"layer {place} is {ours.weight.shape} (outputs, inputs, places of a kernel), and the "
        f"ancestor's {theirs.weight.shape}"
    )


def _reordered(layers: Sequence[Layer], order: Sequence[int]) -> list[Layer]:
    """Layers in another order, each still naming those that read it."""
    new = {old: place for place, old in enumerate(order)}
    return [
        layers[old]._replace(
            readers=tuple(sorted(new[reader] for reader in layers[old].readers if reader in new))
        )
        for old in order
    ]


def relative_distance(pairs: Sequence[Pair]) -> float:
    """Length of the difference of all weights, over the root of the sum of both squared lengths.

    It is 0 for equal weights and 1 where they are at right angles, as independent ones nearly are,
    whatever their lengths.

    Raises:
        ValueError: All weights of both are zero.
    """
    apart = sum(float(np.sum((ours.weight - theirs.weight) ** 2)) for ours, theirs in pairs)
    whole = sum(float(np.sum(each.weight**2)) for pair in pairs for each in pair)
    if not whole > 0:
        raise ValueError("all weights of both are zero")
    return float(np.sqrt(apart / whole))
