"""What tables say is read as it is written."""

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from gate.errors import DataError
from tests.data.test_split import opened, png

RED = png(np.full((8, 8, 3), (255, 0, 0), np.uint8))


def folder(path: Path, listed: str | bytes, images: int = 4) -> Path:
    path.mkdir()
    for i in range(images):
        (path / f"{i}.png").write_bytes(RED)
    content = listed.encode() if isinstance(listed, str) else listed
    (path / "metadata.csv").write_bytes(content)
    return path


def test_words_of_a_list_are_read_as_they_are_written(tmp_path: Path) -> None:
    rows = "0.png,NA,None\n1.png,nan,007\n2.png,null,1.50\n3.png,NA, x\n"
    path = folder(tmp_path / "x", "file_name,label,place\n" + rows)

    split = opened(path=path)

    assert split.classes == ("NA", "nan", "null")
    assert split.attributes["place"].tolist() == ["None", "007", "1.50", " x"]


def test_the_mark_before_utf8_windows_lines_backslashes_and_quotes_are_read(
    tmp_path: Path,
) -> None:
    path = folder(
        tmp_path / "x",
        b'\xef\xbb\xbf"file_name",label,place\r\n.\\0.png,a,"x, ""y"" z"\r\n\r\n1.png,b,c\r\n',
    )

    split = opened(path=path)

    assert split.attributes["place"].tolist() == ['x, "y" z', "c"]
    assert len(split.digests) == 2


def test_the_plan_says_which_column_of_a_list_names_the_images(tmp_path: Path) -> None:
    for column in ("img_filename", "img_filename_file_name"):
        path = folder(tmp_path / column, f"id,{column},y\n7,0.png,a\n8,1.png,b\n")

        split = opened(path=path, image="img_filename", label="y", attributes=[])

        assert len(split.digests) == 2


@pytest.mark.parametrize(
    ("listed", "says"),
    [
        ("file_name,label,place\n0.png,a,x\n1.png,,x\n", "label is empty in 1 rows"),
        ("file_name,label,place\n0.png,a,x\n1.png,b\n", "place is empty in 1 rows"),
        ("file_name,label,place\n0.png,a,x,y\n", "row 0 has 4 cells, and the header 3"),
        ("file_name,label,place,place\n0.png,a,x,y\n", "two columns 'place'"),
        ('file_name,label,place\n0.png,a,"x\n1.png,b,y\n', "cannot be read as csv"),
        ("file,label,place\n0.png,a,x\n", "no column 'file_name'"),
        ("", "no column 'file_name'"),
        ("file_name,label,place\n0.png,0,x\n1.png,1,x\n", "labels are numbers"),
    ],
)
def test_a_faulty_list_is_refused_with_what_is_wrong(
    listed: str, says: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=says):
        opened(path=folder(tmp_path / "x", listed))


def test_a_text_may_be_longer_than_a_library_expects(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text(f"text,label\n{'long ' * 100_000},0\nNA,1\n")

    split = opened(path=path, text="text", attributes=[], classes=["a", "b"])

    assert [len(text) for batch in split.texts(8) for text in batch] == [500_000, 2]


def write(path: Path, labels: object, names: list[str] | None = None) -> Path:
    table = pyarrow.table({"image": pyarrow.array([RED] * 4), "label": labels})
    if names:
        feature = {"label": {"names": names, "_type": "ClassLabel"}}
        table = table.replace_schema_metadata(
            {"huggingface": json.dumps({"info": {"features": feature}})}
        )
    path.parent.mkdir(exist_ok=True)
    parquet.write_table(table, path)
    return path


def test_parquet_names_its_classes_as_datasets_writes_them(tmp_path: Path) -> None:
    split = opened(path=write(tmp_path / "x.parquet", [1, 0, 0, 1], ["b", "a"]), attributes=[])

    assert split.classes == ("b", "a")
    assert split.labels.tolist() == [1, 0, 0, 1]


def test_files_that_name_the_classes_differently_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "x" / "0.parquet", [1, 0, 0, 1], ["b", "a"])
    write(tmp_path / "x" / "1.parquet", [1, 0, 0, 1], ["a", "b"])

    with pytest.raises(DataError, match="name the classes differently"):
        opened(path=tmp_path / "x", attributes=[])


@pytest.mark.parametrize(
    "labels",
    [[1.0, 0.0, 0.0, 1.0], pyarrow.array(["b", "a", "a", "b"]).dictionary_encode()],
    ids=["whole floats", "a dictionary"],
)
def test_labels_may_be_whole_floats_or_a_dictionary(labels: object, tmp_path: Path) -> None:
    path = write(tmp_path / "x.parquet", labels)

    assert opened(path=path, attributes=[], classes=["a", "b"]).labels.tolist() == [1, 0, 0, 1]


def test_parquet_is_never_held_whole(tmp_path: Path) -> None:
    contents = [RED + np.random.default_rng(i).bytes(100_000) for i in range(600)]
    labels = ["ab"[i % 2] for i in range(600)]
    table = pyarrow.table({"image": contents, "label": labels})
    parquet.write_table(table, tmp_path / "x.parquet", write_batch_size=16)  # one group of rows
    size = sum(map(len, contents))
    del contents, table
    split = opened(path=tmp_path / "x.parquet", attributes=[])
    pool = pyarrow.default_memory_pool()
    before, most = pool.bytes_allocated(), 0

    tracemalloc.start()
    for _ in split.batches(16, 8, 3):
        most = max(most, pool.bytes_allocated() - before)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak + most < size / 2
