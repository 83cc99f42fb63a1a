"""An own head whose outputs stand for the classes in another order is not blamed for it."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from gate.data.split import Split, open_split
from gate.errors import PlanError
from gate.measure.bench import Bench
from gate.measure.class_order import better_order
from gate.measure.trial import Trial
from gate.plan.plan import Plan
from gate.plan.split import SplitPlan
from gate.probes.evidence import run_probe

SIDE, EACH = 8, 10
NATURAL = [f"class{k}" for k in range(1, 13)]


def write_images(path: Path, names: list[str], each: int = EACH, wrong: float = 0.0) -> None:
    """Images whose one bright pixel says which class of the names, in their order, they are of."""
    rng = np.random.default_rng(1)
    places = rng.permutation(np.repeat(np.arange(len(names)), each))
    pixels = rng.integers(0, 100, (len(places), SIDE, SIDE, 3), np.uint8)
    shown = np.where(
        rng.random(len(places)) < wrong, rng.integers(0, len(names), len(places)), places
    )
    pixels.reshape(len(places), -1, 3)[np.arange(len(places)), shown, 0] = 255
    np.savez(path, image=pixels, label=np.array(names)[places])


def write_backbone(path: Path, classes: int) -> None:
    """Logits are the first pixels, in their order."""
    weight = np.eye(SIDE * SIDE, dtype=np.float32)[:, :classes]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [
            helper.make_node("Slice", ["images", "zero", "one", "one"], ["red"]),
            helper.make_node("Flatten", ["red"], ["features"]),
            helper.make_node("MatMul", ["features", "weight"], ["logits"]),
        ],
        "pixels",
        [value("images", onnx.TensorProto.FLOAT, ["N", 3, SIDE, SIDE])],
        [value(name, onnx.TensorProto.FLOAT, None) for name in ("features", "logits")],
        [
            numpy_helper.from_array(weight, "weight"),
            numpy_helper.from_array(np.array([0]), "zero"),
            numpy_helper.from_array(np.array([1]), "one"),
        ],
    )
    domains = [helper.make_opsetid("", 17)]
    made = helper.make_model(graph, opset_imports=domains, ir_version=8)
    path.write_bytes(made.SerializeToString())


def trial(folder: Path, names: list[str], **split: Any) -> Trial:
    """The own head of a backbone whose outputs stand for the names in their order."""
    write_images(folder / "test.npz", names)
    write_backbone(folder / "pixels.onnx", len(names))
    backbone = {
        "onnx": folder / "pixels.onnx", "logits": "logits", "preprocessing": {"size": SIDE},
    }  # fmt: skip
    content = {
        "name": "order",
        "backbone": backbone,
        "splits": {"test": {"path": folder / "test.npz", **split}},
        "tasks": {"own": {"test": "test", "head": "own"}},
        "probes": {"clean_accuracy": {}, "spurious_attribute": {"attributes": ["label"]}},
    }
    return Trial(Bench(Plan.model_validate(content), folder / "features"))


def test_names_with_numbers_that_were_sorted_as_text_are_asked_for(tmp_path: Path) -> None:
    opened = trial(tmp_path, NATURAL)

    with pytest.raises(
        PlanError,
        match=r"pixels\.onnx: head: own on split test: 0\.\d{3} of its images .* and 1\.000 if "
        r"the head's outputs stand for \[class1, class2, class3, .*class12\] \(numbers in names "
        r"by their size\); .*state classes under splits\.test",
    ):
        run_probe("clean_accuracy", opened)


def test_every_question_to_the_own_head_meets_it(tmp_path: Path) -> None:
    opened = trial(tmp_path, NATURAL)
    task = opened.plan.tasks["own"]

    with pytest.raises(PlanError, match="state classes"):
        opened.predictions(task)
    with pytest.raises(PlanError, match="state classes"):
        opened.responses("test", {"own": task}, [])


def test_classes_that_are_stated_in_the_heads_order_are_right(tmp_path: Path) -> None:
    evidence = run_probe("clean_accuracy", trial(tmp_path, NATURAL, classes=NATURAL))

    assert evidence.measurements[0].value == 1
    assert not [remark for remark in evidence.remarks if "own head on" in remark]


def test_classes_that_are_stated_in_another_order_are_remarked_on(tmp_path: Path) -> None:
    evidence = run_probe("clean_accuracy", trial(tmp_path, NATURAL, classes=sorted(NATURAL)))

    assert evidence.measurements[0].value < 0.2
    (said,) = [remark for remark in evidence.remarks if "own head on test" in remark]
    assert "1.000 if the head's outputs stand for [class1, class2," in said


def test_an_order_that_no_name_tells_is_found_from_the_predictions(tmp_path: Path) -> None:
    names = ["pear", "fig", "apple", "quince", "cherry", "lemon"]

    with pytest.raises(PlanError, match=r"pear, fig, apple, quince, cherry, lemon.*fits best"):
        run_probe("clean_accuracy", trial(tmp_path, names))


def split(folder: Path, names: list[str], **how: Any) -> Split:
    write_images(folder / "test.npz", names, **how)
    return open_split("test", SplitPlan(path=folder / "test.npz"))


def test_a_head_that_is_right_as_the_classes_stand_is_left_alone(tmp_path: Path) -> None:
    opened = split(tmp_path, NATURAL, each=30)
    rng = np.random.default_rng(0)
    noisy = np.where(rng.random(len(opened)) < 0.4, rng.integers(0, 12, len(opened)), opened.labels)

    assert better_order(opened.labels, opened) is None
    assert better_order(noisy, opened) is None


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("each", [3, 30])
def test_a_head_that_guesses_is_not_said_to_have_an_order(
    tmp_path: Path, seed: int, each: int
) -> None:
    opened = split(tmp_path, NATURAL, each=each)
    guessed = np.random.default_rng(seed).integers(0, 12, len(opened))

    assert better_order(guessed, opened) is None


def test_an_assignment_that_fits_its_own_few_images_alone_is_no_order(tmp_path: Path) -> None:
    opened = split(tmp_path, [f"n{k}" for k in range(50)], each=2)
    for seed in range(5):
        guessed = np.random.default_rng(seed).integers(0, 50, len(opened))

        assert better_order(guessed, opened) is None


def test_an_assignment_by_which_most_answers_are_wrong_is_no_order(tmp_path: Path) -> None:
    opened = split(tmp_path, ["pear", "fig", "apple", "quince", "cherry", "lemon"], each=60)
    rng = np.random.default_rng(0)
    moved = np.array([2, 0, 5, 1, 3, 4])[opened.labels]
    noisy = np.where(rng.random(len(opened)) < 0.7, rng.integers(0, 6, len(opened)), moved)

    assert better_order(noisy, opened) is None


def test_a_weak_head_in_another_order_of_names_is_told_from_a_wrong_one(tmp_path: Path) -> None:
    """Half of its answers are right under the order of numbers; by name sorting, few are."""
    opened = split(tmp_path, NATURAL, each=30)
    head = {name: place for place, name in enumerate(NATURAL)}
    outputs = np.array([head[opened.classes[label]] for label in opened.labels])
    rng = np.random.default_rng(0)
    outputs = np.where(rng.random(len(outputs)) < 0.6, rng.integers(0, 12, len(outputs)), outputs)

    found = better_order(outputs, opened)

    assert found
    assert found.how == "numbers in names by their size"
    assert found.classes == tuple(NATURAL)
    assert found.stands < 0.2 < 0.35 < found.accuracy


def test_two_classes_confused_for_each_other_more_often_than_not_are_no_other_order(
    tmp_path: Path,
) -> None:
    opened = split(tmp_path, ["cat", "dog"], each=60)
    flips = np.random.default_rng(0).random(len(opened)) < 0.52

    assert better_order(np.where(flips, 1 - opened.labels, opened.labels), opened) is None
