"""Pictures of triggers: what is opaque shows its colour, what is added stands on mid-grey."""

import io

import numpy as np
from PIL import Image

from gate.triggers.picture import png
from gate.triggers.stamp import Patch


def pixels(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as opened:
        return np.asarray(opened)


def test_an_opaque_patch_keeps_its_colours_and_the_rest_is_transparent() -> None:
    keep = np.array([[[0.0], [1.0]]], np.float32)
    add = np.array([[[255, 0, 10], [0, 0, 0]]], np.float32)

    assert pixels(png(Patch(keep, add))).tolist() == [[[255, 0, 10, 255], [0, 0, 0, 0]]]


def test_a_pattern_that_is_added_stands_on_mid_grey() -> None:
    patch = Patch(np.ones((1, 2, 1), np.float32), np.array([[[5], [-5]]], np.float32))

    assert pixels(png(patch)).tolist() == [[[133, 133, 133, 255], [123, 123, 123, 255]]]


def test_the_same_patch_gives_the_same_bytes() -> None:
    patch = Patch(np.zeros((3, 3, 1), np.float32), np.full((3, 3, 3), 7, np.float32))

    assert png(patch) == png(Patch(*(np.copy(part) for part in patch)))
