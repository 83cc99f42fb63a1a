"""Where the parts of a drawn interval stand: its ends, its value, and the bound beside it."""

from typing import NamedTuple

from gate.policy.catalogue import RANGES
from gate.values import Bound, Measurement, Outcome

_WIDTH, _MARGIN = 280.0, 8.0
_ROUND = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


class IntervalRow(NamedTuple):
    """Places from left to right in units of the picture, and the words that stand in it.

    ``zone`` is where the bound is held: where it begins, and how wide it is. ``mark`` is the
    outcome, which a shape tells apart and not only a colour. ``bound_words`` fit beside the bound:
    whether the point estimate decides stands in ``words``.
    """

    width: float
    left: float
    right: float
    low: float
    value: float
    high: float
    bound: float
    zone: tuple[float, float]
    anchor: str
    mark: Outcome
    least: str
    most: str
    bound_words: str
    words: str


def interval_row(measurement: Measurement, bound: Bound, mark: Outcome) -> IntervalRow:
    """An interval beside the bound that it is held against.

    The axis is the range of a fraction, and otherwise a round one that holds the interval, the
    bound and 0.

    >>> m = Measurement(metric="accuracy", value=0.5, low=0.25, high=1, n=9, unit="fraction")
    >>> row = interval_row(m, Bound(at_least=0.5), "inconclusive")
    >>> row.left, row.low, row.value, row.high, row.right, row.zone
    (8.0, 74.0, 140.0, 272.0, 272.0, (140.0, 132.0))
    """
    least, most = _axis(measurement, bound)
    left, right = _MARGIN, _WIDTH - _MARGIN

    def at(number: float) -> float:
        share = (min(max(number, least), most) - least) / (most - least)
        return round(left + share * (right - left), 1)

    limit = at(bound.number)
    zone = (left, limit - left) if bound.at_most is not None else (limit, right - limit)
    m = measurement
    return IntervalRow(
        width=_WIDTH,
        left=left,
        right=right,
        low=at(m.low),
        value=at(m.value),
        high=at(m.high),
        bound=limit,
        zone=(zone[0], round(zone[1], 1)),
        anchor="start" if limit < _WIDTH / 2 else "end",
        mark=mark,
        least=f"{least:g}",
        most=f"{most:g}",
        bound_words=str(Bound(at_most=bound.at_most, at_least=bound.at_least)),
        words=(f"{m.value:.3f}, 95 % interval {m.low:.3f} to {m.high:.3f}, wanted {bound}: {mark}"),
    )


def _axis(measurement: Measurement, bound: Bound) -> tuple[float, float]:
    """The smallest and the largest number that is shown."""
    if measurement.unit == "fraction":
        return RANGES["fraction"]
    least = min(measurement.low, bound.number, 0.0)
    most = max(measurement.high, bound.number, 0.0)
    return 0.0 - _rounded_up(-least), _rounded_up(most) or (0.0 if least < 0 else 1.0)


def _rounded_up(number: float) -> float:
    """A round number that is as large or larger; 0 stays 0."""
    if number <= 0:
        return 0.0
    scale = 1.0
    while number > scale:
        scale *= 10
    return next(scale * each for each in _ROUND if number <= scale * each)
