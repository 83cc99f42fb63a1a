"""What a table gives, and its files: opened so that what is used is what was hashed."""

import contextlib
import hashlib
import os
import posixpath
import re
import stat
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gate.errors import DataError, failing_as
from gate.plan.split import SplitPlan
from gate.strict_yaml import nearest

CHUNK = 64  # rows of a table read at once
# of names of images, as torchvision's ImageFolder has them
IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
# the number of a shard: train-00000-of-00002, train_000001, part-00000-<job>.c000
_NUMBER_OF_SHARD = re.compile(r"(^|[-_.]?)\d+(-of-\d+)?$|(?<=^part)-\d+.*$")


class Row(NamedTuple):
    """One example of a table: an image, encoded or not, or a text."""

    name: str
    content: bytes | NDArray[np.uint8] | str


class Table(NamedTuple):
    """A file that was opened: its columns, and a way to go through its examples.

    ``rows`` checks its file when it ends, and so must be closed where it is left early; a row that
    has a file of its own is a function, which reads it. The ``orientation`` is what the loader does
    that the layout was made for, and ``loader`` its name; ``remarks`` say what was left out.
    """

    columns: dict[str, list[Any]]
    class_names: tuple[str, ...] | None
    rows: Callable[[], Generator[Row | Callable[[], Row], None, None]]
    digest: str
    orientation: Literal["exif", "stored"] = "stored"
    loader: str = "torchvision"
    remarks: tuple[str, ...] = ()


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


def require_columns(path: Path, wanted: list[str], present: Sequence[str]) -> None:
    """Refuse a table that lacks a column, or has one of them twice.

    Raises:
        DataError: Names the column, and the nearest that there is.
    """
    for column in wanted:
        if column not in present:
            raise DataError(f"{path}: no column {column!r}; {nearest(column, present)}")
        if present.count(column) > 1:
            raise DataError(f"{path}: two columns {column!r}; rename or remove one")


def columns_wanted(plan: SplitPlan) -> list[str]:
    """The columns that a plan reads beside its examples, each once; the label's is the first."""
    return list(dict.fromkeys([plan.label, *plan.attributes, *plan.where]))


def rows_where(plan: SplitPlan, columns: Mapping[str, Sequence[Any]]) -> NDArray[np.int64]:
    """Rows of a table that have the values which the plan wants, ascending.

    Raises:
        DataError: A value is nowhere in its column, or no row has all that is wanted.
    """
    wanted = np.ones(len(columns[plan.label]), bool)
    for column, values in plan.where.items():
        written = [str(value) for value in columns[column]]
        present = sorted(set(written))
        for value in values:
            if value not in present:
                shown = ", ".join(present[:10]) + (", ..." if len(present) > 10 else "")
                raise DataError(
                    f"{plan.path}: where.{column}: no row has {value}; it has {shown or 'nothing'}"
                )
        wanted &= np.isin(written, values)
    if not wanted.any():
        raise DataError(
            f"{plan.path}: no row of {len(wanted)} has all that where says; say less there"
        )
    return np.flatnonzero(wanted)


def place_of(plan: SplitPlan, name: str) -> str:
    """Where an image that a table names lies in the folder, as the plan's ``images`` says.

    >>> place_of(SplitPlan(path=Path("x"), images="train/{}.jpg"), "007")
    'train/007.jpg'
    """
    if plan.images is None:
        return name
    return plan.images.replace("{}", name) if "{}" in plan.images else f"{plan.images}/{name}"


def shards(path: Path, hashes: Mapping[str, str], ending: str, table: Sequence[str]) -> list[str]:
    """Names of the shards of one split, in the order of their names.

    Args:
        path: The folder, or one file.
        hashes: What `files.hashed` gives for it.
        ending: Of the shards' names.
        table: What the plan's ``table`` says: a name or one pattern; nothing for all of the folder.

    Raises:
        DataError: None is there, they are of several splits, or some are missing.
    """
    if "." in hashes:
        return ["."]
    every = sorted(name for name in hashes if name.endswith(ending))
    if table:
        chosen = [n for n in every if n in table] or [
            n for n in every if any(fnmatchcase(n, each) for each in table)
        ]
        what = " and ".join(table)
        if not chosen:
            raise DataError(f"{path}: no file matches table: {what}; {told(every, ending)}")
    else:
        chosen = [name for name in every if "/" not in name]
    if not chosen or (not table and len({_split_of(name) for name in chosen}) > 1):
        raise DataError(f"{path}: {told(every, ending)}, so say which with table, as a pattern")
    for name in chosen:
        if found := re.search(r"-of-(\d+)" + re.escape(ending) + "$", name):
            _require_all(path, name, chosen, int(found[1]), ending)
    return chosen


def _require_all(path: Path, name: str, chosen: list[str], count: int, ending: str) -> None:
    numbered = re.compile(re.escape(_split_of(name)) + r"-\d+-of-0*" + str(count))
    present = sum(bool(numbered.fullmatch(each.removesuffix(ending))) for each in chosen)
    if present < count:
        raise DataError(
            f"{path}: {name} is one of {count} shards, and {present} are there; fetch the others"
        )


def told(names: Sequence[str], ending: str) -> str:
    """The shards of a folder by the split that they are of, as patterns for ``table``.

    >>> told(["data/test-0-of-1.tar", "data/train-0-of-2.tar", "data/train-1-of-2.tar"], ".tar")
    'holds data/test-*.tar (1 file) and data/train-*.tar (2 files)'
    """
    counts: dict[str, list[str]] = {}
    for name in names:
        counts.setdefault(_split_of(name), []).append(name)
    says = []
    for split, several in counts.items():
        pattern = several[0]
        if pattern != f"{split}{ending}":
            link = pattern[len(split)] if split and pattern[len(split)] in "-_." else ""
            pattern = f"{split}{link}*{ending}"
        says.append(f"{pattern} ({len(several)} file{'s' * (len(several) > 1)})")
    shown = says if len(says) < 7 else [*says[:5], f"{len(says) - 5} more"]
    return f"holds {' and '.join(shown) or f'no {ending}'}"


def _split_of(name: str) -> str:
    folder, _, file = name.rpartition("/")
    stem = _NUMBER_OF_SHARD.sub("", file.rpartition(".")[0])
    return f"{folder}/{stem}" if folder else stem
