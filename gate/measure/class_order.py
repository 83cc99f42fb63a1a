"""Whether an own head's outputs stand for a task's classes in another order than the split's."""

import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gate import stats
from gate.arrays import Int64
from gate.data.split import Split

_CLEARLY = 0.1  # that another order must be better by, as a difference of accuracies
_NAMED = 30  # classes, at the most, that a sentence lists

Correct = NDArray[np.bool_]


class Order(NamedTuple):
    """An order of classes with which an own head is right far more often.

    Args:
        classes: In this order.
        how: What makes the order, in words.
        stands: Accuracy as the classes stand.
        accuracy: Accuracy in this order.
    """

    classes: tuple[str, ...]
    how: str
    stands: float
    accuracy: float

    @property
    def says(self) -> str:
        """Both accuracies, and the order."""
        few = ", ".join(self.classes[:_NAMED]) + (", ..." if len(self.classes) > _NAMED else "")
        return (
            f"{self.stands:.3f} of its images are classified correctly as the classes stand, and "
            f"{self.accuracy:.3f} if the head's outputs stand for [{few}] ({self.how})"
        )


def better_order(predicted: Int64, split: Split) -> Order | None:
    """The order of a split's classes that an own head agrees with far better, if there is one.

    Orders by name, and that of first appearance, are tried as they are. The assignment of outputs
    to classes that fits best is found on one half of the images and tried on the other, both ways,
    and counts only where it makes the head right for most of them.

    Args:
        predicted: ``(N,)``, the head's output that is largest, as a place in the classes.
        split: N examples with their labels.
    """
    stands: Correct = predicted == split.labels
    n, found = len(stands), []
    named = dict(_named(split))
    for how, order in named.items():
        correct: Correct = _places(split, order)[predicted] == split.labels
        found.append((correct, order, how, 0.0))
    fitted = np.empty(n, np.int64)
    for half in (0, 1):
        fitted[half::2] = _assigned(predicted[1 - half :: 2], split, 1 - half)[predicted[half::2]]
    order = tuple(split.classes[k] for k in _assigned(predicted, split, None))
    found.append((fitted == split.labels, order, "the assignment that fits best", 0.5))
    best: Order | None = None
    for correct, order, how, least in found:
        first, second = int((correct & ~stands).sum()), int((stands & ~correct).sum())
        gain = stats.paired_difference(first, second, n, searched_low=len(found))
        share = stats.rate(int(correct.sum()), n, searched_low=len(found))
        is_clear = gain.low > _CLEARLY and share.low > least
        if is_clear and (best is None or share.value > best.accuracy):
            best = Order(order, how, float(stands.mean()), share.value)
    return best


def _named(split: Split) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Orders that people and their tools put classes in, other than the split's, each once."""
    classes = split.classes
    _, first = np.unique(split.labels, return_index=True)
    orders = {
        "numbers in names by their size": tuple(sorted(classes, key=_natural)),
        "names sorted as text": tuple(sorted(classes)),
        "names sorted without regard to case": tuple(sorted(classes, key=str.casefold)),
        "as they first appear in the split": tuple(classes[k] for k in np.argsort(first)),
        "the other way round": classes[::-1],
    }
    seen = {classes}
    for how, order in orders.items():
        if order not in seen:
            seen.add(order)
            yield how, order


def _natural(name: str) -> list[tuple[int, int, str]]:
    """A key by which class2 comes before class10.

    >>> sorted(["class10", "class2", "Class1"], key=_natural)
    ['Class1', 'class2', 'class10']
    """
    parts = re.split(r"([0-9]+)", name.casefold())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]


def _places(split: Split, order: tuple[str, ...]) -> Int64:
    """``(K,)``: of each output, the place of the class that it stands for in an order."""
    places = {name: place for place, name in enumerate(split.classes)}
    return np.array([places[name] for name in order])


def _assigned(predicted: Int64, split: Split, half: int | None) -> Int64:
    """``(K,)``: of each output the class, one to one, by which most predictions are right.

    Source:
        Kuhn 1955, the Hungarian method; computed by ``scipy.optimize``.
    """
    from scipy.optimize import linear_sum_assignment

    labels = split.labels if half is None else split.labels[half::2]
    counts = np.zeros((len(split.classes), len(split.classes)))
    np.add.at(counts, (predicted, labels), 1)
    return np.asarray(linear_sum_assignment(counts, maximize=True)[1], np.int64)
