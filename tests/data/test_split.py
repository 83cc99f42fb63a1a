"""Images from a folder, Parquet and npz; what is wrong with them is named and counted."""

import csv
import io
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet

from gate.data.split import Split, open_split
from gate.errors import DataError
from gate.plan.split import SplitPlan

CLASSES = ("ant", "bee", "cat")


def png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def table(images: np.ndarray) -> list[dict[str, Any]]:
    return [
        {
            "image": image,
            "label": CLASSES[i % 3],
            "place": "sea" if i % 2 else "land",
        }
        for i, image in enumerate(images)
    ]


def as_folder(folder: Path, rows: list[dict[str, Any]]) -> dict[str, Any]:
    path = folder / "images"
    path.mkdir()
    with (path / "metadata.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file_name", "label", "place"])
        for i, row in enumerate(rows):
            name = f"{i:03d}.png"
            content = row["image"] if isinstance(row["image"], bytes) else png(row["image"])
            (path / name).write_bytes(content)
            writer.writerow([name, row["label"], row["place"]])
    return {"path": path}


def as_parquet(folder: Path, rows: list[dict[str, Any]]) -> dict[str, Any]:
    path = folder / "images.parquet"
    content = [r["image"] if isinstance(r["image"], bytes) else png(r["image"]) for r in rows]
    columns = {
        "image": [{"bytes": data, "path": f"{i:03d}.png"} for i, data in enumerate(content)],
        "label": [r["label"] for r in rows],
        "place": [r["place"] for r in rows],
    }
    parquet.write_table(pyarrow.table(columns), path, row_group_size=7)
    return {"path": path}


def as_npz(folder: Path, rows: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    path = folder / "images.npz"
    arrays: dict[str, Any] = {
        "image": np.stack([row["image"] for row in rows]),
        "label": np.array([CLASSES.index(row["label"]) for row in rows], np.uint8),
        "place": np.array([row["place"] for row in rows]),
        "class_names": np.array(CLASSES),
        **changes,
    }
    np.savez_compressed(path, **{name: a for name, a in arrays.items() if a is not None})
    return {"path": path}


Writer = Callable[[Path, list[dict[str, Any]]], dict[str, Any]]
WRITERS: list[Writer] = [as_folder, as_parquet, as_npz]


def opened(**plan: Any) -> Split:
    return open_split("test", SplitPlan.model_validate({"attributes": ["place"], **plan}))


def read(split: Split, batch: int = 7, side: int = 8, channels: int = 3) -> np.ndarray:
    return np.concatenate(list(split.batches(batch, side, channels)))


@pytest.mark.parametrize("writer", WRITERS)
def test_every_format_gives_the_same_images_labels_and_attributes(
    writer: Writer, tmp_path: Path, images: np.ndarray
) -> None:
    split = opened(**writer(tmp_path, table(images)))

    assert split.classes == CLASSES
    assert split.labels.tolist() == [i % 3 for i in range(60)]
    assert split.attributes["place"].tolist() == ["sea" if i % 2 else "land" for i in range(60)]
    np.testing.assert_array_equal(read(split), images)
    assert [len(batch) for batch in split.batches(16, 8, 3)] == [16, 16, 16, 12]


@pytest.mark.parametrize("writer", WRITERS)
def test_a_shard_of_some_classes_keeps_their_order_and_rows(
    writer: Writer, tmp_path: Path, images: np.ndarray
) -> None:
    plan = {**writer(tmp_path, table(images)), "keep": ["cat", "ant"]}

    split = opened(**plan, shard={"index": 1, "count": 2})

    rows = [i for i in range(1, 60, 2) if i % 3 in (0, 2)]
    assert split.classes == ("cat", "ant")
    assert split.labels.tolist() == [0 if i % 3 == 2 else 1 for i in rows]
    np.testing.assert_array_equal(read(split), images[rows])


def test_shards_share_no_image_and_leave_none_out(tmp_path: Path, images: np.ndarray) -> None:
    plan = as_npz(tmp_path, table(images))
    shards = [opened(**plan, shard={"index": i, "count": 2}) for i in range(2)]

    digests = [set(shard.digests) for shard in shards]

    assert not digests[0] & digests[1]
    assert digests[0] | digests[1] == set(opened(**plan).digests)


def test_the_same_pixels_have_the_same_digest_in_every_encoding(
    tmp_path: Path, images: np.ndarray
) -> None:
    digests = [opened(**writer(tmp_path, table(images))).digests for writer in WRITERS]

    assert digests[0] == digests[1] == digests[2]
    assert len(set(digests[0])) == 60


def test_images_are_resized_and_turned_grey_as_the_plan_says(
    tmp_path: Path, images: np.ndarray
) -> None:
    for writer in WRITERS:
        folder = tmp_path / writer.__name__
        folder.mkdir()
        found = read(opened(**writer(folder, table(images))), side=4, channels=1)
        expected = [
            np.asarray(
                Image.fromarray(image).convert("L").resize((4, 4), Image.Resampling.BILINEAR)
            )
            for image in images
        ]
        np.testing.assert_array_equal(found[..., 0], expected)


def test_grey_images_serve_a_backbone_for_colour(tmp_path: Path, images: np.ndarray) -> None:
    grey = images[..., 0]
    split = opened(**as_npz(tmp_path, table(images), image=grey))

    np.testing.assert_array_equal(read(split), np.repeat(grey[..., None], 3, axis=3))


@pytest.mark.parametrize("writer", [as_folder, as_parquet])
def test_images_that_do_not_decode_are_named_and_counted(
    writer: Writer, tmp_path: Path, images: np.ndarray
) -> None:
    rows = table(images)
    for place, content in ((20, b"not an image"), (31, png(images[31])[:60]), (32, b"")):
        rows[place]["image"] = content
    split = opened(**writer(tmp_path, rows))

    for use in (lambda: read(split), lambda: split.digests):
        with pytest.raises(
            DataError, match=r"3 of 60 images do not decode, the first is .*020\.png"
        ):
            use()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"label": np.full(60, 3)}, r"row 0 has label 3, out of range 0 \.\. 2"),
        ({"label": np.full(60, -1)}, r"row 0 has label -1, out of range"),
        ({"label": np.full(60, 0.5)}, r"row 0 has label 0\.5, out of range"),
        ({"label": np.array(["ant", "bee", "cta"] * 20)}, "label 'cta'; did you mean 'cat'"),
        ({"label": np.zeros((60, 1), int)}, r"label has shape \(60, 1\)"),
        ({"label": np.zeros(59, int)}, "60 images, and 59 rows of label"),
        ({"label": np.arange(60) % 2}, "class 'cat' has no example"),
        ({"label": np.array([{}] * 60, object)}, "not an .npz of plain arrays"),
        ({"label": None}, "no column 'label'"),
        ({"place": None}, "no column 'place'"),
        ({"place": np.array(["", "sea"] * 30)}, "place is empty in 30 rows, the first is row 0"),
        ({"image": np.zeros((60, 8, 8, 3))}, r"is float64 .*, expected uint8"),
        ({"image": np.zeros((60, 8, 8, 2), np.uint8)}, "expected uint8"),
        ({"class_names": None}, "state classes in the plan"),
    ],
)
def test_a_faulty_npz_is_refused_with_what_is_wrong(
    tmp_path: Path, images: np.ndarray, changes: dict[str, Any], says: str
) -> None:
    plan = as_npz(tmp_path, table(images), **changes)

    with pytest.raises(DataError, match=says):
        opened(**plan)


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        ({"label": "lable"}, "no column 'lable'; did you mean 'label'"),
        ({"attributes": ["plaec"]}, "no column 'plaec'; did you mean 'place'"),
        ({"keep": ["ant", "baa"]}, "unknown class 'baa'"),
        ({"classes": ["ant", "bee"]}, "row 2 has label 'cat'"),
        ({"classes": ["ant", "bee", "cat", "dog"]}, "class 'dog' has no example"),
        ({"shard": {"index": 60, "count": 61}}, "nothing is left"),
    ],
)
@pytest.mark.parametrize("writer", [as_folder, as_parquet])
def test_a_plan_that_does_not_fit_its_table_is_refused(
    writer: Writer, tmp_path: Path, images: np.ndarray, plan: dict[str, Any], says: str
) -> None:
    with pytest.raises(DataError, match=says):
        opened(**{**writer(tmp_path, table(images)), **plan})


@pytest.mark.parametrize("name", ["absent.npz", "absent"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=f"{name}: no such file or folder"):
        opened(path=tmp_path / name)


@pytest.mark.parametrize("name", ["broken.npz", "broken.parquet", "table.txt"])
def test_a_file_that_is_no_table_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"nothing of the kind")

    with pytest.raises(DataError, match=name):
        opened(path=tmp_path / name)


def test_a_folder_without_metadata_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")

    with pytest.raises(DataError, match=r"no class folders, so nothing says what images show"):
        opened(path=tmp_path)


def test_a_truncated_npz_is_refused(tmp_path: Path, images: np.ndarray) -> None:
    path = as_npz(tmp_path, table(images))["path"]
    path.write_bytes(path.read_bytes()[:-200])

    with pytest.raises(DataError, match=r"images\.npz"):
        opened(path=path)


def test_an_npz_is_never_held_whole(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (600, 64, 64, 3), dtype=np.uint8)
    path = tmp_path / "large.npz"
    np.savez(path, image=pixels, label=np.arange(600) % 3, class_names=np.array(CLASSES))
    split = opened(path=path, attributes=[])
    size = pixels.nbytes
    del pixels

    tracemalloc.start()
    for _ in split.batches(16, 64, 3):
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < size / 2


def test_what_changes_an_image_changes_the_digest_and_what_is_claimed_does_not(
    tmp_path: Path, images: np.ndarray
) -> None:
    plan = as_npz(tmp_path, table(images))
    base = opened(**plan).digest

    assert opened(**plan, minimum_group=1, balanced=["place"]).digest == base
    assert opened(**plan, shard={"index": 0, "count": 2}).digest != base
    other = tmp_path / "other"
    other.mkdir()
    assert opened(**as_npz(other, table(images[::-1]))).digest != base
