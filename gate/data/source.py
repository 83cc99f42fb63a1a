"""What a table gives, and its files: opened so that what is used is what was hashed."""

import contextlib
import hashlib
import os
import posixpath
import stat
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gate.errors import DataError, failing_as
from gate.strict_yaml import nearest

CHUNK = 64  # rows of a table read at once


class Row(NamedTuple):
    """One example of a table: an image, encoded or not, or a text."""

    name: str
    content: bytes | NDArray[np.uint8] | str


class Table(NamedTuple):
    """A file that was opened: its columns, and a way to go through its examples.

    ``rows`` checks its file when it ends, and so must be closed where it is left early.
    """

    columns: dict[str, list[Any]]
    class_names: tuple[str, ...] | None
    rows: Callable[[], Generator[Row, None, None]]
    digest: str


@contextlib.contextmanager
def opened(path: Path, digest: str, fault: str) -> Iterator[BinaryIO]:
    """The file of that very name, open; hashed again after use.

    Args:
        path: Never a pattern nor an address, whatever characters it has.
        digest: Its SHA-256 in hexadecimal.
        fault: What to say where a reader raises, such as "cannot be read as csv".

    Raises:
        DataError: It cannot be read, is no plain file, or is not what was hashed.
    """
    with failing_as(DataError, f"{path}: {fault}"), open(path, "rb", opener=_at_once) as file:
        before = _state(file)
        if not stat.S_ISREG(before.st_mode):
            raise DataError(f"{path}: is no plain file any more; data must not change in a run")
        try:
            yield file
        finally:
            after = _state(file)
            file.seek(0)
            used = hashlib.file_digest(file, "sha256").hexdigest()
            # who puts the old bytes back in time cannot put back when that was
            if used != digest or _changed(before) != _changed(after):
                raise DataError(
                    f"{path}: was changed after it was hashed; run again on data that nobody "
                    "writes to"
                )


def _at_once(path: str, flags: int) -> int:
    """Open without waiting for somebody to write to a pipe, which may be for ever."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _state(file: BinaryIO) -> os.stat_result:
    return os.fstat(file.fileno())


def _changed(state: os.stat_result) -> tuple[int, int]:
    return state.st_mtime_ns, state.st_ctime_ns


def image_inside(folder: Path, files: Mapping[str, str], name: str) -> bytes:
    """An image that a table names by path, from the folder that was hashed and nowhere else.

    Args:
        folder: The folder; or a file, which has no images beside it.
        files: What `files.hashed` gives for it.
        name: As the table has it, relative to the folder.

    Raises:
        DataError: The folder has no such file, or the file is not what was hashed.
    """
    if not (known := known_inside(files, name)):
        raise DataError(
            f"{folder}: names the image {name!r}, which is missing from what the data's digest "
            "holds; put the bytes of images into the table, or the table and its images into one "
            "folder and name them relative to that"
        )
    with opened(folder / known, files[known], "cannot be read") as file:
        return file.read()


def known_inside(files: Mapping[str, str], name: str) -> str | None:
    """The name as the folder's manifest has it, or None where that has no such file.

    >>> [known_inside({"a/b.png": "00"}, name) for name in ("a/./b.png", "../a/b.png")]
    ['a/b.png', None]
    """
    plain = posixpath.normpath(name.replace("\\", "/"))
    return plain if plain in files and plain != "." else None


def require_columns(path: Path, wanted: list[str], present: list[str]) -> None:
    """Refuse a table that lacks a column, or has one of them twice.

    Raises:
        DataError: Names the column, and the nearest that there is.
    """
    for column in wanted:
        if column not in present:
            raise DataError(f"{path}: no column {column!r}; {nearest(column, present)}")
        if present.count(column) > 1:
            raise DataError(f"{path}: two columns {column!r}; rename or remove one")
