"""Images or texts in Arrow's files, streamed: Parquet, and what ``save_to_disk`` writes."""

import json
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from gate import files
from gate.data.source import (
    CHUNK,
    Row,
    Table,
    columns_wanted,
    image_inside,
    opened,
    place_of,
    require_columns,
    shards,
)
from gate.errors import DataError
from gate.plan.split import SplitPlan

LOADER = "Hugging Face's datasets"
STATE, INFORMATION = "state.json", "dataset_info.json"
_PARQUET = "cannot be read as parquet"
_SAVED = "cannot be read as what save_to_disk writes"
_ROWS = 1 << 16  # of columns of labels that are read at once


class _Batches(NamedTuple):
    """A file of Arrow's, open."""

    schema: Any
    read: Callable[[list[str], int], Iterator[Any]]  # of these columns, so many rows at once


def open_parquet(plan: SplitPlan) -> Table:
    """Open a Parquet file, or those of a folder in the order of their names.

    Raises:
        DataError: Damaged, changed meanwhile, without a column that the plan names, with files that
            name their classes differently, or of several splits.
    """
    hashes = files.hashed(plan.path, DataError)
    names = shards(plan.path, hashes, ".parquet", plan.table)
    return _table(plan, hashes, names, _parquet, _PARQUET, {})


def open_saved(plan: SplitPlan) -> Table:
    """Open a folder that ``save_to_disk`` of Hugging Face's ``datasets`` wrote.

    Raises:
        DataError: Damaged, changed meanwhile, incomplete, or without a column that the plan names.
    """
    hashes = files.hashed(plan.path, DataError)
    state, information = (_json(plan, hashes, name) for name in (STATE, INFORMATION))
    names = [str(each["filename"]) for each in state.get("_data_files", ())]
    if absent := [name for name in names if name not in hashes]:
        raise DataError(f"{plan.path}: {STATE} names {absent[0]}, which is missing; save it anew")
    if not names or state.get("_indices_files") or state.get("_indices_data_files"):
        raise DataError(
            f"{plan.path}: {STATE} names no rows, or only some of its files'; save it anew with "
            "today's datasets"
        )
    features = information.get("features") or {}
    return _table(plan, hashes, names, _stream, _SAVED, features)


def read_columns(
    path: Path, digest: str, names: Sequence[str]
) -> tuple[list[str], dict[str, list[Any]]]:
    """Names of all columns of one Parquet file, and of these names the columns that it has.

    Raises:
        DataError: Damaged, or changed meanwhile.
    """
    with opened(path, digest, _PARQUET) as file:
        table = _parquet(file)
        chosen = [n for n in table.schema.names if n in names]
        require_columns(path, chosen, table.schema.names)
        columns: dict[str, list[Any]] = {name: [] for name in chosen}
        for batch in table.read(chosen, _ROWS):
            for name, values in columns.items():
                values += batch.column(name).to_pylist()
    return list(table.schema.names), columns


def _table(
    plan: SplitPlan,
    hashes: Mapping[str, str],
    names: Sequence[str],
    read: Callable[[BinaryIO], _Batches],
    fault: str,
    features: Mapping[str, Any],
) -> Table:
    """The files of these names, one after the other."""
    paths = {plan.path if name == "." else plan.path / name: hashes[name] for name in names}
    columns: dict[str, list[Any]] = {name: [] for name in columns_wanted(plan)}
    stated = set()
    for path, digest in paths.items():
        with opened(path, digest, fault) as file:
            table = read(file)
            require_columns(path, [plan.examples, *columns], table.schema.names)
            described = features or features_of(table.schema.metadata or {})
            stated.add(class_names_of(described, plan.label))
            for batch in table.read(list(columns), _ROWS):
                for name, values in columns.items():
                    values += batch.column(name).to_pylist()
    if len(stated) > 1:
        raise DataError(f"{plan.path}: its files name the classes differently; write them anew")

    def rows() -> Generator[Row, None, None]:
        index = 0
        for path, digest in paths.items():
            with opened(path, digest, fault) as file:
                for batch in read(file).read([plan.examples], CHUNK):
                    for value in batch.column(plan.examples).to_pylist():
                        yield _row(plan, hashes, index, value)
                        index += 1

    digest = files.digest_of_files(dict(hashes))
    return Table(columns, stated.pop(), rows, digest, "exif", LOADER)


def _parquet(file: BinaryIO) -> _Batches:
    from pyarrow.parquet import ParquetFile

    # else it holds a whole group of rows
    table = ParquetFile(file, pre_buffer=False, buffer_size=1 << 20)
    return _Batches(
        table.schema_arrow, lambda columns, count: table.iter_batches(count, columns=columns)
    )


def _stream(file: BinaryIO) -> _Batches:
    from pyarrow import ipc

    stream = ipc.open_stream(file)

    def read(columns: list[str], count: int) -> Iterator[Any]:
        for batch in stream:
            chosen = batch.select(columns)
            for start in range(0, len(chosen), count):
                yield chosen.slice(start, count)

    return _Batches(stream.schema, read)


def _row(plan: SplitPlan, hashes: Mapping[str, str], index: int, value: object) -> Row:
    if plan.text:
        return Row(f"row {index}", value if isinstance(value, str) else "")
    name, content = value if isinstance(value, str) else None, value
    if isinstance(value, dict):
        name, content = value.get("path"), value.get("bytes")
    elif name:
        content = None
    if content is None and name:
        content = image_inside(plan.path, hashes, place_of(plan, name))
    return Row(name or f"row {index}", content if isinstance(content, bytes) else b"")


def _json(plan: SplitPlan, hashes: Mapping[str, str], name: str) -> dict[str, Any]:
    if name not in hashes:
        raise DataError(f"{plan.path}: {name} is missing; save it anew by save_to_disk")
    with opened(plan.path / name, hashes[name], _SAVED) as file:
        content = json.load(file)
        return dict(content)


def features_of(metadata: Mapping[bytes, bytes]) -> dict[str, Any]:
    """Types of columns, which Hugging Face's ``datasets`` writes beside the schema."""
    described = json.loads(metadata.get(b"huggingface", b"{}"))
    return dict(described.get("info", {}).get("features", {}))


def class_names_of(features: Mapping[str, Any], label: str) -> tuple[str, ...] | None:
    """What the whole numbers of a column stand for, where its type says so."""
    feature = features.get(label)
    if not isinstance(feature, dict) or feature.get("_type") != "ClassLabel":
        return None
    return tuple(map(str, feature["names"]))
