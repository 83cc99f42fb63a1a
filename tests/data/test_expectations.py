"""Checks on the data: each fault fails the check that is about it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gate.data.expectations import Suites, Validation
from gate.errors import DataError
from gate.measure.bench import Bench
from gate.measure.trial import Trial
from gate.plan.plan import Plan
from gate.probes.evidence import run_probe
from gate.run import require_valid, validated
from tests import tiny
from tests.data.test_split import as_npz, png, table


@pytest.fixture
def bench(tmp_path: Path, images: np.ndarray) -> Callable[..., Bench]:
    """A bench on sixty random images, thirty to train on, with changes to the test split."""

    def make(train: list[int] | None = None, test: list[int] | None = None, **plan: Any) -> Bench:
        rows = table(images)
        splits = {}
        chosen = {"train": train or list(range(30)), "test": test or list(range(30, 60))}
        for name, indices in chosen.items():
            folder = tmp_path / name
            folder.mkdir()
            path = as_npz(folder, [rows[i] for i in indices])["path"]
            splits[name] = {"path": path, "attributes": ["place"]}
        splits["test"] |= plan
        return Bench(
            Plan.model_validate(
                {
                    "name": "x",
                    "backbone": {"onnx": "absent.onnx", "preprocessing": {"size": 8}},
                    "splits": splits,
                    "tasks": {"task": {"train": "train", "test": "test"}},
                    "probes": {"clean_accuracy": {}},
                }
            ),
            tmp_path,
        )

    return make


def failed(validation: Validation) -> list[str]:
    return [f"{check.table}: {check.says}" for check in validation.failed]


def test_sound_data_pass_every_check(bench: Callable[..., Bench]) -> None:
    validation = validated(bench(balanced=["label", "place"]))

    assert failed(validation) == []
    assert len(validation.checks) > 20
    says = {check.says for check in validation.checks}
    assert "no image is in both" in says
    assert any(line.startswith("group sizes are within 10% of their mean 5.0") for line in says)
    assert set(validation.data) == {"train", "test"}


def test_an_image_in_train_and_test_is_found(bench: Callable[..., Bench]) -> None:
    validation = validated(bench(test=[0, *range(31, 60)]))

    assert failed(validation) == ["task: train and test together: no image is in both"]


def test_an_image_that_stands_twice_is_found(bench: Callable[..., Bench]) -> None:
    validation = validated(bench(test=[*range(30, 60), 30]))

    assert failed(validation) == ["test: images: no image stands twice"]


def test_a_group_without_images_is_found(bench: Callable[..., Bench]) -> None:
    # class 0 stands on land only
    validation = validated(bench(test=[i for i in range(30, 60) if i % 3 or i % 2 == 0]))

    assert failed(validation) == ["test: groups by label, place: every group has at least 2 images"]


def test_a_group_smaller_than_the_plan_allows_is_found(bench: Callable[..., Bench]) -> None:
    validation = validated(bench(minimum_group=6))

    assert failed(validation) == ["test: groups by label, place: every group has at least 6 images"]


def test_a_split_that_is_not_balanced_as_claimed_is_found(bench: Callable[..., Bench]) -> None:
    unbalanced = [i for i in range(30, 60) if i % 6 or i < 45]

    validation = validated(bench(test=unbalanced, balanced=["label", "place"]))

    (says,) = failed(validation)
    assert "group sizes are within 10% of their mean" in says


def test_what_failed_is_said_line_by_line_with_what_was_found(
    bench: Callable[..., Bench],
) -> None:
    validation = validated(bench(test=[0, *range(31, 60)], minimum_group=9))

    with pytest.raises(DataError, match="2 checks on the data failed") as fault:
        require_valid(Path("plan.yaml"), validation)

    lines = str(fault.value).splitlines()
    assert len(lines) == 3
    assert "not so: no image is in both (found 2 unexpected" in lines[-1]


def test_an_empty_table_and_an_empty_suite_are_errors() -> None:
    run = Suites()

    with pytest.raises(DataError, match="an empty table or suite checks nothing"):
        run("x", {"a": []}, [("has a", "ExpectColumnToExist", {"column": "a"})])
    with pytest.raises(DataError, match="an empty table or suite checks nothing"):
        run("x", {"a": [1]}, [])


def test_a_column_that_is_not_there_is_an_error_and_no_pass() -> None:
    absent = ("b is never empty", "ExpectColumnValuesToNotBeNull", {"column": "b"})

    with pytest.raises(DataError, match="'b is never empty' could not be checked"):
        Suites()("x", {"a": [1]}, [absent])


def test_a_label_that_is_no_class_is_found() -> None:
    within = ("is a class", "ExpectColumnValuesToBeInSet", {"column": "a", "value_set": ["x"]})

    (check,) = Suites()("x", {"a": ["x", "y", "y"]}, [within])

    assert not check.passed
    assert check.found == "2 unexpected, such as y"


def test_splits_that_are_the_same_rows_are_told_how_to_pick_some(
    tmp_path: Path, bench: Callable[..., Bench]
) -> None:
    validation = validated(bench(path=tmp_path / "train" / "images.npz"))

    (says,) = failed(validation)
    assert "no image is in both; they are the same rows, so pick those of each by a column" in says


def test_remarks_on_a_split_are_said_once_and_stand_in_the_evidence(
    tmp_path: Path, images: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    splits = {}
    for name, some in (("train", images[:30]), ("test", images[30:])):
        for i, image in enumerate(some):
            path = tmp_path / name / "ab"[i % 2] / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png(np.dstack([image, image[..., :1]])))
        splits[name] = {"path": tmp_path / name}
    content = {
        "name": "x",
        "backbone": {
            "onnx": tiny.write_onnx(tmp_path / "t.onnx"),
            "preprocessing": tiny.PREPROCESSING,
        },
        "splits": splits,
        "tasks": {"task": {"train": "train", "test": "test"}},
        "probes": {"clean_accuracy": {}},
    }
    bench = Bench(Plan.model_validate(content), tmp_path / "features")

    validated(bench)
    evidence = run_probe("clean_accuracy", Trial(bench))

    said = [line for line in caplog.messages if "transparency" in line]
    assert len(said) == 2
    assert [each for each in evidence.remarks if "transparency" in each] == sorted(said)
    assert said[0].startswith("train: 30 of 30 images have transparency, which was dropped")
