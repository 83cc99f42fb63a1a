"""Images or texts in Parquet: one file or the files of a folder, streamed."""

import json
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from gate import files
from gate.data.source import CHUNK, Row, Table, image_inside, opened, require_columns
from gate.errors import DataError
from gate.plan.split import SplitPlan

_FAULT = "cannot be read as parquet"


def open_parquet(plan: SplitPlan) -> Table:
    """Open a Parquet file, or all of a folder in the order of their names.

    Raises:
        DataError: Damaged, changed meanwhile, without a column that the plan names, or with files
            that name their classes differently.
    """
    hashes = files.hashed(plan.path, DataError)
    tables = _tables(plan.path, hashes)
    columns: dict[str, list[Any]] = {name: [] for name in (plan.label, *plan.attributes)}
    stated = set()
    for path, digest in tables.items():
        with opened(path, digest, _FAULT) as file:
            table = _parquet(file)
            require_columns(path, [plan.examples, *columns], table.schema_arrow.names)
            stated.add(_class_names(table.schema_arrow.metadata or {}, plan.label))
            for batch in table.iter_batches(columns=list(columns)):
                for name, values in columns.items():
                    values += batch.column(name).to_pylist()
    if len(stated) > 1:
        raise DataError(f"{plan.path}: its files name the classes differently; write them anew")

    def rows() -> Generator[Row, None, None]:
        index = 0
        for path, digest in tables.items():
            with opened(path, digest, _FAULT) as file:
                for batch in _parquet(file).iter_batches(CHUNK, columns=[plan.examples]):
                    for value in batch.column(plan.examples).to_pylist():
                        yield _row(plan, hashes, index, value)
                        index += 1

    return Table(columns, stated.pop(), rows, files.digest_of_files(hashes))


def _tables(path: Path, hashes: Mapping[str, str]) -> dict[Path, str]:
    """Each file of the table, with its digest."""
    if "." in hashes:
        return {path: hashes["."]}
    return {
        path / name: digest
        for name, digest in sorted(hashes.items())
        if name.endswith(".parquet") and "/" not in name
    }


def _parquet(file: BinaryIO) -> Any:
    from pyarrow.parquet import ParquetFile

    # else it holds a whole group of rows
    return ParquetFile(file, pre_buffer=False, buffer_size=1 << 20)


def _row(plan: SplitPlan, hashes: Mapping[str, str], index: int, value: object) -> Row:
    if plan.text:
        return Row(f"row {index}", value if isinstance(value, str) else "")
    name, content = value if isinstance(value, str) else None, value
    if isinstance(value, dict):
        name, content = value.get("path"), value.get("bytes")
    elif name:
        content = None
    if content is None and name:
        content = image_inside(plan.path, hashes, name)
    return Row(name or f"row {index}", content if isinstance(content, bytes) else b"")


def _class_names(metadata: Mapping[bytes, bytes], label: str) -> tuple[str, ...] | None:
    """Names of the classes, which Hugging Face ``datasets`` writes beside the schema."""
    described = json.loads(metadata.get(b"huggingface", b"{}"))
    feature = described.get("info", {}).get("features", {}).get(label, {})
    return tuple(map(str, feature["names"])) if feature.get("_type") == "ClassLabel" else None
