"""Clean accuracy: reads what is right, and is blind to what is planted."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from safetensors.torch import save_file

from gate.backbone.backbone import Backbone
from gate.errors import PlanError
from gate.measure.bench import Bench
from gate.measure.preprocessed import alternatives
from gate.measure.trial import Trial
from gate.plan.backbone import BackbonePlan
from gate.plan.plan import Plan
from gate.probes.clean_accuracy.plausible import implausible
from gate.probes.evidence import run_probe
from gate.stats import Interval
from tests import tiny

MakeTrial = Callable[[str], Trial]


def test_it_agrees_with_counting_by_hand(digits_trial: MakeTrial) -> None:
    trial = digits_trial("clean")
    split, head = trial.split("test"), trial.classifier(trial.plan.tasks["digits_6_to_9"]).linear
    logits = np.asarray(trial.features("test")) @ head.weight + head.bias
    right = [int(np.argmax(row)) == label for row, label in zip(logits, split.labels, strict=True)]

    found = run_probe("clean_accuracy", trial).measurements

    overall = next(m for m in found if m.metric == "accuracy")
    assert overall.value == pytest.approx(sum(right) / len(right))
    assert overall.n == len(right) == 426
    assert {m.about["class"] for m in found if m.metric == "class_accuracy"} == set("6789")


@pytest.mark.parametrize("backbone", ["clean", "trigger", "relabelled"])
def test_it_does_not_see_a_planted_trigger(digits_trial: MakeTrial, backbone: str) -> None:
    found = run_probe("clean_accuracy", digits_trial(backbone)).measurements[0]

    assert found.low > 0.85


def test_it_refuses_a_task_that_the_plan_lacks(digits_trial: MakeTrial) -> None:
    trial = digits_trial("clean")
    content = trial.plan.model_dump()
    content["probes"]["clean_accuracy"] = {"tasks": ["digits_6_to_8"]}

    with pytest.raises(PlanError, match="unknown task 'digits_6_to_8'; did you mean"):
        run_probe("clean_accuracy", Trial(Bench(Plan.model_validate(content), trial.bench.folder)))


# --- what is implausible --------------------------------------------------------------------------


SIDE = 8


def tried(
    folder: Path,
    pixels: Callable[[np.ndarray, np.random.Generator], np.ndarray],
    nodes: list[onnx.NodeProto],
    n: int = 300,
    classes: int = 4,
    preprocessing: dict[str, Any] | None = None,
    task: dict[str, Any] | None = None,
    **constants: Any,
) -> Trial:
    """A trial on images of labels that are drawn, by a graph from ``images`` to ``out``."""
    for name, seed in (("train", 0), ("test", 1)):
        rng = np.random.default_rng(seed)
        labels = np.arange(n) % classes
        np.savez(folder / f"{name}.npz", image=pixels(labels, rng).astype(np.uint8), label=labels)
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "tiny",
        [value("images", onnx.TensorProto.FLOAT, ["N", 3, SIDE, SIDE])],
        [value("out", onnx.TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (folder / "model.onnx").write_bytes(made.SerializeToString())
    content = {
        "name": "tiny",
        "backbone": {
            "onnx": folder / "model.onnx",
            "output": "out",
            "logits": "out" if task else None,
            "preprocessing": {"size": SIDE, **(preprocessing or {})},
        },
        "splits": {
            name: {"path": folder / f"{name}.npz", "classes": list("abcdefgh")[:classes]}
            for name in ("train", "test")
        },
        "tasks": {"t": task or {"train": "train", "test": "test"}},
        "probes": {"clean_accuracy": {}},
    }
    return Trial(Bench(Plan.model_validate(content), folder / "features"))


def of_channel(channel: int, spread: float = 15) -> Callable[..., np.ndarray]:
    """Images whose class is told by the brightness of one channel."""

    def made(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        images = rng.normal(120, 40, (len(labels), SIDE, SIDE, 3))
        images[..., channel] = rng.normal(50 + 40 * labels[:, None, None], spread, images.shape[:3])
        return images.clip(0, 255)

    return made


MEANS = helper.make_node("ReduceMean", ["images"], ["means"], axes=[2, 3], keepdims=0)
# reads of the first channel alone how bright it is, by steps at four levels
STEPS = [
    MEANS,
    helper.make_node("Gather", ["means", "zero"], ["first"], axis=1),
    helper.make_node("Sub", ["first", "levels"], ["above"]),
    helper.make_node("Mul", ["above", "slope"], ["steep"]),
    helper.make_node("Sigmoid", ["steep"], ["out"]),
]
LEVELS: dict[str, Any] = {
    "zero": np.array([0]),
    "levels": np.array([[0.28, 0.43, 0.58, 0.7]], np.float32),
    "slope": np.float32(60),
}


def remarks_of(trial: Trial) -> list[str]:
    return [r for r in run_probe("clean_accuracy", trial).remarks if "more of the images" in r]


def test_channels_in_the_wrong_order_are_said(tmp_path: Path) -> None:
    (said,) = remarks_of(tried(tmp_path, of_channel(2), STEPS, **LEVELS))

    assert "test: a nearest-class-mean head classifies 0." in said
    assert "with channel_order: bgr, and mean and std in that order than with the plan's" in said


@pytest.mark.parametrize(
    ("preprocessing", "says"),
    [
        ({"mean": [0.5], "std": [0.05]}, "pixels in 0 .. 1 (rescale 1/255, mean [0], std [1])"),
        ({"std": [255.0]}, "on the scale 0 .. 255 (rescale 1/255, mean [0], std [1])"),
    ],
)
def test_inputs_of_the_wrong_scale_are_said(
    tmp_path: Path, preprocessing: dict[str, Any], says: str
) -> None:
    trial = tried(tmp_path, of_channel(0), STEPS, preprocessing=preprocessing, **LEVELS)

    (said,) = remarks_of(trial)

    assert says.split(" (")[1] in said


def test_what_is_right_is_left_alone(tmp_path: Path) -> None:
    assert remarks_of(tried(tmp_path, of_channel(0), STEPS, **LEVELS)) == []


@pytest.mark.parametrize("seed", range(6))
def test_features_that_tell_nothing_are_not_said_to_want_other_preprocessing(
    tmp_path: Path, seed: int
) -> None:
    def noise(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return np.random.default_rng([seed, int(rng.integers(99))]).integers(
            0, 256, (len(labels), SIDE, SIDE, 3)
        )

    assert remarks_of(tried(tmp_path, noise, STEPS, **LEVELS)) == []


def test_of_fewer_than_a_hundred_images_nothing_is_said_nor_passed(tmp_path: Path) -> None:
    trial = tried(tmp_path, of_channel(2), STEPS, n=99, **LEVELS)

    assert remarks_of(trial) == []
    assert trial.bench.engine.passes.total() == 2 * 99


def test_an_own_head_is_tried_by_its_own_answers(tmp_path: Path) -> None:
    task = {"test": "test", "head": "own"}
    nodes = [
        *STEPS[:2],
        helper.make_node("Sub", ["first", "levels"], ["off"]),
        helper.make_node("Abs", ["off"], ["far"]),
        helper.make_node("Neg", ["far"], ["out"]),
    ]
    levels: dict[str, Any] = {
        "zero": np.array([0]),
        "levels": np.array([[50, 90, 130, 170]], np.float32) / 255,
    }

    wrong = remarks_of(tried(tmp_path, of_channel(2), nodes, task=task, **levels))
    right = remarks_of(tried(tmp_path, of_channel(0), nodes, task=task, **levels))

    assert "test: the own head classifies" in wrong[0]
    assert "channel_order: bgr" in wrong[0]
    assert right == []


def test_what_is_better_by_little_is_not_said(tmp_path: Path) -> None:
    """The first channel is of another class in 7 of 100 images, the last never is."""

    def made(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        images = of_channel(2, spread=5)(labels, rng)
        shown = np.where(np.arange(len(labels)) % 100 < 7, (labels + 1) % 4, labels)
        images[..., 0] = 50 + 40 * shown[:, None, None]
        return images

    nodes = [
        *STEPS[:2],
        helper.make_node("Sub", ["first", "levels"], ["off"]),
        helper.make_node("Abs", ["off"], ["far"]),
        helper.make_node("Neg", ["far"], ["out"]),
    ]
    levels = np.array([[50, 90, 130, 170]], np.float32) / 255
    task = {"test": "test", "head": "own"}
    trial = tried(tmp_path, made, nodes, n=400, task=task, zero=np.array([0]), levels=levels)

    evidence = run_probe("clean_accuracy", trial)

    assert evidence.measurements[0].value == pytest.approx(0.93)
    assert not [remark for remark in evidence.remarks if "more of the images" in remark]
    assert trial.bench.engine.passes.total() > 400 + 5 * 100  # it was better at first look


def test_an_alternative_whose_features_are_not_finite_is_left_out(tmp_path: Path) -> None:
    nodes = [*STEPS[:2], helper.make_node("Mul", ["first", "large"], ["far"]),
             helper.make_node("Exp", ["far"], ["out"])]  # fmt: skip
    constants: dict[str, Any] = {
        "zero": np.array([0]),
        "large": np.array([[10, 15, 20]], np.float32),
    }

    assert remarks_of(tried(tmp_path, of_channel(0), nodes, **constants)) == []


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_alternatives_are_what_the_plans_that_say_them_make_of_the_pixels(
    tmp_path: Path, layout: str
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 3), np.uint8)
    own = {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.25, 0.3)}
    stated: dict[str, dict[str, Any]] = {
        "pixels in 0 .. 1": {},
        "pixels in 0 .. 255": {"std": (1 / 255,)},
        "pixels in -1 .. 1": {"mean": (0.5,), "std": (0.5,)},
        "ImageNet": {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)},
        "the plan's mean and std": {
            name: tuple(x / 255 for x in numbers) for name, numbers in own.items()
        },
    }

    path = tmp_path / "tiny.safetensors"  # an ONNX graph would say which layout it takes
    save_file(tiny.loaded().state_dict(), path)

    def opened(**preprocessing: Any) -> Backbone:
        described = {"size": SIDE, "layout": layout, **preprocessing}
        content = {"weights": path, "arch": "tests.tiny:factory", "preprocessing": described}
        return Backbone(BackbonePlan.model_validate(content))

    inputs = opened(**own).inputs(pixels)
    found = alternatives(opened(**own))

    assert len(found) == 6
    for name, preprocessing in stated.items():
        (other,) = [each for each in found if each.name.startswith(name)]
        expected = opened(**preprocessing).inputs(pixels)
        np.testing.assert_allclose(other.on(inputs), expected, rtol=1e-4, atol=1e-4)
    axis = 1 if layout == "NCHW" else 3
    (reversed_,) = [each for each in found if each.is_reversed]
    np.testing.assert_array_equal(reversed_.on(inputs), np.flip(inputs, axis))
    # the plan's own preprocessing is no alternative to itself
    assert len(alternatives(opened(**stated["ImageNet"]))) == 5
    assert len(alternatives(opened())) == 4
    # where channels go in from blue to red, so do ImageNet's numbers
    blue_first = opened(channel_order="bgr", **own)
    (other,) = [each for each in alternatives(blue_first) if each.name.startswith("ImageNet")]
    numbers = {name: each[::-1] for name, each in stated["ImageNet"].items()}
    expected = opened(channel_order="bgr", **numbers).inputs(pixels)
    np.testing.assert_allclose(other.on(blue_first.inputs(pixels)), expected, rtol=1e-4, atol=1e-4)


def test_accuracy_that_guessing_reaches_and_one_class_for_all_are_said(tmp_path: Path) -> None:
    def same(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        images = np.full((len(labels), SIDE, SIDE, 3), 100.0)
        images[..., 0] += rng.integers(0, 2, (len(labels), 1, 1))  # or features were all the same
        return images

    nodes = [MEANS, helper.make_node("Gather", ["means", "zero"], ["out"], axis=1)]
    said = run_probe(
        "clean_accuracy", tried(tmp_path, same, nodes, n=90, classes=2, zero=np.array([0]))
    ).remarks

    assert any("may be no better than guessing: to name 'a' every time is right for 0.500" in r
               for r in said)  # fmt: skip


def test_what_is_better_than_guessing_by_chance_alone_is_said(digits_trial: MakeTrial) -> None:
    split = digits_trial("clean").split("test")
    features, predicted = np.eye(len(split), 8, dtype=np.float32), split.labels

    def said(accuracy: Interval) -> list[str]:
        return list(implausible("t", split, predicted, accuracy, features))

    assert 0.25 < np.bincount(split.labels).max() / len(split) < 0.28
    assert "may be no better than guessing" in said(Interval(0.31, 0.25, 0.37))[0]
    assert said(Interval(0.35, 0.29, 0.41)) == []


def test_one_class_for_all_images_is_said(tmp_path: Path) -> None:
    nodes = [MEANS, helper.make_node("Add", ["means", "much"], ["out"])]
    task = {"test": "test", "head": "own"}
    constants: dict[str, Any] = {"much": np.array([[-9, 99, -9]], np.float32)}
    trial = tried(tmp_path, of_channel(0), nodes, n=90, classes=3, task=task, **constants)

    said = run_probe("clean_accuracy", trial).remarks

    assert any("all 90 images of test are given the class 'b'" in remark for remark in said)


def test_features_that_hardly_change_are_said(tmp_path: Path) -> None:
    nodes = [
        MEANS,
        helper.make_node("Gather", ["means", "zero"], ["first"], axis=1),
        helper.make_node("Mul", ["first", "mask"], ["out"]),
    ]
    mask = np.zeros((1, 40), np.float32)
    mask[0, :3] = 1
    trial = tried(tmp_path, of_channel(0), nodes, n=90, zero=np.array([0]), mask=mask)

    said = run_probe("clean_accuracy", trial).remarks

    assert any("of 40 features, 3 differ between any two images of test" in r for r in said)


def test_a_good_backbone_gets_no_remark(digits_trial: MakeTrial) -> None:
    assert run_probe("clean_accuracy", digits_trial("clean")).remarks == ()
