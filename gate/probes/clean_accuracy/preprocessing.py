"""Whether images in another scale or channel order would suit the backbone clearly better."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gate import stats
from gate.arrays import Int64
from gate.backbone.backbone import Outputs
from gate.data.split import Split
from gate.errors import BackboneError
from gate.measure.count import Count
from gate.measure.head import fit_nearest_class_mean
from gate.measure.preprocessed import Preprocessed, alternatives
from gate.measure.trial import Trial
from gate.plan.task import Task

CLEARLY = 0.05  # that accuracy must be better by, as the lower end of a paired difference
FEWEST, MOST = 100, 400  # images of a split: in the first look, and in all
_OF_EACH_CLASS = 4  # training images, on the average


class _Rows(NamedTuple):
    """Which images are passed: for fitting, in the first look, and in the second."""

    train: Int64
    looks: tuple[Int64, Int64]


def passes(count: Count, tasks: dict[str, Task]) -> None:
    """Count what `better_preprocessing` passes."""
    for task in _tried(count.bench.backbone.plan.takes, tasks):
        train = count.split(task.train) if task.train else None
        if rows := _rows(train, count.split(task.test), count.plan.seed):
            number = len(alternatives(count.bench.backbone))
            if train:
                images = number * len(rows.train)
                count.preprocessed(train.name, images, images)
            first, second = (number * len(look) for look in rows.looks)
            count.preprocessed(task.test, first, first + second)


def better_preprocessing(trial: Trial, tasks: dict[str, Task]) -> Iterator[str]:
    """Remarks where other preprocessing makes a simple head on frozen features clearly better.

    The head is the nearest class mean, fitted under each preprocessing anew; of a task with an own
    head, that one. Each alternative is tried on a hundred test images, and on more where it is
    better on these. Tasks on the same splits share it; tasks with fewer images are left out.

    Args:
        trial: Its candidate is tried.
        tasks: By name.
    """
    for task in _tried(trial.backbone.plan.takes, tasks):
        train = trial.split(task.train) if task.train else None
        test = trial.split(task.test)
        if rows := _rows(train, test, trial.plan.seed):
            found = alternatives(trial.backbone)
            gains = ((each, _gain(trial, each, train, test, rows, len(found))) for each in found)
            clear = [(each, gain) for each, gain in gains if gain and gain.low > CLEARLY]
            if clear:
                each, gain = max(clear, key=lambda one: one[1].value)
                head = "a nearest-class-mean head" if train else "the own head"
                yield (
                    f"{test.name}: {head} classifies {gain.value:.3f} [{gain.low:.3f}, "
                    f"{gain.high:.3f}] more of the images correctly with {each.name} than with the "
                    "plan's preprocessing: the backbone may have been trained so, and what it "
                    "hides from this plan it may show then; check backbone.preprocessing"
                )


def _tried(takes: str, tasks: dict[str, Task]) -> list[Task]:
    """Tasks with a head on frozen features of images, or an own one; of the same splits one."""
    if takes != "images":
        return []
    frozen = [task for task in tasks.values() if task.head == "own" or task.fits_head]
    return list({(task.train, task.test): task for task in frozen}.values())


def _rows(train: Split | None, test: Split, seed: int) -> _Rows | None:
    """Images that the seed draws; None where there are too few."""
    if min(len(test), len(train or test)) < FEWEST:
        return None
    rng = np.random.default_rng([seed, len(test)])
    drawn = rng.permutation(len(test))[:MOST]
    fitted = 0
    if train:
        fitted = min(max(FEWEST, _OF_EACH_CLASS * len(train.classes)), MOST)
    of_train = np.sort(rng.permutation(len(train or test))[:fitted])
    return _Rows(of_train, (np.sort(drawn[:FEWEST]), np.sort(drawn[FEWEST:])))


def _gain(
    trial: Trial,
    other: Preprocessed,
    train: Split | None,
    test: Split,
    rows: _Rows,
    searched: int,
) -> stats.Interval | None:
    """Accuracy under other preprocessing minus that under the plan's, on the same test images.

    None where it is no better at first look, or the backbone gives nothing of use.
    """
    try:
        fitted = trial.preprocessed(train.name, rows.train, other) if train else None
        correct: list[tuple[NDArray[np.bool_], NDArray[np.bool_]]] = []
        for look in rows.looks:
            if len(look):
                given = trial.preprocessed(test.name, look, other)
                usual = _Usual(trial, train, test, rows.train)
                wanted = test.labels[look]
                here = _classes(fitted, given, train, rows.train) == wanted
                correct.append((here, usual.classes(look) == wanted))
            ours, theirs = (np.concatenate(each) for each in zip(*correct, strict=True))
            if ours.mean() - theirs.mean() <= CLEARLY:
                return None
    except BackboneError:  # such as infinite features of inputs 255 times as large
        return None
    first, second = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    return stats.paired_difference(first, second, len(ours), searched_low=searched)


class _Usual(NamedTuple):
    """The same under the plan's preprocessing, of which outputs are kept."""

    trial: Trial
    train: Split | None
    test: Split
    fitted: Int64

    def classes(self, look: Int64) -> Int64:
        """Classes ``(n,)`` of some test images."""
        fitted = _at(self.trial.outputs(self.train.name), self.fitted) if self.train else None
        given = _at(self.trial.outputs(self.test.name), look)
        return _classes(fitted, given, self.train, self.fitted)


def _at(outputs: Outputs, rows: Int64) -> Outputs:
    logits = None if outputs.logits is None else outputs.logits[rows]
    return Outputs(np.asarray(outputs.features[rows]), logits)


def _classes(fitted: Outputs | None, given: Outputs, train: Split | None, rows: Int64) -> Int64:
    """Classes ``(n,)``: by the nearest mean of what was fitted, or by the own head."""
    if fitted is None or train is None:
        assert given.logits is not None  # noqa: S101  # such a task names the output of its head
        return np.asarray(given.logits.argmax(axis=1))
    # of many classes, some may have no image among few
    present, places = np.unique(train.labels[rows], return_inverse=True)
    with np.errstate(over="ignore", invalid="ignore"):  # under a scale that is far too large
        head = fit_nearest_class_mean(fitted.features, places)
        return np.asarray(present[head.predict(given.features)])
