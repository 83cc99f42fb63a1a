"""Tables in plain text: .csv, .tsv and .txt, words as they are written."""

import codecs
import csv
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO

from gate.data.source import IMAGE_ENDINGS
from gate.errors import DataError

FAULT = "cannot be read as csv"
_LONGEST = 1 << 30  # characters of a text; Python's own bound is 131,072


def read_cells(path: Path, file: BinaryIO, unnamed: tuple[str, str] | None) -> Iterator[list[str]]:
    """Header, then the rows, all as long as the header; without empty lines.

    A table is separated by commas, or else tabs, semicolons or, in a .txt, spaces, as its first
    line is. A line that only counts the rows, as in CelebA's, is passed over. Where the first line
    is a row, since it names an image, or the header lacks the column of the images, as in CelebA's,
    columns are called as ``unnamed`` says.

    Args:
        path: Named in errors; its ending counts.
        file: It, open.
        unnamed: Names of the column of the images and of another; None where it names no images.

    Raises:
        DataError: Not UTF-8.
        ValueError: A row is longer than the header.
    """
    lines = _lines(path, file)
    first = next(lines, "")
    if path.suffix == ".txt" and first.strip().isdecimal():
        first = next(lines, "")
    marks = "\t" if path.suffix == ".tsv" else [mark for mark in ",\t;" if mark in first]
    rows: Iterator[list[str]]
    if not marks and path.suffix == ".txt":
        rows = (line.split() for line in chain([first], lines))
    else:
        rows = csv.reader(chain([first], lines), delimiter=(*marks, ",")[0], strict=True)
    rows = filter(None, rows)
    start = list(islice(rows, 2))
    header = start[0] if start else []
    places = [i for i, cell in enumerate(header) if cell.lower().endswith(IMAGE_ENDINGS)]
    if unnamed and places:
        rows = chain(start, rows)
        others = [unnamed[1], *map(str, range(2, len(header)))]
        header = [unnamed[0] if i == places[0] else others.pop(0) for i in range(len(header))]
    else:
        if (
            unnamed
            and path.suffix == ".txt"
            and [len(row) for row in start[1:]] == [len(header) + 1]
        ):
            header = [unnamed[0], *header]
        rows = chain(start[1:], rows)
    yield header
    for index, row in enumerate(rows):
        if len(row) > len(header):
            raise ValueError(f"row {index} has {len(row)} cells, and the header {len(header)}")
        yield row + [""] * (len(header) - len(row))


def _lines(path: Path, file: BinaryIO) -> Iterator[str]:
    """Lines of UTF-8, less the mark that Windows sets before it."""
    csv.field_size_limit(_LONGEST)
    file.seek(0)
    if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        raise _not_utf8(path, "is UTF-16", "utf-16")
    file.seek(0)
    if file.read(len(codecs.BOM_UTF8)) != codecs.BOM_UTF8:
        file.seek(0)
    for index, line in enumerate(file):
        try:
            yield line.decode()
        except UnicodeDecodeError as fault:
            says = f"line {index + 1} is not UTF-8 (byte {line[fault.start]:#04x})"
            raise _not_utf8(path, says, "latin1") from fault


def _not_utf8(path: Path, says: str, encoding: str) -> DataError:
    return DataError(
        f"{path}: {says}; convert it from what it was written in, such as: "
        f"iconv -f {encoding} -t utf-8 {path.name} > utf8.csv"
    )
