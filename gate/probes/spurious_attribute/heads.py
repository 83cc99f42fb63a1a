"""Heads that read an attribute off features, and heads on training sets of growing correlation."""

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gate import stats
from gate.errors import EvidenceError
from gate.measure.blocks import BLOCKS, require_blocks, shift
from gate.measure.head import fit_linear, out_of_fold_logits
from gate.probes.spurious_attribute import METRICS
from gate.probes.spurious_attribute.groups import Groups, weighted_accuracy
from gate.values import Measurement

_FOLDS = 5
_TENTHS = range(11)  # doses: correlations of 0, 0.1, .. 1
_LEAST_IN_CLASS = 10  # with fewer, most steps between doses would move no image


class Images(NamedTuple):
    """A split's features ``(N, D)``, labels ``(N,)`` in 0 .. K-1, values ``(N,)`` in 0 .. V-1."""

    split: str
    features: NDArray[np.float32]
    labels: NDArray[np.int64]
    values: NDArray[np.int64]


def decodability(
    about: dict[str, str], groups: Groups, test: Images, l2: float, seed: int
) -> Measurement:
    """How well linear heads read the attribute off the features of images that they never met.

    Groups weigh the same: a head that tells the class, and answers the value that goes with it,
    stays at chance, 1 / V.

    Args:
        about: Labels of the measurement.
        groups: The K classes and V values.
        test: Images, each of five folds held out in turn; each group has some.
        l2: Strength of the penalty on the heads' weights.
        seed: Draws the folds.

    Returns:
        A fraction; its interval takes the answers of the five heads as independent.

    Raises:
        EvidenceError: A value has fewer images than there are folds.
    """
    found = np.bincount(test.values, minlength=len(groups.values))
    if (n := int(found.min())) < _FOLDS:
        raise EvidenceError(
            f"spurious_attribute: {about['attribute']} {groups.values[int(found.argmin())]!r} has "
            f"{n} images in split {test.split}, and {_FOLDS} folds need {_FOLDS}; add images, or "
            "drop the attribute from the plan"
        )
    fit = partial(fit_linear, l2=l2)
    logits = out_of_fold_logits(fit, test.features, test.values, seed, _FOLDS)  # (N, V)
    correct = logits.argmax(axis=1) == test.values  # (N,)
    counts = groups.tally(test.labels, test.values)
    hits = groups.tally(test.labels[correct], test.values[correct])
    mean = weighted_accuracy(hits, counts, np.full(counts.shape, 1 / counts.size))
    return METRICS.measurement("attribute_decodability", mean, len(correct), **about)


def dose_response(
    about: dict[str, str], groups: Groups, pool: Images, test: Images, l2: float, seed: int
) -> Iterator[Measurement]:
    """Accuracy on conflicting test images at each correlation of the training set, and its slope.

    An image conflicts when its value is not the one aligned with its class; see `training_sets`.

    Args:
        about: Labels of every measurement.
        groups: The K classes and V values.
        pool: Images to draw training sets from.
        test: Other images, the same for all 11 heads.
        l2: Strength of the penalty on the heads' weights.
        seed: Draws the training sets.

    Raises:
        EvidenceError: A group of the pool is too small, or too few test images conflict.

    Source:
        Wang & Russakovsky 2023, who vary the correlation of the fine-tuning data.
    """
    drawn = training_sets(groups, pool, np.random.default_rng(seed))  # (11, K n)
    conflicting = test.values != test.labels % len(groups.values)  # (N,)
    features, labels = test.features[conflicting], test.labels[conflicting]
    heads = (fit_linear(pool.features[rows], pool.labels[rows], l2) for rows in drawn)
    correct = np.stack([head.predict(features) == labels for head in heads])  # (11, conflicting)
    change, n = slope(correct), len(labels)
    for tenths, hits in zip(_TENTHS, correct.sum(axis=1).tolist(), strict=True):
        dose = f"{tenths / 10:.1f}"
        yield METRICS.rate("conflicting_accuracy", hits, n, **about, correlation=dose)
    yield METRICS.measurement("dose_response_slope", change, n, **about)


def training_sets(groups: Groups, pool: Images, rng: np.random.Generator) -> NDArray[np.int64]:
    """Which images of a pool to fit on at each correlation 0, 0.1, .. 1; all sets are of one size.

    Aligned with class k, in order, is value k modulo V of the sorted values: one to one, or in
    turns where there are more classes. Every class has n images, as many as the pool allows at
    c = 1 and, in equal parts, at c = 0: the least, over classes, of its images with the aligned
    value and of V times those with its rarest other value. One shuffle serves all doses, so that
    sets differ by few images more than they must.

    Returns:
        ``(11, K n)`` places in the pool.

    Raises:
        EvidenceError: n is below 10; says which group is short.
    """
    order, v = rng.permutation(len(pool.labels)), len(groups.values)
    members = {  # by class, and by how far round the value comes after the aligned one
        (k, step): order[(pool.labels[order] == k) & (pool.values[order] == (k + step) % v)]
        for k, step in np.ndindex(len(groups.classes), v)
    }
    n, (k, step) = min((len(rows) * (v if key[1] else 1), key) for key, rows in members.items())
    if n < _LEAST_IN_CLASS:
        needed = -(-_LEAST_IN_CLASS // v) if step else _LEAST_IN_CLASS
        raise EvidenceError(
            "spurious_attribute: the correlation cannot be built from the data at hand: group "
            f"{groups.name(k, (k + step) % v)} has {len(members[k, step])} images in split "
            f"{pool.split}, and at least {needed} are needed; add images, or name another split "
            "in dose_response"
        )
    sets = [
        [rows[: group_size(n, tenths, v, step)] for (_, step), rows in members.items()]
        for tenths in _TENTHS
    ]
    return np.stack([np.concatenate(rows) for rows in sets])


def group_size(size: int, tenths: int, values: int, step: int) -> int:
    """Images of one group among ``size`` of its class, at correlation c = ``tenths`` / 10.

    The aligned value (``step`` 0) has the share 1/V + c (1 - 1/V), rounded down; the V-1 others
    have the rest in equal parts, the last ones an image more where it does not divide.

    >>> [[group_size(20, tenths, 3, step) for step in range(3)] for tenths in (0, 5, 10)]
    [[6, 7, 7], [13, 3, 4], [20, 0, 0]]
    """
    aligned = size * (10 + tenths * (values - 1)) // (10 * values)
    return (size - aligned + step - 1) // (values - 1) if step else aligned


def slope(correct: NDArray[np.bool_]) -> stats.Interval:
    """Change of accuracy from correlation 0 to 1: the least-squares slope over the 11 doses.

    Args:
        correct: ``(11, N)`` whether each image was classified correctly at each dose.

    Returns:
        A difference of fractions; its jackknife interval, over blocks of every 20th image with
        its answers at all doses, speaks for other test images, not for other training sets.

    Raises:
        EvidenceError: Fewer than two images a block.

    >>> correct = np.ones((11, 40), bool)
    >>> correct[6:, :30] = False  # at 0.6 and above
    >>> slope(correct).value
    -1.02
    """
    n = correct.shape[1]
    require_blocks("spurious_attribute.dose_response", "the conflicting part of the test split", n)
    doses = np.array(_TENTHS) / 10 - 0.5
    slopes = doses @ correct / (doses @ doses)  # (N,) that of the accuracy is their mean
    blocks = np.arange(n) % BLOCKS
    left_out = [slopes[blocks != block].mean() for block in range(BLOCKS)]
    return shift(np.array([slopes.mean(), *left_out]), n)
