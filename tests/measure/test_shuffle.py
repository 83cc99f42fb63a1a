"""Block shuffle: the same for all images, whole blocks, and what passes and training go through."""

import pickle
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import load_file

from gate.measure.bench import Bench
from gate.measure.shuffle import Shuffle
from gate.plan.plan import Plan
from gate.plan.task import Task
from tests import tiny
from tests.measure.test_transfer import FULL, MakeTrial, make

__all__ = ["make"]  # a fixture

Layout = Literal["NCHW", "NHWC"]
sides = st.sampled_from([1, 4, 6, 12])
seeds = st.integers(0, 2**20)


def images_of(n: int, side: int, channels: int = 3) -> NDArray[np.float32]:
    """Images ``(N, S, S, C)`` in which no value stands twice."""
    return np.arange(n * side * side * channels, dtype=np.float32).reshape(n, side, side, channels)


@given(sides, st.data(), seeds)
def test_blocks_stay_whole_and_each_is_there_once_in_one_order_for_all_images(
    side: int, data: st.DataObject, seed: int
) -> None:
    block = data.draw(st.sampled_from([b for b in range(1, side + 1) if side % b == 0]))
    images = images_of(3, side)

    shuffled = Shuffle(block, seed, side, 3, "NHWC").on(images)

    corners = [(y, x) for y in range(0, side, block) for x in range(0, side, block)]

    def blocks(image: NDArray[np.float32]) -> list[bytes]:
        return [image[y : y + block, x : x + block].tobytes() for y, x in corners]

    orders = []
    for before, after in zip(images, shuffled, strict=True):
        order = [blocks(before).index(each) for each in blocks(after)]
        assert sorted(order) == list(range(len(corners)))
        orders.append(order)
    assert orders[0] == orders[1] == orders[2]


@given(sides, seeds, st.booleans())
def test_a_shuffle_of_all_values_takes_channels_apart(
    side: int, seed: int, channels_first: bool
) -> None:
    images = images_of(2, side)
    layout: Layout = "NCHW" if channels_first else "NHWC"

    one, other = Shuffle(None, seed, side, 3, layout).on(images.reshape(2, -1)).reshape(2, -1)

    assert sorted(one) == sorted(images[0].ravel())
    assert np.array_equal(other - one, np.full(one.shape, side * side * 3))
    if side > 4:
        of_a_pixel = one.reshape(-1, 3) if layout == "NHWC" else one.reshape(3, -1).T
        assert (np.ptp(of_a_pixel // 3, axis=1) > 0).any()


@given(sides, st.sampled_from([None, 1, 2]), seeds)
def test_both_layouts_are_shuffled_alike(side: int, block: int | None, seed: int) -> None:
    block = 1 if side == 1 else block
    images = images_of(2, side)

    last = Shuffle(block, seed, side, 3, "NHWC").on(images)
    first = Shuffle(block, seed, side, 3, "NCHW").on(images.transpose(0, 3, 1, 2))

    assert np.array_equal(first.transpose(0, 2, 3, 1), last)


def test_the_whole_side_changes_nothing_and_seeds_and_blocks_differ() -> None:
    images = images_of(1, 12)

    found = {
        (block, seed): Shuffle(block, seed, 12, 3, "NHWC").on(images).tobytes()
        for block in (None, 1, 2, 3, 4)
        for seed in range(3)
    }

    assert len(set(found.values())) == len(found)
    assert Shuffle(12, 5, 12, 3, "NHWC").on(images).tobytes() == images.tobytes()


def test_it_can_be_sent_elsewhere() -> None:
    shuffle, images = Shuffle(2, 7, 12, 3, "NHWC"), images_of(1, 12)
    expected = shuffle.on(images)

    sent = pickle.loads(pickle.dumps(shuffle))  # noqa: S301  # our own

    assert np.array_equal(sent.on(images), expected)
    assert {sent: 1}[shuffle] == 1


# --- what goes through it -------------------------------------------------------------------------


@pytest.mark.parametrize("block", [None, 1, 4])
def test_features_under_a_shuffle_are_those_of_normalised_images_that_are_shuffled(
    block: int | None, tmp_path: Path
) -> None:
    rng = np.random.default_rng(3)
    pixels, labels = rng.integers(0, 256, (30, 8, 8, 3)).astype(np.uint8), np.arange(30) % 2
    np.savez(tmp_path / "images.npz", image=pixels, label=labels)
    split = {"path": tmp_path / "images.npz", "classes": ["a", "b"]}
    content: dict[str, Any] = {
        "name": "tiny",
        "batch_size": 7,
        "backbone": {
            "onnx": tiny.write_onnx(tmp_path / "tiny.onnx"),
            "preprocessing": tiny.PREPROCESSING,
        },
        "splits": {"images": split, "more": split},
        "tasks": {"t": {"train": "images", "test": "more"}},
        "probes": {"clean_accuracy": {}},
    }
    bench = Bench(Plan.model_validate(content), tmp_path / "features")
    shuffle = Shuffle.of_inputs(bench.backbone.preprocessing, block, 5)

    found = bench.features("images", None, shuffle)

    mean, std = np.array(tiny.PREPROCESSING["mean"]), np.array(tiny.PREPROCESSING["std"])
    inputs = ((pixels / 255 - mean) / std).transpose(0, 3, 1, 2)
    windows = np.lib.stride_tricks.sliding_window_view(shuffle.on(inputs), (3, 3), axis=(2, 3))
    maps = np.maximum(np.einsum("nchwij,ocij->nohw", windows, tiny.WEIGHT), 0)
    assert found == pytest.approx(maps.mean(axis=(2, 3)), abs=1e-4)
    assert bench.features("images") == pytest.approx(tiny.by_hand(pixels), abs=1e-4)
    again = Bench(bench.plan, bench.folder)
    assert np.array_equal(again.features("images", None, shuffle), found)
    assert not again.engine.passes  # it lay on disk, beside that of images as they are


def test_a_network_is_trained_and_tried_on_shuffled_images_and_kept_by_shuffle_and_seed(
    make: MakeTrial,
) -> None:
    trial = make()
    task = Task.model_validate({"train": "train", "test": "test", "transfer": FULL})
    shuffle = Shuffle.of_inputs(trial.backbone.preprocessing, 1, 0)
    plain, speed = trial.trained(task, None, 0)

    found = {
        (shuffled, seed): trial.trained(task, shuffled, seed)[0].tobytes()
        for shuffled in (None, shuffle)
        for seed in (0, 1)
    }

    assert found[None, 0] == plain.tobytes() == trial.predictions(task).tobytes()
    folders = {path.parent for path in trial.bench.folder.rglob("weights.safetensors")}
    assert len(folders) == 4
    weights = {load_file(f / "weights.safetensors")["conv.weight"].tobytes() for f in folders}
    assert len(weights) == 4
    assert speed.shape == (3,)
    again = make()
    assert again.trained(task, shuffle, 1)[0].tobytes() == found[shuffle, 1]
    assert not again.bench.engine.passes
