"""Candidate against champion: what is worse or better, what is not compared or refused."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from gate import stats
from gate.comparison.compare import compare
from gate.comparison.values import Change, Comparison, Row
from gate.errors import EvidenceError
from gate.values import Evidence, Measurement
from tests.builders import BACKBONE, OTHER_BACKBONE, REFERENCE
from tests.comparison.sides import RATE, patched, rates, side


def changes(comparison: Comparison) -> list[Change]:
    return [row.change for row in comparison.rows]


def test_a_planted_regression_is_worse_and_stands_before_a_smaller_one() -> None:
    before, after = {"a": 10, "b": 10, "c": 900}, {"a": 400, "b": 900, "c": 10}

    found = compare([patched(after)], [patched(before, champion=True)])

    assert [(row.change, row.labels["trigger"]) for row in found.rows] == [
        ("worse", "b"),
        ("worse", "a"),
        ("better", "c"),
    ]
    (worst, *_) = found.having("worse")
    assert worst.difference
    assert worst.difference.value == pytest.approx(0.89)
    assert (found.candidate, found.champion) == (BACKBONE, OTHER_BACKBONE)
    assert found.notes[0].endswith("give the candidate's plan the champion as its reference")


def test_of_what_is_better_where_it_is_higher_less_is_worse() -> None:
    def accuracy(hits: int, *, champion: bool = False) -> list[Evidence]:
        measured = Measurement.rate("accuracy", hits, 1000, task="t")
        return [side(measured, probe="clean_accuracy", champion=champion)]

    assert changes(compare(accuracy(700), accuracy(900, champion=True))) == ["worse"]
    assert changes(compare(accuracy(900), accuracy(700, champion=True))) == ["better"]


def test_what_no_side_is_better_in_is_only_changed() -> None:
    def aligned(value: float, *, champion: bool = False) -> list[Evidence]:
        interval = stats.Interval(value, value - 0.01, value + 0.01)
        measured = Measurement.of("weight_alignment", interval, 100, "cosine", ancestor="a")
        return [side(measured, probe="lineage", champion=champion)]

    assert changes(compare(aligned(0.9), aligned(0.2, champion=True))) == ["changed"]


def test_equal_evidence_is_unsettled_everywhere() -> None:
    hits = {f"t{count}": count for count in (0, 1, 10, 500, 999, 1000)}

    found = compare([patched(hits)], [patched(hits, champion=True)])

    assert set(changes(found)) == {row.alone for row in found.rows} == {"unsettled"}
    assert all(row.difference and row.difference.value == 0 for row in found.rows)


def test_the_same_backbone_on_both_sides_is_said() -> None:
    found = compare([patched({"a": 1})], [patched({"a": 1})])

    assert found.notes[0].startswith("both sides are the same backbone")


def wilson(hits: int, n: int, z: float) -> tuple[float, float]:
    """Wilson's ends as the roots of a quadratic, (p - x)^2 = z^2 x (1 - x) / n."""
    p = hits / n
    low, high = np.sort(np.roots([1 + z * z / n, -2 * p - z * z / n, p * p]).real)
    return float(low), float(high)


@pytest.mark.parametrize(("ours", "theirs"), [(0, 20), (3, 40), (70, 60), (100, 31)])
@pytest.mark.parametrize("rows", [1, 40])
def test_the_unpaired_interval_is_newcombes_at_its_own_level_and_at_that_of_all_rows(
    ours: int, theirs: int, rows: int
) -> None:
    filling = {f"{i}": 5 for i in range(rows - 1)}
    found = compare(
        [side(*rates({"a": ours} | filling, 100))],
        [side(*rates({"a": theirs} | filling, 100), champion=True)],
    )

    (row,) = (row for row in found.rows if row.labels["trigger"] == "a")
    assert row.difference
    for z, ends in (
        (norm.isf(0.025), (row.difference.low, row.difference.high)),
        (norm.isf(0.025 / rows), (row.difference.low_of_all, row.difference.high_of_all)),
    ):
        (l1, u1), (l2, u2) = wilson(ours, 100, z), wilson(theirs, 100, z)
        p1, p2 = ours / 100, theirs / 100
        low = p1 - p2 - np.sqrt((p1 - l1) ** 2 + (u2 - p2) ** 2)
        high = p1 - p2 + np.sqrt((u1 - p1) ** 2 + (p2 - l2) ** 2)
        assert ends == pytest.approx((low, high), abs=1e-6)


@pytest.mark.parametrize(("p", "q"), [(0.02, 0.02), (0.1, 0.3), (0.95, 0.9)])
def test_the_unpaired_interval_holds_the_truth_as_often_as_it_says(p: float, q: float) -> None:
    draw, n = np.random.default_rng(7), 150
    ours, theirs = draw.binomial(n, p, 2000), draw.binomial(n, q, 2000)

    intervals = [
        stats.difference(stats.rate(int(a), n), stats.rate(int(b), n))
        for a, b in zip(ours, theirs, strict=True)
    ]

    held = sum(i.low <= p - q <= i.high for i in intervals)
    assert held / 2000 > 0.94


def test_of_rows_that_do_not_differ_hardly_ever_is_any_called_worse_or_better() -> None:
    draw, n, any_called, alone = np.random.default_rng(3), 200, 0, 0
    for _ in range(100):
        ours, theirs = draw.binomial(n, 0.1, (2, 60))
        found = compare(
            [side(*rates({f"{i}": int(c) for i, c in enumerate(ours)}, n))],
            [side(*rates({f"{i}": int(c) for i, c in enumerate(theirs)}, n), champion=True)],
        )
        any_called += set(changes(found)) != {"unsettled"}
        alone += any(row.alone != "unsettled" for row in found.rows)

    assert any_called <= 11  # 5 of 100 are expected; more than 11 in 1 % of cases
    assert alone > 80


def over(hits: tuple[int, int], n: int, trigger: str) -> Measurement:
    interval = stats.paired_difference(*hits, n)
    return Measurement.difference(f"{RATE}_over_reference", interval, n, task="t", trigger=trigger)


def test_the_difference_is_the_probes_own_where_the_champion_was_the_reference() -> None:
    own = over((30, 2), 1000, "a")
    candidate = side(*rates({"a": 38, "b": 10}), own, reference=OTHER_BACKBONE)

    found = compare([candidate], [patched({"a": 10, "b": 10}, champion=True)])

    paired, unpaired = found.rows
    assert paired.difference
    assert unpaired.difference
    assert paired.labels["trigger"] == "a"
    assert (paired.difference.paired, unpaired.difference.paired) == (True, False)
    ends = paired.difference.value, paired.difference.low, paired.difference.high
    assert ends == (own.value, own.low, own.high)
    assert paired.change == "worse"
    assert {row.metric for row in found.rows} == {RATE}
    assert found.notes == (
        "1 of 2 rows are not paired, and their intervals wider than need be: no probe measured "
        "their difference example by example",
    )
    assert not found.unmatched


def test_a_difference_to_another_backbone_is_no_difference_to_the_champion() -> None:
    candidate = side(*rates({"a": 38}), over((30, 2), 1000, "a"), reference=REFERENCE)

    (row,) = compare([candidate], [patched({"a": 10}, champion=True)]).rows

    assert row.difference
    assert not row.difference.paired


def test_a_reference_that_was_opened_otherwise_is_not_what_the_champions_evidence_is_of() -> None:
    candidate = side(
        *rates({"a": 38}),
        over((30, 2), 1000, "a"),
        reference=OTHER_BACKBONE,
        settings={"reference": {"size": 32}},
    )
    champion = patched({"a": 10}, champion=True, settings={"backbone": {"size": 64}})

    found = compare([candidate], [champion])

    (row,) = found.rows
    assert row.difference
    assert not row.difference.paired
    assert "opened with other settings" in found.notes[-1]


def test_the_pairs_of_shared_mistakes_are_those_of_accuracy_if_they_are_of_the_same_images() -> (
    None
):
    def accuracy(hits: int, n: int, *, champion: bool = False) -> Evidence:
        measured = Measurement.rate("accuracy", hits, n, task="t")
        return side(measured, probe="clean_accuracy", champion=champion)

    interval = stats.paired_difference(5, 45, 1000)
    own = Measurement.difference("accuracy_over_reference", interval, 1000, task="t")
    mistakes = side(own, probe="shared_mistakes", reference=OTHER_BACKBONE)

    for n, is_paired in ((1000, True), (2000, False)):
        candidate = [accuracy(n * 880 // 1000, n), mistakes]
        (row,) = compare(candidate, [accuracy(n * 920 // 1000, n, champion=True)]).rows
        assert row.difference
        assert row.difference.paired == is_paired


def test_worst_cases_are_compared_where_each_side_has_its_own() -> None:
    metric = "worst_attack_success_rate"
    candidate = side(*rates({"yellow": 800}, metric=metric))
    champion = side(*rates({"blue": 30}, metric=metric), champion=True)

    (row,) = compare([candidate], [champion]).rows

    assert row.change == "worse"
    assert dict(row.labels) == {"task": "t"}
    assert (row.candidate.about["trigger"], row.champion.about["trigger"]) == ("yellow", "blue")


def test_what_one_side_measured_alone_is_listed() -> None:
    found = compare(
        [patched({"a": 1, "b": 2})],
        [
            patched({"a": 1}, champion=True),
            side(
                Measurement.rate("accuracy", 9, 10, task="t"), probe="clean_accuracy", champion=True
            ),
        ],
    )

    listed = [(each.side, each.probe, each.metric) for each in found.unmatched]
    assert listed == [
        ("candidate", "trigger_patch", RATE),
        ("champion", "clean_accuracy", "accuracy"),
    ]


OTHER_DATA = {"test": "sha256:" + "02" * 32}


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"data": OTHER_DATA}, "data test"),
        ({"data": {"train": "sha256:" + "01" * 32}}, "data test; data train"),
        ({"settings": {"probe": {"size": 3}}}, "settings of the probe"),
        ({"settings": {"tasks": {"t": {"head": {}}}}}, "settings of tasks"),
        ({"settings": {"ancestor": {}}}, "settings of ancestor"),
    ],
)
def test_other_data_or_settings_are_not_called_better_or_worse(
    changed: dict[str, Any], says: str
) -> None:
    for one, other in ((changed, {}), ({}, changed)):
        found = compare([patched({"a": 900}, **one)], [patched({"a": 1}, champion=True, **other)])

        assert changes(found) == ["not comparable"]
        assert found.rows[0].difference is None
        assert f"trigger_patch is not comparable, for these differ: {says}" in found.notes


def test_which_setting_differs_is_named() -> None:
    settings = [{"probe": {"size": size, "place": 1}} for size in (1, 2)]

    found = compare(
        [patched({"a": 1}, settings=settings[0])],
        [patched({"a": 1}, champion=True, settings=settings[1])],
    )

    assert found.notes[0].endswith("settings of the probe (size)")


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"seed": 5}, "the seed is 5 and was 0: trigger_patch"),
        ({"versions": {"gate": "9"}}, "gate is 9 and was 0: trigger_patch"),
        ({"settings": {"backbone": {"size": 1}}}, "settings of backbone differ: trigger_patch"),
        ({"settings": {"batch_size": 1}}, "settings of batch_size differ: trigger_patch"),
    ],
)
def test_another_seed_or_version_is_said_and_compared(changed: dict[str, Any], says: str) -> None:
    found = compare([patched({"a": 900}, **changed)], [patched({"a": 1}, champion=True)])

    assert changes(found) == ["worse"]
    assert f"compared all the same, though {says}" in found.notes


def test_what_was_measured_against_two_references_is_left_out() -> None:
    champion = side(
        *rates({"a": 10}), over((1, 1), 1000, "a"), champion=True, reference="sha256:" + "77" * 32
    )
    candidate = side(*rates({"a": 10}), over((1, 1), 1000, "a"), reference=REFERENCE)

    found = compare([candidate], [champion])

    assert [row.metric for row in found.rows] == [RATE]
    assert any("measured against a reference is left out" in note for note in found.notes)


def test_what_was_measured_against_the_same_reference_is_compared() -> None:
    sides = [
        side(*rates({"a": 10}), over((gain, 1), 1000, "a"), champion=champion, reference=REFERENCE)
        for gain, champion in ((300, False), (1, True))
    ]

    found = compare(sides[:1], sides[1:])

    assert [row.metric for row in found.having("worse")] == [f"{RATE}_over_reference"]


def test_a_side_of_two_backbones_is_refused() -> None:
    two = [
        patched({"a": 1}),
        side(Measurement.rate("accuracy", 9, 10, task="t"), probe="clean_accuracy", champion=True),
    ]

    with pytest.raises(EvidenceError, match="compare: the candidate: evidence of 2 backbones"):
        compare(two, [patched({"a": 1})])
    with pytest.raises(EvidenceError, match="compare: the champion: evidence of 2 backbones"):
        compare([patched({"a": 1})], two)
    with pytest.raises(EvidenceError, match="compare: the champion: no evidence"):
        compare([patched({"a": 1})], [])


def test_sides_without_a_common_measurement_are_refused() -> None:
    accuracy = side(
        Measurement.rate("accuracy", 9, 10, task="t"), probe="clean_accuracy", champion=True
    )

    with pytest.raises(EvidenceError, match=r"has those of trigger_patch, .* of clean_accuracy"):
        compare([patched({"a": 1})], [accuracy])
    with pytest.raises(EvidenceError, match="no measurement stands on both sides"):
        compare([patched({"a": 1})], [patched({"b": 1}, champion=True)])


def test_numbers_whose_difference_is_no_number_are_refused() -> None:
    def path_norm(value: float, *, champion: bool = False) -> list[Evidence]:
        interval = stats.Interval(value, value, value)
        measured = Measurement.of("path_norm", interval, 9, "ratio", task="t", module="m")
        return [side(measured, probe="module_criticality", champion=champion)]

    with pytest.raises(EvidenceError, match=r"path_norm .* are too large to subtract"):
        compare(path_norm(1e308), path_norm(-1e308, champion=True))


def test_what_no_probe_measures_is_refused() -> None:
    odd = Evidence(**{**patched({"a": 1}).model_dump(), "probe": "clean_accuracy"})

    with pytest.raises(EvidenceError, match="compare: the candidate: evidence of probe clean_acc"):
        compare([odd], [patched({"a": 1}, champion=True)])


MIRRORED: dict[Change, Change] = {"worse": "better", "better": "worse"}
counts = st.integers(0, 60)


@given(st.dictionaries(st.sampled_from("abcdef"), st.tuples(counts, counts, counts), min_size=1))
def test_swapping_the_sides_swaps_better_and_worse(drawn: dict[str, tuple[int, int, int]]) -> None:
    """Also of paired differences, which one side alone measured."""
    ours = {trigger: counts[0] for trigger, counts in drawn.items()}
    theirs = {trigger: counts[1] for trigger, counts in drawn.items()}
    own = [over((paired, 60 - paired), 60, t) for t, (_, _, paired) in drawn.items() if paired % 2]
    one = side(*rates(ours, 60), *own, reference=OTHER_BACKBONE)
    other = side(*rates(theirs, 60), champion=True)

    there, back = compare([one], [other]), compare([other], [one])

    def by_trigger(comparison: Comparison) -> dict[str, Row]:
        return {row.labels["trigger"]: row for row in comparison.rows}

    mirrored = by_trigger(back)
    for trigger, row in by_trigger(there).items():
        assert mirrored[trigger].change == MIRRORED.get(row.change, row.change)
        assert row.difference
        ends = mirrored[trigger].difference
        assert ends
        assert ends.paired == row.difference.paired
        assert (-ends.high, -ends.value, -ends.low) == pytest.approx(
            (row.difference.low, row.difference.value, row.difference.high)
        )


def test_a_comparison_read_back_is_the_same() -> None:
    found = compare([patched({"a": 900})], [patched({"a": 1}, champion=True)])

    assert Comparison.model_validate_json(found.to_json()) == found
