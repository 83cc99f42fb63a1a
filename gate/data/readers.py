"""The layouts of data on disk, and which one a path has.

Each is read as a stream: nothing is unpickled, copied, extracted or cached, and nothing is read but
what is hashed.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from gate import files
from gate.data.arrow import STATE, open_parquet, open_saved
from gate.data.class_folders import open_class_folders
from gate.data.lists import METADATA, open_list, open_metadata, open_texts
from gate.data.npz import open_npz
from gate.data.source import IMAGE_ENDINGS, Table, told
from gate.data.webdataset import open_webdataset
from gate.errors import DataError, failing_as
from gate.plan.split import LISTS, SplitPlan

LAYOUTS: dict[str, Callable[[SplitPlan], Table]] = {
    "npz": open_npz,
    "parquet": open_parquet,
    "save_to_disk": open_saved,
    "webdataset": open_webdataset,
    "metadata.csv": open_metadata,
    "class folders": open_class_folders,
    "list": open_list,
    "texts": open_texts,
}
_OF_TEXTS = ("parquet", "save_to_disk", "texts")
_DICT = "dataset_dict.json"


class Layout(NamedTuple):
    """One of the ``LAYOUTS``, and what on disk says so."""

    name: str
    why: str


def open_table(plan: SplitPlan) -> Table:
    """Open the table of a split; its examples are read when they are asked for.

    Raises:
        DataError: Missing, of no kind that is read, without a column that the plan names, or
            damaged.
    """
    name = layout_of(plan.path, plan.table).name
    if plan.text and name == "list":
        name = "texts"
        if plan.table:
            raise DataError(f"{plan.path}: of texts, name the .csv itself under path, not as table")
    if plan.text and name not in _OF_TEXTS:
        raise DataError(f"{plan.path}: texts are read from Parquet or .csv; convert the data")
    if plan.table and name not in ("list", "parquet", "webdataset"):
        raise DataError(f"{plan.path}: is read as {name}, which has no table beside it; drop table")
    return LAYOUTS[name](plan)


def layout_of(path: Path, table: tuple[str, ...] = ()) -> Layout:
    """The layout of a file or folder, by the names of what is in it; no content is read.

    Args:
        path: File or folder.
        table: What a plan's ``table`` says, which tells of a folder that holds several.

    Raises:
        DataError: Missing, or of no layout that is read; says what is there and what to do.
    """
    try:
        path.stat()
    except (OSError, ValueError) as fault:  # no name of a file has a NUL or 5,000 characters
        raise DataError(f"{path}: no such file or folder; check the plan's path") from fault
    with failing_as(DataError, f"{path}: cannot be read", "check the path"):
        return _of_folder(path, table) if path.is_dir() else _of_file(path)


def _of_file(path: Path) -> Layout:
    endings = {".npz": "npz", ".parquet": "parquet", ".tar": "webdataset"}
    endings |= dict.fromkeys(LISTS, "list")
    if path.suffix in endings:
        return Layout(endings[path.suffix], f"{path.name} is a {path.suffix}")
    raise DataError(
        f"{path}: expected class folders, a folder with {METADATA} or another list of images, "
        f".parquet, .tar, .npz or {', '.join(LISTS)}; convert the data"
    )


def _of_folder(path: Path, table: tuple[str, ...]) -> Layout:
    if table:
        if "*" in table[0] or "?" in table[0]:
            is_tar = table[0].endswith(".tar") or _named(path, "*.tar")
            return Layout("webdataset" if is_tar else "parquet", f"table names {table[0]}")
        if table[0].endswith(".tar"):
            return Layout("webdataset", f"table names {table[0]}")
        return Layout("list", f"table names {table[0]}")
    names = {entry.name for entry in path.iterdir() if not entry.name.startswith(".")}
    if _DICT in names:
        raise DataError(_several_splits(path))
    if STATE in names and _named(path, "*.arrow"):
        return Layout("save_to_disk", f"it has {STATE} and .arrow files")
    if found := _named(path, "*.parquet"):
        return Layout("parquet", f"it has {found[0]}")
    if METADATA in names:
        return Layout("metadata.csv", f"it has {METADATA}")
    if found := _named(path, "*.tar"):
        return Layout("webdataset", f"it has {found[0]}")
    deep = {ending: _named(path, f"*/*{ending}") for ending in (".parquet", ".tar")}
    for ending, found in deep.items():
        if found:
            raise DataError(
                f"{path}: {told(found, ending)}, none of which lies in the folder itself; say "
                "which under table, as a pattern"
            )
    lists = [name for ending in LISTS for name in _named(path, f"*{ending}")]
    if lists and (_images_in(path) or not any(entry.is_dir() for entry in path.iterdir())):
        raise DataError(
            f"{path}: has images or lists and no class folders; if a list names its images and "
            f"labels, say so: table: {lists[0]}"
        )
    return Layout("class folders", "it has folders and no table")


def _named(path: Path, pattern: str) -> list[str]:
    return sorted(p.relative_to(path).as_posix() for p in path.glob(pattern) if p.is_file())


def _images_in(path: Path) -> bool:
    return any(p.suffix.lower() in IMAGE_ENDINGS for p in path.iterdir())


def _several_splits(path: Path) -> str:
    splits = json.loads(files.read(path / _DICT, DataError)).get("splits", [])
    shown = ", ".join(map(str, splits))
    return (
        f"{path}: is a DatasetDict of the splits {shown}; name one of them in the plan, such as "
        f"path: {path / str(splits[0] if splits else 'train')}"
    )
