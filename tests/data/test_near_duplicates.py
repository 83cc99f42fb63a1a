"""Images and texts that are in both splits, saved or typed again."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from sklearn.datasets import load_digits

from gate.data.expectations import Validation
from gate.data.near_duplicates import (
    Pair,
    near_duplicates,
    sketch_of_image,
    sketch_of_text,
)
from gate.errors import DataError
from gate.measure.bench import Bench
from gate.plan.plan import Plan
from gate.run import require_valid, validated
from tests.conftest import SHARED, needs_shared
from tests.data.test_split import as_npz, table


def smooth(n: int, seed: int, side: int = 32) -> np.ndarray:
    """Images without fine detail, as photographs are, ``(n, side, side, 3)``."""
    coarse = np.random.default_rng(seed).integers(0, 256, (n, 6, 6, 3), dtype=np.uint8)
    size = (side, side)
    resized = [Image.fromarray(image).resize(size, Image.Resampling.BICUBIC) for image in coarse]
    return np.stack([np.asarray(image) for image in resized])


def as_jpeg(picture: Image.Image, quality: int = 75) -> Image.Image:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG of quality 90": lambda image: as_jpeg(image, 90),
    "JPEG of quality 75": as_jpeg,
    "half the size": lambda image: image.resize((image.width // 2, image.height // 2)),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.1),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.9),
    "grey": lambda image: image.convert("L"),
    "less one pixel at each side": lambda image: image.crop(
        (1, 1, image.width - 1, image.height - 1)
    ),
}


def sketches(images: Any) -> list[bytes]:
    return [sketch_of_image(np.atleast_3d(np.asarray(image))) for image in images]


@pytest.mark.parametrize("copy", COPIES)
def test_a_copy_is_found_with_what_it_is_a_copy_of(copy: str) -> None:
    train = smooth(60, seed=0, side=64)
    order = np.random.default_rng(1).permutation(60)[:30]

    copies = [COPIES[copy](Image.fromarray(train[place])) for place in order]

    wanted = [Pair(test, int(place)) for test, place in enumerate(order)]
    assert near_duplicates("image", sketches(train), sketches(copies)) == wanted


def test_up_to_four_copies_in_the_training_split_hide_none() -> None:
    train = smooth(20, seed=0)
    four = np.concatenate([train, *([np.asarray(as_jpeg(Image.fromarray(i), q)) for i in train]
                                    for q in (90, 75, 60))])  # fmt: skip

    pairs = near_duplicates("image", sketches(four), sketches(train))

    assert [pair.test for pair in pairs] == list(range(20))


@pytest.mark.parametrize(
    "images",
    [
        smooth(120, seed=0),
        np.random.default_rng(0).integers(0, 256, (120, 8, 8, 3), dtype=np.uint8),
        (load_digits().images * 15.9).astype(np.uint8),
        np.arange(240, dtype=np.uint8)[:, None, None, None].repeat(8, 1).repeat(8, 2),
    ],
    ids=["smooth", "noise", "digits", "flat"],
)
def test_images_that_merely_are_of_one_kind_are_not_taken_for_copies(images: np.ndarray) -> None:
    half = len(images) // 2

    pairs = near_duplicates("image", sketches(images[:half]), sketches(images[half:]))

    assert len(pairs) <= 0.005 * half


def test_images_of_one_fixed_camera_are_not_taken_for_copies() -> None:
    scene = smooth(1, seed=0)[0].astype(float)
    rng = np.random.default_rng(1)
    views = np.clip(scene + rng.normal(size=(80, *scene.shape)) * 8, 0, 255).astype(np.uint8)

    assert near_duplicates("image", sketches(views[:40]), sketches(views[40:])) == []


@pytest.mark.parametrize("training", [1, 3])
def test_few_training_images_are_enough_to_find_a_copy(training: int) -> None:
    images = smooth(5, seed=0)

    pairs = near_duplicates("image", sketches(images[:training]), sketches(images))

    assert [pair.test for pair in pairs] == list(range(training))


def test_distances_agree_with_plain_arithmetic() -> None:
    train, test = smooth(30, seed=0), smooth(30, seed=1)
    test[:10] = [np.asarray(as_jpeg(Image.fromarray(image), 50)) for image in train[:10]]

    def rows(images: np.ndarray) -> np.ndarray:
        grey = [
            Image.fromarray(i).convert("L").resize((8, 8), Image.Resampling.BOX) for i in images
        ]
        flat = np.stack([np.asarray(g, float).ravel() for g in grey])
        flat -= flat.mean(axis=1, keepdims=True)
        return np.asarray(flat / np.sqrt((flat**2).sum(axis=1, keepdims=True)))

    apart = np.sqrt(np.maximum(2 - 2 * rows(test) @ rows(train).T, 0))  # (tests, trainings)
    by_hand = [
        (test, int(of_one.argmin()))
        for test, of_one in enumerate(apart)
        if of_one.min() <= 0.3 and of_one.min() < np.sort(of_one)[4] / 3
    ]

    assert near_duplicates("image", sketches(train), sketches(test)) == by_hand
    assert len(by_hand) == 10


def test_a_text_typed_otherwise_is_the_same_and_one_in_other_words_is_not() -> None:
    train = ["The vote is today.", "Rain, again!", "Straße 7", ":-)"]
    test = ["  the VOTE is\ttoday", "Rain again and again", "STRASSE 7", ":-("]

    pairs = near_duplicates(
        "text", [sketch_of_text(text) for text in train], [sketch_of_text(text) for text in test]
    )

    assert pairs == [(0, 0), (2, 2)]


def validation_of(folder: Path, train: np.ndarray, test: np.ndarray, **task: Any) -> Validation:
    splits = {}
    for name, images in (("train", train), ("test", test)):
        (folder / name).mkdir()
        splits[name] = as_npz(folder / name, table(images))
    plan = {
        "name": "x",
        "backbone": {"onnx": "absent.onnx", "preprocessing": {"size": 8}},
        "splits": splits,
        "tasks": {"task": {"train": "train", "test": "test", **task}},
        "probes": {"clean_accuracy": {}},
    }
    return validated(Bench(Plan.model_validate(plan), folder))


def test_a_training_set_saved_as_jpeg_is_no_test_set(tmp_path: Path) -> None:
    train = smooth(40, seed=0)
    test = np.stack([np.asarray(as_jpeg(Image.fromarray(image))) for image in train])

    validation = validation_of(tmp_path, train, test)

    says = (
        r"task: train and test together: not so: at most 5.0% of the test images nearly are a "
        r"training image \(near_duplicates in the plan\) \(found 40 of 40 images \(100.0%\) of "
        r"test nearly are one of train, such as row 0 and row 0; row 1 and row 1; row 2 and row 2\)"
    )
    with pytest.raises(DataError, match=says):
        require_valid(Path("plan.yaml"), validation)
    assert [check.says for check in validation.failed] == [
        "at most 5.0% of the test images nearly are a training image (near_duplicates in the plan)"
    ]


def test_what_lies_below_the_bound_is_a_remark_with_its_count(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train, test = smooth(40, seed=0), smooth(40, seed=1)
    test[7] = as_jpeg(Image.fromarray(train[3]))

    validation = validation_of(tmp_path, train, test)

    assert validation.failed == ()
    (remark,) = validation.remarks
    assert remark == (
        "task: train and test together: 1 of 40 images (2.5%) of test nearly are one of train, "
        "such as row 7 and row 3"
    )
    assert remark in caplog.text


def test_the_plan_says_how_many_near_duplicates_are_borne(tmp_path: Path) -> None:
    train, test = smooth(40, seed=0), smooth(40, seed=1)
    test[7] = as_jpeg(Image.fromarray(train[3]))

    assert validation_of(tmp_path, train, test, near_duplicates=0).failed


def test_clean_splits_have_no_remark(tmp_path: Path, images: np.ndarray) -> None:
    validation = validation_of(tmp_path, images[:30], images[30:])

    assert (validation.failed, validation.remarks) == ((), ())


@needs_shared
def test_cifar_10_has_few_near_duplicates_and_its_jpeg_copies_all_are() -> None:
    test = np.load(SHARED / "images" / "cifar10_dev.npz")["x_test"]
    train = np.load(SHARED / "images" / "cifar10_train15k.npz")["x"][:5000]
    copies = [as_jpeg(Image.fromarray(image)) for image in train[:500]]

    clean = near_duplicates("image", sketches(train), sketches(test))
    found = near_duplicates("image", sketches(train), sketches(copies))

    assert len(clean) < 0.01 * len(test)
    assert len(found) > 0.99 * len(copies)
