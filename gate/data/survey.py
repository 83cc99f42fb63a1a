"""What data hold, told without a plan: their layout, their columns, and a few values of each."""

import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gate.data.arrow import STATE, schema_of
from gate.data.cells import read_cells
from gate.data.lists import METADATA
from gate.data.readers import Layout, layout_of, open_table
from gate.data.source import IMAGE_ENDINGS, rows_where
from gate.data.webdataset import IMAGES
from gate.errors import DataError, failing_as
from gate.plan.split import SplitPlan

_MOST = 20  # distinct values that are told


class Survey(NamedTuple):
    """What is in a file or folder of data.

    ``image`` is the column (npz: key, WebDataset: ending) of the images, where one can be told;
    ``columns`` are the others, with their distinct values as they are written, in order, if these
    are 20 or fewer, else None; ``rows`` counts the examples.
    """

    layout: Layout
    image: str | None
    columns: dict[str, tuple[str, ...] | None]
    rows: int


class _Header(NamedTuple):
    image: str | None
    others: list[str]
    settings: dict[str, Any]


def survey(path: Path, table: tuple[str, ...] = ()) -> Survey:
    """The layout of data, and their columns.

    Args:
        path: File or folder.
        table: As in a plan: the lists or shards of a folder that has several.

    Raises:
        DataError: Missing, damaged, or of no layout that is read.
    """
    described = SplitPlan.model_validate({"path": path, "table": table})  # a list is its folder's
    path, table = described.path, described.table
    layout = layout_of(path, table)
    with failing_as(DataError, f"{path}: cannot be read as {layout.name}"):
        header = _HEADERS[layout.name](path, table)
    if not header.others:
        raise DataError(f"{path}: is read as {layout.name}, and has no column beside its examples")
    label, *attributes = header.others
    plan = SplitPlan(
        path=path, table=table, label=label, attributes=tuple(attributes), **header.settings
    )
    columns = open_table(plan).columns
    told: dict[str, tuple[str, ...] | None] = {}
    for name, values in columns.items():
        written = sorted({str(value) for value in values})
        told[name] = tuple(written) if len(written) <= _MOST else None
    return Survey(layout, header.image, told, len(rows_where(plan, columns)))


def _of_lists(path: Path, table: tuple[str, ...]) -> _Header:
    """The column of the images is the one whose first value is called as an image."""
    others: list[str] = []
    image = None
    for name in table or (METADATA,):
        if name.endswith(".parquet"):
            raise DataError(f"{path / name}: a table of paths in Parquet is not looked into")
        with (path / name).open("rb") as file:
            rows = read_cells(path / name, file, ("image", "label"))
            header, first = next(rows), next(rows, [])
        named = [
            column
            for column, cell in zip(header, first, strict=False)
            if cell.lower().endswith(IMAGE_ENDINGS)
        ]
        image = image or next(iter(named), None)
        others += [column for column in header if column != image and column not in others]
    image_settings = {} if image in (None, "file_name") else {"image": image}
    return _Header(image, others, image_settings)


def _of_arrow(path: Path, table: tuple[str, ...]) -> _Header:
    ending = ".arrow" if (path / STATE).is_file() else ".parquet"
    first = path if path.is_file() else sorted(path.glob((*table, f"*{ending}")[0]))[0]
    schema = schema_of(first)
    kinds = {name: str(schema.field(name).type) for name in schema.names}
    images = [
        n for n, kind in kinds.items() if kind.startswith(("binary", "large_binary", "struct"))
    ]
    others = [name for name in kinds if name not in images]
    if images:
        return _Header(images[0], others, {"image": images[0]})
    texts = [name for name in others if kinds[name] in ("string", "large_string")]
    return _Header(None, others, {"text": (texts or others)[0]})


def _of_npz(path: Path, _table: tuple[str, ...]) -> _Header:
    with np.load(path, allow_pickle=False) as arrays:
        sizes = {name: arrays[name].shape for name in arrays.files if name != "class_names"}
    images = [name for name, shape in sizes.items() if len(shape) > 2]
    image = images[0] if images else "image"
    others = [n for n, shape in sizes.items() if n != image and shape[:1] == sizes[image][:1]]
    return _Header(image, [n for n in others if len(sizes[n]) == 1], {"image": image})


def _of_webdataset(path: Path, table: tuple[str, ...]) -> _Header:
    first = path if path.is_file() else sorted(path.glob((*table, "*.tar")[0]))[0]
    endings: list[str] = []
    others: list[str] = []
    with tarfile.open(first, "r:") as archive:
        key = None
        while member := archive.next():
            stem, _, ending = member.name.rpartition("/")[2].partition(".")
            if not member.isreg() or not stem:
                continue
            if key not in (None, stem):
                break
            key = stem
            endings.append(ending.lower())
            content = archive.extractfile(member)
            if ending == "json" and content:
                others += json.load(content)
    image = next((ending for ending in endings if ending in IMAGES), None)
    plain = [ending for ending in endings if ending not in (*IMAGES, "json")]
    return _Header(image, [*plain, *others], {})


def _of_class_folders(_path: Path, _table: tuple[str, ...]) -> _Header:
    return _Header(None, ["label"], {})


_HEADERS: dict[str, Callable[[Path, tuple[str, ...]], _Header]] = {
    "npz": _of_npz,
    "parquet": _of_arrow,
    "save_to_disk": _of_arrow,
    "webdataset": _of_webdataset,
    "metadata.csv": _of_lists,
    "class folders": _of_class_folders,
    "list": _of_lists,
}
