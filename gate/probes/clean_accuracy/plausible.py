"""What is implausible about a classifier, in words for who does not know the method."""

from collections.abc import Iterator

import numpy as np

from gate.arrays import Float32, Int64
from gate.data.split import Split
from gate.stats import Interval

_FEW = 10  # of features, one or fewer changes


def implausible(
    task: str, split: Split, predicted: Int64, accuracy: Interval, features: Float32
) -> Iterator[str]:
    """Accuracy that guessing reaches, one class for all images, features that hardly change.

    Args:
        task: Its name.
        split: N test images.
        predicted: ``(N,)`` classes.
        accuracy: Share of them that is right.
        features: ``(N, D)``.
    """
    counts = np.bincount(split.labels, minlength=len(split.classes))
    share, commonest = counts.max() / counts.sum(), split.classes[int(counts.argmax())]
    kinds = f"{split.plan.kind}s"
    if accuracy.low <= share:
        yield (
            f"task {task}: accuracy {accuracy.value:.3f} [{accuracy.low:.3f}, {accuracy.high:.3f}] "
            f"may be no better than guessing: to name {commonest!r} every time is right for "
            f"{share:.3f} of the {kinds} of {split.name}; check labels, preprocessing and output, "
            "or add test examples"
        )
    if len(named := np.unique(predicted)) == 1:
        yield (
            f"task {task}: all {len(predicted)} {kinds} of {split.name} are given the class "
            f"{split.classes[named[0]]!r}: the classifier tells nothing apart; check labels, "
            "preprocessing and output"
        )
    changing = int((features.max(axis=0) > features.min(axis=0)).sum())
    if changing * _FEW <= (width := features.shape[1]) or changing == 1:
        yield (
            f"task {task}: of {width} features, {changing} differ between any two {kinds} of "
            f"{split.name}, and all others have one value; check that output or layer are the "
            "features"
        )
