"""From pixels to inputs: scale, order of channels, mean and std; and what is said of them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gate.backbone.backbone import Backbone
from gate.measure.embed import pixels_path
from gate.plan.backbone import BackbonePlan
from tests import tiny


def opened(folder: Path, **preprocessing: Any) -> Backbone:
    path = tiny.write_onnx(folder / "m.onnx")
    of = {"size": tiny.SIDE, **preprocessing}
    return Backbone(BackbonePlan.model_validate({"onnx": path, "preprocessing": of}))


def images(n: int) -> np.ndarray:
    return np.random.default_rng(n).integers(0, 256, (n, 8, 8, 3), np.uint8)


def test_pixels_are_rescaled_put_in_order_and_normalised_as_by_hand(tmp_path: Path) -> None:
    mean, std = (103.94, 116.78, 123.68), (57.4, 57.1, 58.4)  # of blue, green and red, as Caffe's
    backbone = opened(tmp_path, rescale=1.0, channel_order="bgr", mean=mean, std=std)

    found = backbone.inputs(images(3))

    expected = ((images(3)[..., ::-1] - np.array(mean)) / np.array(std)).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_gradients_by_pixels_are_the_slope_of_inputs(tmp_path: Path, order: str) -> None:
    backbone = opened(tmp_path, rescale=1 / 128, channel_order=order, std=(0.2, 0.3, 0.4))
    weights = np.random.default_rng(1).normal(size=(1, 3, 8, 8)).astype(np.float32)
    given = (images(1) / 255).astype(np.float32)

    found = backbone.to_pixels(weights)

    for place in ((0, 1, 2, 0), (0, 3, 4, 2)):
        moved = given.copy()
        moved[place] += 0.5
        before, after = (backbone.inputs(255 * each) for each in (given, moved))
        np.testing.assert_allclose(
            found[place], (weights * (after - before)).sum() / 0.5, rtol=1e-4
        )


@pytest.mark.parametrize(
    ("stated", "says"),
    [
        ({}, "mean and std are not in the plan: pixels go in as 0 .. 1"),
        ({"std": [0.5]}, "mean is not in the plan: it is taken for mean 0"),
        ({"mean": [0.5]}, "std is not in the plan: it is taken for std 1"),
        ({"mean": [0.0], "std": [1.0]}, None),
    ],
)
def test_mean_and_std_that_are_left_out_are_said(
    tmp_path: Path, stated: dict[str, Any], says: str | None
) -> None:
    backbone = opened(tmp_path, **stated)

    assert [
        each for each in backbone.remarks if "in the plan: " in each and "output" not in each
    ] == ([says] if says else [])


def test_pixels_that_are_kept_are_kept_for_each_way_of_resizing(tmp_path: Path) -> None:
    class Split:
        name, digest = "train", "d"

    ways: tuple[dict[str, Any], ...] = (
        {}, {"resize": "shorter"}, {"crop": 10}, {"interpolation": "box"}, {"channels": 1},
    )  # fmt: skip
    paths = {
        pixels_path(tmp_path, Split(), plan.preprocessing)  # type: ignore[arg-type]  # as one
        for plan in (
            BackbonePlan.model_validate({"onnx": "m.onnx", "preprocessing": {"size": 8, **way}})
            for way in ways
        )
    }

    assert len(paths) == len(ways)
