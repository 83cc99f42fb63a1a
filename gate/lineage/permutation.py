"""An exact test of whether two networks were trained independently, on their weights alone.

Who trains from a random start has no reason for one order of hidden channels or another: before and
after any permutation of them, the network is equally likely. So, had a candidate been trained
independently of an ancestor, the channels of both would correspond no better in the order that they
have than in one drawn at random.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from gate.arrays import Float64
from gate.lineage.alignment import cosines
from gate.lineage.pairing import Pair

_NUMBERS = 1 << 22  # of channels drawn at once
_ROUNDING = 1e-9  # the order that stands there, drawn again, counts as no smaller


class Exceedances(NamedTuple):
    """How many orders drawn at random correspond no worse than the one that stands there."""

    hits: int
    draws: int


def correspondences(pairs: Sequence[Pair]) -> list[Float64]:
    """How hidden channels correspond, of each set of them that the test permutes.

    No layer is beside two of these sets: a sum over both would not be exact, since permuting one
    changes how the other corresponds.

    Returns:
        Of each, ``(C, C)``: the cosine of the incoming weights of a channel of the candidate and of
        one of the ancestor, plus those of the outgoing weights.
    """
    tables, used = [], set[int]()
    for place, (ours, theirs) in enumerate(pairs):
        beside = {place, *ours.readers}
        if not ours.readers or ours.readers != theirs.readers or used & beside:
            continue
        used |= beside
        table = cosines(_by_output(ours.weight), _by_output(theirs.weight))
        for reader in ours.readers:
            outgoing = (_by_output(each.weight.swapaxes(0, 1)) for each in pairs[reader])
            table = table + cosines(*outgoing)
        tables.append(table)
    return tables


def _by_output(weight: Float64) -> Float64:
    return weight.reshape(len(weight), -1)


def exceedances(tables: Sequence[Float64], draws: int, generator: Generator) -> Exceedances:
    """Orders of all hidden channels at once, drawn at random, held against the one that stands.

    Args:
        tables: As `correspondences` gives them.
        draws: How many orders.
        generator: Draws them.

    Source:
        Zhu et al. 2025, "Independence Tests for Language Models", constrained setting: the test of
        permutations, with the sum of cosines of corresponding hidden units as its statistic.
    """
    observed = sum(float(np.trace(table)) for table in tables)
    drawn = np.zeros(draws)
    for table in tables:
        channels = len(table)
        size = max(1, _NUMBERS // channels)
        for start in range(0, draws, size):
            count = min(size, draws - start)
            orders = generator.permuted(np.tile(np.arange(channels), (count, 1)), axis=1)
            drawn[start : start + count] += table[np.arange(channels), orders].sum(axis=1)
    return Exceedances(int((drawn >= observed - _ROUNDING).sum()), draws)
