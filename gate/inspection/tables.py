"""Columns of a table of whatever kind, as they are written; at most so many rows of them."""

import json
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gate.data.arrow import class_names_of, features_of
from gate.data.cells import FAULT, read_cells
from gate.data.npz import header_of
from gate.data.source import IMAGE_ENDINGS
from gate.errors import DataError, failing_as

MOST_ROWS = 1_000_000
SAMPLE = 64  # images whose headers are looked at
_OF_LABELS = ("cls", "txt", "label")  # files of a sample that say one thing
_SCALARS = (str, int, float)
_TAR = 20_000  # members of a .tar that are gone through
_NPZ = "not an .npz of plain arrays"
_LONGEST = 16 << 20  # bytes of an image, or characters of a text, that are held


class Columns(NamedTuple):
    """A table that was read.

    Args:
        values: By column, as text; of columns that hold no plain values, nothing.
        types: By column.
        rows: How many it has; None where that was not counted.
        pixels: Some encoded images, or the shape of those that are arrays.
        class_names: By column, names of what its whole numbers stand for.
    """

    values: dict[str, list[str]]
    types: dict[str, str]
    rows: int | None
    pixels: tuple[bytes, ...] | tuple[int, ...] = ()
    class_names: Mapping[str, tuple[str, ...]] = {}


def read_list(path: Path) -> Columns:
    """A table in plain text, with its header.

    Raises:
        DataError: It is no UTF-8, or no table.
    """
    with (
        failing_as(DataError, f"{path}: {FAULT}", "save it as .csv in UTF-8"),
        path.open("rb") as file,
    ):
        header, *rows = islice(read_cells(path, file, ("image", "label")), MOST_ROWS + 2)
        if not header:
            raise DataError(f"{path}: is empty; give a table with a header")
        values = {name: [row[i] for row in rows] for i, name in enumerate(header)}
        return Columns(values, dict.fromkeys(header, "text"), len(rows))


def read_parquet(path: Path) -> Columns:
    """A Parquet file.

    Raises:
        DataError: It is damaged, or none.
    """
    from pyarrow.parquet import ParquetFile

    with failing_as(DataError, f"{path}: cannot be read as parquet"):
        file = ParquetFile(path, pre_buffer=False)
        batches = (batch for batch in file.iter_batches(1 << 10, columns=_plain(file.schema_arrow)))
        found = _of_arrow(file.schema_arrow, batches, file.metadata.num_rows)
        if image := _of_images(file.schema_arrow):
            first = next(file.iter_batches(SAMPLE, columns=[image[0]]), None)
            return found._replace(pixels=_encoded(first, image[0]))
        return found


def read_saved(folder: Path) -> Columns:
    """A folder of ``save_to_disk``, by its first file of rows.

    Raises:
        DataError: It is damaged, or none.
    """
    from pyarrow import ipc

    with failing_as(DataError, f"{folder}: cannot be read as what save_to_disk writes"):
        state = json.loads((folder / "state.json").read_bytes()[:_LONGEST])
        described = json.loads((folder / "dataset_info.json").read_bytes()[:_LONGEST])
        names = [Path(each["filename"]).name for each in state["_data_files"]]
        with (folder / names[0]).open("rb") as file:
            stream = ipc.open_stream(file)
            batches = list(stream)
        plain = _plain(stream.schema)
        rows = sum(map(len, batches)) if len(names) == 1 else None
        found = _of_arrow(stream.schema, (batch.select(plain) for batch in batches), rows)
        named = _class_names(described.get("features") or {})
        found = found._replace(class_names={**found.class_names, **named})
        if (image := _of_images(stream.schema)) and batches:
            return found._replace(pixels=_encoded(batches[0].slice(0, SAMPLE), image[0]))
        return found


def _plain(schema: Any) -> list[str]:
    """Columns of numbers and text."""
    import pyarrow.types as kinds

    def is_plain(kind: Any) -> bool:
        kind = kind.value_type if kinds.is_dictionary(kind) else kind
        checks = (kinds.is_string, kinds.is_large_string, kinds.is_integer, kinds.is_floating)
        return any(check(kind) for check in checks) or kinds.is_boolean(kind)

    return [field.name for field in schema if is_plain(field.type)]


def _of_images(schema: Any) -> list[str]:
    """Columns of encoded images: bytes, or bytes with their path."""
    import pyarrow.types as kinds

    return [
        field.name
        for field in schema
        if kinds.is_binary(field.type)
        or kinds.is_large_binary(field.type)
        or (kinds.is_struct(field.type) and field.type.get_field_index("bytes") >= 0)
    ]


def _of_arrow(schema: Any, batches: Iterator[Any], rows: int | None) -> Columns:
    plain, images = _plain(schema), _of_images(schema)
    values: dict[str, list[str]] = {name: [] for name in plain}
    for batch in batches:
        for name, column in values.items():
            column += ["" if x is None else str(x) for x in batch.column(name).to_pylist()]
        if values and len(next(iter(values.values()))) >= MOST_ROWS:
            break
    types = {field.name: str(field.type)[:60] for field in schema}
    types |= dict.fromkeys(images, "image")
    return Columns(values, types, rows, (), _class_names(features_of(schema.metadata or {})))


def _class_names(features: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    named = {name: class_names_of(features, name) for name in features}
    return {name: names for name, names in named.items() if names is not None}


def _encoded(batch: Any, name: str) -> tuple[bytes, ...]:
    if batch is None:
        return ()
    found = [x.get("bytes") if isinstance(x, dict) else x for x in batch.column(name).to_pylist()]
    return tuple(x for x in found if isinstance(x, bytes))


def npz_splits(path: Path) -> list[str]:
    """Splits that one .npz holds, as Keras' own files do: of x_train and x_test train and test.

    Raises:
        DataError: It is damaged, or none.
    """
    with failing_as(DataError, f"{path}: {_NPZ}"), zipfile.ZipFile(path) as archive:
        ends = [name.removesuffix(".npy").rpartition("_")[2] for name in archive.namelist()]
    return [word for word in dict.fromkeys(ends) if ends.count(word) > 1]


def read_npz(path: Path, split: str = "") -> Columns:
    """An .npz: names and shapes of its arrays, values of those that are ``(N,)``.

    Args:
        path: The file.
        split: Only arrays whose name ends so are columns.

    Raises:
        DataError: It is damaged, or none.
    """
    values: dict[str, list[str]] = {}
    types: dict[str, str] = {}
    shape: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    with failing_as(DataError, f"{path}: {_NPZ}"), zipfile.ZipFile(path) as archive:
        for member in archive.namelist():
            name = member.removesuffix(".npy")
            with archive.open(member) as file:
                found, _, dtype = header_of(file)
                is_column = len(found) == 1 and found[0] * dtype.itemsize <= _LONGEST
                column: list[Any] = []
                if is_column and not dtype.hasobject:
                    content = file.read(found[0] * dtype.itemsize)  # not a byte more is unpacked
                    column = np.frombuffer(content, dtype).tolist()
            if name == "class_names":
                names = tuple(map(str, column))
            if not name.endswith(f"_{split}" if split else ""):
                continue
            types[name] = f"{dtype} {found}".replace("'", "")
            if len(found) in (3, 4) and dtype == np.uint8:
                types[name], shape = "image", found
            elif column and name != "class_names":
                values[name] = [str(x) for x in column]
    rows = shape[0] if shape else len(next(iter(values.values()), ()))
    values = {name: column for name, column in values.items() if len(column) == rows}
    return Columns(values, types, rows, shape, dict.fromkeys(values, names) if names else {})


def read_tar(path: Path) -> Columns:
    """A shard of WebDataset, by its first members: what goes by one key is one example.

    Raises:
        DataError: It is damaged, or none.
    """
    examples: dict[str, dict[str, str]] = {}
    endings: set[str] = set()
    pixels: list[bytes] = []
    whole = True
    with (
        failing_as(DataError, f"{path}: cannot be read as tar"),
        tarfile.open(path, "r:*") as archive,
    ):
        for index, member in enumerate(archive):
            if index >= _TAR:
                whole = False
                break
            folder, _, name = member.name.rpartition("/")
            key, _, ending = name.partition(".")
            if not member.isfile() or not ending or member.size > _LONGEST:
                continue
            example = examples.setdefault(f"{folder}/{key}", {})
            endings.add(ending)
            is_image = f".{ending.rpartition('.')[2].lower()}" in IMAGE_ENDINGS
            example[ending] = "" if is_image else ending
            if is_image and len(pixels) >= SAMPLE:
                continue
            file = archive.extractfile(member)
            content = file.read() if file and member.size < 1 << 20 else b""
            if is_image:
                pixels.append(content)
            elif ending == "json":
                described = json.loads(content or b"{}")
                example |= {key: str(x) for key, x in described.items() if isinstance(x, _SCALARS)}
            elif ending in _OF_LABELS:
                example[ending] = content.decode(errors="replace").strip()
    names = list(dict.fromkeys(name for each in examples.values() for name in each))
    images = [n for n in names if f".{n.rpartition('.')[2].lower()}" in IMAGE_ENDINGS]
    values = {
        name: [each.get(name, "") for each in examples.values()]
        for name in names
        if name in _OF_LABELS or name not in endings
    }
    types = {name: "image" if name in images else "text" for name in names}
    return Columns(values, types, len(examples) if whole else None, tuple(pixels))
