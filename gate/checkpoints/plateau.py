"""The plateau of transfer, from which test images each checkpoint's heads classify correctly.

Pure: no files, no clock, no measuring.

The *shortfall* of a checkpoint on a task is the largest difference in accuracy between another one
and it, on the same test images. It is on the plateau if on every task the upper end of that lies at
or below a tolerance. Each upper end may err in 2.5 % of cases, and the checkpoint that is truly
better by more than the tolerance is among the others: so a checkpoint that falls short of it is
called on the plateau in at most 2.5 % of cases, however many others and tasks there are
(intersection-union).

Checkpoints are tried from the last one backwards, and the first that is not on the plateau ends
that. For any to be called so wrongly, the first that falls short must be; so the earliest that is
found holds in 97.5 % of cases, with no correction for how many were tried (fixed sequence).

That a checkpoint is *worse* rests on the lower end of its shortfall, which is corrected for all
others on all tasks, since any of them could err.

Source:
    Hsu 1984, "Constrained simultaneous confidence intervals for multiple comparisons with the
    best"; Berger 1982, "Multiparameter hypothesis testing and acceptance sampling"
    (intersection-union); Maurer, Hothorn and Lehmacher 1995, "Multiple comparisons in drug clinical
    trials and preclinical assays: a-priori ordered hypotheses" (fixed sequence).
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from gate import stats
from gate.values import Measurement, Measurements, Value

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Stands = Literal["on plateau", "worse", "unsettled", "not reached"]
# by task, then by checkpoint in the order of the row: (N,), the same images for all of a task
Correct = Mapping[str, Mapping[str, "NDArray[np.bool_]"]]


class Standing(Value):
    """A checkpoint, and where it stands."""

    checkpoint: str
    stands: Stands


class Plateau(Value):
    """Which checkpoints are on the plateau of transfer.

    Args:
        tolerance: How much better another one may be, as a difference of accuracies.
        earliest: The earliest on the plateau, if the last is.
        standings: Of all, in the order of the row.
        says: The outcome in a sentence.
        measurements: ``accuracy`` and ``shortfall`` of each checkpoint on each task; and, for each
            two, ``accuracy_difference``, that of the later less that of the ``other``.
    """

    tolerance: float
    earliest: str | None
    standings: tuple[Standing, ...]
    says: str
    measurements: Measurements

    @property
    def outcome(self) -> Literal["found", "peak", "unsettled"]:
        """Whether there is an earliest one; if not, whether that is certain."""
        if self.earliest is not None:
            return "found"
        return "peak" if self.standings[-1].stands == "worse" else "unsettled"

    @property
    def checkpoints(self) -> list[str]:
        """Names of all, in the order of the row."""
        return [each.checkpoint for each in self.standings]

    @property
    def tasks(self) -> list[str]:
        """Names of the tasks."""
        return list(dict.fromkeys(m.about["task"] for m in self.measurements))

    def of(self, metric: str, task: str) -> dict[str, Measurement]:
        """A metric of each checkpoint on a task, in the order of the row."""
        return {
            m.about["checkpoint"]: m
            for m in self.measurements
            if m.metric == metric and m.about["task"] == task and "other" not in m.about
        }


class _Against(NamedTuple):
    """How much better another checkpoint is, and how many test images say so."""

    other: str
    better: stats.Interval  # whose lower end holds for all others on all tasks at once
    n: int

    @property
    def images(self) -> str:
        return f"{self.n:,} test images"


def plateau(correct: Correct, tolerance: float) -> Plateau:
    """The checkpoints on the plateau, and the earliest of them.

    Args:
        correct: Whether each test image was classified correctly; two checkpoints or more.
        tolerance: How much better another checkpoint may be, above 0 and below 1.

    >>> import numpy as np
    >>> right = np.arange(1000) < 900
    >>> row = {"epoch_1": right & (np.arange(1000) < 700), "epoch_2": right, "epoch_3": right}
    >>> plateau({"birds": row}, 0.01).earliest
    'epoch_2'
    """
    names = list(next(iter(correct.values())))
    searched = len(correct) * (len(names) - 1)
    against = {
        name: {task: _all_against(name, of_task, searched) for task, of_task in correct.items()}
        for name in names
    }
    standings, last_stands = list[Standing](), "on plateau"
    for name in reversed(names):
        reached = last_stands == "on plateau"
        stands = _stands(against[name], tolerance) if reached else "not reached"
        standings.insert(0, Standing(checkpoint=name, stands=stands))
        last_stands = stands
    found = [each.checkpoint for each in standings if each.stands == "on plateau"]
    end = next((s for s in reversed(standings) if s.stands in ("worse", "unsettled")), None)
    why = _why(end, against[end.checkpoint], tolerance) if end else ""
    return Plateau(
        tolerance=tolerance,
        earliest=found[0] if found else None,
        standings=tuple(standings),
        says=_says(names, found, end, why, tolerance),
        measurements=tuple(_measurements(correct, against)),
    )


def _all_against(
    name: str, correct: Mapping[str, "NDArray[np.bool_]"], searched: int
) -> list[_Against]:
    """How much better each other checkpoint is on a task."""
    return [
        _Against(other, _difference(theirs, correct[name], searched), len(theirs))
        for other, theirs in correct.items()
        if other != name
    ]


def _difference(
    first: "NDArray[np.bool_]", second: "NDArray[np.bool_]", searched_low: int = 1
) -> stats.Interval:
    """Accuracy of the first less that of the second."""
    alone, other_alone = int((first & ~second).sum()), int((second & ~first).sum())
    return stats.paired_difference(alone, other_alone, len(first), searched_low=searched_low)


def _stands(against: Mapping[str, Sequence[_Against]], tolerance: float) -> Stands:
    """Where a checkpoint stands that was reached."""
    better = [each.better for of_task in against.values() for each in of_task]
    if all(each.high <= tolerance for each in better):
        return "on plateau"
    return "worse" if any(each.low > tolerance for each in better) else "unsettled"


def _measurements(
    correct: Correct, against: Mapping[str, Mapping[str, Sequence[_Against]]]
) -> list[Measurement]:
    found = []
    for task, of_task in correct.items():
        for name, right in of_task.items():
            n, about = len(right), {"task": task, "checkpoint": name}
            found.append(Measurement.rate("accuracy", int(right.sum()), n, **about))
            largest = stats.largest([each.better for each in against[name][task]])
            found.append(Measurement.difference("shortfall", largest, n, **about))
        for place, (name, right) in enumerate(of_task.items()):
            for other, theirs in list(of_task.items())[:place]:
                about = {"task": task, "checkpoint": name, "other": other}
                difference = _difference(right, theirs)
                found.append(
                    Measurement.difference("accuracy_difference", difference, len(right), **about)
                )
    return found


# --- in words -------------------------------------------------------------------------------------


def _says(
    names: Sequence[str], found: Sequence[str], end: Standing | None, why: str, tolerance: float
) -> str:
    if not found:
        if end and end.stands == "worse":
            return (
                f"peak before the end: {names[-1]}, the last checkpoint, is not on the plateau: "
                f"{why}; end the row at the peak, and measure it on test images that did not find "
                "it"
            )
        return (
            f"too few test images to tell whether {names[-1]}, the last checkpoint, is on the "
            f"plateau: {why}, or raise --tolerance"
        )
    says = (
        f"{found[0]} is the earliest checkpoint on the plateau: no other of {len(names)} is better "
        f"by more than {tolerance:g}"
    )
    if end is None:
        return f"{says}; the row begins with it, so an earlier one might be on it, too"
    if end.stands == "worse":
        return f"{says}; {end.checkpoint}, before it, is worse: {why}"
    return f"{says}; whether {end.checkpoint}, before it, is on it is not settled: {why}"


def _why(end: Standing, against: Mapping[str, Sequence[_Against]], tolerance: float) -> str:
    """Why a checkpoint is worse, or what would settle it, task by task."""
    parts = []
    for task, others in against.items():
        if end.stands == "worse":
            best = max(others, key=lambda each: each.better.low)
            if best.better.low > tolerance:
                parts.append(
                    f"task {task}: {best.other} is better by {best.better.value:.3g}, at least "
                    f"{best.better.low:.3g} (tolerance {tolerance:g}, {best.images})"
                )
        elif any(each.better.high > tolerance for each in others):
            best = max(others, key=lambda each: each.better.high)
            parts.append(
                f"task {task}: {best.other} may be better by up to {best.better.high:.3g} "
                f"(tolerance {tolerance:g}, {best.images}); {_settled_by(others, tolerance)}"
            )
    return "; ".join(parts)


def _settled_by(against: Sequence[_Against], tolerance: float) -> str:
    more = images_to_settle([each.better for each in against], against[0].n, tolerance)
    if more is None:
        return "even sixteen times as many would not tell"
    return f"about {more:,} more would tell, if differences stay as they are"


def images_to_settle(better: Sequence[stats.Interval], n: int, tolerance: float) -> int | None:
    """About how many *more* test images would settle whether a checkpoint is on the plateau.

    Args:
        better: By how much each of the others is better.
        n: How many test images there are.
        tolerance: How much better they may be.

    Returns:
        None where more than sixteen times as many are needed. If one is better by more than the
        tolerance, they show that one is; else they show that none is.

    >>> same, near = stats.Interval(0.0, -0.02, 0.02), stats.Interval(0.002, -0.022, 0.026)
    >>> images_to_settle([same], 1000, 0.01), images_to_settle([same, near], 1000, 0.01)
    (3000, 8000)
    >>> images_to_settle([same, stats.Interval(0.02, 0.0, 0.04)], 1000, 0.01)
    3000
    """
    ahead = [each for each in better if each.value > tolerance]
    open_ones = ahead or [each for each in better if each.high > tolerance]
    needed = [stats.examples_to_settle(n, *each, tolerance) for each in open_ones]
    known = [each for each in needed if each is not None]
    if ahead:
        return min(known, default=None)
    return max(known) if len(known) == len(needed) else None
