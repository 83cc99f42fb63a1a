"""Spurious attribute: finds the shortcut, clears the others, refuses what it cannot measure."""

from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from gate import stats
from gate.errors import EvidenceError, PlanError
from gate.measure.bench import Bench
from gate.measure.trial import Trial
from gate.plan.plan import Plan
from gate.probes.evidence import run_probe
from gate.probes.spurious_attribute.groups import Groups, accuracies, weighted_accuracy
from gate.probes.spurious_attribute.heads import (
    Images,
    decodability,
    dose_response,
    slope,
    training_sets,
)
from gate.values import Measurement

MakeTrial = Callable[[str], Trial]


def measured(trial: Trial) -> dict[str, list[Measurement]]:
    found: dict[str, list[Measurement]] = {}
    for m in run_probe("spurious_attribute", trial).measurements:
        found.setdefault(m.metric, []).append(m)
    return found


def test_it_finds_the_shortcut(digits_trial: MakeTrial) -> None:
    found = measured(digits_trial("shortcut"))

    assert found["worst_group_accuracy"][0].high < 0.5
    assert found["group_gap"][0].low > 0.1


@pytest.mark.parametrize("backbone", ["clean", "trigger", "relabelled"])
def test_it_clears_a_backbone_without_the_shortcut(digits_trial: MakeTrial, backbone: str) -> None:
    assert measured(digits_trial(backbone))["worst_group_accuracy"][0].low > 0.5


def test_it_agrees_with_counting_by_hand(digits_trial: MakeTrial) -> None:
    trial = digits_trial("shortcut")
    split = trial.split("test")
    right = trial.predictions(trial.plan.tasks["digits_6_to_9"]) == split.labels
    by_hand = {}
    for k, label in enumerate(split.classes):
        for photograph in ("flower", "temple"):
            member = (split.labels == k) & (split.attributes["photograph"] == photograph)
            by_hand[label, photograph] = right[member].mean()

    found = measured(trial)

    trained = trial.split("train")
    shares = [
        np.mean(
            (trained.labels == split.classes.index(k)) & (trained.attributes["photograph"] == v)
        )
        for k, v in by_hand
    ]
    groups_found = {(m.about["class"], m.about["value"]): m.value for m in found["group_accuracy"]}
    assert groups_found == pytest.approx(by_hand)
    (worst,), (gap,) = found["worst_group_accuracy"], found["group_gap"]
    assert worst.value == pytest.approx(min(by_hand.values()))
    assert gap.value == pytest.approx(np.mean(list(by_hand.values())) - worst.value)
    (weighted,) = found["group_weighted_accuracy"]
    assert weighted.value == pytest.approx(np.dot(shares, list(by_hand.values())))


ABOUT = {"task": "task", "attribute": "place"}
GROUPS = Groups(("x", "y"), ("a", "b"))


def images(*sizes: int, values: int = 2, leak: float = 0.0, seed: int = 0) -> Images:
    """Groups of these sizes, class by class; one noisy feature tells the class, one the value.

    ``leak`` is how far apart the values lie on their feature, in units of its noise.
    """
    labels, codes = np.divmod(np.repeat(np.arange(len(sizes)), sizes), values)
    features = np.random.default_rng(seed).normal(size=(len(labels), 5))
    features[:, 0] += 2.0 * labels
    features[:, 1] += leak * codes
    return Images("pool", features.astype(np.float32), labels, codes)


def by_metric(found: Iterable[Measurement]) -> dict[str, Measurement]:
    return {m.metric: m for m in found}


def accuracies_of(
    sizes: tuple[int, ...], trained: Any = None, right: Any = None
) -> Iterator[Measurement]:
    answers = np.ones(sum(sizes), bool) if right is None else np.concatenate(right)
    test = images(*sizes)
    return accuracies(ABOUT, GROUPS, test.labels, test.values, answers, trained)


@pytest.mark.parametrize("size", [0, 1])
def test_it_refuses_a_group_without_images_or_with_one(size: int) -> None:
    with pytest.raises(EvidenceError, match=rf"group \(y, b\) has {size} test images.*add images"):
        list(accuracies_of((9, 9, 9, size)))


def test_it_refuses_an_attribute_with_one_value() -> None:
    groups = Groups(("x", "y"), ("a",))
    test = images(9, 9, values=1)

    with pytest.raises(EvidenceError, match=r"place has the one value 'a'.*at least 2.*add images"):
        list(accuracies(ABOUT, groups, test.labels, test.values, np.ones(18, bool), None))


def test_only_the_upper_end_of_the_worst_group_holds_for_all_groups() -> None:
    right = [np.arange(30) < hits for hits in (29, 28, 20, 27)]

    worst = by_metric(accuracies_of((30, 30, 30, 30), right=right))["worst_group_accuracy"]

    assert worst.value == pytest.approx(20 / 30)
    assert worst.low == stats.rate(20, 30).low
    assert worst.high == stats.rate(20, 30, searched_high=4).high
    assert worst.n == 30


def test_the_gap_holds_wherever_all_groups_lie_in_their_intervals() -> None:
    right = [np.arange(30) < hits for hits in (29, 28, 20, 27)]
    bounds = [stats.rate(h, 30, searched_low=4, searched_high=4) for h in (29, 28, 20, 27)]

    gap = by_metric(accuracies_of((30, 30, 30, 30), right=right))["group_gap"]

    assert gap.value == pytest.approx((29 + 28 + 20 + 27) / 120 - 20 / 30)
    assert gap.high == pytest.approx(np.mean([b.high for b in bounds]) - bounds[2].low)
    assert gap.low == 0


def test_groups_weigh_as_they_stand_in_training() -> None:
    right = [np.arange(10) < hits for hits in (9, 5, 2, 8)]
    trained = np.array([[60, 20], [5, 15]])

    found = by_metric(accuracies_of((10, 10, 10, 10), trained, right))["group_weighted_accuracy"]

    assert found.value == pytest.approx(0.6 * 0.9 + 0.2 * 0.5 + 0.05 * 0.2 + 0.15 * 0.8)
    assert found.n == 40


def test_the_weighted_interval_is_that_of_the_only_group_with_weight() -> None:
    shares = np.array([[0.0, 1.0]])

    found = weighted_accuracy(np.array([[1, 7]]), np.array([[10, 10]]), shares)

    assert found == pytest.approx(stats.rate(7, 10))


@pytest.mark.coverage(full=1000, sampled=200)
def test_the_weighted_interval_covers_as_often_as_it_says(simulations: range) -> None:
    rng, counts, truth = np.random.default_rng(0), np.array([[40, 25, 12]]), (0.9, 0.6, 0.3)
    shares = np.array([[0.7, 0.2, 0.1]])

    intervals = [
        weighted_accuracy(rng.binomial(counts, truth), counts, shares) for _ in simulations
    ]

    aim = float(shares[0] @ truth)
    assert 0.93 < np.mean([found.low <= aim <= found.high for found in intervals]) < 0.98


def test_groups_are_not_weighted_where_training_does_not_name_the_attribute() -> None:
    assert "group_weighted_accuracy" not in by_metric(accuracies_of((9, 9, 9, 9)))


def test_a_leaking_attribute_can_be_decoded_and_an_absent_one_cannot() -> None:
    leaking = decodability(ABOUT, GROUPS, images(50, 50, 50, 50, leak=4), 1.0, 0)
    absent = decodability(ABOUT, GROUPS, images(50, 50, 50, 50), 1.0, 0)

    assert leaking.low > 0.9
    assert absent.low < 0.5 < absent.high
    assert absent.value == pytest.approx(0.5, abs=0.1)


def test_telling_the_class_does_not_count_as_decoding_what_goes_with_it() -> None:
    test = images(190, 10, 10, 190)

    assert decodability(ABOUT, GROUPS, test, 1.0, 0).value == pytest.approx(0.5, abs=0.1)


def test_it_refuses_to_decode_a_value_with_fewer_images_than_folds() -> None:
    with pytest.raises(EvidenceError, match="place 'b' has 4 images in split pool, and 5 folds"):
        decodability(ABOUT, GROUPS, images(9, 2, 9, 2), 1.0, 0)


def dose_response_of(leak: float, seed: int = 0) -> list[Measurement]:
    pool = images(100, 100, 100, 100, leak=leak, seed=1)
    test = images(100, 100, 100, 100, leak=leak, seed=2)
    return list(dose_response(ABOUT, GROUPS, pool, test, 1.0, seed))


def test_accuracy_against_the_correlation_falls_with_it_where_the_attribute_is_a_shortcut() -> None:
    *doses, change = dose_response_of(leak=4)

    assert [m.about["correlation"] for m in doses] == [f"{tenths / 10:.1f}" for tenths in range(11)]
    assert doses[0].low > 0.7
    assert doses[-1].high < 0.3
    assert change.high < -0.2
    assert {m.n for m in doses} == {change.n} == {200}


def test_accuracy_keeps_level_where_features_hold_no_attribute() -> None:
    change = dose_response_of(leak=0)[-1]

    assert change.value == pytest.approx(0, abs=0.1)
    assert change.low > -0.2


def test_the_same_seed_gives_the_same_doses_and_another_does_not() -> None:
    assert dose_response_of(leak=1) == dose_response_of(leak=1)
    assert dose_response_of(leak=1) != dose_response_of(leak=1, seed=1)


def drawn_sizes(groups: Groups, pool: Images) -> list[list[list[int]]]:
    """Images of each group, by dose; none may be drawn twice."""
    sets = training_sets(groups, pool, np.random.default_rng(0))
    assert all(len(set(rows.tolist())) == len(rows) for rows in sets)
    return [groups.tally(pool.labels[rows], pool.values[rows]).tolist() for rows in sets]


def test_the_doses_of_two_values_agree_with_a_hand_calculation() -> None:
    sizes = drawn_sizes(GROUPS, images(20, 15, 10, 40))  # 20 aligned, or 2 x 10 others

    aligned = [10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20]
    assert sizes == [[[n, 20 - n], [20 - n, n]] for n in aligned]


def test_the_doses_of_three_values_agree_with_a_hand_calculation() -> None:
    groups = Groups(("x", "y"), ("a", "b", "c"))

    sizes = drawn_sizes(groups, images(30, 4, 9, 9, 30, 9, values=3))  # 3 x 4 others

    assert sizes[0] == [[4, 4, 4], [4, 4, 4]]
    assert sizes[5] == [[8, 2, 2], [2, 8, 2]]
    assert sizes[10] == [[12, 0, 0], [0, 12, 0]]
    assert {sum(row) for dose in sizes for row in dose} == {12}


def test_more_classes_than_values_take_the_values_in_turns() -> None:
    groups = Groups(("w", "x", "y", "z"), ("a", "b"))

    sizes = drawn_sizes(groups, images(*[10] * 8))

    assert sizes[10] == [[10, 0], [0, 10], [10, 0], [0, 10]]


def test_a_dose_replaces_as_few_images_as_it_must() -> None:
    pool = images(50, 50, 50, 50)

    sets = training_sets(GROUPS, pool, np.random.default_rng(0))

    for fewer, more in pairwise(sets):
        assert len(set(more.tolist()) - set(fewer.tolist())) <= 6  # 2 or 3 in each class


@pytest.mark.parametrize(
    ("sizes", "says"),
    [
        ((9, 50, 50, 50), r"\(x, a\) has 9 images in split pool, and at least 10 are needed"),
        ((50, 50, 4, 50), r"\(y, a\) has 4 images in split pool, and at least 5 are needed"),
    ],
)
def test_it_refuses_a_pool_that_cannot_be_correlated(sizes: tuple[int, ...], says: str) -> None:
    with pytest.raises(EvidenceError, match=f"cannot be built from the data.*{says}; add images"):
        training_sets(GROUPS, images(*sizes), np.random.default_rng(0))


def test_a_pool_that_only_just_suffices_is_taken() -> None:
    assert training_sets(GROUPS, images(10, 5, 5, 10), np.random.default_rng(0)).shape == (11, 20)


def test_the_slope_is_that_of_a_line_through_the_accuracies() -> None:
    right = np.random.default_rng(0).random((11, 60)) < np.linspace(0.9, 0.3, 11)[:, None]

    found = slope(right)

    line = np.polyfit(np.arange(11) / 10, right.mean(axis=1), 1)[0]
    assert found.value == pytest.approx(line)
    assert found.low < line < found.high < 0


def test_answers_that_never_change_still_leave_an_interval() -> None:
    found = slope(np.ones((11, 40), bool))

    assert found == pytest.approx((0, -stats.rate(0, 40).high, stats.rate(0, 40).high))


def test_it_refuses_a_slope_of_too_few_conflicting_images() -> None:
    pool, test = images(20, 20, 20, 20), images(20, 20, 19, 20)

    with pytest.raises(EvidenceError, match=r"the conflicting part.*has 39 examples.*needs 40"):
        list(dose_response(ABOUT, GROUPS, pool, test, 1.0, 0))


def with_pool(trial: Trial, pool: str = "pool", **changes: Any) -> Trial:
    """The digits plan on a third of its test images, another third being the pool."""
    content = trial.plan.model_dump()
    test = content["splits"]["test"]
    content["splits"]["pool"] = test | {"shard": {"index": 0, "count": 3}} | changes
    content["splits"]["test"] = test | {"shard": {"index": 1, "count": 3}}
    content["probes"]["spurious_attribute"]["dose_response"] = pool
    return Trial(Bench(Plan.model_validate(content), trial.bench.folder))


def test_a_trial_gives_the_dose_response_that_its_pool_allows(digits_trial: MakeTrial) -> None:
    shortcut = measured(with_pool(digits_trial("shortcut")))
    clean = measured(with_pool(digits_trial("clean")))

    assert len(shortcut["conflicting_accuracy"]) == 11
    assert shortcut["dose_response_slope"][0].high < 0
    assert shortcut["dose_response_slope"][0].value < clean["dose_response_slope"][0].value
    assert shortcut == measured(with_pool(digits_trial("shortcut")))


def test_evidence_names_the_data_that_training_sets_were_drawn_from(
    digits_trial: MakeTrial,
) -> None:
    assert set(run_probe("spurious_attribute", with_pool(digits_trial("clean"))).data) == {
        "train",
        "test",
        "pool",
    }


def test_a_value_of_the_training_split_that_no_test_image_has_is_refused(
    digits_trial: MakeTrial,
) -> None:
    trial = with_pool(digits_trial("clean"))
    trial.split("train").attributes["photograph"][0] = "church"

    with pytest.raises(EvidenceError, match=r"group \(6, church\) has 0 test images"):
        measured(trial)


@pytest.mark.parametrize(
    ("pool", "changes", "says"),
    [
        ("pol", {}, "dose_response: unknown split 'pol'; did you mean 'pool'"),
        ("test", {}, "digits_6_to_9 is tested on split test.*name another split"),
        ("pool", {"keep": ("6", "7")}, "pool has classes 6, 7, and task.*6, 7, 8, 9; name a split"),
        ("pool", {"attributes": (), "balanced": ()}, "pool has no attribute 'photograph'"),
    ],
)
def test_it_refuses_a_pool_that_does_not_suit_the_task(
    digits_trial: MakeTrial, pool: str, changes: dict[str, Any], says: str
) -> None:
    with pytest.raises(PlanError, match=says):
        measured(with_pool(digits_trial("clean"), pool, **changes))


def test_it_refuses_the_training_split_as_pool_where_it_is_correlated(
    digits_trial: MakeTrial,
) -> None:
    with pytest.raises(EvidenceError, match=r"cannot be built from the data at hand.*split train"):
        measured(with_pool(digits_trial("clean"), "train"))


def test_it_refuses_an_attribute_that_the_data_lacks(digits_trial: MakeTrial) -> None:
    trial = digits_trial("clean")
    content = trial.plan.model_dump()
    content["probes"]["spurious_attribute"] = {"attributes": ["photo"]}

    with pytest.raises(PlanError, match="no attribute 'photo'; did you mean 'photograph'"):
        run_probe(
            "spurious_attribute", Trial(Bench(Plan.model_validate(content), trial.bench.folder))
        )
