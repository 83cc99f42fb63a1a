"""Feature reuse: what pretraining gives a task over random initialisation, under block shuffle."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors.numpy import load, load_file, save_file
from scipy.stats import norm, t
from torch import nn

from gate import files
from gate.errors import BackboneError, EvidenceError, PlanError
from gate.measure.bench import Bench
from gate.measure.head import fit_linear
from gate.measure.shuffle import Shuffle
from gate.measure.trial import Trial
from gate.plan.plan import Plan
from gate.policy.catalogue import require_known
from gate.probes.estimate import estimate
from gate.probes.evidence import run_probe
from gate.probes.feature_reuse import METRICS, FeatureReuse
from gate.probes.feature_reuse.drop import Draws, accuracy, relative_drop, speed
from gate.values import Evidence, Measurement
from tests import tiny, tiny_text

SIDE = 8
PATTERN = np.random.default_rng(11).choice([-1.0, 1.0], (SIDE, SIDE, 3))
NOISE, STRENGTH = 40.0, 10.0  # of pixels, on the scale 0 .. 255


class Projection(nn.Module):
    """Two directions in the space of all values of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(SIDE * SIDE * 3, 2, bias=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(self.linear(images.flatten(1)))


def projection() -> Projection:
    return Projection()


def not_at_random() -> Projection:
    torch.manual_seed(0)
    return Projection()


MakeTrial = Callable[..., Trial]


@pytest.fixture
def make(tmp_path: Path) -> MakeTrial:
    """A trial of two classes that a faint pattern tells apart; pretrained, one direction is it."""
    rng = np.random.default_rng(1)
    labels = np.arange(700) % 2
    signal = (2 * labels - 1)[:, None, None, None] * PATTERN * STRENGTH
    pixels = (127 + signal + rng.normal(0, NOISE, signal.shape)).clip(0, 255).astype(np.uint8)
    for name, rows in (
        ("train", slice(0, 300)),
        ("test", slice(300, 700)),
        ("few", slice(300, 399)),
    ):
        np.savez(tmp_path / f"{name}.npz", image=pixels[rows], label=labels[rows])
    useful = np.stack([PATTERN, np.ones_like(PATTERN)]).transpose(0, 3, 1, 2).reshape(2, -1)
    useless = rng.normal(size=useful.shape)
    for name, weight in (("useful", useful), ("useless", useless)):
        save_file({"linear.weight": weight.astype(np.float32)}, tmp_path / f"{name}.safetensors")

    def trial(
        weights: str = "useful", folder: str = "features", backbone: Any = None, **changes: Any
    ) -> Trial:
        content: dict[str, Any] = {
            "name": "pattern",
            "backbone": {
                "weights": tmp_path / f"{weights}.safetensors",
                "arch": "tests.probes.test_feature_reuse:projection",
                "preprocessing": {"size": SIDE, "mean": [0.5], "std": [0.25]},
                **(backbone or {}),
            },
            "splits": {
                name: {"path": tmp_path / f"{name}.npz", "classes": ["minus", "plus"]}
                for name in ("train", "test", "few")
            },
            "tasks": {"task": {"train": "train", "test": "test"}},
            "probes": {"feature_reuse": {}},
            **changes,
        }
        return Trial(Bench(Plan.model_validate(content), tmp_path / folder))

    return trial


def by_name(found: Evidence) -> dict[tuple[str, str], Measurement]:
    return {(m.metric, m.about["block"]): m for m in found.measurements}


FULL = {
    "train": "train",
    "test": "test",
    "transfer": {"mode": "full_network", "training": {"epochs": 2, "learning_rate": 0.01}},
}
ON_FULL = {
    "tasks": {"full": FULL},
    "probes": {"feature_reuse": {"tasks": ["full"], "blocks": [1, "none"]}},
}


# --- planted and clean ----------------------------------------------------------------------------


def test_it_finds_what_pretraining_gives_and_that_shuffled_pixels_take_it_away(
    make: MakeTrial,
) -> None:
    measured = by_name(run_probe("feature_reuse", make()))

    blocks = {block for _, block in measured}
    assert blocks == {"values", "1", "4", "none"}
    assert measured["pretrained_accuracy", "none"].low > 0.95
    assert measured["random_accuracy", "none"].high < 0.8
    drop = measured["relative_drop", "none"]
    assert drop.low > 0.15
    assert (drop.unit, drop.n) == ("relative difference", 400)
    for block in ("values", "1"):
        assert measured["relative_drop", block].low < 0 < measured["relative_drop", block].high


def test_weights_that_are_as_good_as_random_show_no_drop(make: MakeTrial) -> None:
    trial = make("useless", probes={"feature_reuse": {"seeds": 6}})

    measured = by_name(run_probe("feature_reuse", trial))

    for block in ("values", "1", "4", "none"):
        drop = measured["relative_drop", block]
        assert drop.low < 0 < drop.high
        assert drop.high < 0.5


def test_trained_through_the_gain_is_in_the_start(make: MakeTrial) -> None:
    found = run_probe("feature_reuse", make(**ON_FULL))

    measured = by_name(found)
    assert {m.metric for m in found.measurements} == set(METRICS)
    for m in found.measurements:
        require_known("feature_reuse", m)
        assert m.about["task"] == "full"
    assert measured["optimisation_speed", "none"].value > 0.9
    assert measured["optimisation_speed_over_random", "none"].low > 0.05
    assert measured["relative_drop", "none"].value > 0
    faster = measured["optimisation_speed_over_random", "1"]
    assert faster.value < measured["optimisation_speed_over_random", "none"].value
    assert faster.n == 300


# --- by other means -------------------------------------------------------------------------------


def test_heads_on_shuffled_images_agree_with_numpy(make: MakeTrial, tmp_path: Path) -> None:
    settings = {"blocks": [2, 8], "seeds": 4}
    trial = make(seed=3, probes={"feature_reuse": settings})

    measured = by_name(run_probe("feature_reuse", trial))

    assert {block for _, block in measured} == {"2", "none"}
    inputs, labels = {}, {}
    for name in ("train", "test"):
        with np.load(tmp_path / f"{name}.npz") as whole:
            pixels, labels[name] = whole["image"], whole["label"]
        inputs[name] = ((pixels / 255 - 0.5) / 0.25).astype(np.float32).transpose(0, 3, 1, 2)
    useful = load_file(tmp_path / "useful.safetensors")["linear.weight"]

    def correct(weight: NDArray[np.float32], shuffle: Shuffle | None) -> NDArray[np.bool_]:
        features = {
            name: (shuffle.on(x) if shuffle else x).reshape(len(x), -1) @ weight.T
            for name, x in inputs.items()
        }
        head = fit_linear(features["train"], labels["train"], 1.0)
        return np.asarray(head.predict(features["test"]) == labels["test"])

    for block, side in (("2", 2), ("none", None)):
        ours, theirs = [], []
        for seed in range(3, 7):
            shuffle = Shuffle(side, seed, SIDE, 3) if side else None
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                drawn = Projection().linear.weight.detach().numpy()
            ours.append(correct(useful, shuffle))
            theirs.append(correct(drawn, shuffle))
        first, second = np.mean(ours), np.mean(theirs)
        assert measured["pretrained_accuracy", block].value == pytest.approx(first, abs=1e-3)
        assert measured["random_accuracy", block].value == pytest.approx(second, abs=1e-3)
        expected = 1 - second / first
        assert measured["relative_drop", block].value == pytest.approx(expected, abs=2e-3)


def test_optimisation_speed_is_the_mean_of_the_training_accuracies_that_networks_keep(
    make: MakeTrial,
) -> None:
    trial = make(**ON_FULL)

    measured = by_name(run_probe("feature_reuse", trial))

    speeds: dict[str, list[float]] = {"full_network": [], "from_scratch": []}
    for path in trial.bench.folder.rglob("head.safetensors"):
        kept = load(files.kept(path))["training_accuracy"]
        assert kept.shape == (2,)
        speeds[path.parent.name.rsplit("-", 1)[0]].append(float(kept.mean()))
    ours = [measured["optimisation_speed", block].value for block in ("1", "none")]
    over = [measured["optimisation_speed_over_random", block].value for block in ("1", "none")]
    assert len(speeds["full_network"]) == len(speeds["from_scratch"]) == 6
    assert np.mean(ours) == pytest.approx(np.mean(speeds["full_network"]))
    assert np.mean(ours) - np.mean(over) == pytest.approx(np.mean(speeds["from_scratch"]))


@given(st.integers(3, 6), st.integers(100, 160), st.integers(0, 2**20))
def test_a_drop_and_its_interval_agree_with_formulas_written_out(
    seeds: int, images: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    ours, theirs = rng.random((seeds, images)) < 0.8, rng.random((seeds, images)) < 0.5

    found = relative_drop(Draws(ours, theirs))

    a, b = float(ours.mean()), float(theirs.mean())
    x, y = ours.mean(axis=0), theirs.mean(axis=0)
    spread = np.cov(x, y)  # of images, and how they go together
    over_images = (spread[1, 1] - 2 * b / a * spread[0, 1] + (b / a) ** 2 * spread[0, 0]) / images
    rest = [1 - np.delete(theirs, s, 0).mean() / np.delete(ours, s, 0).mean() for s in range(seeds)]
    over_seeds = (seeds - 1) / seeds * np.sum((rest - np.mean(rest)) ** 2)
    reach = math.hypot(
        norm.ppf(0.975) * math.sqrt(over_images) / a,
        t.ppf(0.975, seeds - 1) * math.sqrt(over_seeds),
    )
    assert found.value == pytest.approx(1 - b / a)
    assert found.high - found.value == pytest.approx(reach, rel=1e-4)
    assert found.value - found.low == pytest.approx(reach, rel=1e-4)


@pytest.mark.coverage(full=3000, sampled=300)
@pytest.mark.parametrize("spread", [0.0, 0.3])
def test_a_drop_covers_the_truth_over_images_and_seeds_in_at_least_95_of_100_samples(
    spread: float, simulations: range
) -> None:
    """Images differ in how hard they are, and seeds in how good their networks are."""
    rng = np.random.default_rng(9)

    def correct(level: float, hard: NDArray[np.float64], seeds: int) -> NDArray[np.bool_]:
        of_seed = rng.normal(level, spread, (seeds, 1))
        return np.asarray(rng.normal(size=(seeds, len(hard))) < of_seed - hard)

    def share(level: float) -> float:
        return float(norm.cdf(level / math.sqrt(2 + spread**2)))

    truth, covered, of_accuracy = 1 - share(0.2) / share(1.2), 0, 0
    for _ in simulations:
        hard = rng.normal(size=200)
        draws = Draws(correct(1.2, hard, 3), correct(0.2, hard, 3))
        found, right = relative_drop(draws), accuracy(draws.pretrained)
        covered += found.low <= truth <= found.high
        of_accuracy += right.low <= share(1.2) <= right.high

    lowest = 0.95 - 3 * math.sqrt(0.95 * 0.05 / len(simulations))
    assert covered / len(simulations) >= lowest
    assert of_accuracy / len(simulations) >= lowest


def test_speed_is_compared_seed_by_seed() -> None:
    learnt = np.array([[0.5, 0.9], [0.6, 1.0], [0.4, 0.8]], np.float32)

    over = speed(learnt, 1000, learnt - 0.2)

    assert over == pytest.approx((0.2, 0.2 - 0.00383, 0.2 + 0.00383), abs=1e-4)
    assert speed(learnt, 1000).value == pytest.approx(0.7)
    assert speed(learnt, 1000).high == pytest.approx(0.7 + t.ppf(0.975, 2) * 0.1 / math.sqrt(3))
    assert speed(np.ones((3, 2), np.float32), 1000).high == 1


# --- the same bytes -------------------------------------------------------------------------------


def test_the_same_plan_gives_the_same_bytes_and_names_the_weights_that_were_drawn(
    make: MakeTrial,
) -> None:
    one = run_probe("feature_reuse", make())
    torch.rand(3)  # other numbers are drawn in between

    other = run_probe("feature_reuse", make(folder="elsewhere"))

    assert one.to_json() == other.to_json()
    drawn = {name for name in one.data if name.startswith("initial weights")}
    assert drawn == {f"initial weights of seed {seed}" for seed in range(3)}
    assert one.data.keys() - drawn == {"train", "test"}


def test_drawn_weights_are_never_those_that_somebody_put_in_their_place(make: MakeTrial) -> None:
    trial = make()
    drawn = trial.initialised(0)
    drawn.plan.path.write_bytes(trial.backbone.artefact.read())

    again = make()
    estimate(again.bench, ["feature_reuse"], calibrates=False)  # meets it there

    assert again.initialised(0).digest == drawn.digest


def test_memory_holds_no_network_that_was_trained_and_tried(make: MakeTrial) -> None:
    trial = make(**ON_FULL)

    run_probe("feature_reuse", trial)

    assert set(trial.bench._backbones.values()) == {trial.backbone}


# --- settings and refusals ------------------------------------------------------------------------


def test_tasks_without_a_plain_head_are_left_out_unless_they_are_named(make: MakeTrial) -> None:
    tasks = {
        "plain": {"train": "train", "test": "test"},
        "full": FULL,
        "scratch": {"train": "train", "test": "test", "transfer": {"mode": "from_scratch"}},
    }

    found = run_probe("feature_reuse", make(tasks=tasks, probes={"feature_reuse": {"blocks": [8]}}))

    assert {m.about["task"] for m in found.measurements} == {"plain"}


@pytest.mark.parametrize(
    ("task", "says"),
    [
        ({"transfer": {"mode": "from_scratch"}}, "is of from_scratch transfer by SGD; name one of"),
        ({"transfer": {"batch_norm": "adapting"}}, "is of fixed_feature transfer by SGD"),
        (
            {"transfer": {"mode": "full_network", "training": {"augment": True}}},
            "has training.augment, and shifted images",
        ),
        ({"head": {"balanced_by": "shade"}}, "has a remedy, head.balanced_by"),
    ],
)
def test_a_task_that_does_not_suit_is_refused_where_it_is_named(
    make: MakeTrial, task: dict[str, Any], says: str
) -> None:
    tasks = {"odd": {"train": "train", "test": "test", **task}}
    trial = make(tasks=tasks, probes={"feature_reuse": {"tasks": ["odd"]}})

    with pytest.raises(PlanError, match=f"feature_reuse: task odd {says}"):
        run_probe("feature_reuse", trial)
    with pytest.raises(PlanError, match="no task has a plain head on frozen features; add one"):
        run_probe("feature_reuse", make(tasks=tasks))


def test_a_file_that_holds_no_way_to_draw_weights_is_refused(
    make: MakeTrial, tmp_path: Path
) -> None:
    onnx = {"onnx": tiny.write_onnx(tmp_path / "t.onnx"), "preprocessing": tiny.PREPROCESSING}
    plan = make().plan.model_dump() | {"backbone": onnx}
    trial = Trial(Bench(Plan.model_validate(plan), tmp_path / "features"))

    with pytest.raises(
        PlanError, match=r"t\.onnx: random initialisation is drawn by the factory.*"
    ):
        run_probe("feature_reuse", trial)


def test_a_factory_that_draws_nothing_is_refused(make: MakeTrial) -> None:
    trial = make(backbone={"arch": "tests.probes.test_feature_reuse:not_at_random"})

    with pytest.raises(BackboneError, match="its factory gives 1 different weights with 3 seeds"):
        run_probe("feature_reuse", trial)


def test_blocks_that_do_not_divide_the_side_are_refused(make: MakeTrial) -> None:
    trial = make(probes={"feature_reuse": {"blocks": [4, 3]}})

    with pytest.raises(PlanError, match=r"blocks: 3 does not divide .*, 8 pixels; .* 1, 2, 4, 8"):
        run_probe("feature_reuse", trial)


@pytest.mark.parametrize("blocks", [[], [0], [1, 1], ["none", "none"], [True], ["all"]])
def test_blocks_that_say_nothing_or_stand_twice_are_refused(blocks: list[Any]) -> None:
    with pytest.raises(ValidationError):
        FeatureReuse.model_validate({"blocks": blocks})


def test_the_side_and_none_are_one_block(make: MakeTrial) -> None:
    trial = make(probes={"feature_reuse": {"blocks": [8, "none"]}})

    with pytest.raises(PlanError, match="blocks: 8 and none are the same; name one of them"):
        run_probe("feature_reuse", trial)


def test_fewer_than_100_test_images_are_refused(make: MakeTrial) -> None:
    trial = make(tasks={"task": {"train": "train", "test": "few"}})

    with pytest.raises(EvidenceError, match=r"task task has 99 test images .* at least 100"):
        run_probe("feature_reuse", trial)


def test_texts_have_no_blocks(tmp_path: Path) -> None:
    content = tiny_text.write_plan(tmp_path)
    content["probes"] = {"feature_reuse": {}}

    with pytest.raises(
        ValidationError, match=r"probes\.feature_reuse: .* images, and the backbone"
    ):
        Plan.model_validate(content)


def test_no_image_that_is_classified_correctly_is_refused() -> None:
    from gate.probes.feature_reuse.measure import _measured

    nothing = Draws(np.zeros((3, 100), bool), np.ones((3, 100), bool))

    with pytest.raises(EvidenceError, match=r"no test image of task t .* at block 4, so there is"):
        list(_measured("t", "4", nothing, 10))
