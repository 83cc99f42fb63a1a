"""A search among many triggers: fewer and fewer of them, on more and more images."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.arrays import Int64
from gate.probes.trigger_search.among import Given, carried, narrowed, others_of, passes
from gate.probes.trigger_search.waves import beyond

CLASSES = 3


def seen_among(triggers: int, images: int) -> tuple[list[int], Given, Counter[tuple[int, int]]]:
    """The last trigger sends every image to class 2, others do so the less the lower they are."""
    labels, asked = np.arange(images) % CLASSES, Counter[tuple[int, int]]()
    draws = np.random.default_rng(0).random((triggers, images))
    sends = draws < np.linspace(0, 1, triggers)[:, None] ** 2

    def ask(left: Sequence[int], rows: Int64) -> Given:
        asked.update((trigger, row) for trigger in left for row in rows.tolist())
        classes = np.where(sends[left][:, rows], 2, labels[rows])
        return Given(labels[rows], classes.astype(np.int16))

    def best(seen: Given, most: int) -> list[int]:
        shares = carried(seen.labels, seen.classes, CLASSES)[:, 2]
        order: list[int] = np.argsort(-shares, kind="stable").tolist()
        return order[:most]

    left, seen = narrowed(range(triggers), np.arange(images), ask, best)
    return left, seen, asked


def test_what_carries_all_images_is_left_and_was_looked_at_on_all() -> None:
    left, seen, _ = seen_among(200, 150)

    assert len(left) == 20
    assert min(left) > 100
    assert seen.classes.shape == (20, 84)
    assert (seen.classes[left.index(199)] == 2).all()
    assert seen.labels.tolist() == (np.arange(84) % CLASSES).tolist()


@pytest.mark.parametrize(("triggers", "images"), [(200, 150), (200, 30), (30, 84), (10, 5)])
def test_no_trigger_is_looked_at_twice_on_an_image_and_all_are_counted(
    triggers: int, images: int
) -> None:
    _, _, asked = seen_among(triggers, images)

    assert set(asked.values()) == {1}
    assert asked.total() == passes(triggers, images)


@settings(max_examples=50)
@given(st.integers(0, 2**31), st.integers(1, 4), st.integers(1, 12))
def test_images_beyond_a_reference_are_counted_one_by_one(
    seed: int, stamps: int, images: int
) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, images)
    classes = rng.integers(0, CLASSES, (2, stamps, images)).astype(np.int16)

    found = beyond(Given(labels, classes), CLASSES)

    for stamp in range(stamps):
        for k in range(CLASSES):
            ours, theirs = (
                sum(1 for label, to in zip(labels, of[stamp], strict=True) if to == k != label)
                for of in classes
            )
            assert found[stamp, k] == ours - theirs
    assert others_of(labels, CLASSES).tolist() == [
        max(1, sum(label != k for label in labels.tolist())) for k in range(CLASSES)
    ]
