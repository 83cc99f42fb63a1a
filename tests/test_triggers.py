"""Stamps change what they cover, and nothing else; controls match them and are not them."""

import numpy as np
import pytest

from gate.triggers import Trigger, TriggerGrid, bank

COLOURS = ("yellow", "white", "black", "red", "green", "blue", "cyan", "magenta")
PLACES = ("top_left", "top_right", "bottom_left", "bottom_right", "centre")


def whole_bank(channels: int = 3) -> list[Trigger]:
    grids = [
        {"pattern": "square", "colour": COLOURS, "size": [0.25], "place": PLACES},
        {"pattern": "checkerboard", "size": [0.25], "place": PLACES},
        {"pattern": "noise", "size": [0.25], "place": PLACES},
    ]
    return bank(tuple(TriggerGrid.model_validate(g) for g in grids), 16, channels, seed=0)


def test_a_bank_holds_every_pattern_colour_size_and_place() -> None:
    names = [trigger.stamp.name for trigger in whole_bank()]

    assert len(names) == len(set(names)) == (8 + 1 + 1) * 5
    assert "yellow square 4px bottom_right" in names
    assert "checkerboard 4px centre" in names


@pytest.mark.parametrize("channels", [1, 3])
def test_a_stamp_covers_its_place_and_leaves_the_rest(channels: int) -> None:
    images = np.full((3, 16, 16, channels), 77, np.uint8)
    corners = {"top_left": (0, 0), "top_right": (0, 12), "bottom_left": (12, 0)}
    corners |= {"bottom_right": (12, 12), "centre": (6, 6)}

    for trigger in whole_bank(channels):
        stamped = trigger.stamp.on(images)
        top, left = corners[trigger.stamp.name.split()[-1]]
        outside = np.ones((16, 16), bool)
        outside[top : top + 4, left : left + 4] = False
        assert (images == 77).all()
        assert (stamped[:, outside] == 77).all()
        np.testing.assert_array_equal(
            stamped[:, top : top + 4, left : left + 4],
            np.broadcast_to(trigger.stamp.pixels, (3, 4, 4, channels)),
        )


def test_controls_match_size_place_and_contrast_and_are_not_the_trigger() -> None:
    for trigger in whole_bank():
        stamp = trigger.stamp
        assert len(trigger.controls) >= 2
        for control in trigger.controls:
            assert (control.top, control.left) == (stamp.top, stamp.left)
            assert control.pixels.shape == stamp.pixels.shape
            assert control.key != stamp.key
            energy = [np.abs(s.pixels.astype(float) - 127.5).mean() for s in (stamp, control)]
            assert energy[0] == pytest.approx(energy[1])


def test_the_same_pixels_at_the_same_place_are_passed_once() -> None:
    keys: dict[str, str] = {}
    for trigger in whole_bank():
        for stamp in (trigger.stamp, *trigger.controls):
            keys.setdefault(stamp.key, stamp.name)

    # per place: 8 colours, a checkerboard with 2 shuffles, noise with 2, and one noise for squares
    assert len(keys) == 5 * (8 + 3 + 3 + 1)


def test_the_seed_draws_the_noise() -> None:
    grid = (TriggerGrid(pattern="noise", size=(0.5,), place=("centre",)),)

    one, again, other = (bank(grid, 16, 3, seed)[0].stamp.key for seed in (0, 0, 1))

    assert one == again != other
