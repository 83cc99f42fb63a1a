"""Preprocessing as others wrote it down, and how images come to their side by it."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from gate import strict_yaml
from gate.data.images import decode
from gate.errors import PlanError
from gate.plan.backbone import SQUASHED, BackbonePlan, Preprocessing, Resizing
from gate.plan.inputs import inputs
from gate.plan.plan import Plan
from tests.builders import written

VIT = {
    "image_processor_type": "ViTImageProcessor",
    "do_resize": True,
    "size": {"height": 224, "width": 224},
    "resample": 2,
    "do_rescale": True,
    "rescale_factor": 0.00392156862745098,
    "do_normalize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
}
CLIP = {
    **VIT,
    "image_processor_type": "CLIPImageProcessor",
    "size": {"shortest_edge": 224},
    "do_center_crop": True,
    "crop_size": {"height": 224, "width": 224},
    "resample": 3,
    "do_convert_rgb": True,
}
TIMM = {
    "architecture": "resnet50",
    "pretrained_cfg": {
        "input_size": [3, 224, 224],
        "interpolation": "bicubic",
        "crop_pct": 0.95,
        "crop_mode": "center",
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
    },
}
OLD = {**VIT, "image_processor_type": None, "size": 224}


def read(folder: Path, content: object, **stated: Any) -> Preprocessing:
    path = written(folder, json.dumps(content)) if not isinstance(content, Path) else content
    return Preprocessing.model_validate({"from": str(path), **stated})


@pytest.mark.parametrize(
    ("content", "stated", "expected"),
    [
        (VIT, {}, (224, Resizing("squash", None, "bilinear"))),
        (CLIP, {}, (224, Resizing("shorter", 224, "bicubic"))),
        ({**CLIP, "size": {"shortest_edge": 256}}, {}, (224, Resizing("shorter", 256, "bicubic"))),
        ({**CLIP, "size": 224, "crop_size": 224}, {}, (224, Resizing("shorter", 224, "bicubic"))),
        ({**OLD, "feature_extractor_type": "ViTFeatureExtractor"}, {}, (224, SQUASHED)),
        (OLD, {"resize": "squash"}, (224, SQUASHED)),
        (
            {**VIT, "size": {"shortest_edge": 224}, "crop_pct": 0.875},
            {},
            (224, Resizing("shorter", 256, "bilinear")),
        ),
        (
            {**VIT, "size": {"shortest_edge": 384}, "crop_pct": 0.875},
            {},
            (384, Resizing("squash", None, "bilinear")),
        ),
        (TIMM, {}, (224, Resizing("shorter", 235, "bicubic"))),
        (TIMM["pretrained_cfg"], {}, (224, Resizing("shorter", 235, "bicubic"))),
        (TIMM, {"size": 192}, (192, Resizing("shorter", 235, "bicubic"))),
        (TIMM, {"interpolation": "lanczos"}, (224, Resizing("shorter", 235, "lanczos"))),
    ],
)  # fmt: skip
def test_size_and_resizing_are_what_a_file_says_and_the_plan_comes_first(
    tmp_path: Path, content: object, stated: dict[str, Any], expected: tuple[int, Resizing]
) -> None:
    found = read(tmp_path, content, **stated)

    assert (found.size, found.resizing) == expected


def test_scale_and_normalisation_are_what_a_file_says(tmp_path: Path) -> None:
    vit, timm = read(tmp_path, VIT), read(tmp_path, TIMM)
    raw = read(tmp_path, {**VIT, "do_rescale": False, "do_normalize": False})
    flipped = read(tmp_path, {**VIT, "do_flip_channel_order": True})

    assert (vit.rescale, vit.mean, vit.std) == (1 / 255, (0.5,) * 3, (0.5,) * 3)
    assert (timm.rescale, timm.mean, timm.std) == (
        1 / 255,
        (0.485, 0.456, 0.406),
        (0.229, 0.224, 0.225),
    )
    assert (raw.rescale, raw.mean, raw.std) == (1, (0,), (1,))
    assert (vit.channel_order, flipped.channel_order) == ("rgb", "bgr")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (OLD, "size 224 may be of both sides or of the shorter one; say resize"),
        ({**VIT, "size": {"shortest_edge": 224}}, "images would not be square; say resize"),
        ({**VIT, "size": {"height": 2, "width": 3}}, "2 x 3 pixels are not square"),
        ({**VIT, "size": {"shortest_edge": 2, "longest_edge": 3}}, "keeps images that are not"),
        ({**VIT, "do_pad": True}, "do_pad: changes pixels in a way"),
        ({**VIT, "do_resize": False}, "do_resize is false"),
        ({**VIT, "resample": None}, "resampling None is none of nearest"),
        ({name: VIT[name] for name in VIT if name != "image_mean"}, "image_mean"),
        ({"pretrained_cfg": {**TIMM["pretrained_cfg"], "crop_mode": "border"}}, "'border' pads"),  # type: ignore[dict-item]
        ({"size": 3}, "neither a preprocessor_config.json"),
        ([], "neither a preprocessor_config.json"),
    ],
)
def test_what_a_file_leaves_open_or_gate_has_no_key_for_is_refused(
    tmp_path: Path, content: object, says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        read(tmp_path, content)


def test_a_missing_or_broken_file_is_refused_at_its_place_in_the_plan(tmp_path: Path) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    for path, says in ((tmp_path / "none.json", "none.json"), (broken, "not valid JSON")):
        plan = tmp_path / "plan.yaml"
        plan.write_text(f"onnx: m.onnx\npreprocessing: {{from: {path}}}\n")
        with pytest.raises(PlanError, match=f"preprocessing.*{says}"):
            strict_yaml.load(plan, BackbonePlan, PlanError)


def test_the_values_stand_in_the_settings_and_the_file_among_the_inputs(tmp_path: Path) -> None:
    path = written(tmp_path, json.dumps(TIMM))
    plan = Plan.model_validate(
        {
            "name": "x",
            "backbone": {"onnx": "m.onnx", "preprocessing": {"from": str(path)}},
            "splits": {"a": {"path": "a.npz"}, "b": {"path": "b.npz"}},
            "tasks": {"t": {"train": "a", "test": "b"}},
            "probes": {"clean_accuracy": {}},
        }
    )

    assert inputs(plan)["backbone.preprocessing.from"] == path
    told = plan.backbone.settings["preprocessing"]
    assert told["crop"] == 235
    assert "from" not in told
    assert "source" not in told
    assert plan.backbone.settled({}).settings["preprocessing"]["std"] == [0.229, 0.224, 0.225]


def encoded(width: int, height: int) -> tuple[bytes, Image.Image]:
    pixels = np.random.default_rng(width).integers(0, 256, (height, width, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue(), Image.fromarray(pixels)


@pytest.mark.parametrize(("width", "height"), [(40, 31), (31, 40), (50, 17), (24, 24), (9, 20)])
@pytest.mark.parametrize("name", ["bilinear", "bicubic", "lanczos", "nearest", "box"])
def test_the_shorter_side_is_resized_and_the_middle_cut_out_as_by_hand(
    width: int, height: int, name: Any
) -> None:
    content, picture = encoded(width, height)

    found = decode(content, 16, 3, Resizing("shorter", 19, name))

    # torchvision: Resize(19), CenterCrop(16)
    upright = width <= height
    size = (19, int(19 * height / width)) if upright else (int(19 * width / height), 19)
    by_hand = picture.resize(size, Image.Resampling[name.upper()])
    top, left = round((size[1] - 16) / 2.0), round((size[0] - 16) / 2.0)
    expected = np.asarray(by_hand)[top : top + 16, left : left + 16]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("crop", [None, 20])
def test_both_sides_are_squashed_and_the_middle_cut_out_as_by_hand(crop: int | None) -> None:
    content, picture = encoded(40, 31)

    found = decode(content, 16, 3, Resizing("squash", crop, "bilinear"))

    to = crop or 16
    cut = (to - 16) // 2
    expected = np.asarray(picture.resize((to, to), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(found, expected[cut : cut + 16, cut : cut + 16])


def test_pixels_of_the_wanted_side_are_resized_too_where_a_crop_says_so() -> None:
    content, _ = encoded(16, 16)
    pixels = decode(content)

    found = decode(pixels, 16, 3, Resizing("shorter", 20, "bilinear"))

    assert found is not None
    assert pixels is not None
    np.testing.assert_array_equal(found, decode(content, 16, 3, Resizing("shorter", 20)))
    assert (found != pixels).any()


def test_a_crop_smaller_than_the_input_is_refused() -> None:
    with pytest.raises(ValueError, match="crop: images are resized to 8 pixels, and 16 are cut"):
        Preprocessing(size=16, crop=8)


def test_a_file_that_leaves_a_value_to_its_library_is_refused_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match=r"does not say image_mean, which its library adds"):
        read(tmp_path, {key: value for key, value in VIT.items() if key != "image_mean"})
