"""Attacks by tables: what is read is what was hashed, by its own name, and stays so."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from gate.data import source
from gate.data.split import Split, open_split
from gate.errors import DataError
from gate.plan.split import SplitPlan
from tests.data.test_split import WRITERS, Writer, png, table

RED = png(np.full((8, 8, 3), (255, 0, 0), np.uint8))
BLUE = png(np.full((8, 8, 3), (0, 0, 255), np.uint8))
GREEN = png(np.full((8, 8, 3), (0, 255, 0), np.uint8))


def split(path: Path, **plan: Any) -> Split:
    return open_split("test", SplitPlan(path=path, **plan))


def colours(path: Path, **plan: Any) -> list[tuple[int, ...]]:
    (batch,) = split(path, **plan).batches(64, 8, 3)
    return [tuple(image[0, 0].tolist()) for image in batch]


def write_parquet(path: Path, images: list[Any]) -> Path:
    path.parent.mkdir(exist_ok=True)
    labels = ["ab"[i % 2] for i in range(len(images))]
    parquet.write_table(pyarrow.table({"image": images, "label": labels}), path)
    return path


def named(*names: str) -> list[dict[str, Any]]:
    return [{"bytes": None, "path": name} for name in names]


def stored(*contents: bytes) -> list[dict[str, Any]]:
    return [{"bytes": content, "path": None} for content in contents]


def write_folder(path: Path, images: dict[str, bytes], listed: str = "") -> Path:
    for name, content in images.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    lines = [f"{name},{'ab'[i % 2]}" for i, name in enumerate(images)]
    (path / "metadata.csv").write_text("file_name,label\n" + (listed or "\n".join(lines)))
    return path


# Images outside the digest


@pytest.mark.parametrize("column", [named, list], ids=["struct", "text"])
def test_a_table_alone_names_no_image_by_path(
    column: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, content in (("one.png", RED), ("two.png", BLUE)):
        Path(name).write_bytes(content)
    for names in (["one.png", "two.png"], [str(tmp_path / "one.png"), str(tmp_path / "two.png")]):
        path = write_parquet(
            tmp_path / "t.parquet", column(*names) if column is named else column(names)
        )

        with pytest.raises(DataError, match=r"names the image '.*one\.png', which is missing from"):
            colours(path)


@pytest.mark.parametrize(
    "name", ["/dev/zero", "../two.png", "http://127.0.0.1:9/x.png", "zip://x.png::a.zip", "."]
)
def test_a_table_in_a_folder_names_no_image_outside_it(name: str, tmp_path: Path) -> None:
    (tmp_path / "two.png").write_bytes(BLUE)
    (tmp_path / "data").mkdir()
    write_parquet(tmp_path / "data" / "t.parquet", [*named(name), *stored(RED)])

    with pytest.raises(DataError, match="is missing from what the data's digest holds"):
        colours(tmp_path / "data")


def test_a_table_names_images_inside_its_folder_and_the_digest_holds_them(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    write_folder(folder, {"one.png": RED, "deep/two.png": BLUE})
    write_parquet(folder / "t.parquet", named("one.png", "./deep/two.png"))
    before = split(folder)

    assert colours(folder) == [(255, 0, 0), (0, 0, 255)]
    (folder / "one.png").write_bytes(GREEN)
    assert split(folder).digest != before.digest
    with pytest.raises(DataError, match=r"one\.png: was changed after it was hashed"):
        list(before.batches(64, 8, 3))


def test_a_pipe_among_the_images_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "data", {"one.png": RED, "two.png": BLUE})
    (folder / "two.png").unlink()
    os.mkfifo(folder / "two.png")

    with pytest.raises(DataError, match="neither file nor folder"):
        split(folder)


def test_an_image_that_becomes_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "data", {"one.png": RED, "two.png": BLUE})
    opened = split(folder)
    (folder / "two.png").unlink()
    os.mkfifo(folder / "two.png")

    with pytest.raises(DataError, match=r"two\.png: is no plain file"):
        list(opened.batches(64, 8, 3))


def test_a_pipe_for_a_table_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    for name, plan in (("t.parquet", {}), ("t.npz", {}), ("t.csv", {"text": "text"})):
        os.mkfifo(tmp_path / name)

        with pytest.raises(DataError, match="neither file nor folder"):
            split(tmp_path / name, **plan)


def test_a_link_that_leads_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "data", {"one.png": RED, "two.png": BLUE})
    (tmp_path / "out.png").write_bytes(GREEN)
    (folder / "two.png").unlink()
    (folder / "two.png").symlink_to(tmp_path / "out.png")

    with pytest.raises(DataError, match="a link inside an artefact is refused"):
        split(folder)


@pytest.mark.parametrize("name", ["../out.png", "{outside}", "file://{outside}", "a/../../out.png"])
def test_a_list_names_no_image_outside_its_folder(name: str, tmp_path: Path) -> None:
    (tmp_path / "out.png").write_bytes(GREEN)
    name = name.format(outside=tmp_path / "out.png")
    folder = write_folder(tmp_path / "data", {"b.png": BLUE}, f"{name},a\nb.png,b\n")

    with pytest.raises(DataError, match="1 of 2 images are missing from this folder"):
        split(folder)


def test_a_second_list_is_refused_and_not_merged(tmp_path: Path) -> None:
    for second in ("metadata.jsonl", "deep/metadata.csv"):
        folder = write_folder(tmp_path / second, {"a.png": RED, "b.png": BLUE})
        (folder / second).parent.mkdir(exist_ok=True)
        (folder / second).write_text("file_name,label\na.png,b\n")

        with pytest.raises(DataError, match=f"has {second} beside metadata.csv"):
            split(folder)


# Another table than the one hashed


@pytest.mark.parametrize(
    ("name", "other"), [("t[1]", "t1"), ("*", "a"), ("t?", "t1"), ("a**", "ab")]
)
def test_a_name_that_looks_like_a_pattern_reads_itself_alone(
    name: str, other: str, tmp_path: Path
) -> None:
    for place, images in ((other, (GREEN, GREEN)), (name, (RED, BLUE))):
        write_parquet(tmp_path / f"{place}.parquet", stored(*images))
        write_parquet(tmp_path / place / "x.parquet", stored(*images))
        write_folder(
            tmp_path / f"{place}-images", dict(zip(("a.png", "b.png"), images, strict=True))
        )
        (tmp_path / f"{place}.csv").write_text(f"text,label\n{place},a\n{place},b\n")

    for form in (f"{name}.parquet", name, f"{name}-images"):
        assert colours(tmp_path / form) == [(255, 0, 0), (0, 0, 255)]
    assert list(split(tmp_path / f"{name}.csv", text="text").texts(9)) == [[name, name]]


@pytest.mark.parametrize(
    "name", ["a::b", "a#b", "a%20b", "zip:a", "http:b", "a{b,c}", "-", "~", "é"]
)
def test_a_name_that_looks_like_an_address_is_a_name(name: str, tmp_path: Path) -> None:
    (tmp_path / f"{name}.csv").write_text("text,label\nx,a\ny,b\n")

    assert list(split(tmp_path / f"{name}.csv", text="text").texts(9)) == [["x", "y"]]
    assert len(split(write_parquet(tmp_path / f"{name}.parquet", stored(RED, BLUE)))) == 2


@pytest.mark.parametrize(
    "names",
    [
        ("church/val_3.jpg", "tower/val_4.jpg"),
        ("ILSVRC2012_val_1.jpg", "ILSVRC2012_val_2.jpg"),
        ("crash_test/1.jpg", "train/2.jpg", "test/3.jpg", "dev/4.jpg"),
        ("train-1.jpg", "eval.jpg"),
    ],
)
def test_words_in_names_of_files_say_nothing_of_splits(
    names: tuple[str, ...], tmp_path: Path
) -> None:
    folder = write_folder(tmp_path / "test_data", dict.fromkeys(names, RED))

    assert colours(folder) == [(255, 0, 0)] * len(names)


def test_a_program_or_settings_beside_the_images_are_not_read(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "data", {"a.png": RED, "b.png": BLUE})
    for name in ("data.py", "imagefolder.py", "__init__.py"):
        (folder / name).write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    (folder / "README.md").write_text("---\nconfigs:\n- data_files: ../*.png\n---\n")

    assert colours(folder) == [(255, 0, 0), (0, 0, 255)]
    assert not (tmp_path / "ran").exists()


# Changed between hashing and use


@pytest.mark.parametrize("writer", WRITERS)
def test_a_table_that_changed_after_it_was_hashed_is_refused(
    writer: Writer, tmp_path: Path, images: np.ndarray
) -> None:
    (tmp_path / "other").mkdir()
    opened = split(writer(tmp_path, table(images))["path"])
    swapped = writer(tmp_path / "other", table(images[::-1]))["path"]
    swapped.rename(tmp_path / "new")
    opened.plan.path.rename(tmp_path / "old")
    (tmp_path / "new").rename(opened.plan.path)

    with pytest.raises(DataError, match="was changed after it was hashed"):
        list(opened.batches(7, 8, 3))


def test_a_shard_that_leaves_the_last_rows_unread_still_notices(
    tmp_path: Path, images: np.ndarray
) -> None:
    path = WRITERS[1](tmp_path, table(images))["path"]
    opened = split(path).only(np.arange(5))
    with path.open("ab") as file:
        file.write(b"x")

    with pytest.raises(DataError, match=r"images\.parquet"):
        list(opened.batches(5, 8, 3))


@pytest.mark.parametrize("writer", WRITERS[1:])
def test_a_table_swapped_while_it_is_hashed_is_refused(
    writer: Writer, tmp_path: Path, images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    path = writer(tmp_path, table(images))["path"]
    swapped = writer(tmp_path / "other", table(images[::-1]))["path"]
    opening = source.opened
    for module in ("npz", "arrow"):
        monkeypatch.setattr(
            f"gate.data.{module}.opened",
            lambda *told: [swapped.exists() and swapped.replace(path), opening(*told)][1],
        )

    with pytest.raises(DataError, match="was changed after it was hashed"):
        split(path)


def test_bytes_that_are_put_back_after_use_were_still_changed(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("text,label\nhashed,a\nhashed,b\n")
    os.utime(path, (0, 0))
    opened = split(path, text="text")
    rows = opened.rows()
    next(rows)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"hashed", b"forged"))
    path.write_bytes(content)

    with pytest.raises(DataError, match="was changed after it was hashed"):
        list(rows)
