"""Read and write logits, labels, shares and embeddings: .npy, .npz, .safetensors, .csv, .parquet.

A file holds one array; where it holds several, one of them has the name that is looked for.
``.npy`` is mapped, not read, so that any length will do; nothing is unpickled.
"""

import contextlib
import csv
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from gate import files
from gate.arrays import (
    ROWS,
    Array,
    Float32,
    Float64,
    Floats,
    Int64,
    Labels,
    first_not_finite,
    sum_of_probabilities,
    words,
)
from gate.errors import DataError

KINDS = (".npy", ".npz", ".safetensors", ".csv", ".parquet")
_FEWEST_ROWS = 10  # that tell whole numbers of an index from logits that happen to be whole
_NO_LOGITS = (
    "holds whole numbers alone, beside columns of fractions: an index, an id or a label, and no "
    "logits"
)
# as pandas, datasets and exports call what is no class
_ID = re.compile(
    r"unnamed: ?\d+|level_\d+|__index_level_\d+__|index|(\w+_)?id|labels?|(\w+_)?path",
    re.IGNORECASE,
)
_FIRST_LINES = 20  # of a .csv, which show how it is written
_DECIMAL_COMMA = re.compile(r"(^|;)\s*[+-]?\d+,\d+")
_END = np.float64(2**63)  # of int64; as a float of its own, since float16 has none so large


@contextlib.contextmanager
def hashed(inputs: Mapping[str, Path | None]) -> Iterator[dict[str, str]]:
    """SHA-256 of each file that there is, by the same name; hashed again after use.

    Raises:
        DataError: A file cannot be read, or was changed meanwhile.
    """
    paths = {name: path for name, path in inputs.items() if path}
    before = {name: _hashed(path) for name, path in paths.items()}
    yield {name: digest for name, (digest, _) in before.items()}
    for name, path in paths.items():
        if _hashed(path) != before[name]:
            raise DataError(
                f"{path}: was changed while it was used; run again on files that nobody writes to"
            )


def _hashed(path: Path) -> tuple[str, int]:
    """Digest, and the moment of the last change: old bytes can be put back, that cannot."""
    return files.sha256_of(path, DataError), path.stat().st_ctime_ns


def read_logits(path: Path) -> Floats:
    """Logits ``(N, K)``, K >= 2, as they stand: a row a sample, a column a class.

    Raises:
        DataError: The file cannot be read, or holds no finite matrix of numbers.
    """
    logits = _read(path, "logits")
    if logits.ndim != 2 or logits.shape[1] < 2 or not len(logits):
        raise DataError(
            f"{path}: shape {logits.shape}; logits are (N, K), a row a sample and a column each of "
            "at least 2 classes"
        )
    if not np.issubdtype(logits.dtype, np.floating):
        logits = _as_numbers(path, logits).astype(np.float64)
    if not logits.dtype.isnative:
        logits = logits.astype(logits.dtype.newbyteorder("="))
    if wrong := first_not_finite(logits):
        raise DataError(
            f"{path}: the logits in row {wrong[0]} are not finite: {logits[wrong]:g} of class "
            f"{wrong[1]}; check the classifier, and give a masked class -1e9"
        )
    if total := sum_of_probabilities(logits):
        raise DataError(
            f"{path}: holds {'probabilities' if total == 1 else 'per cent'}, which have nothing "
            f"below 0 and sum to {total} in a row, and no logits; take the log "
            f"({'np.log(p)' if total == 1 else 'np.log(p / 100)'}), or give what comes before the "
            "softmax"
        )
    if (stray := _stray_column(logits)) is not None:
        raise DataError(
            f"{path}: column {stray} {_NO_LOGITS}; leave it out, so that every column is a class"
        )
    return logits


def distinct_rows(logits: Floats, labels: Labels) -> Int64:
    """How often each row ``(N, K)`` stands there with the same label: one count a distinct one."""
    counts: Counter[int] = Counter()
    for start in range(0, len(logits), ROWS):
        block = np.ascontiguousarray(logits[start : start + ROWS])
        of_block = labels[start : start + ROWS].tolist()
        counts.update(
            hash((row.tobytes(), label)) for row, label in zip(block, of_block, strict=True)
        )
    return np.array(list(counts.values()))


def _stray_column(matrix: Array) -> int | None:
    """The first column of whole numbers, not below 0, beside columns that have fractions."""
    head = np.asarray(matrix[:ROWS])
    if len(head) < _FEWEST_ROWS:
        return None
    whole = (head == np.floor(head)).all(axis=0)
    varied = (head != head[0]).any(axis=0)  # a class may be masked in every row
    stray = np.flatnonzero(whole & varied & (head >= 0).all(axis=0))
    return None if whole.all() or not stray.size else int(stray[0])


def read_embeddings(path: Path) -> tuple[Float32, tuple[str, ...] | None]:
    """Class embeddings ``(K, D)`` and, where the file has them, the names of the classes.

    Names are an array ``classes`` in an ``.npz``.

    Raises:
        DataError: The file cannot be read, holds no matrix of numbers that float32 can hold, or
            not one name a row.
    """
    with np.errstate(over="ignore"):  # what float32 cannot hold is refused below
        embeddings = _as_numbers(path, _read(path, "embeddings")).astype(np.float32)
    if embeddings.ndim != 2 or not embeddings.size:
        raise DataError(
            f"{path}: shape {embeddings.shape}; class embeddings are (K, D), a row a class"
        )
    if wrong := first_not_finite(embeddings):
        raise DataError(
            f"{path}: row {wrong[0]} of the class embeddings is not finite as float32; "
            "check what made it"
        )
    if path.suffix != ".npz":
        return embeddings, None
    with np.load(path, allow_pickle=False) as archive:
        if "classes" not in archive.files:
            return embeddings, None
    classes = _read(path, "classes")
    if classes.shape != (len(embeddings),):
        raise DataError(
            f"{path}: classes of shape {classes.shape} for {len(embeddings)} rows of embeddings; "
            "give one name a row"
        )
    try:
        return embeddings, tuple(words(classes))
    except ValueError as fault:
        raise DataError(f"{path}: an array of names {fault}") from fault


def read_labels(path: Path, name: str = "labels") -> Labels:
    """Whole numbers ``(N,)``: labels in 0 .. K-1, or cluster ids.

    Raises:
        DataError: The file cannot be read, or holds something else.
    """
    labels = _as_numbers(path, _vector(path, name))
    whole = (labels == np.floor(labels)) & (np.abs(labels) < _END)  # so written that NaN fails
    if (wrong := np.flatnonzero(~whole)).size:
        raise DataError(
            f"{path}: {labels[wrong[0]]} in row {wrong[0]} is no label; labels are whole numbers "
            "in 0 .. K-1, in the order of the logits' columns"
        )
    return labels.astype(np.int64)


def read_shares(path: Path) -> Float64:
    """Class shares ``(K,)``, positive and with sum 1.

    Raises:
        DataError: The file cannot be read, or holds something else.
    """
    shares = _as_numbers(path, _vector(path, "shares")).astype(np.float64)
    if not (shares > 0).all():
        raise DataError(
            f"{path}: share {shares[~(shares > 0)][0]:g} of class {np.argmin(shares > 0)}; "
            "every share must be above 0"
        )
    if not abs(shares.sum() - 1) <= 1e-3:
        raise DataError(
            f"{path}: the shares sum to {shares.sum():.6g} and not to 1; divide counts by their sum"
        )
    return np.asarray(shares / shares.sum())


def write(path: Path, arrays: dict[str, Array]) -> None:
    """Write arrays, as the name's ending says: .npz, .safetensors, .csv or .parquet.

    Raises:
        GateError: Another ending, or the file cannot be written.
    """
    if path.suffix not in KINDS[1:]:
        raise DataError(
            f"{path}: several arrays are written as {', '.join(KINDS[1:])}, not as "
            f"{path.suffix or 'a file without ending'}; choose one of them"
        )
    with files.replacing(path) as partial:
        if path.suffix == ".npz":
            with partial.open("wb") as file:
                np.savez(file, **arrays)  # type: ignore[arg-type]  # none is named allow_pickle
        elif path.suffix == ".safetensors":
            from safetensors.numpy import save

            partial.write_bytes(save({k: np.ascontiguousarray(v) for k, v in arrays.items()}))
        else:
            from pyarrow.csv import write_csv
            from pyarrow.parquet import write_table

            to = write_csv if path.suffix == ".csv" else write_table
            to(_table(arrays), str(partial))


def _table(arrays: dict[str, Array]) -> Any:
    import pyarrow

    columns: dict[str, Array] = {}
    for name, array in arrays.items():
        for k, column in enumerate(array.T if array.ndim == 2 else [array]):
            columns[f"{name}_{k}" if array.ndim == 2 else name] = np.ascontiguousarray(column)
    return pyarrow.table(columns)


def _vector(path: Path, name: str) -> Array:
    array = _read(path, name)
    if array.ndim == 2 and 1 in array.shape:
        array = array.ravel()
    if array.ndim != 1 or not len(array):
        raise DataError(
            f"{path}: shape {array.shape}; {name} are one row of numbers, or a column {name!r}"
        )
    return array


def _as_numbers(path: Path, array: Array) -> Array:
    if array.dtype.kind not in "iufb":
        raise DataError(f"{path}: holds {array.dtype} and not numbers; convert it")
    return array


def _read(path: Path, name: str) -> Array:
    readers = dict(zip(KINDS, (_npy, _npz, _safetensors, _csv, _parquet), strict=True))
    if path.suffix not in readers:
        raise DataError(
            f"{path}: {path.suffix or 'no ending'} is not read; give one of {', '.join(KINDS)}"
        )
    try:
        return readers[path.suffix](path, name)
    except DataError:
        raise
    except OSError as fault:
        raise DataError(
            f"{path}: cannot be read: {fault.strerror or fault}; check the path"
        ) from fault
    except Exception as fault:  # each library has errors of its own for a damaged file
        raise DataError(
            f"{path}: is no {path.suffix} file that {name} can be read from: {fault}; write it "
            "anew, as plain numbers or text"
        ) from fault


def _npy(path: Path, _: str) -> Array:
    return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))


def _npz(path: Path, name: str) -> Array:
    with np.load(path, allow_pickle=False) as archive:
        return np.asarray(archive[_choose(path, list(archive.files), name)])


def _safetensors(path: Path, name: str) -> Array:
    from safetensors import safe_open

    with safe_open(str(path), framework="numpy") as tensors:
        return np.asarray(tensors.get_tensor(_choose(path, list(tensors.keys()), name)))


def _csv(path: Path, name: str) -> Array:
    from pyarrow.csv import ConvertOptions, ParseOptions, ReadOptions, read_csv

    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = list(islice((line for line in file if line.strip()), _FIRST_LINES))
    between = _delimiter(lines[0] if lines else "")
    point = "," if between == ";" and any(_DECIMAL_COMMA.search(line) for line in lines) else "."
    cells = [
        [cell.replace(point, ".") for cell in row] for row in csv.reader(lines, delimiter=between)
    ]
    table = read_csv(
        str(path),
        read_options=ReadOptions(autogenerate_column_names=not _has_header(path, cells)),
        parse_options=ParseOptions(delimiter=between),
        convert_options=ConvertOptions(decimal_point=point),
    )
    return _columns(path, table, name)


def _delimiter(line: str) -> str:
    """What stands between the cells of a line: a tab, a semicolon, a comma, or a blank.

    >>> _delimiter("0,5;1,25"), _delimiter("1.0e+00 2.0e+00"), _delimiter("a class, another")
    (';', ' ', ',')
    """
    for character in "\t;,":
        if character in line:
            return character
    words = line.split(" ")
    return " " if len(words) > 1 and all(map(_is_number, map(str.strip, words))) else ","


def _has_header(path: Path, lines: list[list[str]]) -> bool:
    """Whether the first line names columns: 0 .. K-1 as pandas does, rising ids of classes, words.

    Raises:
        DataError: It has whole numbers that may be names or a sample.
    """
    first, rest = (lines[0] if lines else []), lines[1:]
    if not all(map(_is_number, first)):
        return True
    # of one column, a number may as well be a label, and stays one
    if len(first) < 2 or not rest or not all(cell.strip().isdecimal() for cell in first):
        return False
    numbers = [int(cell) for cell in first]
    if numbers == list(range(len(numbers))):
        return True
    fractions = any("." in cell or "e" in cell.lower() for row in rest for cell in row)
    if len(set(numbers)) < len(numbers) or (not fractions and numbers != sorted(numbers)):
        return False
    if fractions and numbers == sorted(numbers):
        return True
    raise DataError(
        f"{path}: the first line, {', '.join(first[:3])}{', ..' if first[3:] else ''}, may name "
        "columns or be a sample; name the columns logits_0, logits_1, .., or write its numbers "
        "with a point, such as 2.0"
    )


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _parquet(path: Path, name: str) -> Array:
    from pyarrow import parquet

    return _columns(path, parquet.read_table(str(path)), name)


def _columns(path: Path, table: Any, name: str) -> Array:
    """The column of that name; else those of that name and 0 .. K-1; else all, as a matrix."""
    chosen = _chosen(path, table.column_names, name)
    columns = [table.column(each) for each in chosen]
    for each, column in zip(chosen, columns, strict=True):
        if column.null_count:
            raise DataError(f"{path}: column {each!r} has {column.null_count} empty cells")
    arrays = [column.to_numpy() for column in columns]
    if len(arrays) == 1 and arrays[0].dtype == object:  # a list a row
        return np.stack(arrays[0])
    for each, array in zip(chosen, arrays, strict=True):
        if array.dtype.kind not in "iufb":
            raise DataError(
                f"{path}: column {each!r} holds words, such as {array[0]!r}; leave it out, or name "
                f"what is to be read {name}, or {name}_0, {name}_1, .."
            )
    if len(arrays) == 1:
        return np.asarray(arrays[0])
    matrix: Array = np.column_stack(arrays)
    if name == "logits" and (stray := _stray_column(matrix)) is not None:
        raise DataError(
            f"{path}: column {chosen[stray]!r} {_NO_LOGITS}; leave it out, or name what is to be "
            "read logits_0, logits_1, .."
        )
    return matrix


def _chosen(path: Path, names: list[str], name: str) -> list[str]:
    """Names of the columns to read; a name that is a number tells of an index or a row of data."""
    numbered = [each for each in names if re.fullmatch(re.escape(name) + r"_[0-9]+", each)]
    wanted = [f"{name}_{k}" for k in range(len(numbered))]
    if name not in names and set(numbered) != set(wanted):
        missing = next(each for each in wanted if each not in numbered)
        raise DataError(
            f"{path}: {len(numbered)} columns {name}_NUMBER, and no {missing} among them; "
            f"number them {wanted[0]} .. {wanted[-1]}, each once"
        )
    chosen = [name] if name in names else wanted or names
    counted = any(map(_is_number, chosen))
    # what is named as it should be may be called anything else
    unnamed = name not in names and not wanted and len(names) > 1
    ids = [each for each in chosen if unnamed and _ID.fullmatch(each)]
    odd = ids or [each for each in chosen if not each or (counted and not _is_number(each))]
    if odd:
        raise DataError(
            f"{path}: a column is named {odd[0]!r}: an index, or a row that is no header; leave it "
            f"out, or name what is to be read {name}, or {name}_0, {name}_1, .."
        )
    return chosen


def _choose(path: Path, names: list[str], name: str) -> str:
    if name in names or len(names) == 1:
        return name if name in names else names[0]
    raise DataError(
        f"{path}: holds {', '.join(sorted(names)) or 'nothing'}, and none is named {name!r}; "
        f"name one so, or keep one array a file"
    )
