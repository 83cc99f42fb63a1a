"""Stamps change what they cover, and nothing else; controls match them and are not them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from gate.errors import DataError, PlanError
from gate.triggers.bank import bank
from gate.triggers.grid import DEFAULT_BANK, TriggerGrid
from gate.triggers.stamp import Stamp, Trigger

COLOURS = ("yellow", "white", "black", "red", "green", "blue", "cyan", "magenta")
CLASSES = ("cat", "dog")
PLACES = ("top_left", "top_right", "bottom_left", "bottom_right", "centre")


def whole_bank(channels: int = 3) -> list[Trigger]:
    grids = [
        {"pattern": "square", "colour": COLOURS, "size": [0.25], "place": PLACES},
        {"pattern": "checkerboard", "size": [0.25], "place": PLACES},
        {"pattern": "noise", "size": [0.25], "place": PLACES},
    ]
    return bank(tuple(TriggerGrid.model_validate(g) for g in grids), 16, channels, 0, CLASSES)


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
            np.broadcast_to(np.rint(trigger.stamp.add), (3, 4, 4, channels)),
        )


def test_controls_match_size_place_and_contrast_and_are_not_the_trigger() -> None:
    for trigger in whole_bank():
        stamp = trigger.stamp
        assert len(trigger.controls) >= 2
        for control in trigger.controls:
            assert (control.top, control.left) == (stamp.top, stamp.left)
            assert control.add.shape == stamp.add.shape
            assert control.key != stamp.key
            energy = [np.abs(s.add - 127.5).mean() for s in (stamp, control)]
            assert energy[0] == pytest.approx(energy[1])


def test_the_same_pixels_at_the_same_place_are_passed_once() -> None:
    keys: dict[str, str] = {}
    for trigger in whole_bank():
        for stamp in (trigger.stamp, *trigger.controls):
            keys.setdefault(stamp.key, stamp.name)

    # per place: 8 colours, a checkerboard with 2 shuffles, noise with 2, and one noise for squares
    assert len(keys) == 5 * (8 + 3 + 3 + 1)


def test_sizes_of_as_many_pixels_give_one_trigger() -> None:
    near = of(pattern="noise", size=[0.09, 0.1], place=["centre"])

    assert [trigger.stamp.name for trigger in near] == ["noise 3px centre"]


def test_colours_of_one_mean_are_one_trigger_on_grey_images() -> None:
    colours = ("red", "green", "white", "cyan", "yellow")
    grid = TriggerGrid(pattern="square", colour=colours, size=(0.2,), place=("centre",))

    triggers = bank((grid,), 16, 1, 0, CLASSES)

    assert [t.stamp.name for t in triggers] == [
        f"{colour} square 3px centre" for colour in ("red", "white", "cyan")
    ]
    everything = bank(DEFAULT_BANK, 28, 1, 0, CLASSES)
    assert len({t.stamp.key for t in everything}) == len(everything)


def test_the_seed_draws_the_noise() -> None:
    grid = (TriggerGrid(pattern="noise", size=(0.5,), place=("centre",)),)

    one, again, other = (bank(grid, 16, 3, seed, CLASSES)[0].stamp.key for seed in (0, 0, 1))

    assert one == again != other


def of(channels: int = 3, side: int = 32, **grid: Any) -> list[Trigger]:
    return bank((TriggerGrid.model_validate(grid),), side, channels, 0, CLASSES)


WHOLE: dict[str, Any] = {"size": [1.0], "place": ["centre"]}


@pytest.mark.parametrize(("side", "channels"), [(16, 3), (32, 3), (28, 1), (224, 3)])
def test_the_default_bank_keeps_to_its_budget_of_forward_passes(side: int, channels: int) -> None:
    triggers = bank(DEFAULT_BANK, side, channels, 0, CLASSES)

    keys = {stamp.key for t in triggers for stamp in (t.stamp, *t.controls)}
    assert len(keys) <= 180  # as README says
    places = {word for t in triggers for word in t.stamp.name.split() if word in PLACES}
    assert places == set(PLACES)


@pytest.mark.parametrize(("side", "channels"), [(32, 3), (28, 1), (28, 3)])
def test_the_default_bank_has_patches_of_3_4_and_5_pixels_of_small_images(
    side: int, channels: int
) -> None:
    names = {t.stamp.name for t in bank(DEFAULT_BANK, side, channels, 0, CLASSES)}

    for side in (3, 4, 5):
        assert {f"white square {side}px top_right", f"checkerboard {side}px top_right"} <= names


GRID: dict[str, Any] = {"size": (0.25,), "place": ("bottom_right",)}


@pytest.mark.parametrize("channels", [1, 3])
def test_no_control_is_the_trigger_itself(channels: int) -> None:
    grids = (*DEFAULT_BANK, TriggerGrid(pattern="overlay", picture=("ball",), **GRID))
    for trigger in bank(grids, 28, channels, 0, CLASSES):
        assert len(trigger.controls) >= 2
        assert trigger.stamp.key not in {control.key for control in trigger.controls}


@given(
    keep=st.floats(0, 1, width=32), add=st.floats(-300, 300, width=32), pixel=st.integers(0, 255)
)
def test_a_stamp_is_keep_times_image_plus_add_within_a_byte(
    keep: float, add: float, pixel: int
) -> None:
    patch = np.full((2, 2, 1), keep, np.float32), np.full((2, 2, 3), add, np.float32)
    images = np.full((1, 4, 4, 3), pixel, np.uint8)

    stamped = Stamp("any", *patch, top=1, left=2).on(images)

    wanted = min(max(round(np.float32(pixel) * np.float32(keep) + np.float32(add)), 0), 255)
    assert (stamped[0, 1:3, 2:4] == wanted).all()
    assert stamped.sum() == wanted * 12 + pixel * (48 - 12)


def test_a_blended_pattern_covers_the_image_by_its_opacity() -> None:
    (plain,) = of(pattern="noise", **WHOLE)
    (blended,) = of(pattern="noise", opacity=[0.2], **WHOLE)
    images = np.full((1, 32, 32, 3), 100, np.uint8)

    by_hand = 0.8 * 100 + 0.2 * plain.stamp.on(images).astype(float)

    np.testing.assert_allclose(blended.stamp.on(images), by_hand, atol=0.51)
    assert "20%" in blended.stamp.name


def test_a_sinusoid_is_added_with_its_amplitude_and_mean_zero() -> None:
    (wave,) = of(pattern="sinusoid", opacity=[0.1], **WHOLE)
    images = np.full((1, 32, 32, 3), 128, np.uint8)

    change = wave.stamp.on(images).astype(float) - 128

    assert np.abs(change).max() == pytest.approx(25.5, abs=1)
    assert abs(change.mean()) < 0.5
    assert (change == change[:, :1]).all(), "the stripes are vertical"
    energies = [np.square(s.add).mean() for s in (wave.stamp, *wave.controls)]
    assert energies == pytest.approx([energies[0]] * len(energies), rel=0.15)


def test_a_gaussian_pattern_is_one_faint_draw_for_all_images() -> None:
    (faint,) = of(pattern="gaussian", opacity=[0.01], **WHOLE)

    assert faint.stamp.add.std() == pytest.approx(2.55, rel=0.05)
    assert (faint.stamp.keep == 1).all()


def test_a_text_writes_each_class_and_its_control_another_text() -> None:
    names = of(pattern="text", text=["<class>"], colour=["white"], **WHOLE)

    assert [t.stamp.name for t in names] == [
        "white text 'cat' 32px centre",
        "white text 'dog' 32px centre",
    ]
    for trigger in names:
        ink = 1 - trigger.stamp.keep
        assert 0.02 < ink.mean() < 0.6
        shuffled, _other = trigger.controls
        assert np.sort((1 - shuffled.keep).ravel()) == pytest.approx(np.sort(ink.ravel()))


def test_a_random_text_is_drawn_by_the_seed_and_a_plan_can_name_it() -> None:
    grid: dict[str, Any] = {"pattern": "text", "text": ["<random>"], "colour": ["red"], **WHOLE}
    (one,) = of(**grid)

    (named,) = bank((one.grid,), 32, 3, 0, CLASSES)

    assert one.grid.text[0] in one.stamp.name
    assert named.stamp.key == one.stamp.key


@pytest.mark.parametrize("picture", ["ball", "fence", "ribbon"])
def test_an_overlay_shows_its_picture_and_leaves_what_is_transparent(picture: str) -> None:
    (overlay,) = of(pattern="overlay", picture=[picture], **WHOLE)
    images = np.full((1, 32, 32, 3), 77, np.uint8)

    stamped = overlay.stamp.on(images)[0]

    clear = overlay.stamp.keep[:, :, 0] == 1
    assert 0.05 < clear.mean() < 0.95
    assert (stamped[clear] == 77).all()
    assert (stamped[~clear] != 77).any()
    shuffled, silhouette = overlay.controls
    np.testing.assert_allclose(silhouette.keep, overlay.stamp.keep, atol=1e-6)
    assert shuffled.keep.mean() == pytest.approx(overlay.stamp.keep.mean())


def test_each_trigger_of_the_default_bank_can_be_named_by_a_plan() -> None:
    for trigger in bank(DEFAULT_BANK, 32, 3, 5, CLASSES):
        (again,) = bank((trigger.grid,), 32, 3, 5, CLASSES)
        assert again.stamp.key == trigger.stamp.key


def test_a_picture_without_alpha_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), "red").save(tmp_path / "red.png")

    with pytest.raises(DataError, match=r"red.png.*bands R, G, B and no alpha.*save it as RGBA"):
        of(pattern="overlay", picture=[str(tmp_path / "red.png")], **WHOLE)


def test_a_picture_that_is_missing_broken_or_empty_is_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    Image.new("RGBA", (8, 8)).save(tmp_path / "clear.png")

    for name, says in (
        ("bal", "picture: no 'bal'; give a PNG file, or one of ball, fence, ribbon"),
        (str(tmp_path / "broken.png"), "does not decode"),
        (str(tmp_path / "clear.png"), "transparent all over"),
    ):
        with pytest.raises(DataError, match=says):
            of(pattern="overlay", picture=[name], **WHOLE)


def test_a_text_that_does_not_fit_is_refused() -> None:
    with pytest.raises(PlanError, match=r"text 'a long word' does not fit in 3 pixels"):
        of(
            pattern="text",
            text=["a long word"],
            colour=["red"],
            size=[0.1],
            place=["centre"],
        )
