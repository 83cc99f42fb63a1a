"""Kept features are those that were written under their name, or they are refused."""

import os
from pathlib import Path

import numpy as np
import pytest

from gate.backbone.backbone import Backbone
from gate.data.split import Split, open_split
from gate.errors import GateError
from gate.measure import embed
from gate.measure.passes import InProcess
from gate.plan.backbone import BackbonePlan
from gate.plan.split import SplitPlan
from tests import tiny
from tests.data.test_split import as_npz, table


@pytest.fixture
def backbone(tmp_path: Path) -> Backbone:
    model = tiny.write_onnx(tmp_path / "m.onnx")
    return Backbone(
        BackbonePlan.model_validate({"onnx": model, "preprocessing": tiny.PREPROCESSING})
    )


@pytest.fixture
def split(tmp_path: Path, images: np.ndarray) -> Split:
    return open_split("test", SplitPlan.model_validate(as_npz(tmp_path, table(images))))


def features(folder: Path, backbone: Backbone, split: Split, batch: int = 16) -> np.ndarray:
    engine = InProcess(Backbone)
    return embed.outputs(folder, engine, backbone, split, batch, lambda _done: None).features


@pytest.fixture
def kept(tmp_path: Path, backbone: Backbone, split: Split) -> Path:
    """The only file of a folder of kept features."""
    folder = tmp_path / "f"
    features(folder, backbone, split)
    (path,) = folder.iterdir()
    return path


def test_rows_of_another_writer_are_refused(kept: Path, backbone: Backbone, split: Split) -> None:
    content = bytearray(kept.read_bytes())
    content[200:264] = bytes(64)  # some rows in the middle, of the same length
    kept.write_bytes(content)

    with pytest.raises(GateError, match="not what was written, by its digest; delete the file"):
        features(kept.parent, backbone, split)


@pytest.mark.parametrize("place", [0, 9, 100, -40, -1])
def test_no_byte_of_a_file_can_change(
    kept: Path, backbone: Backbone, split: Split, place: int
) -> None:
    content = bytearray(kept.read_bytes())
    content[place] ^= 1
    kept.write_bytes(content)

    with pytest.raises(GateError, match="delete the file"):
        features(kept.parent, backbone, split)


def test_sound_features_under_another_name_are_refused(
    tmp_path: Path, backbone: Backbone, split: Split
) -> None:
    folder = tmp_path / "f"
    features(folder, backbone, split, batch=16)
    (one,) = folder.iterdir()
    features(folder, backbone, split, batch=8)
    (other,) = set(folder.iterdir()) - {one}
    other.write_bytes(one.read_bytes())

    with pytest.raises(GateError, match="not what was written, by its digest"):
        features(folder, backbone, split, batch=8)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"x" * 31, b"x" * 500])
def test_what_is_no_features_file_is_refused(
    kept: Path, backbone: Backbone, split: Split, content: bytes
) -> None:
    kept.write_bytes(content)

    with pytest.raises(GateError, match="delete the file"):
        features(kept.parent, backbone, split)


def test_features_as_an_older_gate_wrote_them_without_a_digest_are_refused(
    tmp_path: Path, backbone: Backbone, split: Split
) -> None:
    folder = tmp_path / "f"
    values = np.asarray(features(folder, backbone, split))
    (path,) = folder.iterdir()
    with path.open("wb") as file:
        np.save(file, values)

    with pytest.raises(GateError, match="delete the file"):
        features(folder, backbone, split)


def test_a_pipe_in_the_features_place_is_refused_and_not_waited_for(
    kept: Path, backbone: Backbone, split: Split
) -> None:
    kept.unlink()
    os.mkfifo(kept)

    with pytest.raises(GateError, match="it is no file; delete the file"):
        features(kept.parent, backbone, split)


def test_a_link_to_a_device_without_end_is_refused(
    kept: Path, backbone: Backbone, split: Split
) -> None:
    kept.unlink()
    kept.symlink_to("/dev/zero")

    with pytest.raises(GateError, match="it is no file; delete the file"):
        features(kept.parent, backbone, split)


def test_a_folder_that_no_folder_can_be_called_is_an_error_of_gates(
    backbone: Backbone, split: Split
) -> None:
    with pytest.raises(GateError, match="cannot be written: File name too long"):
        features(Path("x" * 5000), backbone, split)
