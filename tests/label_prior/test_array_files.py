"""Files of arrays: every kind reads back, and what holds no logits, labels or shares is refused."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from gate.errors import DataError
from gate.label_prior import array_files
from tests.label_prior.written import write_file


def test_one_csv_may_hold_logits_and_labels_with_or_without_names(tmp_path: Path) -> None:
    both, bare = tmp_path / "both.csv", tmp_path / "bare.csv"
    both.write_text("id,logits_0,logits_1,labels\n7,0.5,1,1\n8,2,1,0\n")
    bare.write_text("0.5,1\n2,1\n")

    assert array_files.read_logits(both).tolist() == array_files.read_logits(bare).tolist()
    assert array_files.read_logits(bare).tolist() == [[0.5, 1], [2, 1]]
    assert array_files.read_labels(both).tolist() == [1, 0]


@pytest.mark.parametrize(
    "content",
    [
        b"0.5,1\n2,1\n",
        b"\xef\xbb\xbf0.5,1\r\n2,1\r\n",
        b'"0.5","1"\n"2","1"\n',
        b"\n\r\n0.5,1\n2,1\n",
        b"0,1\n0.5,1\n2,1\n",
        b'\xef\xbb\xbf\n"0","1"\n0.5,1\n2,1\n',
    ],
    ids=["bare", "byte order mark", "quoted", "empty lines", "pandas", "all at once"],
)
def test_no_row_of_a_csv_is_taken_for_names_and_no_names_for_a_row(
    content: bytes, tmp_path: Path
) -> None:
    assert array_files.read_logits(write_file(tmp_path, "f.csv", content)).tolist() == [
        [0.5, 1],
        [2, 1],
    ]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("f.npy", np.zeros(3), r"shape \(3,\); logits are \(N, K\)"),
        ("f.npy", np.zeros((3, 1)), "at least 2 classes"),
        ("f.npy", np.zeros((0, 3)), r"shape \(0, 3\)"),
        ("f.npy", np.array([["a", "b"]]), "holds <U1 and not numbers"),
        ("f.npy", pickle.dumps([1]), "is no .npy file that logits can be read"),
        ("f.npz", {"a": np.zeros((2, 2)), "b": np.zeros((2, 2))}, "a, b, and none is named 'log"),
        ("f.safetensors", b"no", "is no .safetensors file that logits can be read"),
        ("f.csv", "a,b\n1,2\n3,\n", "column 'b' has 1 empty cells"),
        (
            "f.csv",
            ",cat,dog\n0,1,2\n",
            "a column is named '': an index, or a row that is no header",
        ),
        ("f.csv", "logits_1,logits_2\n1,2\n", "2 columns logits_NUMBER, and no logits_0 among"),
        (
            "f.csv",
            "logits_7,logits_1,logits_0\n1,2,3\n",
            "no logits_2 .* logits_0 .. logits_2, each",
        ),
        (
            "f.csv",
            "logits_0,logits_1,logits_1\n1,2,3\n",
            "3 columns logits_NUMBER, and no logits_2",
        ),
        ("f.csv", "id,0,1\n7,1,2\n", "a column is named 'id': an index"),
        ("f.csv", "1.5,NA\n1,2\n", "a column is named 'NA': .* or logits_0, logits_1"),
        ("f.pkl", b"", ".pkl is not read; give one of .npy, .npz"),
        ("f.parquet", b"no", "is no .parquet file that logits can be read"),
    ],
)
def test_a_file_that_holds_no_logits_is_refused(
    name: str, content: object, says: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=says):
        array_files.read_logits(write_file(tmp_path, name, content))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file or directory; check the path"):
        array_files.read_logits(tmp_path / "f.npy")


def test_objects_are_not_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "f.npy"
    np.save(path, np.array([[{}, {}]]), allow_pickle=True)

    with pytest.raises(DataError, match=r"f\.npy: is no \.npy file that logits can be read from: "):
        array_files.read_logits(path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (np.array([0, 0.5]), "0.5 in row 1 is no label"),
        (np.array([0, np.nan]), "nan in row 1 is no label"),
        (np.array([0, 1e30]), r"1e\+30 in row 1 is no label"),
        (np.array([0, 2**63], np.uint64), "9223372036854775808 in row 1 is no label"),
        (np.zeros((2, 2)), r"shape \(2, 2\); labels are one row"),
    ],
)
def test_labels_that_are_none_are_refused(content: np.ndarray, says: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=says):
        array_files.read_labels(write_file(tmp_path, "y.npy", content))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (np.array([0.5, 0.6]), "the shares sum to 1.1 and not to 1"),
        (np.array([1.0, 0.0]), "share 0 of class 1"),
        (np.array([1.0, np.nan]), "share nan of class 1"),
    ],
)
def test_shares_that_are_none_are_refused(content: np.ndarray, says: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=says):
        array_files.read_shares(write_file(tmp_path, "p.npy", content))


def test_results_are_not_written_as_a_single_array(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"written as \.npz"):
        array_files.write(tmp_path / "gla.npy", {"logits": np.zeros((2, 2))})


def test_a_written_npz_holds_what_was_given_and_no_more(tmp_path: Path) -> None:
    array_files.write(tmp_path / "f.npz", {"logits": np.eye(2), "predictions": np.arange(2)})

    with np.load(tmp_path / "f.npz") as held:
        assert held.files == ["logits", "predictions"]


def test_written_logits_read_back(tmp_path: Path) -> None:
    path = tmp_path / "f.safetensors"
    array_files.write(path, {"logits": np.eye(3, dtype=np.float32)})

    np.testing.assert_array_equal(load_file(path)["logits"], np.eye(3))
