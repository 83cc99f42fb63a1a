"""Names of classes come from the plan, a file or the data, and labels are found by them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gate.data.split import Split, require_same_writing
from gate.errors import DataError, PlanError
from gate.plan.inputs import inputs
from gate.plan.plan import Plan
from gate.strict_yaml import load
from tests.data.test_split import as_npz, opened, table


def labelled(folder: Path, images: np.ndarray, labels: object, **plan: Any) -> Split:
    arrays = {"label": np.array(labels), "class_names": None}
    return opened(**as_npz(folder, table(images), **arrays), **plan)


MINUS: dict[Any, str] = {-1: "dark", 1: "blond"}


@pytest.mark.parametrize("kind", [int, float])
def test_a_mapping_names_labels_as_they_are_written(
    kind: type, tmp_path: Path, images: np.ndarray
) -> None:
    labels = [kind(label) for label in [-1, 1, 1] * 20]

    split = labelled(tmp_path, images, labels, classes=MINUS)

    assert split.classes == ("dark", "blond")
    assert split.labels.tolist() == [0, 1, 1] * 20


def test_a_label_that_the_mapping_lacks_is_refused(tmp_path: Path, images: np.ndarray) -> None:
    with pytest.raises(DataError, match="row 1 has label 0; known: -1, 1, as the plan's classes"):
        labelled(tmp_path, images, [-1, 0, 1] * 20, classes=MINUS)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("names.txt", "cat\ndog\n"),
        ("names.json", '["cat", "dog"]'),
        ("names.json", '{"1": "dog", "0": "cat"}'),
        ("config.json", '{"id2label": {"0": "cat", "1": "dog"}, "label2id": {}}'),
        ("class_to_idx.json", '{"cat": 0, "dog": 1}'),
    ],
)
def test_names_are_read_from_a_file(
    name: str, content: str, tmp_path: Path, images: np.ndarray
) -> None:
    (tmp_path / name).write_text(content)

    split = labelled(tmp_path, images, [1, 0, 0] * 20, classes=str(tmp_path / name))

    assert split.classes == ("cat", "dog")
    assert split.labels.tolist() == [1, 0, 0] * 20


def test_the_names_of_a_file_are_in_the_digest_and_its_place_is_not(
    tmp_path: Path, images: np.ndarray
) -> None:
    digests = []
    for name, content in (("a.txt", "cat\ndog"), ("b.txt", "cat\ndog"), ("c.txt", "dog\ncat")):
        (tmp_path / name).write_text(content)
        classes = str(tmp_path / name)
        digests.append(labelled(tmp_path, images, [1, 0, 0] * 20, classes=classes).digest)

    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{"0": ["n01", "cat"]}', "a name is no text"),
        ("[]", "a name is no text"),
        ("{", "gives no names of classes: Expecting"),
        ('["cat", "cat"]', "two classes are called 'cat'"),
    ],
)
def test_a_file_without_plain_names_is_refused(
    content: str, says: str, tmp_path: Path, images: np.ndarray
) -> None:
    (tmp_path / "names.json").write_text(content)

    with pytest.raises(DataError, match=says):
        labelled(tmp_path, images, [1, 0, 0] * 20, classes=str(tmp_path / "names.json"))


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (["cat", "", "dog"], "label is empty in 20 rows, the first is row 1"),
        (["cat", " ", "dog"], "label is empty in 20 rows, the first is row 1"),
        ([0.0, float("nan"), 1.0], "label is empty in 20 rows, the first is row 1"),
        ([1, 2, 2], r"row 1 has label 2, out of range 0 \.\. 1; .*classes: \{1: cat, 2: dog\}"),
    ],
)
def test_an_empty_label_is_called_so(
    labels: list[Any], says: str, tmp_path: Path, images: np.ndarray
) -> None:
    with pytest.raises(DataError, match=says):
        labelled(tmp_path, images, labels * 20, classes=["cat", "dog"])


PLAN = """
name: p
backbone: {onnx: m.onnx, preprocessing: {size: 8}}
splits:
  train: {path: data, where: {split: 0}, classes: {-1: dark, 1: blond}}
  test: {path: data/list.csv, where: {split: [1, 2]}, classes: names.json}
tasks: {t: {train: train, test: test}}
probes: {clean_accuracy: {}}
"""


def test_a_plan_names_the_folder_of_its_list_and_the_file_of_names(tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text(PLAN)
    plan = load(tmp_path / "plan.yaml", Plan, PlanError)

    named = inputs(plan)

    assert plan.splits["train"].classes == {"-1": "dark", "1": "blond"}
    assert plan.splits["test"].table == ("list.csv",)
    assert named["splits.test.path"] == Path("data")
    assert named["splits.test.classes"] == Path("names.json")
    assert Plan.model_validate(json.loads(plan.model_dump_json())) == plan


@pytest.mark.parametrize(
    ("train", "test"), [([0, 1], [0.0, 1.0]), ([0, 1], [False, True]), (["a", "B"], ["a", "b"])]
)
def test_values_that_two_splits_write_differently_are_refused(
    train: list[Any], test: list[Any], tmp_path: Path, images: np.ndarray
) -> None:
    splits = [
        opened(**as_npz(tmp_path, table(images), place=np.array(values * 30)))
        for values in (train, test)
    ]

    with pytest.raises(DataError, match=r"place: is written .* write both alike"):
        require_same_writing(*splits)


def test_values_that_one_split_lacks_are_no_other_writing(
    tmp_path: Path, images: np.ndarray
) -> None:
    splits = [
        opened(**as_npz(tmp_path, table(images), place=np.array(values * 30)))
        for values in (["7", "a"], ["007", "7"])
    ]

    require_same_writing(*splits)
