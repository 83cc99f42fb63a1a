"""Features are computed once, kept, and never stale."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gate.backbone.backbone import Backbone
from gate.data.split import Split, open_split
from gate.errors import BackboneError, DataError, GateError
from gate.measure import embed
from gate.measure.passes import InProcess
from gate.plan.backbone import BackbonePlan
from gate.plan.split import SplitPlan
from tests import tiny
from tests.data.test_split import as_npz, as_parquet, table


@pytest.fixture
def backbone(tmp_path: Path) -> Backbone:
    return opened(tmp_path)


def opened(folder: Path, **file: Any) -> Backbone:
    given = {"onnx": tiny.write_onnx(folder / "m.onnx"), "preprocessing": tiny.PREPROCESSING}
    return Backbone(BackbonePlan.model_validate({**given, **file}))


@pytest.fixture
def split(tmp_path: Path, images: np.ndarray) -> Split:
    return open_split("test", SplitPlan.model_validate(as_npz(tmp_path, table(images))))


def features(
    folder: Path,
    backbone: Backbone,
    split: Split,
    batch: int = 16,
    engine: InProcess | None = None,
) -> np.ndarray:
    return embed.outputs(
        folder, engine or InProcess(Backbone), backbone, split, batch, lambda _done: None
    ).features


def test_features_are_computed_once_and_come_back_memory_mapped(
    tmp_path: Path, backbone: Backbone, split: Split, images: np.ndarray
) -> None:
    engine = InProcess(Backbone)
    first = features(tmp_path / "f", backbone, split, engine=engine)
    again = features(tmp_path / "f", backbone, split, engine=engine)

    assert engine.passes == {backbone.digest: 60}
    assert isinstance(again, np.memmap)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_allclose(first, tiny.by_hand(images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "change",
    [
        {"preprocessing": {**tiny.PREPROCESSING, "mean": (0.4, 0.5, 0.61)}},
        {"output": "active"},
    ],
)
def test_whatever_changes_a_number_changes_the_files_name(
    tmp_path: Path, backbone: Backbone, split: Split, change: dict[str, Any]
) -> None:
    features(tmp_path / "f", backbone, split)
    features(tmp_path / "f", opened(tmp_path, **change), split)
    features(tmp_path / "f", backbone, split, batch=8)

    assert len(list((tmp_path / "f").iterdir())) == 3


def test_features_do_not_depend_on_the_batch(
    tmp_path: Path, backbone: Backbone, split: Split
) -> None:
    one, other = (features(tmp_path / "f", backbone, split, batch) for batch in (7, 60))

    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_constant_features_are_refused_and_leave_nothing(tmp_path: Path, split: Split) -> None:
    model = tiny.onnx_model()
    model.graph.initializer[0].raw_data = np.zeros_like(tiny.WEIGHT).tobytes()
    path = tiny.write_onnx(tmp_path / "constant.onnx", model)

    with pytest.raises(BackboneError, match="the same for all 60 examples of test"):
        features(tmp_path / "f", opened(tmp_path, onnx=path), split)

    assert not list((tmp_path / "f").iterdir())


def test_an_image_that_does_not_decode_leaves_no_features(
    tmp_path: Path, backbone: Backbone, images: np.ndarray
) -> None:
    rows = table(images)
    rows[40]["image"] = b"broken"
    broken = open_split("test", SplitPlan.model_validate(as_parquet(tmp_path, rows)))

    with pytest.raises(DataError, match="1 of 60 images do not decode"):
        features(tmp_path / "f", backbone, broken)

    assert not list((tmp_path / "f").iterdir())


def test_kept_features_that_were_cut_short_are_refused(
    tmp_path: Path, backbone: Backbone, split: Split
) -> None:
    features(tmp_path / "f", backbone, split)
    (path,) = (tmp_path / "f").iterdir()
    path.write_bytes(path.read_bytes()[:200])

    with pytest.raises(GateError, match="delete the file"):
        features(tmp_path / "f", backbone, split)


def test_numpy_reads_kept_features_as_any_array(
    tmp_path: Path, backbone: Backbone, split: Split
) -> None:
    ours = features(tmp_path / "f", backbone, split)
    (path,) = (tmp_path / "f").iterdir()

    np.testing.assert_array_equal(np.load(path), ours)
