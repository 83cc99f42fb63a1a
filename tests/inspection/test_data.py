"""Data is told for what it is, as people have it."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pandas
import pytest
from PIL import Image

from gate.errors import DataError
from gate.inspection.data import inspect_data
from gate.inspection.facts import DataFacts
from gate.inspection.text import data_text
from tests.own_files import CLASSES, class_folders, picture


def facts(path: Path) -> DataFacts:
    return inspect_data(path).facts


def test_class_folders_are_counted_and_their_images_looked_at(tmp_path: Path) -> None:
    class_folders(tmp_path / "images", 5)
    turned = Image.new("L", (20, 10))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "images" / "cat" / "turned.jpg", exif=exif)
    (tmp_path / "images" / "dog" / "broken.png").write_bytes(b"no image")

    found = facts(tmp_path / "images")

    assert (found.layout, found.kind, found.rows) == ("class folders", "image", 17)
    assert found.classes == {"cat": 6, "dog": 6, "owl": 5}
    assert found.pictures
    assert found.pictures.looked_at == 17
    assert found.pictures.sizes == {"32 x 32": 15, "20 x 10": 1}
    assert found.pictures.modes == {"RGB": 15, "L": 1}
    assert (found.pictures.turned, found.pictures.unreadable) == (1, 1)


@pytest.mark.parametrize("held", ["test", "val", "valid", "validation", "Test"])
def test_subfolders_of_splits_are_found_by_their_names(tmp_path: Path, held: str) -> None:
    class_folders(tmp_path / "train", 4)
    class_folders(tmp_path / held, 2)

    found = inspect_data(tmp_path)

    assert found.facts.splits == {"train": 12, held: 6}
    assert found.facts.classes == dict.fromkeys(CLASSES, 4)
    assert set(found.parts) == {"train", held}


def test_a_table_of_paths_is_told_by_its_columns(tmp_path: Path) -> None:
    """As Waterbirds is published: metadata.csv whose columns have their own names."""
    rows = []
    for i in range(40):
        picture(i % 2, np.random.default_rng(i)).save(tmp_path / f"{i}.jpg")
        rows.append(
            {
                "img_id": i,
                "img_filename": f"{i}.jpg",
                "y": i % 2,
                "place": i // 2 % 2,
                "split": i % 3,
            }
        )
    pandas.DataFrame(rows).to_csv(tmp_path / "metadata.csv", index=False)

    found = inspect_data(tmp_path)

    assert found.facts.layout == "metadata.csv"
    assert found.settings == {"image": "img_filename", "label": "y"}
    assert found.facts.split_column == "split"
    assert found.facts.splits == {"0": 14, "1": 13, "2": 13}
    assert found.facts.attributes == ("place",)
    assert found.facts.classes == {"0": 20, "1": 20}
    assert found.facts.pictures and found.facts.pictures.looked_at == 40


def test_a_list_beside_class_folders_counts_if_it_has_labels(tmp_path: Path) -> None:
    class_folders(tmp_path, 3)
    names = [f"{name}/{i:03}.jpg" for name in CLASSES for i in range(3)]
    pandas.DataFrame({"file": names, "code": range(9)}).to_csv(tmp_path / "list.csv", index=False)

    assert facts(tmp_path).layout == "class folders"
    pandas.DataFrame({"file": names, "label": ["a", "b", "a"] * 3}).to_csv(
        tmp_path / "list.csv", index=False
    )
    found = inspect_data(tmp_path)

    assert (found.facts.layout, found.facts.classes) == ("list", {"a": 6, "b": 3})
    assert found.settings == {"table": "list.csv", "image": "file"}


def test_parquet_npz_texts_and_tar_are_told(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    encoded = []
    for i in range(6):
        buffer = io.BytesIO()
        picture(i % 3, generator).save(buffer, "PNG")
        encoded.append(buffer.getvalue())
    labels = [i % 3 for i in range(6)]
    pandas.DataFrame({"image": encoded, "label": labels}).to_parquet(tmp_path / "a.parquet")
    texts = [f"a sentence of some words, number {i}" for i in range(6)]
    pandas.DataFrame({"words": texts, "label": labels}).to_csv(tmp_path / "a.csv", index=False)
    pixels = generator.integers(0, 255, (6, 8, 8, 3), np.uint8)
    arrays = {"x_train": pixels, "y_train": labels, "x_test": pixels[:3], "y_test": labels[:3]}
    np.savez(tmp_path / "a.npz", **arrays)  # type: ignore[arg-type]  # its keywords are the arrays
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for i, (content, label) in enumerate(zip(encoded, labels, strict=True)):
            for ending, part in (("png", content), ("cls", str(label).encode())):
                member = tarfile.TarInfo(f"{i:04}.{ending}")
                member.size = len(part)
                archive.addfile(member, io.BytesIO(part))

    parquet, csv, npz, tar = (facts(tmp_path / f"a.{e}") for e in ("parquet", "csv", "npz", "tar"))

    assert [each.layout for each in (parquet, csv, npz, tar)] == [
        "parquet", "texts", "npz", "webdataset",
    ]  # fmt: skip
    assert [each.kind for each in (parquet, csv, npz, tar)] == ["image", "text", "image", "image"]
    assert all(each.classes == {"0": 2, "1": 2, "2": 2} for each in (parquet, csv, npz, tar))
    assert csv.examples == "words"
    assert npz.splits == {"train": 6, "test": 3}
    assert tar.pictures and tar.pictures.formats == {"PNG": 6}


def test_what_is_no_data_says_what_would_be(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(b"PK")
    (tmp_path / "loose").mkdir()
    picture(0, np.random.default_rng(0)).save(tmp_path / "loose" / "a.png")

    assert "convert it" in facts(tmp_path / "x.zip").refused[0]
    assert "1 images without labels" in facts(tmp_path / "loose").refused[0]
    with pytest.raises(DataError, match="no such file"):
        facts(tmp_path / "none")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="cannot be read as parquet"):
        facts(tmp_path / "bad.parquet")


def test_hostile_names_show_as_text_in_short_lines(tmp_path: Path) -> None:
    table = {
        "text": ["a\x1b[2Jb" * 50] * 4,
        "label\u202e": ["x", "y"] * 2,
        "label": ["\x1b[1m", "b"] * 2,
    }
    pandas.DataFrame(table).to_csv(tmp_path / "a.csv", index=False)

    found = facts(tmp_path / "a.csv")
    text = data_text(found)

    assert "\x1b" not in text + found.to_json()
    assert "\u202e" not in text + found.to_json()
    assert max(map(len, text.splitlines())) <= 100


def test_one_empty_class_folder_is_named_alone(tmp_path: Path) -> None:
    class_folders(tmp_path, 6, seed=0)
    (tmp_path / "empty").mkdir()

    (refused,) = inspect_data(tmp_path).facts.refused

    assert refused == "class folder 'empty' has no image; add some, or remove it"
