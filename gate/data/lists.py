"""Tables that name files: metadata.csv as Hugging Face's imagefolder has it, and any other list."""

import posixpath
import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from gate import files
from gate.data.arrow import LOADER, read_columns
from gate.data.cells import FAULT, read_cells
from gate.data.source import (
    Row,
    Table,
    columns_wanted,
    image_inside,
    known_inside,
    opened,
    place_of,
    require_columns,
    rows_where,
)
from gate.errors import DataError
from gate.plan.split import LISTS, SplitPlan

METADATA = "metadata.csv"
_METADATA = re.compile(r"(^|/)metadata\.(csv|jsonl|parquet)$")  # as others name them
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?")


class _List(NamedTuple):
    """One table of a folder, with those of its columns that are read, images' names among them."""

    name: str
    header: list[str]
    columns: dict[str, list[Any]]
    image: str


def open_texts(plan: SplitPlan) -> Table:
    """Open a .csv of texts.

    Raises:
        DataError: Damaged, changed meanwhile, not UTF-8, or without a column that the plan names.
    """
    path, text = plan.path, plan.examples
    hashes = files.hashed(path, DataError)
    with opened(path, hashes["."], FAULT) as file:
        rows_of_cells = read_cells(path, file, None)
        columns = _columns(path, rows_of_cells, columns_wanted(plan), [text])

    def rows() -> Generator[Row, None, None]:
        with opened(path, hashes["."], FAULT) as file:
            lines = read_cells(path, file, None)
            place = next(lines).index(text)
            for index, cells in enumerate(lines):
                yield Row(f"row {index}", cells[place])

    return Table(_numbered(plan, columns), None, rows, files.digest_of_files(hashes))


def open_metadata(plan: SplitPlan) -> Table:
    """Open a folder with metadata.csv.

    Where that has no column for labels, the label of an image is the name of its folder.

    Raises:
        DataError: As `open_list`, or there is a second list.
    """
    hashes = files.hashed(plan.path, DataError)
    if more := [name for name in hashes if name != METADATA and _METADATA.search(name)]:
        raise DataError(
            f"{plan.path}: has {more[0]} beside {METADATA}, and one list counts; merge them, or "
            "say which one under table"
        )
    return _listed(plan, hashes, [METADATA])


def open_list(plan: SplitPlan) -> Table:
    """Open a folder with the tables of images that its plan names, joined on the images' column.

    Raises:
        DataError: A table is missing or damaged, is not UTF-8, lacks a column or an image that
            another one has, or names an image that the folder does not hold.
    """
    hashes = files.hashed(plan.path, DataError)
    for name in plan.table:
        if name not in hashes:
            raise DataError(
                f"{plan.path}: has no file {name!r} for table; its tables are "
                f"{', '.join(n for n in hashes if n.endswith((*LISTS, '.parquet'))) or 'none'}"
            )
    return _listed(plan, hashes, list(plan.table))


def _listed(plan: SplitPlan, hashes: Mapping[str, str], names: list[str]) -> Table:
    lists = [_read(plan, hashes, name, alone=len(names) == 1) for name in names]
    first = lists[0]
    images = [str(name) for name in first.columns[first.image]]
    columns, remarks = {}, []
    for wanted in columns_wanted(plan):
        owners = [each for each in lists if wanted in each.columns]
        if not owners and wanted == "label" and names == [METADATA]:
            columns[wanted] = [posixpath.basename(posixpath.dirname(n)) for n in images]
            remarks.append(
                f"{METADATA} has no column label, so the label of each image is the name of its "
                "folder"
            )
            if all(columns[wanted]):
                continue
        if len(owners) != 1:
            where = plan.path / (names[0] if len(names) == 1 else "")
            every = [column for each in lists for column in each.header]
            require_columns(where, [wanted], every)
        columns[wanted] = _joined(plan, images, first, owners[0], wanted)
    columns = _numbered(plan, columns)
    _require_inside(plan, hashes, images, rows_where(plan, columns).tolist())

    def rows() -> Generator[Row | partial[Row], None, None]:
        for name in images:
            yield partial(_row, plan, hashes, name)

    # Hugging Face's own lists are told by this column
    is_theirs = names == [METADATA] and first.image.endswith("file_name")
    orientation, loader = ("exif", LOADER) if is_theirs else ("stored", "torchvision")
    digest = files.digest_of_files(dict(hashes))
    return Table(columns, None, rows, digest, orientation, loader, tuple(remarks))  # type: ignore[arg-type]  # a literal


def _read(plan: SplitPlan, hashes: Mapping[str, str], name: str, *, alone: bool) -> _List:
    """One table, with all of its columns that the plan names."""
    path = plan.path / name
    candidates = ("file_name" if plan.image == "image" else f"{plan.image}_file_name", plan.image)
    wanted = [*candidates, *columns_wanted(plan)]
    if name.endswith(".parquet"):
        header, columns = read_columns(path, hashes[name], wanted)
        image = next((each for each in candidates if each in columns), candidates[1])
        require_columns(path, [image], header)
        return _List(name, header, columns, image)
    with opened(path, hashes[name], FAULT) as file:
        lines = read_cells(path, file, (plan.image, plan.label if alone else path.stem))
        header = next(lines)
        unnamed = candidates[0] if name == METADATA and plan.image == "image" else candidates[1]
        image = next((each for each in candidates if each in header), unnamed)
        present = list(dict.fromkeys(each for each in wanted if each in header))
        columns = _columns(path, _with(header, lines), present, [image])
        return _List(name, header, columns, image)


def _with(header: list[str], lines: Iterator[list[str]]) -> Iterator[list[str]]:
    yield header
    yield from lines


def _columns(
    path: Path, lines: Iterator[list[str]], wanted: Sequence[str], besides: Sequence[str]
) -> dict[str, list[Any]]:
    """Columns of a table in plain text that has these, and some besides."""
    header = next(lines)
    require_columns(path, [*besides, *wanted], header)
    columns: dict[str, list[Any]] = {name: [] for name in wanted}
    places = [header.index(name) for name in wanted]
    for cells in lines:
        for values, place in zip(columns.values(), places, strict=True):
            values.append(cells[place])
    return columns


def _joined(
    plan: SplitPlan, images: Sequence[str], first: _List, other: _List, column: str
) -> list[Any]:
    """A column of another table, in the order of the first one's images."""
    if other is first:
        return first.columns[column]
    names = [str(name) for name in other.columns[other.image]]
    values = dict(zip(names, other.columns[column], strict=True))
    if len(values) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{plan.path / other.name}: names {twice!r} twice; remove one of the rows")
    if absent := [name for name in images if name not in values]:
        raise DataError(
            f"{plan.path / other.name}: lacks {len(absent)} of {len(images)} images that "
            f"{first.name} names, the first is {absent[0]!r}; both are joined on "
            f"{first.image!r}, so name the images alike in both"
        )
    return [values[name] for name in images]


def _numbered(plan: SplitPlan, columns: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Labels as numbers where all that are wanted are: a .csv does not say which ones are."""
    labels = list(columns[plan.label])
    rows = rows_where(plan, columns).tolist() if labels else []
    if all(isinstance(labels[row], str) and _NUMBER.fullmatch(labels[row]) for row in rows):
        for row in rows:
            labels[row] = float(labels[row]) if "." in labels[row] else int(labels[row])
    return {**columns, plan.label: labels}


def _require_inside(
    plan: SplitPlan, hashes: Mapping[str, str], images: Sequence[str], rows: Sequence[int]
) -> None:
    """Refuse a table that names an image which its folder does not hold.

    Raises:
        DataError: Counts them, and says of the first one what is wrong with it.
    """
    places = [place_of(plan, images[row]) for row in rows]
    missing = [name for name in places if not known_inside(hashes, name)]
    if not missing:
        return
    name = missing[0].replace("\\", "/")
    plain, why = posixpath.normpath(name), ""
    if name.startswith("/") or re.match(r"[A-Za-z]:/", name) or "://" in name:
        why = ", which is no name inside a folder"
    elif plain.startswith("../"):
        why = ", which leads out of it"
    elif like := [known for known in hashes if known.endswith(f"/{plain}")]:
        why = f", but {like[0]} is there; say images: {like[0].removesuffix(plain).rstrip('/')}"
    elif like := [known for known in hashes if plain.endswith(f"/{known}")]:
        why = f", but {like[0]} is there; name images as seen from this folder"
    elif like := [known for known in hashes if re.fullmatch(re.escape(plain) + r"\.\w+", known)]:
        ending = like[0].removeprefix(plain)
        why = f", but {like[0]} is there; say images: '{{}}{ending}'"
    raise DataError(
        f"{plan.path}: {len(missing)} of {len(rows)} images are missing from this folder, the "
        f"first is {missing[0]!r}{why}; copy them into it, and name them relative to it"
    )


def _row(plan: SplitPlan, hashes: Mapping[str, str], name: str) -> Row:
    place = place_of(plan, name)
    return Row(str(plan.path / place), image_inside(plan.path, hashes, place))
