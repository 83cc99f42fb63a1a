"""Split: images or texts, with labels and attributes, streamed.

Hugging Face ``datasets`` reads folders and Parquet (the only file that imports it); ``.npz`` takes
a few lines of our own. Nothing is unpickled, copied or cached: a stream is decoded, used, dropped,
so memory does not grow with their number.
"""

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gate.errors import DataError, PlanError, first_line
from gate.files import sha256_of
from gate.measure.prefetch import ahead
from gate.plan.plan import SplitPlan
from gate.strict_yaml import nearest

_CHUNK = 64  # rows of an npz read at once


class Row(NamedTuple):
    """One example that the split keeps: an image, encoded or not, or a text."""

    name: str
    content: bytes | NDArray[np.uint8] | str


@dataclass(frozen=True)
class Split:
    """A table of images or texts, opened.

    ``labels`` are ``(N,)`` int64 in 0 .. K-1, an index into ``classes``; ``attributes`` are
    ``(N,)`` strings by column. Examples come in the order of the file.
    """

    name: str
    plan: SplitPlan
    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    attributes: dict[str, NDArray[np.str_]]
    digest: str
    _source: "_Source" = field(repr=False)
    _rows: NDArray[np.int64] = field(repr=False)

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self) -> Iterator[Row]:
        """The kept examples as they stand in the file, not decoded."""
        wanted = iter(self._rows)
        following = next(wanted, None)
        for index, row in enumerate(self._source.rows()):
            if index == following:
                yield row
                following = next(wanted, None)
                if following is None:
                    return
        raise DataError(
            f"{self.plan.path}: ended before row {following}; was it changed meanwhile?"
        )

    def batches(self, size: int, side: int, channels: int) -> Iterator[NDArray[np.uint8]]:
        """Decoded images in batches; the next batch is decoded while this one is used.

        Args:
            size: Images a batch.
            side: Height and width that images are resized to, in pixels.
            channels: 3 for RGB, 1 for grey.

        Returns:
            ``(n, side, side, channels)`` uint8, n = ``size`` but for the last batch.

        Raises:
            DataError: Some image does not decode; names the first and counts all.
        """
        return ahead(self._batches(size, side, channels))

    def _batches(self, size: int, side: int, channels: int) -> Iterator[NDArray[np.uint8]]:
        batch: list[NDArray[np.uint8]] = []
        broken: list[str] = []
        for row in self.rows():
            image = _decode(row, side, channels)
            if image is None:
                broken.append(row.name)
            elif not broken:
                batch.append(image)
                if len(batch) == size:
                    yield np.stack(batch)
                    batch = []
        if broken:
            raise _undecodable(self, broken)
        if batch:
            yield np.stack(batch)

    def texts(self, size: int) -> Iterator[list[str]]:
        """Texts in batches of that many.

        Raises:
            PlanError: The split has images.
            DataError: Some text is empty; names the first and counts all.
        """
        if not self.plan.text:
            raise PlanError(
                f"splits.{self.name}: has images, and the backbone takes texts; say under text "
                "which column they are in"
            )
        batch: list[str] = []
        empty: list[str] = []
        for row in self.rows():
            if not isinstance(row.content, str) or not row.content.strip():
                empty.append(row.name)
                continue
            batch.append(row.content)
            if len(batch) == size:
                yield batch
                batch = []
        if empty:
            raise DataError(
                f"{self.plan.path}: {len(empty)} of {len(self)} texts are empty, the first is "
                f"{empty[0]}; fill them in or remove the rows"
            )
        if batch:
            yield batch

    @cached_property
    def digests(self) -> list[str]:
        """SHA-256 of each text, or of each image's pixels at its own size, however encoded.

        Raises:
            DataError: Some text is empty, or some image does not decode; names the first and counts
                all.
        """
        if self.plan.text:
            texts = (text for batch in self.texts(_CHUNK) for text in batch)
            return [hashlib.sha256(text.encode()).hexdigest() for text in texts]
        digests: list[str] = []
        broken: list[str] = []
        for row in self.rows():
            image = _decode(row)
            if image is None:
                broken.append(row.name)
            else:
                shape = "x".join(map(str, image.shape))
                digests.append(hashlib.sha256(shape.encode() + image.tobytes()).hexdigest())
        if broken:
            raise _undecodable(self, broken)
        return digests


def open_split(name: str, plan: SplitPlan) -> Split:
    """Read labels and attributes; images and texts are read when they are asked for.

    Raises:
        DataError: Missing file or column, label out of range, unknown class, class without
            examples, or no example at all.
    """
    source = _open_source(plan)
    columns = source.columns
    classes = _classes(plan, source)
    labels = _labels(plan, columns[plan.label], classes)
    attributes = {}
    for column in plan.attributes:
        values = columns[column]
        if empty := [i for i, value in enumerate(values) if value is None or value == ""]:
            raise DataError(
                f"{plan.path}: {column} is empty in {len(empty)} rows, the first is row {empty[0]}"
            )
        attributes[column] = np.array([str(value) for value in values])

    kept = np.arange(len(labels))
    if plan.shard:
        kept = kept[plan.shard.index :: plan.shard.count]
    names = classes
    if plan.keep is not None:
        for wanted in plan.keep:
            if wanted not in classes:
                raise DataError(
                    f"splits.{name}.keep: unknown class {wanted!r}; {nearest(wanted, classes)}"
                )
        names = plan.keep
        order = np.full(len(classes), -1)
        order[[classes.index(wanted) for wanted in names]] = np.arange(len(names))
        labels = order[labels]
        kept = kept[labels[kept] >= 0]
    if plan.long_tailed:
        kept = kept[_long_tail(labels[kept], len(names), plan.long_tailed)]
    labels = labels[kept]
    if not len(labels):
        raise DataError(f"{plan.path}: nothing is left for split {name!r}; see keep and shard")
    if absent := sorted(set(range(len(names))) - set(labels.tolist())):
        raise DataError(
            f"{plan.path}: class {names[absent[0]]!r} has no example in split {name!r}"
            + (f", nor have {len(absent) - 1} others" if len(absent) > 1 else "")
            + "; add some or leave it out by keep"
        )
    # where the file lies and what is claimed of it change no number
    settings = plan.model_dump(mode="json", exclude={"path", "balanced", "minimum_group"})
    content = {"file": source.digest, "plan": settings}
    return Split(
        name=name,
        plan=plan,
        classes=names,
        labels=labels.astype(np.int64),
        attributes={column: values[kept] for column, values in attributes.items()},
        digest="sha256:" + hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest(),
        _source=source,
        _rows=kept,
    )


def _long_tail(labels: NDArray[np.int64], classes: int, ratio: float) -> NDArray[np.int64]:
    """Rows to keep: the first of each class, in numbers that fall geometrically by the ratio.

    As many as can be, so that every class has what the curve wants of it.

    Source:
        Cui et al. 2019, "Class-balanced loss" (long-tailed CIFAR).
    """
    counts = np.bincount(labels, minlength=classes)
    falling = ratio ** -(np.arange(classes) / max(classes - 1, 1))
    wanted = np.maximum((counts / falling).min() * falling, 1).astype(np.int64)
    rows = [np.flatnonzero(labels == k)[:some] for k, some in enumerate(wanted)]
    return np.sort(np.concatenate(rows))


def _classes(plan: SplitPlan, source: "_Source") -> tuple[str, ...]:
    if plan.classes is not None:
        return plan.classes
    if source.class_names is not None:
        return source.class_names
    values = source.columns[plan.label]
    if all(isinstance(value, str) for value in values):
        return tuple(sorted(set(values)))
    raise DataError(
        f"{plan.path}: labels are numbers and the file does not name its classes, so a label out "
        "of range could not be told; state classes in the plan, in order"
    )


def _labels(plan: SplitPlan, values: list[Any], classes: tuple[str, ...]) -> NDArray[np.int64]:
    places = {name: place for place, name in enumerate(classes)}
    labels = np.empty(len(values), np.int64)
    for row, value in enumerate(values):
        if isinstance(value, str):
            if value not in places:
                raise DataError(
                    f"{plan.path}: row {row} has label {value!r}; {nearest(value, classes)}"
                )
            labels[row] = places[value]
        elif isinstance(value, (int, np.integer)) and 0 <= value < len(classes):
            labels[row] = value
        else:
            raise DataError(
                f"{plan.path}: row {row} has label {value!r}, out of range 0 .. {len(classes) - 1}"
            )
    return labels


def _decode(
    row: Row, side: int | None = None, channels: int | None = None
) -> NDArray[np.uint8] | None:
    """Pixels ``(H, W, C)``, or None where the bytes are no image."""
    from PIL import Image

    content = row.content
    if isinstance(content, str):
        return None
    if isinstance(content, bytes):
        try:
            with Image.open(io.BytesIO(content)) as opened:
                picture = opened.convert("L" if channels == 1 else "RGB")
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            return None
        if side and picture.size != (side, side):
            picture = picture.resize((side, side), Image.Resampling.BILINEAR)
        pixels = np.asarray(picture)
        return pixels if pixels.ndim == 3 else pixels[:, :, None]
    pixels = content if content.ndim == 3 else content[:, :, None]
    if (side is None or pixels.shape[:2] == (side, side)) and channels in (None, pixels.shape[2]):
        return pixels
    picture = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return _decode(Row(row.name, buffer.getvalue()), side, channels)


def _undecodable(split: Split, names: list[str]) -> DataError:
    return DataError(
        f"{split.plan.path}: {len(names)} of {len(split)} images do not decode, the first is "
        f"{names[0]}; replace or remove them"
    )


# --- sources ------------------------------------------------------------------------------------


class _Source(NamedTuple):
    """A file that was opened: its columns, and a way to go through its examples."""

    columns: dict[str, list[Any]]
    class_names: tuple[str, ...] | None
    rows: Callable[[], Iterator[Row]]
    digest: str


def _open_source(plan: SplitPlan) -> _Source:
    path = plan.path
    if not path.exists():
        raise DataError(f"{path}: no such file or folder; check the plan's path")
    if path.suffix == ".csv" and plan.text:
        return _open_table(plan, "csv", {"data_files": str(path)})
    if plan.text and path.suffix != ".parquet" and not list(path.glob("*.parquet")):
        raise DataError(f"{path}: texts are read from Parquet or .csv; convert the data")
    if path.suffix == ".npz":
        return _open_npz(plan)
    if path.is_dir() and not list(path.glob("*.parquet")):
        if not (path / "metadata.csv").is_file():
            raise DataError(f"{path}: a folder of images needs a metadata.csv with file_name")
        return _open_table(plan, "imagefolder", {"data_dir": str(path), "drop_labels": True})
    if path.is_dir() or path.suffix == ".parquet":
        files = sorted(map(str, path.glob("*.parquet"))) if path.is_dir() else str(path)
        return _open_table(plan, "parquet", {"data_files": files})
    raise DataError(
        f"{path}: expected a folder with metadata.csv, Parquet, or .npz; convert the data"
    )


def _open_table(plan: SplitPlan, builder: str, arguments: dict[str, Any]) -> _Source:
    # the data is on this disk; nothing is to be asked of a hub
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import datasets

    datasets.disable_progress_bars()
    datasets.config.TORCH_AVAILABLE = False  # else it imports torch, to share with its workers
    try:
        table = datasets.load_dataset(builder, split="train", streaming=True, **arguments)
        # a .csv does not say what it has
        features: dict[str, Any] = table.features or next(iter(table), {})
        _require_columns(plan, list(features))
        if not plan.text:
            table = table.cast_column(plan.image, datasets.Image(decode=False))
        wanted = [plan.label, *plan.attributes]
        columns: dict[str, list[Any]] = {name: [] for name in wanted}
        for row in table.select_columns(wanted):
            for name in wanted:
                columns[name].append(row[name])
    except DataError:
        raise
    except Exception as fault:  # datasets raises whatever its readers raise
        says = first_line(fault)
        raise DataError(f"{plan.path}: cannot be read as {builder}: {says}") from fault
    label = features[plan.label]

    def rows() -> Iterator[Row]:
        for index, row in enumerate(table.select_columns([plan.examples])):
            if plan.text:
                yield Row(f"row {index}", row[plan.text] or "")
                continue
            image = row[plan.image]
            name = image["path"] or f"row {index}"
            content = image["bytes"]
            if content is None:
                try:
                    content = Path(image["path"]).read_bytes()
                except OSError:
                    content = b""
            yield Row(name, content)

    return _Source(
        columns=columns,
        class_names=tuple(label.names) if isinstance(label, datasets.ClassLabel) else None,
        rows=rows,
        digest=sha256_of(plan.path, DataError),
    )


def _open_npz(plan: SplitPlan) -> _Source:
    path = plan.path
    try:
        with np.load(path, allow_pickle=False) as arrays:
            _require_columns(plan, arrays.files)
            columns = {}
            for name in (plan.label, *plan.attributes):
                if arrays[name].ndim != 1:
                    raise DataError(f"{path}: {name} has shape {arrays[name].shape}, expected (N,)")
                columns[name] = arrays[name].tolist()
            names = arrays["class_names"].tolist() if "class_names" in arrays.files else None
    except (OSError, ValueError, zipfile.BadZipFile) as fault:
        raise DataError(f"{path}: not an .npz of plain arrays: {fault}") from fault
    shape, dtype = _npz_header(path, plan.image)
    if (
        dtype != np.uint8
        or len(shape) not in (3, 4)
        or (len(shape) == 4 and shape[3] not in (1, 3))
    ):
        raise DataError(
            f"{path}: {plan.image} is {dtype} {shape}, expected uint8 (N, H, W) or (N, H, W, C), "
            "C 1 or 3"
        )
    for name, values in columns.items():
        if len(values) != shape[0]:
            raise DataError(f"{path}: {shape[0]} images, and {len(values)} rows of {name}")

    def rows() -> Iterator[Row]:
        # np.load would hold the whole array; a zip member can be read bit by bit
        pixels = int(np.prod(shape[1:]))
        with zipfile.ZipFile(path) as archive, archive.open(f"{plan.image}.npy") as member:
            _read_header(member)
            for start in range(0, shape[0], _CHUNK):
                count = min(_CHUNK, shape[0] - start)
                content = member.read(count * pixels)
                if len(content) != count * pixels:
                    raise DataError(f"{path}: {plan.image} ends early; the file is truncated")
                chunk = np.frombuffer(content, np.uint8).reshape(count, *shape[1:])
                for offset in range(count):
                    yield Row(f"row {start + offset}", chunk[offset])

    return _Source(
        columns=columns,
        class_names=tuple(map(str, names)) if names is not None else None,
        rows=rows,
        digest=sha256_of(path, DataError),
    )


def _npz_header(path: Path, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as member:
        return _read_header(member)


def _read_header(member: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(member)
    read = np.lib.format.read_array_header_1_0
    if version != (1, 0):
        read = np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(member)
    if fortran:
        raise DataError("an array in Fortran order cannot be streamed; save it in C order")
    return shape, dtype


def _require_columns(plan: SplitPlan, present: list[str]) -> None:
    for column in (plan.examples, plan.label, *plan.attributes):
        if column not in present:
            raise DataError(f"{plan.path}: no column {column!r}; {nearest(column, present)}")
