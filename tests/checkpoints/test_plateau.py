"""The plateau of transfer: planted ones are found, and how often it errs is simulated."""

import math
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from gate.checkpoints.plateau import Plateau, images_to_settle, plateau
from gate.checkpoints.row import in_natural_order
from gate.reports.pictures.transfer_curve import transfer_curve
from gate.stats import Interval, paired_difference

Right = NDArray[np.bool_]
TOLERANCE = 0.01
IMAGES = np.arange(4000)


def right(share: float, n: int = len(IMAGES)) -> Right:
    """A share of the images, from the first on, is classified correctly."""
    return np.arange(n) < share * n


def row(*shares: float, n: int = len(IMAGES)) -> dict[str, Right]:
    return {f"epoch_{place}": right(share, n) for place, share in enumerate(shares, 1)}


def stands(found: Plateau) -> list[str]:
    return [each.stands for each in found.standings]


def test_the_first_of_those_that_are_alike_is_found() -> None:
    found = plateau({"birds": row(0.5, 0.7, 0.9, 0.902, 0.899)}, TOLERANCE)

    assert (found.outcome, found.earliest) == ("found", "epoch_3")
    assert stands(found) == ["not reached", "worse", *["on plateau"] * 3]
    assert "epoch_2, before it, is worse: task birds: epoch_4 is better by 0.202" in found.says


def test_where_all_are_alike_the_row_may_begin_too_late() -> None:
    found = plateau({"birds": row(0.9, 0.9, 0.9)}, TOLERANCE)

    assert found.earliest == "epoch_1"
    assert "the row begins with it, so an earlier one might be on it, too" in found.says


def test_a_checkpoint_must_be_on_the_plateau_of_every_task() -> None:
    tasks = {"birds": row(0.9, 0.9, 0.9), "cars": row(0.3, 0.6, 0.6)}

    assert plateau(tasks, TOLERANCE).earliest == "epoch_2"


def test_a_dip_ends_the_plateau_even_where_an_earlier_one_is_as_good() -> None:
    found = plateau({"birds": row(0.9, 0.9, 0.7, 0.9, 0.9)}, TOLERANCE)

    assert found.earliest == "epoch_4"
    assert stands(found)[:3] == ["not reached", "not reached", "worse"]


def test_a_peak_before_the_end_is_told_with_how_far_the_last_is_below_it() -> None:
    found = plateau({"birds": row(0.5, 0.9, 0.7)}, TOLERANCE)

    assert (found.outcome, found.earliest) == ("peak", None)
    assert "peak before the end: epoch_3" in found.says
    assert "epoch_2 is better by 0.2, at least 0.18" in found.says
    assert (
        "end the row at the peak, and measure it on test images that did not find it" in found.says
    )


def alike(n: int) -> dict[str, Right]:
    """Two checkpoints that are right equally often, and differ on a tenth of the images."""
    place = np.arange(n) % 20
    return {"epoch_1": place != 0, "epoch_2": place != 1}


def test_as_many_more_images_as_are_told_settle_it() -> None:
    found = plateau({"birds": alike(1000)}, TOLERANCE)
    better = paired_difference(50, 50, 1000)
    more = images_to_settle([better], 1000, TOLERANCE)
    assert more is not None

    assert (found.outcome, found.earliest) == ("unsettled", None)
    assert f"may be better by up to {better.high:.3g}" in found.says
    assert f"about {more:,} more would tell" in found.says
    enough, too_few = (20 * int((1000 + more) * share / 20) for share in (1.03, 0.9))
    assert plateau({"birds": alike(enough)}, TOLERANCE).earliest == "epoch_1"
    assert plateau({"birds": alike(too_few)}, TOLERANCE).earliest is None


def test_a_difference_of_the_tolerance_is_settled_by_no_number_of_images() -> None:
    found = plateau({"birds": row(0.91, 0.9)}, TOLERANCE)

    assert found.outcome == "unsettled"
    assert "even sixteen times as many would not tell" in found.says


def test_images_that_show_a_peak_are_fewer_than_those_that_settle_all() -> None:
    ahead, alike_to_it = Interval(0.05, 0.0, 0.1), Interval(0.009, -0.03, 0.04)

    assert images_to_settle([ahead, alike_to_it], 100, TOLERANCE) == 57
    assert images_to_settle([alike_to_it], 100, TOLERANCE) is None


correct = st.integers(2, 5).flatmap(
    lambda count: st.lists(
        st.lists(st.booleans(), min_size=12, max_size=12), min_size=count, max_size=count
    )
)


@given(correct)
def test_a_shortfall_agrees_with_the_differences_from_all_others(drawn: list[list[bool]]) -> None:
    of_task = {f"epoch_{place}": np.array(each) for place, each in enumerate(drawn)}
    found = plateau({"birds": of_task}, TOLERANCE)

    for name, shortfall in found.of("shortfall", "birds").items():
        better = []
        for other, theirs in of_task.items():
            if other != name:
                alone, other_alone = (
                    (theirs & ~of_task[name]).sum(),
                    (of_task[name] & ~theirs).sum(),
                )
                better.append(paired_difference(int(alone), int(other_alone), 12))
        assert shortfall.value == max(each.value for each in better)
        assert shortfall.high == max(each.high for each in better)
        # corrected for all others, so further down than each alone
        assert shortfall.low <= max(each.low for each in better) + 1e-9
    pairs = [m for m in found.measurements if m.metric == "accuracy_difference"]
    assert len(pairs) == len(of_task) * (len(of_task) - 1) / 2


def drawn(rng: np.random.Generator, n: int, shortfalls: list[float], moved: float) -> list[Right]:
    """Checkpoints below the last one's accuracy of 0.9, each by its shortfall.

    Of the last one's images each gets a share ``moved`` right that it gets wrong, and as many more
    wrong as make the shortfall.
    """
    best = rng.random(n) < 0.9
    rows = []
    for shortfall in shortfalls:
        gained, lost = (
            ~best & (rng.random(n) < moved / 0.1),
            rng.random(n) < (moved + shortfall) / 0.9,
        )
        rows.append((best & ~lost) | gained)
    return [*rows, best]


@pytest.mark.coverage(full=20000, sampled=1000)
@pytest.mark.parametrize(
    ("n", "tolerance", "moved"),
    [
        (100, 0.1, 0.01),
        (400, 0.1, 0.05),
        (400, 0.02, 0.01),
        (1000, 0.01, 0.005),
        (4000, 0.01, 0.08),
    ],
)
def test_a_checkpoint_worse_by_the_tolerance_is_called_on_the_plateau_in_at_most_2_5_of_100_samples(
    simulations: range, n: int, tolerance: float, moved: float
) -> None:
    # it errs most where one alone is better, by just the tolerance: nothing else holds it back
    rng, wrong = np.random.default_rng(5), 0
    for _ in simulations:
        worse, best = drawn(rng, n, [tolerance], moved)
        wrong += plateau({"birds": {"1": best, "2": worse}}, tolerance).earliest is not None
    allowed = 0.025 * len(simulations)
    assert wrong <= allowed + 3 * math.sqrt(allowed), wrong


@pytest.mark.coverage(full=5000, sampled=500)
def test_the_earliest_of_a_row_is_one_that_falls_short_in_at_most_2_5_of_100_samples(
    simulations: range,
) -> None:
    # four that fall short by the tolerance, each of which might be called so, and then the best
    rng, tolerance = np.random.default_rng(6), 0.1
    wrong = 0
    for _ in simulations:
        rows = drawn(rng, 300, [tolerance] * 4, 0.05)
        tasks = {"birds": {f"epoch_{place}": each for place, each in enumerate(rows)}}
        found = plateau(tasks, tolerance)
        wrong += found.earliest is not None and found.earliest != "epoch_4"
    allowed = 0.025 * len(simulations)
    assert wrong <= allowed + 3 * math.sqrt(allowed), wrong


@pytest.mark.coverage(full=5000, sampled=500)
def test_a_peak_is_told_where_there_is_none_in_at_most_2_5_of_100_samples(
    simulations: range,
) -> None:
    # all six others on both tasks are better by just the tolerance: any might be taken for a peak
    rng, tolerance = np.random.default_rng(7), 0.1
    wrong = 0
    for _ in simulations:
        tasks = {}
        for task in ("birds", "cars"):
            best = rng.random(300) < 0.9
            worse = best & (rng.random(300) >= (0.05 + tolerance) / 0.9)
            worse |= ~best & (rng.random(300) < 0.5)
            others = {}
            for place in range(6):  # each differs from the best where the others do not
                moved = rng.random(300)
                others[f"epoch_{place}"] = (best & (moved >= 0.02 / 0.9)) | (~best & (moved < 0.2))
            tasks[task] = {**others, "last": worse}
        wrong += plateau(tasks, tolerance).outcome == "peak"
    allowed = 0.025 * len(simulations)
    assert wrong <= allowed + 3 * math.sqrt(allowed), wrong


@given(st.lists(st.integers(0, 10**12), min_size=2, max_size=9, unique=True))
def test_numbers_in_names_are_ordered_by_their_size(numbers: list[int]) -> None:
    names = in_natural_order([f"epoch_{number}" for number in numbers])

    assert all(int(a[6:]) < int(b[6:]) for a, b in pairwise(names))


def test_names_that_begin_otherwise_or_are_numbers_alone_have_an_order() -> None:
    names = ["last", "10", "9", "epoch_2.5", "epoch_2", "epoch_02"]

    assert in_natural_order(names) == ["9", "10", "epoch_02", "epoch_2", "epoch_2.5", "last"]


def test_the_curve_shows_each_checkpoint_on_each_task_and_where_the_plateau_begins() -> None:
    found = plateau({"birds": row(0.5, 0.9, 0.9), "cars": row(0.3, 0.6, 0.6)}, TOLERANCE)

    picture = transfer_curve(found)

    drawn = ElementTree.fromstring(picture)  # noqa: S314  # we drew it
    said = [text.text for text in drawn.iter() if text.text]
    assert {"task birds", "task cars", "epoch_1", "on plateau", "worse"} <= set(said)
    assert "unsettled" not in said
    assert said.count("epoch_3") == 2
    assert picture.count(b"stroke-dasharray") == 2
    assert picture == transfer_curve(found)
