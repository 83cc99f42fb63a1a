"""Types of arrays, and what several files do with their rows."""

import sys
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Floats = NDArray[np.floating[Any]]
Int64 = NDArray[np.int64]
Labels = Int64
Images = NDArray[np.uint8]

ROWS = 4096  # of an array of any length that are read at once
_FEWEST, _NEARLY_ALL, _ROUNDED = 2, 0.9, 0.05  # of rows, and how far their sums are off


class Standardised(NamedTuple):
    """Features with mean 0 and standard deviation 1, and what made them so."""

    values: Float32  # (N, D)
    mean: Float32  # (D,)
    scale: Float32  # (D,)


def standardised(features: Float32) -> Standardised:
    """Features ``(N, D)`` less their means, divided by their standard deviations.

    >>> standardised(np.array([[1.0, 5.0], [3.0, 5.0]])).values.tolist()
    [[-1.0, 0.0], [1.0, 0.0]]
    """
    mean, scale = features.mean(axis=0), features.std(axis=0)
    scale = np.where(scale > 0, scale, 1)  # a feature that never changes says nothing
    return Standardised((features - mean) / scale, mean, scale)


def unit_rows(rows: Float32) -> Float32:
    """Rows ``(N, D)`` divided by their Euclidean length; a row of zeros stays.

    >>> unit_rows(np.array([[0.0, 4.0], [0.0, 0.0]])).tolist()
    [[0.0, 1.0], [0.0, 0.0]]
    """
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(length, np.finfo(np.float32).tiny), np.float32)


def words(array: Array) -> list[str]:
    """The items ``(N,)`` as text.

    Raises:
        ValueError: Text with a number in it that is no letter's; in a string of Python's, it would
            crash whoever reads it.

    >>> words(np.array(["cat", "dog"])), words(np.array([0, 1]))
    (['cat', 'dog'], ['0', '1'])
    """
    if array.dtype.kind == "U":
        letters = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("=")).view(np.uint32)
        if letters.max(initial=0) > sys.maxunicode:
            raise ValueError(
                f"holds the letter {letters.max():#x}, and there is none; write it anew"
            )
    return list(map(str, array.tolist()))


def first_not_finite(matrix: Array) -> tuple[int, int] | None:
    """Row and column of the first number that is not finite, of a matrix of any length.

    >>> first_not_finite(np.array([[0.0, 1.0], [2.0, np.nan]]))
    (1, 1)
    """
    for start in range(0, len(matrix), ROWS):
        finite = np.isfinite(matrix[start : start + ROWS])
        if not finite.all():
            row, column = np.argwhere(~finite)[0]
            return start + int(row), int(column)
    return None


def sum_of_probabilities(matrix: Array) -> int | None:
    """What the rows of a matrix ``(N, K)`` sum to if they are probabilities or per cent, else None.

    They are if nine rows in ten, and two at least, have nothing below 0 and sum to 1 or to 100
    within 5 %, which rounding to two decimals keeps; a few rows may be masked. Logits are not bound
    to any sum.

    >>> sum_of_probabilities(np.array([[0.25, 0.75], [0.5, 0.5]]))
    1
    >>> sum_of_probabilities(np.log([[0.25, 0.75], [0.5, 0.5]])) is None
    True
    """
    if len(matrix) < _FEWEST:
        return None
    counts = dict.fromkeys((1, 100), 0)
    for start in range(0, len(matrix), ROWS):
        rows = np.asarray(matrix[start : start + ROWS], np.float64)
        with np.errstate(over="ignore"):  # of floats near the largest
            sums = rows.sum(axis=1)
        for total in counts:
            near = np.abs(sums - total) <= _ROUNDED * total
            counts[total] += int((near & (rows >= 0).all(axis=1)).sum())
        seen = start + len(rows)
        if all(seen - count > (1 - _NEARLY_ALL) * len(matrix) for count in counts.values()):
            return None
    return next((t for t, count in counts.items() if count >= _NEARLY_ALL * len(matrix)), None)
