"""Tables on disk: a folder with metadata.csv, Parquet, .csv of texts, .npz; read as a stream.

Hugging Face ``datasets`` reads folders and Parquet (the only file that imports it); ``.npz`` takes
a few lines of our own. Nothing is unpickled, copied or cached.
"""

import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gate.errors import DataError, first_line
from gate.files import sha256_of
from gate.plan.split import SplitPlan
from gate.strict_yaml import nearest

_CHUNK = 64  # rows of an npz read at once


class Row(NamedTuple):
    """One example of a table: an image, encoded or not, or a text."""

    name: str
    content: bytes | NDArray[np.uint8] | str


class Table(NamedTuple):
    """A file that was opened: its columns, and a way to go through its examples."""

    columns: dict[str, list[Any]]
    class_names: tuple[str, ...] | None
    rows: Callable[[], Iterator[Row]]
    digest: str


def open_table(plan: SplitPlan) -> Table:
    """Open the table of a split; its examples are read when they are asked for.

    Raises:
        DataError: Missing, of no kind that is read, without a column that the plan names, or
            damaged.
    """
    path = plan.path
    if not path.exists():
        raise DataError(f"{path}: no such file or folder; check the plan's path")
    if path.suffix == ".csv" and plan.text:
        return _open_by_datasets(plan, "csv", {"data_files": str(path)})
    if plan.text and path.suffix != ".parquet" and not list(path.glob("*.parquet")):
        raise DataError(f"{path}: texts are read from Parquet or .csv; convert the data")
    if path.suffix == ".npz":
        return _open_npz(plan)
    if path.is_dir() and not list(path.glob("*.parquet")):
        if not (path / "metadata.csv").is_file():
            raise DataError(f"{path}: a folder of images needs a metadata.csv with file_name")
        return _open_by_datasets(plan, "imagefolder", {"data_dir": str(path), "drop_labels": True})
    if path.is_dir() or path.suffix == ".parquet":
        files = sorted(map(str, path.glob("*.parquet"))) if path.is_dir() else str(path)
        return _open_by_datasets(plan, "parquet", {"data_files": files})
    raise DataError(
        f"{path}: expected a folder with metadata.csv, Parquet, or .npz; convert the data"
    )


def _open_by_datasets(plan: SplitPlan, builder: str, arguments: dict[str, Any]) -> Table:
    # the data is on this disk; nothing is to be asked of a hub
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import datasets

    datasets.disable_progress_bars()
    datasets.config.TORCH_AVAILABLE = False  # else it imports torch, to share with its workers
    try:
        table = datasets.load_dataset(builder, split="train", streaming=True, **arguments)
        # a .csv does not say what it has
        features: dict[str, Any] = table.features or next(iter(table), {})
        _require_columns(plan, list(features))
        if not plan.text:
            table = table.cast_column(plan.image, datasets.Image(decode=False))
        columns: dict[str, list[Any]] = {name: [] for name in (plan.label, *plan.attributes)}
        for row in table.select_columns(list(columns)):
            for name, values in columns.items():
                values.append(row[name])
    except DataError:
        raise
    except Exception as fault:  # datasets raises whatever its readers raise
        says = first_line(fault)
        raise DataError(f"{plan.path}: cannot be read as {builder}: {says}") from fault
    label = features[plan.label]

    def rows() -> Iterator[Row]:
        for index, row in enumerate(table.select_columns([plan.examples])):
            if plan.text:
                yield Row(f"row {index}", row[plan.text] or "")
                continue
            path, content = row[plan.image]["path"], row[plan.image]["bytes"]
            if content is None:
                try:
                    content = Path(path).read_bytes()
                except OSError:
                    content = b""
            yield Row(path or f"row {index}", content)

    names = tuple(label.names) if isinstance(label, datasets.ClassLabel) else None
    return Table(columns, names, rows, sha256_of(plan.path, DataError))


def _open_npz(plan: SplitPlan) -> Table:
    path = plan.path
    try:
        with np.load(path, allow_pickle=False) as arrays:
            _require_columns(plan, arrays.files)
            columns = {}
            for name in (plan.label, *plan.attributes):
                if arrays[name].ndim != 1:
                    raise DataError(f"{path}: {name} has shape {arrays[name].shape}, expected (N,)")
                columns[name] = arrays[name].tolist()
            stated = "class_names" in arrays.files
            names = tuple(map(str, arrays["class_names"].tolist())) if stated else None
    except (OSError, ValueError, zipfile.BadZipFile) as fault:
        raise DataError(f"{path}: not an .npz of plain arrays: {fault}") from fault
    with zipfile.ZipFile(path) as archive, archive.open(f"{plan.image}.npy") as member:
        shape, dtype = _read_header(member)
    if dtype != np.uint8 or len(shape) not in (3, 4) or shape[3:] not in ((), (1,), (3,)):
        raise DataError(
            f"{path}: {plan.image} is {dtype} {shape}, expected uint8 (N, H, W) or (N, H, W, C), "
            "C 1 or 3"
        )
    for name, values in columns.items():
        if len(values) != shape[0]:
            raise DataError(f"{path}: {shape[0]} images, and {len(values)} rows of {name}")

    def rows() -> Iterator[Row]:
        # np.load would hold the whole array; a zip member can be read bit by bit
        pixels = int(np.prod(shape[1:]))
        with zipfile.ZipFile(path) as archive, archive.open(f"{plan.image}.npy") as member:
            _read_header(member)
            for start in range(0, shape[0], _CHUNK):
                count = min(_CHUNK, shape[0] - start)
                content = member.read(count * pixels)
                if len(content) != count * pixels:
                    raise DataError(f"{path}: {plan.image} ends early; the file is truncated")
                chunk = np.frombuffer(content, np.uint8).reshape(count, *shape[1:])
                for offset in range(count):
                    yield Row(f"row {start + offset}", chunk[offset])

    return Table(columns, names, rows, sha256_of(path, DataError))


def _read_header(member: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    first = np.lib.format.read_magic(member) == (1, 0)
    read = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(member)
    if fortran:
        raise DataError("an array in Fortran order cannot be streamed; save it in C order")
    return shape, dtype


def _require_columns(plan: SplitPlan, present: list[str]) -> None:
    for column in (plan.examples, plan.label, *plan.attributes):
        if column not in present:
            raise DataError(f"{plan.path}: no column {column!r}; {nearest(column, present)}")
