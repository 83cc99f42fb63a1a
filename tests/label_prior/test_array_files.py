"""Files of arrays: every kind reads back, and what holds no logits, labels or shares is refused."""

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas
import pyarrow
import pytest
from pyarrow.csv import write_csv
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


def drawn(rows: int = 40) -> np.ndarray:
    """Logits of three classes, to four decimals."""
    return np.random.default_rng(0).normal(size=(rows, 3)).round(4)


def frame(**more: object) -> pandas.DataFrame:
    """The same as a table of three classes, and other columns."""
    return pandas.DataFrame(drawn(), columns=["ant", "bee", "cat"]).assign(**more)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("f.csv", lambda path: frame().to_csv(path, index=False)),
        ("f.csv", lambda path: frame().to_csv(path, index=False, header=False)),
        ("f.csv", lambda path: frame().to_csv(path, index=False, header=["281", "282", "285"])),
        ("f.csv", lambda path: frame().to_csv(path, index=False, header=["1", "2", "3"])),
        ("f.csv", lambda path: frame().to_csv(path, index=False, sep="\t")),
        ("f.csv", lambda path: frame().to_csv(path, index=False, sep=";")),
        (
            "f.csv",
            lambda path: frame().to_csv(
                path, index=False, sep=";", decimal=",", encoding="utf-8-sig", lineterminator="\r\n"
            ),
        ),
        (
            "f.csv",
            lambda path: frame().to_csv(path, index=False, header=False, sep=";", decimal=","),
        ),
        ("f.csv", lambda path: np.savetxt(path, drawn())),
        ("f.csv", lambda path: np.savetxt(path, drawn(), delimiter=",", header="a,b,c")),
        ("f.csv", lambda path: write_csv(pyarrow.Table.from_pandas(frame()), str(path))),
        ("f.parquet", lambda path: frame().to_parquet(path)),
        (
            "f.parquet",
            lambda path: pandas.DataFrame({"logits": list(drawn()), "id": 7}).to_parquet(path),
        ),
    ],
    ids=[
        "pandas", "pandas without header", "ids of classes", "classes from 1", "tabs", "semicolons",
        "Excel with decimal commas", "decimal commas without header", "numpy", "numpy with header",
        "pyarrow", "parquet", "parquet of lists",
    ],
)  # fmt: skip
def test_tables_are_read_as_their_writers_leave_them(
    name: str, write: Callable[[Path], None], tmp_path: Path
) -> None:
    write(tmp_path / name)

    np.testing.assert_allclose(array_files.read_logits(tmp_path / name), drawn(), atol=1e-12)


@pytest.mark.parametrize(
    ("name", "write", "says"),
    [
        ("f.csv", lambda path: frame().to_csv(path), "a column is named '': an index"),
        (
            "f.csv",
            lambda path: frame(**{"Unnamed: 0": range(40)}).to_csv(path, index=False),
            "a column is named 'Unnamed: 0'",
        ),
        ("f.csv", lambda path: frame().reset_index().to_csv(path, index=False), "named 'index'"),
        ("f.csv", lambda path: frame(image_id=range(40)).to_csv(path, index=False), "'image_id'"),
        ("f.parquet", lambda path: frame(label=0).to_parquet(path), "a column is named 'label'"),
        (
            "f.csv",
            lambda path: frame(image="a.png").to_csv(path, index=False),
            "column 'image' holds words, such as 'a.png'; leave it out, or name .* logits_0",
        ),
        (
            "f.parquet",
            lambda path: frame(number=range(40)).to_parquet(path),
            "column 'number' holds whole numbers alone, beside columns of fractions: an index, an",
        ),
        (
            "f.csv",
            lambda path: frame(pred=[i % 3 for i in range(40)]).to_csv(path, index=False),
            "column 'pred' holds whole numbers alone",
        ),
        (
            "f.npy",
            lambda path: np.save(path, np.c_[np.arange(40), drawn()]),
            "column 0 holds whole numbers alone, .* so that every column is a class",
        ),
        (
            "f.csv",
            lambda path: frame().to_csv(path, index=False, header=["3", "1", "2"]),
            "the first line, 3, 1, 2, may name columns or be a sample; name the columns logits_0",
        ),
        (
            "f.csv",
            lambda path: path.write_text("281,282,283,284\n5,1,2,3\n2,1,4,0\n"),
            "the first line, 281, 282, 283, .., may name columns or be a sample",
        ),
    ],
)
def test_what_is_no_class_in_a_table_is_named_and_refused(
    name: str, write: Callable[[Path], None], says: str, tmp_path: Path
) -> None:
    write(tmp_path / name)

    with pytest.raises(DataError, match=says):
        array_files.read_logits(tmp_path / name)


def test_a_class_that_is_masked_everywhere_is_no_index(tmp_path: Path) -> None:
    masked = np.c_[drawn(), np.full(40, -1e9)]

    read = array_files.read_logits(write_file(tmp_path, "f.npy", masked))

    np.testing.assert_array_equal(read, masked)


def softmax(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def one_row_masked(probabilities: np.ndarray) -> np.ndarray:
    return np.concatenate([probabilities, np.zeros((1, probabilities.shape[1]))])


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (softmax(drawn()), r"holds probabilities, .* sum to 1 in a row, .* take the log \(np.log"),
        (softmax(drawn(5000)).astype(np.float32), "holds probabilities"),
        (softmax(drawn()).astype(np.float16), "holds probabilities"),
        (softmax(np.random.default_rng(0).normal(size=(90, 1000)) * 3).astype("f2"), "probabilit"),
        (softmax(drawn()).round(2), "holds probabilities"),
        (one_row_masked(softmax(drawn())), "holds probabilities"),
        (softmax(drawn()) * 100, r"holds per cent, .* sum to 100 in a row.* \(np.log\(p / 100\)\)"),
        ((softmax(drawn()) * 100).round(), "holds per cent"),
    ],
    ids=[
        "float64",
        "float32",
        "float16",
        "1,000 classes",
        "rounded",
        "masked",
        "per cent",
        "whole",
    ],
)
def test_probabilities_are_no_logits(content: np.ndarray, says: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=says):
        array_files.read_logits(write_file(tmp_path, "f.npy", content))


@pytest.mark.parametrize(
    "content",
    [
        np.log(softmax(drawn())),
        np.abs(drawn()),
        np.random.default_rng(0).normal(0.25, 0.03, (400, 4)),
        np.full((40, 2), 0.4),
    ],
    ids=["log-probabilities", "none below 0", "cosines about 1 / K", "one sum, and not 1"],
)
def test_logits_that_look_a_little_like_probabilities_are_read(
    content: np.ndarray, tmp_path: Path
) -> None:
    read = array_files.read_logits(write_file(tmp_path, "f.npy", content))

    np.testing.assert_array_equal(read, content)


def test_a_masked_class_of_minus_infinity_is_named_with_what_to_write(tmp_path: Path) -> None:
    content = drawn()
    content[7, 2] = -np.inf

    with pytest.raises(DataError, match=r"row 7 are not finite: -inf of class 2; .* class -1e9"):
        array_files.read_logits(write_file(tmp_path, "f.npy", content))


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
