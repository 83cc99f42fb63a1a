"""Does a head on this backbone lean on an attribute that merely goes with the label?

What it measures: accuracy in every group, a group being a (class, attribute value) pair; the worst
group; the gap between the mean of the groups and the worst; their mean as weighted in training; how
well a head reads the attribute off the features; and, from a pool to draw training sets of growing
correlation from, how accuracy against the correlation falls (dose-response).
Control: the mean of the groups, on the same head; training sets of the same size at correlation 0.
Why it matters: a backbone trained where the background went with the label hands the shortcut to
every head whose own training data has the same co-occurrence, and clean accuracy does not show it.
Blind spots: attributes that the data does not name; groups too small for a narrow interval; an
attribute that can be read is not always used; the doses try one assignment of values to classes
and one draw; near-copies of images in the test split make an attribute easier to read.
Source: Sagawa et al. 2020, section 3.1; Salman et al. 2022, section 3; Wang & Russakovsky 2023.
"""

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from gate import stats
from gate.errors import EvidenceError, PlanError
from gate.measure.head import fit_linear, out_of_fold_logits
from gate.measure.stamped import BLOCKS, require_blocks, shift
from gate.strict_yaml import nearest
from gate.values import Measurement, Value

if TYPE_CHECKING:
    from gate.measure.trial import Trial
    from gate.plan.plan import Task

_LEAST = 2  # one image gives an interval of nearly 0 .. 1, which only looks like a measurement
_FOLDS = 5
_TENTHS = range(11)  # doses: correlations of 0, 0.1, .. 1
_LEAST_IN_CLASS = 10  # with fewer, most steps between doses would move no image


class SpuriousAttribute(Value):
    """Which attributes to measure, for which tasks."""

    attributes: tuple[str, ...] = Field(min_length=1)
    tasks: tuple[str, ...] | None = None
    dose_response: str | None = Field(
        None, description="Split to draw training sets of growing correlation from."
    )
    remedies: tuple[Literal["balanced_groups"], ...] = Field(
        (), description="Measured for each task with a head on frozen features."
    )


class Groups(NamedTuple):
    """The (class, value) pairs of a task and an attribute: K classes by V sorted values."""

    classes: tuple[str, ...]
    values: tuple[str, ...]

    def name(self, k: int, v: int) -> str:
        """How messages call a group."""
        return f"({self.classes[k]}, {self.values[v]})"

    def tally(self, labels: NDArray[np.int64], values: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many images ``(K, V)`` each group has.

        >>> Groups(("x", "y"), ("a", "b")).tally(np.array([0, 1, 1]), np.array([1, 0, 0])).tolist()
        [[0, 1], [2, 0]]
        """
        shape = len(self.classes), len(self.values)
        return np.bincount(labels * shape[1] + values, minlength=shape[0] * shape[1]).reshape(shape)


class Images(NamedTuple):
    """A split's features ``(N, D)``, labels ``(N,)`` in 0 .. K-1, values ``(N,)`` in 0 .. V-1."""

    split: str
    features: NDArray[np.float32]
    labels: NDArray[np.int64]
    values: NDArray[np.int64]


def measure(trial: "Trial", settings: SpuriousAttribute) -> Iterator[Measurement]:
    """Accuracy by group, decodability, and dose-response if asked for, by task and attribute.

    Raises:
        PlanError: A split lacks an attribute, or the pool does not suit a task.
        EvidenceError: An attribute has one value, or there are too few images; says where.
    """
    for name, task in trial.tasks(settings.tasks).items():
        test = trial.split(task.test)
        splits = {test.name}
        if settings.dose_response is not None:
            _check_pool(trial, name, settings.dose_response)
            splits.add(settings.dose_response)
        right = trial.predictions(task) == test.labels  # (N,)
        for attribute in settings.attributes:
            about = {"task": name, "attribute": attribute}
            columns = {split: _column(trial, split, attribute) for split in splits}
            if task.train and attribute in trial.split(task.train).attributes:
                columns[task.train] = trial.split(task.train).attributes[attribute]
            # of every split: a value that no test image has makes an empty group, which is refused
            values = np.unique(np.concatenate(list(columns.values())))
            groups = Groups(test.classes, tuple(values.tolist()))
            members = {
                split: (trial.split(split).labels, np.searchsorted(values, column))
                for split, column in columns.items()
            }
            trained = groups.tally(*members[task.train]) if task.train in members else None
            yield from accuracies(about, groups, *members[test.name], right, trained)
            yield from _remedied(trial, settings, task, about, groups, *members[test.name])
            if not task.fits_head or task.head == "own":
                continue  # what follows is about heads on frozen features
            images = Images(test.name, trial.features(test.name), *members[test.name])
            yield decodability(about, groups, images, task.head.l2, trial.plan.seed)
            if settings.dose_response is not None:
                pool = settings.dose_response
                source = Images(pool, trial.features(pool), *members[pool])
                yield from dose_response(
                    about, groups, source, images, task.head.l2, trial.plan.seed
                )


def _remedied(
    trial: "Trial",
    settings: SpuriousAttribute,
    task: "Task",
    about: dict[str, str],
    groups: Groups,
    labels: NDArray[np.int64],
    values: NDArray[np.int64],
) -> Iterator[Measurement]:
    """The worst group, and accuracy, after each remedy."""
    from gate.measure.remedies import (
        against_attribute,  # a plan lists the probes, so it comes after them
    )

    for remedy, variant in against_attribute(task, about["attribute"]).items():
        if remedy not in settings.remedies:
            continue
        right = trial.predictions(variant) == labels
        after = {**about, "remedy": remedy}
        yield Measurement.rate("accuracy_after_remedy", int(right.sum()), len(right), **after)
        for m in accuracies(after, groups, labels, values, right, None):
            if m.metric == "worst_group_accuracy":
                worst = stats.Interval(m.value, m.low, m.high)
                yield Measurement.of(f"{m.metric}_after_remedy", worst, m.n, m.unit, **after)


def accuracies(
    about: dict[str, str],
    groups: Groups,
    labels: NDArray[np.int64],
    values: NDArray[np.int64],
    right: NDArray[np.bool_],
    trained: NDArray[np.int64] | None,
) -> Iterator[Measurement]:
    """Accuracy by group, of the worst, the gap, and the mean as weighted in training.

    Args:
        about: Labels of every measurement.
        groups: Names of the K classes and V values.
        labels: ``(N,)`` of the test images, in 0 .. K-1.
        values: ``(N,)`` of the test images, in 0 .. V-1.
        right: ``(N,)`` whether each was classified rightly.
        trained: ``(K, V)`` images of each group in training; None, where it does not name the
            attribute, leaves the weighted mean out.

    Raises:
        EvidenceError: The attribute has one value, or a group has no image, or one.

    Source:
        Sagawa et al. 2020, who weight by the training split on Waterbirds.
    """
    if len(groups.values) < 2:
        raise EvidenceError(
            f"spurious_attribute: {about['attribute']} has the one value {groups.values[0]!r}, and "
            "at least 2 are needed to compare; add images, or drop the attribute from the plan"
        )
    counts = groups.tally(labels, values)
    hits = groups.tally(labels[right], values[right])
    bounds = []
    for k, v in np.ndindex(counts.shape):
        n, hit = int(counts[k, v]), int(hits[k, v])
        if n < _LEAST:
            raise EvidenceError(
                f"spurious_attribute: group {groups.name(k, v)} has {n} test images, "
                f"and at least {_LEAST} are needed; add images, or drop the attribute from the plan"
            )
        pair = {"class": groups.classes[k], "value": groups.values[v]}
        yield Measurement.rate("group_accuracy", hit, n, **about, **pair)
        bounds.append(stats.rate(hit, n, searched=counts.size))
    worst = stats.smallest(bounds)
    smallest = int(counts.flat[int(np.argmin([bound.value for bound in bounds]))])
    yield Measurement.of("worst_group_accuracy", worst, smallest, "fraction", **about)
    # the mean of independent groups lies between the means of their simultaneous bounds
    mean = stats.Interval(*np.mean(bounds, axis=0).tolist())
    gap = stats.Interval(
        mean.value - worst.value, max(mean.low - worst.high, 0.0), mean.high - worst.low
    )
    yield Measurement.difference("group_gap", gap, smallest, **about)
    if trained is not None:
        weighted = weighted_accuracy(hits, counts, trained / trained.sum())
        yield Measurement.of("group_weighted_accuracy", weighted, len(right), "fraction", **about)


def weighted_accuracy(
    hits: NDArray[np.int64], counts: NDArray[np.int64], shares: NDArray[np.float64]
) -> stats.Interval:
    """Mean of the groups' accuracies by given shares, with a stratified interval.

    Args:
        hits: ``(K, V)`` images that were classified rightly.
        counts: ``(K, V)`` images, at least one in each group.
        shares: ``(K, V)`` weights that sum to 1, taken as known.

    >>> weighted_accuracy(np.array([[9, 1]]), np.array([[10, 10]]), np.array([[0.75, 0.25]])).value
    0.7
    """
    rates = [stats.rate(int(hit), int(n)) for hit, n in zip(hits.flat, counts.flat, strict=True)]
    return stats.weighted_mean(rates, shares.ravel().tolist())


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
    right = logits.argmax(axis=1) == test.values  # (N,)
    counts = groups.tally(test.labels, test.values)
    hits = groups.tally(test.labels[right], test.values[right])
    mean = weighted_accuracy(hits, counts, np.full(counts.shape, 1 / counts.size))
    return Measurement.of("attribute_decodability", mean, len(right), "fraction", **about)


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
    right = np.stack([head.predict(features) == labels for head in heads])  # (11, conflicting)
    change, n = slope(right), len(labels)
    for tenths, hits in zip(_TENTHS, right.sum(axis=1).tolist(), strict=True):
        dose = f"{tenths / 10:.1f}"
        yield Measurement.rate("conflicting_accuracy", hits, n, **about, correlation=dose)
    yield Measurement.difference("dose_response_slope", change, n, **about)


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


def slope(right: NDArray[np.bool_]) -> stats.Interval:
    """Change of accuracy from correlation 0 to 1: the least-squares slope over the 11 doses.

    Args:
        right: ``(11, N)`` whether each image was classified rightly at each dose.

    Returns:
        A difference of fractions; its jackknife interval, over blocks of every 20th image with
        its answers at all doses, speaks for other test images, not for other training sets.

    Raises:
        EvidenceError: Fewer than two images a block.

    >>> right = np.ones((11, 40), bool)
    >>> right[6:, :30] = False  # at 0.6 and above
    >>> slope(right).value
    -1.02
    """
    n = right.shape[1]
    require_blocks("spurious_attribute.dose_response", "the conflicting part of the test split", n)
    doses = np.array(_TENTHS) / 10 - 0.5
    slopes = doses @ right / (doses @ doses)  # (N,) that of the accuracy is their mean
    blocks = np.arange(n) % BLOCKS
    left_out = [slopes[blocks != block].mean() for block in range(BLOCKS)]
    return shift(np.array([slopes.mean(), *left_out]), n)


def _column(trial: "Trial", split: str, attribute: str) -> NDArray[np.str_]:
    attributes = trial.split(split).attributes
    if attribute not in attributes:
        raise PlanError(
            f"spurious_attribute: split {split} has no attribute {attribute!r}; "
            f"{nearest(attribute, attributes)}"
        )
    return attributes[attribute]


def _check_pool(trial: "Trial", task: str, pool: str) -> None:
    who, test = "spurious_attribute.dose_response", trial.plan.tasks[task].test
    if pool not in trial.plan.splits:
        raise PlanError(f"{who}: unknown split {pool!r}; {nearest(pool, trial.plan.splits)}")
    if pool == test:
        raise PlanError(
            f"{who}: task {task} is tested on split {pool}, so no head may be fitted on it; "
            "name another split"
        )
    found, wanted = trial.split(pool).classes, trial.split(test).classes
    if found != wanted:
        raise PlanError(
            f"{who}: split {pool} has classes {', '.join(found)}, and task {task} has "
            f"{', '.join(wanted)}; name a split with the same classes, or only tasks that have them"
        )
