"""Images, labels and attributes as the arrays of an .npz, streamed. Nothing is unpickled."""

import math
import zipfile
from collections.abc import Generator
from typing import Any

import numpy as np
from numpy.lib.npyio import NpzFile

from gate import files
from gate.arrays import words
from gate.data.source import CHUNK, Row, Table, columns_wanted, opened, require_columns
from gate.errors import DataError
from gate.plan.split import SplitPlan

_FAULT = "not an .npz of plain arrays"


def open_npz(plan: SplitPlan) -> Table:
    """Open an ``.npz``; its images are read when they are asked for.

    Raises:
        DataError: Damaged, changed meanwhile, without an array that the plan names, or with one of
            another shape or type.
    """
    path, wanted = plan.path, [plan.image, *columns_wanted(plan)]
    hashes = files.hashed(path, DataError)
    with opened(path, hashes["."], _FAULT) as file:
        with NpzFile(file, allow_pickle=False) as arrays:
            require_columns(path, wanted, arrays.files)
            columns = {name: _column(plan, arrays, name) for name in wanted[1:]}
            stated = "class_names" in arrays.files
            names = tuple(words(arrays["class_names"])) if stated else None
        with zipfile.ZipFile(file) as archive, archive.open(f"{plan.image}.npy") as member:
            shape, dtype = _read_header(member)
    plain = len(shape) in (3, 4) and shape[3:] in ((), (1,), (3,)) and min(shape[1:]) > 0
    if dtype != np.uint8 or not plain or shape[0] < 0:
        raise DataError(
            f"{path}: {plan.image} is {dtype} {shape}, expected uint8 (N, H, W) or (N, H, W, C), "
            "C 1 or 3"
        )
    for name, values in columns.items():
        if len(values) != shape[0]:
            raise DataError(f"{path}: {shape[0]} images, and {len(values)} rows of {name}")

    def rows() -> Generator[Row, None, None]:
        # np.load would hold the whole array; a zip member can be read bit by bit
        pixels = math.prod(shape[1:])
        with (
            opened(path, hashes["."], _FAULT) as file,
            zipfile.ZipFile(file) as archive,
            archive.open(f"{plan.image}.npy") as member,
        ):
            _read_header(member)
            for start in range(0, shape[0], CHUNK):
                count = min(CHUNK, shape[0] - start)
                content = member.read(count * pixels)
                if len(content) != count * pixels:
                    raise DataError(f"{path}: {plan.image} ends early; the file is truncated")
                chunk = np.frombuffer(content, np.uint8).reshape(count, *shape[1:])
                for offset in range(count):
                    yield Row(f"row {start + offset}", chunk[offset])

    return Table(columns, names, rows, files.digest_of_files(hashes))


def _column(plan: SplitPlan, arrays: Any, name: str) -> list[Any]:
    array = np.asarray(arrays[name])
    if array.ndim != 1:
        raise DataError(f"{plan.path}: {name} has shape {array.shape}, expected (N,)")
    if array.dtype.kind == "V":
        raise DataError(f"{plan.path}: {name} holds {array.dtype}, expected numbers or text")
    return words(array) if array.dtype.kind == "U" else list(array.tolist())


def _read_header(member: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    shape, fortran, dtype = header_of(member)
    if fortran:
        raise DataError("an array in Fortran order cannot be streamed; save it in C order")
    return shape, dtype


def header_of(member: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape of an array in an .npz, whether it is in Fortran's order, and its type."""
    first = np.lib.format.read_magic(member) == (1, 0)
    read = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(member)
    return shape, fortran, dtype
