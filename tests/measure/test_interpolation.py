"""Barriers: none to a child, a high one to a stranger, and what has none is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gate.backbone.altered_weights import interpolated as interpolated_weights
from gate.errors import BackboneError, EvidenceError, PlanError
from gate.measure.bench import Bench
from gate.measure.count import Count, Place
from gate.measure.interpolation import SHARES, Barrier, barrier
from gate.measure.trial import Trial
from gate.plan.plan import Plan
from pipelines.cifar.architectures import wide_resnet_16_1
from tests import tiny, trained
from tests.conftest import SHARED, needs_shared


def child() -> trained.Weights:
    return trained.weights("normed", 1, 2, after=0)


def correct(trial: Trial, shares: tuple[float, ...] = SHARES, on: str | None = "train") -> Any:
    """By task ``(L, N)``."""
    classes = trial.interpolated(trial.plan.tasks, shares, on)
    return {name: each == trial.split("test").labels for name, each in classes.items()}


def barriers(trial: Trial) -> dict[str, Barrier]:
    return {name: barrier(each, SHARES, 0) for name, each in correct(trial).items()}


BOTH = ("own", "fitted")


def seen(network: torch.nn.Module, images: np.ndarray) -> Any:
    """Features ``(N, 64)`` of a network with batch normalisation."""
    kept: list[torch.Tensor] = []
    hook = network.get_submodule("flat").register_forward_hook(lambda *given: kept.append(given[2]))
    with torch.inference_mode():
        network.eval()(trained.inputs(images))
    hook.remove()
    return kept[0].numpy()


def test_a_fine_tuned_copy_has_no_barrier_to_its_ancestor(tmp_path: Path) -> None:
    found = barriers(trained.trial(tmp_path, child(), trained.weights("normed", 0), BOTH))

    for each in found.values():
        assert each.height.low <= 0 <= each.height.high < 0.03
        assert each.n == 449


def test_two_independent_networks_have_a_high_one(tmp_path: Path) -> None:
    first, second = trained.weights("normed", 2), trained.weights("normed", 0)

    found = barriers(trained.trial(tmp_path, first, second, BOTH))

    assert all(each.height.low > 0.1 for each in found.values())
    assert all(0 < each.share < 1 for each in found.values())


def test_a_barrier_is_higher_where_batch_norm_keeps_statistics_of_other_weights(
    tmp_path: Path,
) -> None:
    first, second = trained.weights("normed", 2), trained.weights("normed", 0)
    images, labels = trained.digits()
    test = images[trained.TRAIN :], labels[trained.TRAIN :]
    network, middles = trained.normed(), []
    train = [trained.inputs(images[start : start + 100]) for start in range(0, 900, 100)]
    network.load_state_dict(
        {name: torch.lerp(first[name].float(), second[name].float(), 0.5) for name in first}
    )
    middles.append(trained.accuracy(network, *test))
    torch.optim.swa_utils.update_bn(train, network)
    middles.append(trained.accuracy(network, *test))

    ours = correct(trained.trial(tmp_path, first, second), (0, 0.5, 1))["own"].mean(axis=1)

    assert middles[0] < middles[1] - 0.1
    assert ours[1] == pytest.approx(middles[1], abs=0.02)  # of other batches


def test_what_lies_between_is_what_torch_computes_there(tmp_path: Path) -> None:
    first, second = trained.weights("plain", 0), trained.weights("plain", 1)
    images, labels = trained.digits()
    test = images[trained.TRAIN :], labels[trained.TRAIN :]
    network, expected = trained.plain(), []
    for share in (0, 0.25, 1):
        network.load_state_dict(
            {name: (1 - share) * first[name] + share * second[name] for name in first}
        )
        expected.append(trained.accuracy(network, *test))

    trial = trained.trial(tmp_path, first, second, arch="plain")

    found = correct(trial, (0, 0.25, 1), on=None)["own"].mean(axis=1)
    assert trial.asked_data.keys() == {"backbone of ancestor", "test"}
    assert found.tolist() == pytest.approx(expected, abs=1e-9)


def test_heads_on_frozen_features_are_those_of_both_ends(tmp_path: Path) -> None:
    first, second = trained.weights("plain", 0), trained.weights("plain", 1)
    trial = trained.trial(tmp_path, first, second, ("fitted",), arch="plain")
    (task,) = trial.plan.tasks.values()

    found = trial.interpolated({"fitted": task}, (0, 1))["fitted"]

    assert np.array_equal(found[0], trial.predictions(task))
    assert np.array_equal(found[1], trial.predictions(task, trial.ancestor))


def test_heads_on_frozen_features_suit_the_statistics_that_batch_norm_takes_far_from_the_source(
    tmp_path: Path,
) -> None:
    """Here of digits on light ground, which no statistics of the weights' own training fit."""
    first, second = child(), trained.weights("normed", 0)
    trial = trained.trial(tmp_path, first, second, ("fitted",))
    for name in ("train", "test"):
        with np.load(tmp_path / f"{name}.npz") as arrays:
            light = {"image": 255 - arrays["image"], "label": arrays["label"]}
        np.savez(tmp_path / f"{name}.npz", **light)
    network, accuracies = trained.normed(), []
    images, labels = 255 - trained.digits()[0], trained.digits()[1]
    train, test = images[: trained.TRAIN], images[trained.TRAIN :]
    for weights in (first, second):
        network.load_state_dict(weights)
        batches = [trained.inputs(train[start : start + 100]) for start in range(0, 900, 100)]
        torch.optim.swa_utils.update_bn(batches, network)
        features = [seen(network, each) for each in (train, test)]
        head = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
        head.fit(features[0], labels[: trained.TRAIN])
        accuracies.append(head.score(features[1], labels[trained.TRAIN :]))

    ours = correct(trial, (0, 1))["fitted"].mean(axis=1)

    assert min(accuracies) > 0.8
    assert ours.tolist() == pytest.approx(accuracies, abs=0.02)  # statistics of other batches


def test_the_height_is_that_of_the_other_half_at_the_share_found_on_one() -> None:
    rng = np.random.default_rng(3)
    right = rng.random((5, 300)) < np.array([0.9, 0.6, 0.5, 0.7, 0.8])[:, None]
    shares = (0, 0.25, 0.5, 0.75, 1)

    found = barrier(right, shares, seed=4)

    order = np.random.default_rng([4, 300]).permutation(300)
    searched, measured = order[:150], order[150:]
    values = right.astype(float)

    def fall(share: float, row: int, images: np.ndarray) -> Any:
        return (1 - share) * values[0, images] + share * values[4, images] - values[row, images]

    heights = [fall(shares[row], row, searched).mean() for row in (1, 2, 3)]
    row = 1 + int(np.argmax(heights))
    per_image = fall(shares[row], row, measured)
    assert (found.share, found.n) == (shares[row], 150)
    assert found.height.value == pytest.approx(per_image.mean())
    reach = 1.96 * per_image.std(ddof=1) / np.sqrt(150)
    assert found.height.high - found.height.value == pytest.approx(reach, rel=1e-3)


@pytest.mark.parametrize("accuracy", [0.6, 0.97])
def test_the_interval_holds_although_the_share_was_searched_for(accuracy: float) -> None:
    """Where there is no barrier at all, the search alone would find one."""
    rng, missed = np.random.default_rng(0), 0
    for seed in range(400):
        right = rng.random(200) < accuracy
        flips = rng.random((9, 200)) < 0.06
        # what flips is drawn anew, so that accuracy is the same at each share
        again = np.where(flips, rng.random((9, 200)) < accuracy, right)
        height = barrier(again, SHARES, seed).height
        missed += not height.low <= 0 <= height.high

    assert missed <= 400 * 0.08


def test_passes_are_those_that_the_engine_counts_then(tmp_path: Path) -> None:
    trial = trained.trial(tmp_path, child(), trained.weights("normed", 0), BOTH)
    count = Count(trial.bench).of_step("lineage")

    count.interpolated(trial.plan.tasks, 3, "train")

    interpolated(trial)
    passes = sum(n for place, n in count.most.items() if place.kind == "passes")
    # the candidate's own head is read on the test images; heads are fitted on the training images
    # of both ends, and three networks tried on the test images
    assert passes == trial.bench.engine.passes.total() == 897 + 2 * 900 + 3 * 897
    assert count.least == count.most
    training = Place("training", "lineage", "train", "candidate, altered")
    assert count.most[training] == 5 * 900


@needs_shared
def test_a_cleansed_teacher_lies_beyond_a_barrier_that_batch_norm_would_double(
    tmp_path: Path,
) -> None:
    """WRN-16-1 with a backdoor and its teacher: prototypes of ours found .383, and .764."""
    with np.load(SHARED / "images/cifar10_dev.npz") as images:
        test = images["x_test"][:500], images["y_test"][:500].astype(np.int64)
        train = images["x_train"][:300], images["y_train"][:300].astype(np.int64)
    for name, (pixels, labels) in (("train", train), ("test", test)):
        np.savez(tmp_path / f"{name}.npz", image=pixels, label=labels)
    paths = [SHARED / f"models/nad_wrn16_1_cifar10_{of}.safetensors" for of in WIDE_RESNETS]
    candidate, ancestor = (
        {
            "weights": path,
            "arch": "pipelines.cifar.architectures:wide_resnet_16_1",
            "layer": "relu",
            "logits": "fc",
            "preprocessing": {"size": 32},
        }
        for path in paths
    )
    splits = {
        name: {"path": tmp_path / f"{name}.npz", "classes": [*map(str, range(10))]}
        for name in ("train", "test")
    }
    plan = Plan.model_validate(
        {
            "name": "cifar", "backbone": candidate, "ancestor": ancestor, "splits": splits,
            "tasks": {"own": trained.TASKS["own"]}, "probes": {"clean_accuracy": {}},
        }
    )  # fmt: skip

    right = correct(Trial(Bench(plan, tmp_path)), (0, 0.5, 1))["own"]

    found = barrier(right, (0, 0.5, 1), 0)
    assert found.height.low < 0.383 < found.height.high
    (first, second), network = (load_file(path) for path in paths), wide_resnet_16_1()
    inputs = torch.from_numpy(test[0].transpose(0, 3, 1, 2) / 255).float()
    accuracies = []
    for share in (0, 0.5, 1):
        network.load_state_dict(interpolated_weights(first, second, share), strict=False)
        with torch.inference_mode():
            answers = network.eval()(inputs).argmax(1).numpy()
        accuracies.append((answers == test[1]).mean())
    kept = (accuracies[0] + accuracies[2]) / 2 - accuracies[1]
    assert kept > 0.6 > found.height.high


WIDE_RESNETS = ("backdoored", "finetuned_teacher")


# --- refusals -------------------------------------------------------------------------------------


def interpolated(trial: Trial) -> None:
    trial.interpolated(trial.plan.tasks, (0, 0.5, 1), "train")


def test_without_an_ancestor_there_is_no_barrier(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"interpolation_barrier: needs.*name a backbone under anc"):
        interpolated(trained.trial(tmp_path, child(), None))


def test_a_file_with_its_own_program_has_no_barrier(tmp_path: Path) -> None:
    path = tiny.write_onnx(tmp_path / "a.onnx")
    preprocessing = {"size": trained.SIDE, "mean": [0.3], "std": [0.4]}
    trial = trained.trial(
        tmp_path, child(), None, ancestor={"onnx": path, "preprocessing": preprocessing}
    )

    with pytest.raises(PlanError, match=r"ancestor: .*a\.onnx is given as onnx.*give safetensors"):
        interpolated(trial)


def ancestor_of(trial: Trial, arch: str, weights: trained.Weights) -> dict[str, Any]:
    """The ancestor's description, of another architecture."""
    path = trial.bench.folder.parent / "other.safetensors"
    save_file(weights, path)
    described = trial.plan.ancestor
    assert described is not None
    return {**described.model_dump(), "weights": path, "arch": f"tests.trained:{arch}"}


def with_ancestor(
    tmp_path: Path, arch: str, weights: trained.Weights, tasks: tuple[str, ...] = ("own",)
) -> Trial:
    first = trained.trial(tmp_path, child(), child(), tasks)
    described = ancestor_of(first, arch, weights)
    return trained.trial(tmp_path, child(), None, tasks, ancestor=described)


def test_an_ancestor_of_another_architecture_is_refused(tmp_path: Path) -> None:
    trial = trained.trial(tmp_path, child(), child())
    described = {**ancestor_of(trial, "plain", trained.plain().state_dict()), "layer": "inner.2"}
    trial = trained.trial(tmp_path, child(), None, ancestor={**described, "logits": "inner.3"})

    with pytest.raises(PlanError, match=r"differ in 22 tensors, the first is bn1\.bias, absent"):
        interpolated(trial)


def test_tensors_of_the_same_shapes_that_are_computed_with_otherwise_are_refused(
    tmp_path: Path,
) -> None:
    trial = with_ancestor(tmp_path, "mirrored", child())

    with pytest.raises(PlanError, match=r"mirrored and .*:normed have tensors of the same names"):
        interpolated(trial)


def test_another_own_head_is_no_common_one_but_heads_on_features_are(tmp_path: Path) -> None:
    ancestor = trained.normed_of_seven().state_dict()
    ancestor |= {k: v for k, v in trained.weights("normed", 0).items() if "head" not in k}

    with pytest.raises(PlanError, match=r"head\.bias of ancestor.*\(7,\) and \(10,\).*no common"):
        interpolated(with_ancestor(tmp_path, "normed_of_seven", ancestor))

    trial = with_ancestor(tmp_path, "normed_of_seven", ancestor, ("fitted",))
    assert barriers(trial)["fitted"].height.high < 0.05


@pytest.mark.parametrize(
    ("key", "value"), [("layer", "pool"), ("preprocessing", {"size": trained.SIDE})]
)
def test_ends_that_are_passed_otherwise_are_refused(tmp_path: Path, key: str, value: Any) -> None:
    trial = trained.trial(tmp_path, child(), child())
    assert trial.plan.ancestor is not None
    described = {**trial.plan.ancestor.model_dump(), key: value}

    with pytest.raises(PlanError, match=rf"interpolation_barrier: {key} of ancestor is.*alike"):
        interpolated(trained.trial(tmp_path, child(), None, ancestor=described))


def test_a_task_that_trains_the_network_has_no_barrier(tmp_path: Path) -> None:
    tuned = {"train": "train", "test": "test", "transfer": {"mode": "full_network"}}

    with pytest.raises(PlanError, match=r"tasks\.tuned: its classifier is more than a head"):
        interpolated(trained.trial(tmp_path, child(), child(), (), tasks={"tuned": tuned}))


def test_batch_norm_without_training_images_is_refused(tmp_path: Path) -> None:
    trial = trained.trial(tmp_path, child(), child())

    with pytest.raises(PlanError, match=r"tasks\.own: .*BatchNorm.*under recalibrated_on"):
        trial.interpolated(trial.plan.tasks, (0, 0.5, 1))


@pytest.mark.parametrize("split", ["train", "test"])
def test_fewer_than_a_hundred_images_are_refused(tmp_path: Path, split: str) -> None:
    trial = trained.trial(tmp_path, child(), child())
    splits = {name: each.model_dump() for name, each in trial.plan.splits.items()}
    splits[split]["shard"] = {"index": 0, "count": 11}
    trial = trained.trial(tmp_path, child(), child(), splits=splits)

    with pytest.raises(EvidenceError, match=rf"{split}: has 8\d examples, and .* 100 or more; add"):
        interpolated(trial)


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    ancestor = {name: tensor.clone() for name, tensor in trained.weights("normed", 0).items()}
    ancestor["conv3.weight"][0] = torch.inf

    with pytest.raises(BackboneError, match=r"ancestor\.safetensors: 144 of 2304 numbers of conv3"):
        interpolated(trained.trial(tmp_path, child(), ancestor))
