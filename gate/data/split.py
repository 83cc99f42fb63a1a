"""Split: images or texts, with labels and attributes, streamed.

A stream is decoded, used, dropped, so memory does not grow with the number of examples.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gate.data.images import decode
from gate.data.prefetch import prefetched
from gate.data.readers import Row, Table, open_table
from gate.errors import DataError, PlanError
from gate.files import digest_of_json
from gate.plan.split import SplitPlan
from gate.strict_yaml import nearest

_TEXTS = 64  # read at once


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
    _source: Table = field(repr=False)
    _rows: NDArray[np.int64] = field(repr=False)

    def __len__(self) -> int:
        return len(self.labels)

    def only(self, rows: NDArray[np.int64]) -> "Split":
        """Those of its examples alone, ``rows`` being places in this split, in ascending order.

        They are parts of one file: the digest is still that of the whole split.
        """
        return replace(
            self,
            labels=self.labels[rows],
            attributes={column: values[rows] for column, values in self.attributes.items()},
            _rows=self._rows[rows],
        )

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
        return prefetched(self._batches(size, side, channels))

    def _batches(self, size: int, side: int, channels: int) -> Iterator[NDArray[np.uint8]]:
        batch: list[NDArray[np.uint8]] = []
        broken: list[str] = []
        for row in self.rows():
            image = decode(row.content, side, channels)
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
            texts = (text for batch in self.texts(_TEXTS) for text in batch)
            return [hashlib.sha256(text.encode()).hexdigest() for text in texts]
        digests: list[str] = []
        broken: list[str] = []
        for row in self.rows():
            image = decode(row.content)
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
    table = open_table(plan)
    classes = _classes(plan, table)
    labels = _labels(plan, table.columns[plan.label], classes)
    attributes = {column: _attribute(plan, column, table) for column in plan.attributes}
    if plan.keep is not None:
        labels = _relabelled(name, labels, classes, plan.keep)
        classes = plan.keep
    rows = np.arange(len(labels))
    if plan.shard:
        rows = rows[plan.shard.index :: plan.shard.count]
    rows = rows[labels[rows] >= 0]
    if plan.long_tailed:
        rows = rows[_long_tail(labels[rows], len(classes), plan.long_tailed)]
    _require_examples(name, plan, labels[rows], classes)
    # where the file lies and what is claimed of it change no number
    settings = plan.model_dump(mode="json", exclude={"path", "balanced", "minimum_group"})
    return Split(
        name=name,
        plan=plan,
        classes=classes,
        labels=labels[rows].astype(np.int64),
        attributes={column: values[rows] for column, values in attributes.items()},
        digest=digest_of_json({"file": table.digest, "plan": settings}),
        _source=table,
        _rows=rows,
    )


def _attribute(plan: SplitPlan, column: str, table: Table) -> NDArray[np.str_]:
    values = table.columns[column]
    if empty := [row for row, value in enumerate(values) if value is None or value == ""]:
        raise DataError(
            f"{plan.path}: {column} is empty in {len(empty)} rows, the first is row {empty[0]}"
        )
    return np.array([str(value) for value in values])


def _relabelled(
    name: str, labels: NDArray[np.int64], classes: tuple[str, ...], wanted: tuple[str, ...]
) -> NDArray[np.int64]:
    """Labels as indices into the wanted classes; -1 for all others."""
    for label in wanted:
        if label not in classes:
            raise DataError(
                f"splits.{name}.keep: unknown class {label!r}; {nearest(label, classes)}"
            )
    order = np.full(len(classes), -1)
    order[[classes.index(label) for label in wanted]] = np.arange(len(wanted))
    return order[labels]


def _require_examples(
    name: str, plan: SplitPlan, labels: NDArray[np.int64], classes: tuple[str, ...]
) -> None:
    if not len(labels):
        raise DataError(f"{plan.path}: nothing is left for split {name!r}; see keep and shard")
    if absent := sorted(set(range(len(classes))) - set(labels.tolist())):
        raise DataError(
            f"{plan.path}: class {classes[absent[0]]!r} has no example in split {name!r}"
            + (f", nor have {len(absent) - 1} others" if len(absent) > 1 else "")
            + "; add some or leave it out by keep"
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


def _classes(plan: SplitPlan, source: Table) -> tuple[str, ...]:
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


def _undecodable(split: Split, names: list[str]) -> DataError:
    return DataError(
        f"{split.plan.path}: {len(names)} of {len(split)} images do not decode, the first is "
        f"{names[0]}; replace or remove them"
    )
