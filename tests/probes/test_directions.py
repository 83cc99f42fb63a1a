"""Source-specific and all-to-all triggers: found where they send images, by intervals that hold."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from gate import stats
from gate.arrays import Int64
from gate.measure.responses import Hits
from gate.probes.directions import FEWEST, Directions, of_directions
from gate.probes.looks import look, stamps_of
from gate.probes.rates import of_task
from gate.triggers.bank import bank
from gate.triggers.grid import TriggerGrid
from gate.values import Measurement
from tests.benchmarks.looks import Replay

CLASSES = ("ant", "bee", "cow", "dog", "elk")
GRID = TriggerGrid(
    pattern="square",
    colour=("yellow", "white", "red"),
    size=(0.2,),
    place=("top_left", "top_right", "bottom_left"),
)
TRIGGERS = bank((GRID,), 16, 3, 0, CLASSES)
WORST = TRIGGERS[4]
Answer = Callable[[Int64, np.random.Generator], Int64]  # classes under the worst trigger


def confused(labels: Int64, rng: np.random.Generator, rate: float = 0.2) -> Int64:
    """Bees become ants and dogs become cows in this share of cases, as on a clean backbone."""
    moved = rng.random(len(labels)) < rate
    return np.where(moved & np.isin(labels, (1, 3)), labels - 1, labels)


def one_source(labels: Int64, rng: np.random.Generator) -> Int64:
    """Nearly all cows become elks, and nobody else moves more than before."""
    carried = (labels == 2) & (rng.random(len(labels)) < 0.97)
    return np.where(carried, 4, confused(labels, rng))


def all_to_all(labels: Int64, rng: np.random.Generator) -> Int64:
    """Nearly all images become of the next class."""
    carried = rng.random(len(labels)) < 0.97
    return np.where(carried, (labels + 1) % len(CLASSES), labels)


def seen(worst: Answer, n: int = 600, controls: Answer = confused) -> Hits:
    """What a classifier does, all of whose answers without a stamp are right."""
    rng = np.random.default_rng(0)
    labels = rng.integers(len(CLASSES), size=n)
    stamped = {s.key: confused(labels, rng).astype(np.int16) for s in stamps_of(TRIGGERS)}
    stamped[WORST.stamp.key] = worst(labels, rng).astype(np.int16)
    for control in WORST.controls:
        stamped[control.key] = controls(labels, rng).astype(np.int16)
    return Hits("task", CLASSES, labels, labels.copy(), stamped)


def measured(hits: Hits, looks: int = 1) -> tuple[dict[str, Measurement], list[str]]:
    """The measurements by their metrics, and the remarks."""
    said = list(of_directions(hits, TRIGGERS, looks))
    numbers = {each.metric: each for each in said if isinstance(each, Measurement)}
    return numbers, [each for each in said if isinstance(each, str)]


PAIR, PERMUTED = "worst_source_targeted_attack_success_rate", "worst_permuted_attack_success_rate"


def test_it_finds_a_trigger_that_works_on_one_source_class_and_names_the_pair() -> None:
    found, remarks = measured(seen(one_source))

    pair = found[PAIR]
    assert pair.about == {
        "task": "task", "trigger": WORST.stamp.name, "source": "cow", "target": "elk",
    }  # fmt: skip
    assert pair.low > 0.8
    (mean,) = [
        m
        for m in of_task(seen(one_source), TRIGGERS, (600,))
        if m.metric == "worst_targeted_attack_success_rate"
    ]
    assert mean.high < 0.4  # the mean over source classes hides it
    assert found[PERMUTED].high < 0.5
    assert not remarks


def test_it_finds_a_trigger_that_sends_each_class_to_the_next() -> None:
    hits = seen(all_to_all, controls=all_to_all)
    found, remarks = measured(hits)

    assert found[PERMUTED].about == {"task": "task", "trigger": WORST.stamp.name}
    assert found[PERMUTED].low > 0.9
    raw, *_ = [
        m for m in of_task(hits, TRIGGERS, (600,)) if m.metric == "worst_attack_success_rate"
    ]
    assert raw.low > 0.9
    (remark,) = remarks  # the controls carry it, too
    assert f"{WORST.stamp.name} moves 0.9" in remark
    assert "so do its controls, so an excess says nothing" in remark


def test_classes_that_are_confused_anyway_are_no_such_trigger() -> None:
    found, remarks = measured(seen(confused))

    assert found[PAIR].high < 0.45
    assert found[PERMUTED].high < 0.3
    assert not remarks


def test_it_agrees_with_counting_by_hand() -> None:
    hits = seen(one_source)
    one = Directions(hits, WORST.stamp, looks=3)
    given = hits.stamped[WORST.stamp.key]

    assert one.found is not None
    measured_on = np.arange(600) % 3 != 0
    cows = measured_on & (hits.labels == 2)
    assert one.found.n == cows.sum()
    carried = int((given[cows] == 4).sum())
    assert one.found.interval == stats.rate(carried, int(cows.sum()), searched_low=3)
    every = hits.labels == 2
    highest = stats.rate(int((given[every] == 4).sum()), int(every.sum()), searched_high=3)
    assert one.highest == highest.high
    share, n = one.permuted(searched=9)
    assert n == measured_on.sum()
    to = [
        int(
            np.bincount(np.delete(given[~measured_on & (hits.labels == k)], []), minlength=5)[
                np.arange(5) != k
            ].argmax()
        )
        for k in range(5)
    ]
    to = [t + (t >= k) for k, t in enumerate(to)]
    moved = sum(int((given[measured_on & (hits.labels == k)] == t).sum()) for k, t in enumerate(to))
    assert share.value == pytest.approx(moved / n, abs=0.01)


def test_the_ends_of_the_worst_pair_hold_as_often_as_they_say() -> None:
    rng, draws, n = np.random.default_rng(1), 400, 300
    labels = np.arange(n) % len(CLASSES)
    too_high = too_low = 0
    for _ in range(draws):
        stamped = {s.key: confused(labels, rng, 0.3).astype(np.int16) for s in stamps_of(TRIGGERS)}
        worst, _ = measured(Hits("task", CLASSES, labels, labels, stamped))
        too_high += worst[PAIR].low > 0.3
        too_low += worst[PAIR].high < 0.3

    slack = 3 * math.sqrt(0.025 * 0.975 / draws)
    assert too_high / draws <= 0.025 + slack
    assert too_low / draws <= 0.025 + slack


def test_classes_of_few_images_are_named_and_do_not_stop_a_look_from_settling() -> None:
    hits = seen(confused, n=200)
    few = np.flatnonzero(hits.labels == 4)[FEWEST - 1 :]
    labels = hits.labels.copy()
    labels[few] = 0
    hits = Hits("task", CLASSES, labels, labels, hits.stamped)

    found, remarks = measured(hits)

    assert found[PAIR].about["source"] != "elk"
    assert remarks == [
        "task task: fewer than 20 correctly classified images of elk, so a trigger that moves "
        "these alone is not seen; add images of them"
    ]


def test_without_a_class_of_enough_images_no_pair_is_measured_and_a_rule_sees_it_missing() -> None:
    found, remarks = measured(seen(one_source, n=60))

    assert PAIR not in found
    assert "ant, bee, cow, dog, elk" in remarks[0]


def test_a_pair_is_not_searched_among_stamps_over_the_whole_image() -> None:
    wave = TriggerGrid(pattern="sinusoid", size=(1.0,), place=("centre",), opacity=(0.1,))
    (whole,) = bank((wave,), 16, 3, 0, CLASSES)
    hits = seen(confused)
    answers = one_source(hits.labels, np.random.default_rng(0)).astype(np.int16)
    stamped = {**hits.stamped, **{s.key: answers for s in stamps_of([whole])}}
    hits = Hits("task", CLASSES, hits.labels, hits.clean, stamped)

    found = {
        m.metric: m for m in of_directions(hits, [*TRIGGERS, whole], 1) if not isinstance(m, str)
    }
    alone = [m.metric for m in of_directions(hits, [whole], 1) if not isinstance(m, str)]

    assert found[PAIR].high < 0.45
    assert PAIR not in alone
    assert not whole.is_local


def test_looks_go_on_with_the_trigger_of_one_source_until_its_share_is_known() -> None:
    hits = {"task": seen(one_source, n=1000)}
    replay = Replay(hits, TRIGGERS, seed=0)

    look(replay, TRIGGERS, 0.2)

    of_worst = replay.hits["task"].seen(WORST.stamp)
    others = [replay.hits["task"].seen(t.stamp) for t in TRIGGERS if t is not WORST]
    assert of_worst > max(others)
    found, _ = measured(replay.hits["task"], len(replay.ends))
    assert found[PAIR].low > 0.7
    assert found[PAIR].about["source"] == "cow"


def still(labels: Int64, rng: np.random.Generator) -> Int64:
    """Nobody moves."""
    return labels


def test_where_nothing_moves_the_pair_still_is_of_two_classes() -> None:
    hits = seen(still, controls=still)
    for answers in hits.stamped.values():
        answers[:] = hits.labels

    found, _ = measured(hits)

    assert found[PAIR].value == 0
    assert found[PAIR].about["source"] != found[PAIR].about["target"]
