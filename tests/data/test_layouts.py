"""Each layout that people have gives what the same data give as .npz."""

import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from pyarrow import ipc, parquet

from gate.data.readers import layout_of
from gate.errors import DataError
from gate.plan.split import SplitPlan
from tests.data.test_split import CLASSES, as_npz, as_parquet, opened, png, read, table

Plan = dict[str, Any]
PLACES = ["sea" if i % 2 else "land" for i in range(60)]


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def lines(*rows: object) -> str:
    return "".join(f"{row}\n" for row in rows)


def as_metadata_without_labels(folder: Path, images: np.ndarray) -> Plan:
    rows = ["file_name,place"]
    for i, image in enumerate(images):
        name = f"{CLASSES[i % 3]}/{i:03d}.png"
        write(folder / "x" / name, png(image))
        rows.append(f"{name},{PLACES[i]}")
    write(folder / "x" / "metadata.csv", lines(*rows))
    return {"path": folder / "x"}


def as_list(folder: Path, images: np.ndarray) -> Plan:
    rows = ["id;species;place"]
    for i, image in enumerate(images):
        write(folder / "x" / "pictures" / f"{i:03d}.png", png(image))
        rows.append(f"{i:03d};{CLASSES[i % 3]};{PLACES[i]}")
    path = write(folder / "x" / "labels.csv", lines(*rows))
    return {"path": path, "image": "id", "label": "species", "images": "pictures/{}.png"}


def as_tab_separated_list(folder: Path, images: np.ndarray) -> Plan:
    plan = as_list(folder, images)
    text = plan["path"].read_text().replace(";", "\t")
    write(folder / "x" / "labels.tsv", text)
    return {**plan, "path": folder / "x", "table": "labels.tsv"}


def as_parquet_of_paths(folder: Path, images: np.ndarray) -> Plan:
    for i, image in enumerate(images):
        write(folder / "x" / "pictures" / f"{i:03d}.png", png(image))
    columns = {
        "file": [f"{i:03d}.png" for i in range(60)],
        "label": [CLASSES[i % 3] for i in range(60)],
        "place": PLACES,
    }
    parquet.write_table(pyarrow.table(columns), folder / "x" / "t.parquet")
    return {"path": folder / "x", "table": "t.parquet", "image": "file", "images": "pictures"}


def as_two_text_tables(folder: Path, images: np.ndarray) -> Plan:
    """As CelebA's .txt are: one with a count and no name for the images, one without a header."""
    for i, image in enumerate(images):
        write(folder / "x" / "img" / f"{i:03d}.png", png(image))
    attributes = [f"{i:03d}.png  {i % 3 - 1} {PLACES[i]}" for i in range(60)]
    write(folder / "x" / "list_attr.txt", lines("60", "Hair place ", *attributes))
    write(
        folder / "x" / "list_eval.txt",
        lines(*(f"{i:03d}.png {i // 30}" for i in reversed(range(60)))),
    )
    return {
        "path": folder / "x",
        "table": ["list_attr.txt", "list_eval.txt"],
        "images": "img",
        "label": "Hair",
        "classes": {-1: "ant", 0: "bee", 1: "cat"},
        "where": {"list_eval": [0, 1]},
    }


def tar(path: Path, files: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def as_webdataset(folder: Path, images: np.ndarray) -> Plan:
    for shard in range(2):
        files = {}
        for i in range(30 * shard, 30 * shard + 30):
            files[f"./deep.d/{i:03d}.cls"] = str(i % 3).encode()
            files[f"./deep.d/{i:03d}.PNG"] = png(images[i])
            files[f"./deep.d/{i:03d}.json"] = json.dumps({"place": PLACES[i]}).encode()
        tar(folder / "x" / f"train-{shard:06d}.tar", files)
    return {"path": folder / "x", "classes": CLASSES}


def as_saved(folder: Path, images: np.ndarray) -> Plan:
    """As save_to_disk of datasets 5.2.0 writes it, without the keys that say nothing of rows."""
    folder, names = folder / "x", ["data-00000-of-00002.arrow", "data-00001-of-00002.arrow"]
    folder.mkdir()
    for shard, name in enumerate(names):
        rows = range(30 * shard, 30 * shard + 30)
        columns = {
            "image": [{"bytes": png(images[i]), "path": None} for i in rows],
            "label": [i % 3 for i in rows],
            "place": [PLACES[i] for i in rows],
        }
        written = pyarrow.table(columns)
        with ipc.new_stream(folder / name, written.schema) as stream:
            stream.write_table(written, 20)
    state = {"_data_files": [{"filename": name} for name in names], "_fingerprint": "0"}
    feature = {"label": {"names": list(CLASSES), "_type": "ClassLabel"}}
    write(folder / "state.json", json.dumps(state))
    write(folder / "dataset_info.json", json.dumps({"features": feature}))
    return {"path": folder}


def as_shards_of_a_hub(folder: Path, images: np.ndarray) -> Plan:
    data = folder / "x" / "data"
    data.mkdir(parents=True)
    for shard in range(2):
        rows = table(images)[30 * shard : 30 * shard + 30]
        as_parquet(data, rows)["path"].rename(data / f"train-0000{shard}-of-00002.parquet")
    as_parquet(data, table(images)[:9])["path"].rename(data / "test-00000-of-00001.parquet")
    return {"path": folder / "x", "table": "data/train-*"}


WRITERS: list[Callable[[Path, np.ndarray], Plan]] = [
    as_metadata_without_labels,
    as_list,
    as_tab_separated_list,
    as_parquet_of_paths,
    as_two_text_tables,
    as_webdataset,
    as_saved,
    as_shards_of_a_hub,
]


@pytest.mark.parametrize("writer", WRITERS)
def test_a_layout_gives_what_the_same_data_give_as_npz(
    writer: Callable[[Path, np.ndarray], Plan], tmp_path: Path, images: np.ndarray
) -> None:
    expected = opened(**as_npz(tmp_path, table(images)))

    split = opened(**writer(tmp_path, images))

    assert split.classes == expected.classes
    assert split.labels.tolist() == expected.labels.tolist()
    assert split.attributes["place"].tolist() == expected.attributes["place"].tolist()
    np.testing.assert_array_equal(read(split), read(expected))
    assert split.digests == expected.digests


@pytest.mark.parametrize("writer", WRITERS)
def test_each_byte_of_an_image_is_in_the_digest(
    writer: Callable[[Path, np.ndarray], Plan], tmp_path: Path, images: np.ndarray
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    changed = images.copy()
    changed[59, 0, 0, 0] ^= 1

    digests = [
        opened(**writer(tmp_path / name, content)).digest
        for name, content in (("a", images), ("b", changed))
    ]

    assert digests[0] != digests[1]


# Class folders


def as_torchvision_walks(root: Path) -> list[Path]:
    """Images in the order of torchvision's make_dataset, written after it."""
    found = []
    for target in sorted(entry.name for entry in os.scandir(root) if entry.is_dir()):
        for place, _, names in sorted(os.walk(root / target, followlinks=True)):
            found += [Path(place, name) for name in sorted(names)]
    return found


def test_class_folders_are_read_in_the_order_of_torchvision(
    tmp_path: Path, images: np.ndarray
) -> None:
    names = [
        "B/z.png",
        "B/a/2.jpeg",
        "B/a/b/0.png",
        "B/a-x/1.PNG",
        "a/1.png",
        "a/10.png",
        "a/2.png",
    ]
    for name, image in zip(names, images, strict=False):
        write(tmp_path / name, png(image))
    order = as_torchvision_walks(tmp_path)
    for name in ("a/notes.txt", "a/.hidden.png", ".cache/1.png", "top.png"):
        write(tmp_path / name, b"no image of a class")

    split = opened(path=tmp_path, attributes=[])

    assert split.classes == ("B", "a")
    assert split.labels.tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert [row.name for row in split.rows()] == list(map(str, order))
    (remark,) = split.remarks
    assert "test: 2 files are no images of a class" in remark


def test_a_file_that_class_folders_leave_out_is_in_the_digest(
    tmp_path: Path, images: np.ndarray
) -> None:
    for name in ("a/1.png", "b/1.png"):
        write(tmp_path / name, png(images[0]))
    before = opened(path=tmp_path, attributes=[]).digest
    write(tmp_path / "a/.hidden", b"")

    assert opened(path=tmp_path, attributes=[]).digest != before


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["a/1.png", "b/1.txt"], r"class folder 'b' has no image \(\.jpg"),
        (["1.png", "2.png"], "no class folders, so nothing says what images show"),
        (
            ["train/a/1.png", "test/a/1.png"],
            r"test, train are splits and no classes; .*path: .*/te",
        ),
        (["a/1.png", "labels.csv", "2.png"], r"say so: table: labels\.csv"),
        (
            ["data/train-0.tar", "data/val-0.tar"],
            r"holds data/train-\*\.tar \(1 file\) and data/va",
        ),
    ],
)
def test_folders_that_are_no_classes_are_refused(
    names: list[str], says: str, tmp_path: Path
) -> None:
    for name in names:
        write(tmp_path / name, b"x")

    with pytest.raises(DataError, match=says):
        opened(path=tmp_path, attributes=[])


def test_class_folders_have_no_attributes(tmp_path: Path) -> None:
    for name in ("a/1.png", "b/1.png"):
        write(tmp_path / name, b"x")

    with pytest.raises(DataError, match="no column 'place'; known: the label"):
        opened(path=tmp_path)


# Lists


def waterbirds(folder: Path, images: np.ndarray) -> Path:
    rows = ["img_id,img_filename,y,split,place,place_filename"]
    for i, image in enumerate(images):
        name = f"{i % 3:03d}.Bird/{i:04d}.png"
        write(folder / name, png(image))
        rows.append(f"{i},{name},{i % 2},{i % 3},{i // 30},/b/forest/{i}.jpg")
    write(folder / "metadata.csv", lines(*rows))
    return folder


BIRDS: Plan = {"image": "img_filename", "label": "y", "classes": ["landbird", "waterbird"]}


def test_one_table_of_all_splits_is_read_as_waterbirds_is_published(
    tmp_path: Path, images: np.ndarray
) -> None:
    path = waterbirds(tmp_path / "x", images)

    train = opened(path=path, **BIRDS, where={"split": 0})
    rest = opened(path=path, **BIRDS, where={"split": ["1", 2], "place": 1})

    assert train.labels.tolist() == [i % 2 for i in range(0, 60, 3)]
    np.testing.assert_array_equal(read(train), images[::3])
    assert len(rest) == 20
    assert set(rest.attributes["place"].tolist()) == {"1"}
    assert train.digest != rest.digest


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ({"split": [0, 7]}, r"where\.split: no row has 7; it has 0, 1, 2"),
        ({"split": "train"}, "no row has train; it has 0, 1, 2"),
        ({"y": 0, "img_id": 1}, "no row of 60 has all that where says"),
        ({"splt": 0}, "no column 'splt'; did you mean 'split'"),
    ],
)
def test_where_says_what_is_there_when_it_finds_nothing(
    where: Plan, says: str, tmp_path: Path, images: np.ndarray
) -> None:
    with pytest.raises(DataError, match=says):
        opened(path=waterbirds(tmp_path / "x", images), **BIRDS, where=where)


def test_rows_that_are_not_wanted_need_neither_label_nor_image(tmp_path: Path) -> None:
    rows = [f"{i}.png,{'' if i > 3 else i % 2},{int(i > 3)}" for i in range(6)]
    path = write(tmp_path / "x" / "t.csv", lines("image,label,split", *rows))
    for i in range(4):
        write(tmp_path / "x" / f"{i}.png", png(np.full((8, 8, 3), i, np.uint8)))

    split = opened(path=path, where={"split": 0}, classes=["a", "b"], attributes=[])

    assert split.labels.tolist() == [0, 1, 0, 1]
    assert len(read(split)) == 4


def test_where_serves_every_layout(tmp_path: Path, images: np.ndarray) -> None:
    (tmp_path / "npz").mkdir()
    plans = [as_npz(tmp_path / "npz", table(images)), as_parquet(tmp_path, table(images))]
    for plan in [*plans, as_webdataset(tmp_path, images)]:
        split = opened(**plan, where={"place": "sea"})

        assert split.labels.tolist() == [i % 3 for i in range(1, 60, 2)]
        np.testing.assert_array_equal(read(split), images[1::2])


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("/data/0.png", "which is no name inside a folder"),
        ("C:\\data\\0.png", "which is no name inside a folder"),
        ("../0.png", "which leads out of it"),
        ("0.png", r"but pictures/0\.png is there; say images: pictures;"),
        ("x/pictures/0.png", r"but pictures/0\.png is there; name images as seen from this folder"),
        ("pictures/0", r"is there; say images: '\{\}\.png'"),
        ("1.png", r"the first is '1\.png'; copy them into it"),
    ],
)
def test_an_image_that_is_not_there_is_said_with_what_is(
    name: str, says: str, tmp_path: Path
) -> None:
    write(tmp_path / "x" / "pictures" / "0.png", b"")
    path = write(tmp_path / "x" / "t.csv", f"image,label\n{name},a\npictures/0.png,b\n")

    with pytest.raises(DataError, match=f"1 of 2 images are missing from this folder.*{says}"):
        opened(path=path, attributes=[])


@pytest.mark.parametrize(
    ("second", "says"),
    [
        ("image,place\n0.png,x\n", r"b\.csv: lacks 1 of 2 images that a\.csv names, .*'1\.png'"),
        ("image,place\n0.png,x\n0.png,y\n1.png,x\n", r"b\.csv: names '0\.png' twice"),
        ("image,label,place\n0.png,x,y\n1.png,x,y\n", "two columns 'label'"),
        ("file,place\n0.png,x\n", "no column 'image'"),
    ],
)
def test_tables_that_cannot_be_joined_are_refused(second: str, says: str, tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "image,label\n0.png,x\n1.png,y\n")
    write(tmp_path / "b.csv", second)

    with pytest.raises(DataError, match=says):
        opened(path=tmp_path, table=["a.csv", "b.csv"])


def test_a_list_without_a_header_is_told_by_its_images(tmp_path: Path, images: np.ndarray) -> None:
    for i in range(6):
        write(tmp_path / f"{i}.png", png(images[i]))
    for name, mark in (("val.txt", " "), ("val.csv", ",")):
        path = write(tmp_path / name, lines(*(f"{i}.png{mark}{i % 2}" for i in range(6))))

        split = opened(path=path, classes=["a", "b"], attributes=[])

        assert split.labels.tolist() == [0, 1, 0, 1, 0, 1]


def test_a_list_that_is_not_utf8_is_said_with_its_line(tmp_path: Path) -> None:
    for content, says in (
        ("image,label\n0.png,caf\xe9\n".encode("latin1"), r"line 2 is not UTF-8 \(byte 0xe9\)"),
        ("image,label\n0.png,a\n".encode("utf-16"), "is UTF-16; .*iconv -f utf-16 -t utf-8 t.csv"),
    ):
        with pytest.raises(DataError, match=says):
            opened(path=write(tmp_path / "t.csv", content), attributes=[])


# Shards


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["train-0.parquet", "test-0.parquet"], r"holds test-\*\.parquet \(1 file\) and train-\*"),
        (["train.parquet", "test.parquet"], r"holds test\.parquet \(1 file\) and train\.parquet"),
        (
            ["t-00000-of-00003.parquet", "t-00002-of-00003.parquet"],
            "one of 3 shards, and 2 are the",
        ),
    ],
)
def test_shards_of_several_splits_or_too_few_are_refused(
    names: list[str], says: str, tmp_path: Path, images: np.ndarray
) -> None:
    for name in names:
        as_parquet(tmp_path, table(images))["path"].rename(tmp_path / name)

    with pytest.raises(DataError, match=says):
        opened(path=tmp_path)


def test_a_pattern_that_matches_nothing_says_what_is_there(
    tmp_path: Path, images: np.ndarray
) -> None:
    plan = as_shards_of_a_hub(tmp_path, images)

    with pytest.raises(
        DataError, match=r"table: data/val-\*; holds data/test-\*\.parquet \(1 file"
    ):
        opened(**{**plan, "table": "data/val-*"})


def test_the_folder_of_several_saved_splits_names_them(tmp_path: Path) -> None:
    write(tmp_path / "dataset_dict.json", '{"splits": ["train", "test"]}')

    with pytest.raises(DataError, match=r"splits train, test; name one .*/train"):
        opened(path=tmp_path)


def test_a_saved_folder_that_lacks_a_file_is_refused(tmp_path: Path, images: np.ndarray) -> None:
    plan = as_saved(tmp_path, images)
    (plan["path"] / "data-00001-of-00002.arrow").unlink()

    with pytest.raises(DataError, match=r"names data-00001-of-00002\.arrow, which is missing"):
        opened(**plan)


IMAGE = png(np.zeros((8, 8, 3), np.uint8))


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"a.png": IMAGE, "a.json": b'{"place": null, "label": "x"}'}, "place is empty in 1 rows"),
        ({"a.png": IMAGE, "a.json": b'{"place": NaN, "label": "x"}'}, "place is empty in 1 rows"),
        ({"a.png": IMAGE, "a.json": b'{"place": "x"}'}, "neither a file .label nor a key 'label'"),
        ({"a.png": IMAGE, "a.json": b'{"place": ["x"], "label": 0}'}, "expected a word or a num"),
        ({"a.png": IMAGE, "a.json": b"[1]"}, "a.json is no mapping"),
        ({"a.cls": b"0", "b.png": IMAGE}, "sample 'a' has 0 images among cls"),
        ({"a.png": IMAGE, "a.jpg": IMAGE}, "sample 'a' has 2 images among png, jpg"),
        ({"README": b"x"}, "holds no sample"),
        ({"a.png": IMAGE, "a.json": b"{"}, "cannot be read as WebDataset"),
    ],
)
def test_a_faulty_shard_is_refused_with_what_is_wrong(
    files: dict[str, bytes], says: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=says):
        opened(path=tar(tmp_path / "x.tar", files))


def test_words_of_a_shard_are_read_as_they_are_written(tmp_path: Path) -> None:
    files: dict[str, bytes] = {}
    for key, place in (("a", "None"), ("b", "nan"), ("c", "NA"), ("d", "null")):
        files |= {f"{key}.png": IMAGE, f"{key}.cls": b"NA" if key < "c" else b"EU"}
        files[f"{key}.json"] = json.dumps({"place": place}).encode()

    split = opened(path=tar(tmp_path / "x.tar", files))

    assert split.classes == ("EU", "NA")
    assert split.attributes["place"].tolist() == ["None", "nan", "NA", "null"]


def test_a_shard_that_ends_early_is_refused(tmp_path: Path) -> None:
    path = tar(tmp_path / "x.tar", {"a.png": IMAGE, "a.cls": b"x", "b.png": IMAGE, "b.cls": b"y"})
    path.write_bytes(path.read_bytes()[:1600])

    with pytest.raises(DataError, match=r"x\.tar: "):
        opened(path=path, attributes=[])


def test_a_link_in_a_shard_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as archive:
        member = tarfile.TarInfo("a.png")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/hostname"
        archive.addfile(member)

    with pytest.raises(DataError, match=r"a\.png is no plain file"):
        opened(path=path)


# Which layout


def test_the_layout_of_a_path_is_told_with_its_reason(tmp_path: Path, images: np.ndarray) -> None:
    expected = {
        as_list: "list",
        as_saved: "save_to_disk",
        as_webdataset: "webdataset",
        as_metadata_without_labels: "metadata.csv",
    }
    for writer, name in expected.items():
        folder = tmp_path / writer.__name__
        folder.mkdir()
        plan = SplitPlan.model_validate(writer(folder, images))

        found = layout_of(plan.path, plan.table)

        assert found.name == name
        assert found.why
