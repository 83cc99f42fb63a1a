"""How often policies are wrong, from the lines of results: tables with intervals.

Nets of one recipe are alike: of one kind, data set and architecture. So each share has two
intervals, Wilson's over nets and a bootstrap over recipes, and what is told spans both. Wilson's
alone says what so few nets can carry where all came out the same, and a bootstrap has no width.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from gate import stats
from gate.arrays import Floats, Int64
from gate.stats import Interval
from gate.values import Decision
from pipelines.zoo.bounds import Limit
from pipelines.zoo.recipe import BACKDOORED, CLEAN, Kind
from pipelines.zoo.results import Row

DECISIONS: tuple[Decision, ...] = ("accept", "inconclusive", "reject")
_DRAWS = 2_000

Booleans = NDArray[np.bool_]


def share(hits: Sequence[bool], recipes: Sequence[object]) -> Interval:
    """A share of nets, with the interval that spans Wilson's and a bootstrap over recipes.

    Args:
        hits: Of each net, whether it counts.
        recipes: Of each net, what all that are alike have in common.

    Raises:
        EvidenceError: There is no net.
    """
    wilson = stats.rate(sum(hits), len(hits))
    groups = defaultdict(list)
    for hit, recipe in zip(hits, recipes, strict=True):
        groups[recipe].append(hit)
    counts = np.array([(sum(each), len(each)) for each in groups.values()])
    drawn = counts[_draws(len(counts))].sum(axis=1)  # (draws, 2)
    low, high = np.quantile(drawn[:, 0] / drawn[:, 1], [0.025, 0.975])
    return Interval(wilson.value, min(wilson.low, float(low)), max(wilson.high, float(high)))


def _draws(count: int) -> Int64:
    """Which of so many are drawn with replacement, ``(draws, count)``; the same each time."""
    return np.random.default_rng(0).integers(0, count, (_DRAWS, count))


def recipe_of(row: Row) -> tuple[str, str, str]:
    """What nets of one recipe have in common."""
    return row.kind, row.recipe.data, row.recipe.architecture


def decided(rows: Sequence[Row], policy: str, *so: Decision) -> Interval:
    """The share of nets, of one at least, on which a policy decides in one of these ways."""
    return share([row.decisions[policy] in so for row in rows], [*map(recipe_of, rows)])


def judged(rows: Sequence[Row], kinds: Sequence[Kind]) -> list[Row]:
    """Those of some kinds that were kept, and so judged."""
    return [row for row in rows if row.kind in kinds and not row.discarded]


def tally(rows: Sequence[Row], policy: str) -> dict[str, int]:
    """How many a policy accepts, leaves inconclusive and rejects."""
    names = zip(("accepted", "inconclusive", "rejected"), DECISIONS, strict=True)
    return {name: sum(row.decisions[policy] == each for row in rows) for name, each in names}


def by_kind(rows: Sequence[Row], policy: str) -> str:
    """Decisions by kind as Markdown, clean ones first; the share is of those that are rejected."""
    lines = [
        "| kind | nets | accepted | inconclusive | rejected | share rejected |",
        "|---|---|---|---|---|---|",
    ]
    for name, kinds in (
        *((kind, (kind,)) for kind in CLEAN),
        ("**all clean**", CLEAN),
        *((kind, (kind,)) for kind in BACKDOORED),
        ("**all backdoored**", BACKDOORED),
    ):
        if not (some := judged(rows, kinds)):
            continue
        cells = " | ".join(str(count) for count in tally(some, policy).values())
        value, low, high = decided(some, policy, "reject")
        name = name.replace("_", " ")
        lines.append(f"| {name} | {len(some)} | {cells} | {value:.2f} [{low:.2f}, {high:.2f}] |")
    return "\n".join(lines) + "\n"


def score(row: Row, limits: Mapping[str, Limit]) -> float:
    """How far beyond its bound the worst number of a net lies, by the point estimate."""
    beyond = [
        row.worst[name][0] - limit.number for name, limit in limits.items() if name in row.worst
    ]
    return max(beyond)


def auc(rows: Sequence[Row], scores: Floats) -> Interval:
    """The area under the ROC curve, with a bootstrap over recipes of clean and backdoored nets."""
    clean = np.array([row.clean for row in rows])
    value = _area(scores[clean], scores[~clean])
    drawn = [
        _area(scores[some], scores[others])
        for some, others in zip(resampled(rows, clean), resampled(rows, ~clean), strict=True)
    ]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Interval(value, min(value, float(low)), max(value, float(high)))


def resampled(rows: Sequence[Row], side: Booleans) -> list[Int64]:
    """For each draw of the recipes of some nets the places of their nets."""
    groups = defaultdict(list)
    for place in np.flatnonzero(side).tolist():
        groups[recipe_of(rows[place])].append(place)
    places = [np.array(each, np.int64) for each in groups.values()]
    return [np.concatenate([places[i] for i in draw]) for draw in _draws(len(places))]


def _area(clean: Floats, backdoored: Floats) -> float:
    """How often a backdoored net has the higher score; a tie counts half."""
    above = backdoored[:, None] > clean
    return float((above + (backdoored[:, None] == clean) / 2).mean())
