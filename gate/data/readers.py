"""Tables on disk: a folder with metadata.csv, Parquet, .csv of texts, .npz; read as a stream.

Nothing is unpickled, copied or cached, and nothing is read but what is hashed.
"""

import codecs
import csv
import re
from collections.abc import Generator, Iterator
from typing import Any, BinaryIO

from gate import files
from gate.data.npz import open_npz
from gate.data.parquet import open_parquet
from gate.data.source import Row, Table, image_inside, known_inside, opened, require_columns
from gate.errors import DataError
from gate.plan.split import SplitPlan

_FAULT = "cannot be read as csv"
_LIST = "metadata.csv"
_LISTS = re.compile(r"(^|/)metadata\.(csv|jsonl|parquet)$")  # as others name them
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?")
_LONGEST = 1 << 30  # characters of a text; Python's own bound is 131,072


def open_table(plan: SplitPlan) -> Table:
    """Open the table of a split; its examples are read when they are asked for.

    Raises:
        DataError: Missing, of no kind that is read, without a column that the plan names, or
            damaged.
    """
    path = plan.path
    try:
        path.stat()
    except (OSError, ValueError) as fault:  # no name of a file has a NUL or 5,000 characters
        raise DataError(f"{path}: no such file or folder; check the plan's path") from fault
    if path.is_dir():
        if any(file.suffix == ".parquet" and file.is_file() for file in path.iterdir()):
            return open_parquet(plan)
        if not plan.text:
            return _open_folder(plan)
    elif path.suffix == ".parquet":
        return open_parquet(plan)
    elif path.suffix == ".csv" and plan.text:
        return _open_csv(plan)
    if plan.text:
        raise DataError(f"{path}: texts are read from Parquet or .csv; convert the data")
    if path.suffix == ".npz":
        return open_npz(plan)
    raise DataError(
        f"{path}: expected a folder with metadata.csv, Parquet, or .npz; convert the data"
    )


def _open_csv(plan: SplitPlan) -> Table:
    path, text = plan.path, plan.examples
    hashes = files.hashed(path, DataError)
    with opened(path, hashes["."], _FAULT) as file:
        columns = _columns(plan, file, [plan.label, *plan.attributes], text)

    def rows() -> Generator[Row, None, None]:
        with opened(path, hashes["."], _FAULT) as file:
            for index, (content,) in enumerate(_cells(plan, file, [text])):
                yield Row(f"row {index}", content)

    return Table(columns, None, rows, files.digest_of_files(hashes))


def _open_folder(plan: SplitPlan) -> Table:
    path = plan.path
    if not (path / _LIST).is_file():
        raise DataError(f"{path}: a folder of images needs a {_LIST} with file_name")
    hashes = files.hashed(path, DataError)
    if more := [
        n for n in hashes if n != _LIST and re.search(r"(^|/)metadata\.(csv|jsonl|parquet)$", n)
    ]:
        raise DataError(f"{path}: has {more[0]} beside {_LIST}, and one list counts; merge them")
    names = ("file_name" if plan.image == "image" else f"{plan.image}_file_name", plan.image)
    with opened(path / _LIST, hashes[_LIST], _FAULT) as file:
        header = next(_lines(file), [])
        image = next((name for name in names if name in header), names[0])
        columns = _columns(plan, file, [image, plan.label, *plan.attributes])
    images = columns[image]
    if missing := [name for name in images if not known_inside(hashes, name)]:
        raise DataError(
            f"{path}: {len(missing)} of {len(images)} images are missing from this folder, the "
            f"first is {missing[0]!r}; copy them into it, and name them relative to it"
        )

    def rows() -> Generator[Row, None, None]:
        for name in images:
            yield Row(str(path / name), image_inside(path, hashes, name))

    return Table(columns, None, rows, files.digest_of_files(hashes))


def _columns(
    plan: SplitPlan, file: BinaryIO, wanted: list[str], *besides: str
) -> dict[str, list[Any]]:
    """Columns of a .csv, words as they are written: a class may be called NA, a group 007."""
    columns: dict[str, list[Any]] = {name: [] for name in wanted}
    for cells in _cells(plan, file, list(columns), *besides):
        for values, cell in zip(columns.values(), cells, strict=True):
            values.append(cell)
    labels = columns[plan.label]
    # a .csv does not say which labels are numbers
    if all(_NUMBER.fullmatch(label) for label in labels):
        columns[plan.label] = [float(x) if "." in x else int(x) for x in labels]
    return columns


def _cells(
    plan: SplitPlan, file: BinaryIO, wanted: list[str], *besides: str
) -> Iterator[list[str]]:
    """The wanted cells of each row of a .csv that has these columns, and some besides."""
    lines = _lines(file)
    header = next(lines, [])
    require_columns(plan.path, [*besides, *wanted], header)
    places = [header.index(column) for column in wanted]
    for index, row in enumerate(lines):
        if len(row) > len(header):
            raise ValueError(f"row {index} has {len(row)} cells, and the header {len(header)}")
        row += [""] * (len(header) - len(row))
        yield [row[place] for place in places]


def _lines(file: BinaryIO) -> Iterator[list[str]]:
    """Header and rows of a .csv, less empty lines and the mark that Windows sets before UTF-8."""
    csv.field_size_limit(_LONGEST)
    file.seek(0)
    if file.read(len(codecs.BOM_UTF8)) != codecs.BOM_UTF8:
        file.seek(0)
    return filter(None, csv.reader((line.decode() for line in file), strict=True))
