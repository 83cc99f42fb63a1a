"""Split: images or texts, with labels and attributes, streamed.

A stream is decoded, used, dropped, so memory does not grow with the number of examples.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from gate.data.class_names import ClassNames, class_names
from gate.data.images import decode, format_of, oddities
from gate.data.near_duplicates import (
    Pair,
    near_duplicates,
    sketch_of_image,
    sketch_of_text,
)
from gate.data.prefetch import prefetched
from gate.data.readers import open_table
from gate.data.source import Row, Table, rows_where
from gate.errors import DataError, PlanError
from gate.files import digest_of_json
from gate.plan.backbone import SQUASHED, Resizing
from gate.plan.split import SplitPlan
from gate.printable import require_printable
from gate.strict_yaml import nearest

Content = TypeVar("Content")


class Summary(NamedTuple):
    """What tells an example from others.

    ``digest`` is the SHA-256 of a text, or of an image's pixels at its own size, however encoded;
    ``sketch`` is the same for examples that merely look or read the same.
    """

    digest: str
    sketch: bytes


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

    @property
    def has_sorted_classes(self) -> bool:
        """Whether neither the plan nor the file says in which order classes stand."""
        stated = self.plan.classes or self.plan.keep or self._source.class_names
        return stated is None

    @property
    def file_rows(self) -> NDArray[np.int64]:
        """``(N,)`` the row of each example in its file, from 0."""
        return self._rows

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

    def rows(self) -> Generator[Row, None, None]:
        """The kept examples as they stand in the file, not decoded."""
        wanted = iter(self._rows)
        following = next(wanted, None)
        # closed, so that the file is hashed again where its last rows are not wanted
        with closing(self._source.rows()) as rows:
            for index, row in enumerate(rows):
                if index == following:
                    yield row() if callable(row) else row
                    following = next(wanted, None)
                    if following is None:
                        return
        raise DataError(
            f"{self.plan.path}: ended before row {following}; was it changed meanwhile?"
        )

    def batches(
        self, size: int, side: int, channels: int, resizing: Resizing = SQUASHED
    ) -> Iterator[NDArray[np.uint8]]:
        """Decoded images in batches; the next batch is decoded while this one is used.

        Args:
            size: Images a batch.
            side: Height and width that images are resized to, in pixels.
            channels: 3 for RGB, 1 for grey.
            resizing: How they come to that side.

        Returns:
            ``(n, side, side, channels)`` uint8, n = ``size`` but for the last batch.

        Raises:
            DataError: Some image does not decode; names the first and counts all.
        """
        return prefetched(
            np.stack(b) for b in _batched(self._images(side, channels, resizing), size)
        )

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
        return _batched(self._texts(), size)

    @cached_property
    def summaries(self) -> list[Summary]:
        """What tells each example from others, by one pass through all of them.

        Raises:
            DataError: Some text is empty, or some image does not decode; names the first and counts
                all.
        """
        if self.plan.text:
            return [
                Summary(hashlib.sha256(text.encode()).hexdigest(), sketch_of_text(text))
                for text in self._texts()
            ]
        return [
            Summary(
                hashlib.sha256("x".join(map(str, i.shape)).encode() + i.tobytes()).hexdigest(),
                sketch_of_image(i),
            )
            for i in self._images()
        ]

    @property
    def digests(self) -> list[str]:
        """The digest of each example; see ``summaries``."""
        return [summary.digest for summary in self.summaries]

    def near_duplicates_of(self, train: "Split") -> list[Pair]:
        """Its examples that nearly are one of a training split, and are not equal to one."""
        equal = {summary.digest for summary in train.summaries}
        sketches = [[summary.sketch for summary in split.summaries] for split in (train, self)]
        pairs = near_duplicates(self.plan.kind, *sketches)
        # what is equal fails a check of its own
        return [pair for pair in pairs if self.summaries[pair.test].digest not in equal]

    def names(self, places: Iterable[int]) -> dict[int, str]:
        """What the file calls some of the examples, by their places in this split."""
        wanted = set(places)
        return {place: row.name for place, row in enumerate(self.rows()) if place in wanted}

    @cached_property
    def remarks(self) -> tuple[str, ...]:
        """What somebody who reads a number should know of the examples, a sentence each.

        It follows from the split's files alone.
        """
        said = [*self._source.remarks, *self._odd_images()]
        return tuple(f"{self.name}: {each}" for each in said)

    def _odd_images(self) -> Iterator[str]:
        counts: Counter[str] = Counter()
        if self.plan.text:
            return
        with closing(self.rows()) as rows:
            for row in rows:
                if not isinstance(row.content, bytes):
                    return  # pixels, which have nothing to be decoded
                counts.update(oddities(row.content))
        loader, clips = self._source.loader, self.plan.sixteen_bit == "clip"
        turned = "turned by it" if self._turns else "left as they are stored"
        other = "stored" if self._turns else "exif"
        if self._turns == (self._source.orientation == "exif"):
            turned += f", as {loader} does; say orientation: {other} in the plan for the other"
        else:
            turned += f", as the plan says; {loader} would not do so"
        says = {
            "orientation": f"have an EXIF orientation tag, and were {turned}",
            "16 bits": "are grey of more than 8 bits, "
            + (
                "and all above 255 became white, as in Pillow, torchvision and datasets; say "
                "sixteen_bit: scale in the plan, or save them with 8 bits"
                if clips
                else "and were divided by 257 where they have 16, as the plan says"
            ),
            "transparency": "have transparency, which was dropped, as Pillow does: the colours "
            "behind it show",
            "palette": "have a palette, and were converted to its colours",
            "CMYK": "are CMYK, and were converted to RGB without a colour profile, as Pillow does",
        }
        for kind, words in says.items():
            if counts[kind]:
                yield f"{counts[kind]} of {len(self)} images {words}"

    @property
    def _turns(self) -> bool:
        return (self.plan.orientation or self._source.orientation) == "exif"

    def _images(self, *wanted: Any) -> Iterator[NDArray[np.uint8]]:
        """Decoded images; of a side, and so many channels, resized in a way, if that is stated."""
        turns, scales = self._turns, self.plan.sixteen_bit == "scale"

        def read(row: Row) -> NDArray[np.uint8] | None:
            return decode(row.content, *wanted, turns=turns, scales=scales)

        return self._sound(read, "images do not decode", "replace or remove them")

    def _texts(self) -> Iterator[str]:
        return self._sound(_text, "texts are empty", "fill them in or remove the rows")

    def _sound(
        self, read: Callable[[Row], Content | None], fault: str, remedy: str
    ) -> Iterator[Content]:
        """What is read of each row, until one gives None; the rest is gone through to count these.

        Raises:
            DataError: Some row gives None; names the first and counts all.
        """
        unsound: list[str] = []
        for row in self.rows():
            content = read(row)
            if content is None:
                unsound.append(row.name + (format_of(row.content) if not unsound else ""))
            elif not unsound:
                yield content
        if unsound:
            raise DataError(
                f"{self.plan.path}: {len(unsound)} of {len(self)} {fault}, the first is "
                f"{unsound[0]}; {remedy}"
            )


def open_split(name: str, plan: SplitPlan) -> Split:
    """Read labels and attributes; images and texts are read when they are asked for.

    Raises:
        DataError: Missing file or column, label out of range, unknown class, class without
            examples, or no example at all.
    """
    table = open_table(plan)
    rows = rows_where(plan, table.columns)
    values = _filled(plan, plan.label, table, rows)
    named = class_names(plan, table.class_names, values)
    classes = named.classes
    labels = np.full(len(table.columns[plan.label]), -1)
    labels[rows] = _labels(plan, values, rows, named)
    attributes = {column: _attribute(plan, column, table, rows) for column in plan.attributes}
    if plan.keep is not None:
        labels = _relabelled(name, labels, classes, plan.keep)
        classes = plan.keep
    if plan.shard:
        rows = rows[plan.shard.index :: plan.shard.count]
    rows = rows[labels[rows] >= 0]
    if plan.long_tailed:
        rows = rows[_long_tail(labels[rows], len(classes), plan.long_tailed)]
    _require_examples(name, plan, labels[rows], classes)
    shown = {column: values[rows] for column, values in attributes.items()}
    _require_printable(plan, {plan.label: classes, **shown})
    # where files lie and what is claimed of them change no number
    unused = {"path", "classes", "balanced", "minimum_group"}
    settings = plan.model_dump(mode="json", exclude=unused)
    digest = digest_of_json({"file": table.digest, "plan": settings, "classes": named.settings})
    whole = Split(name, plan, classes, labels, attributes, digest, table, np.arange(len(labels)))
    return whole.only(rows)


def require_same_writing(train: Split, test: Split) -> None:
    """Refuse attributes that have the same values in both splits, written differently.

    They would be different groups: 0 and 1 beside 0.0 and 1.0, or yes beside Yes.

    Raises:
        DataError: Shows how both are written.
    """
    for column in train.attributes.keys() & test.attributes.keys():
        ours, theirs = (set(split.attributes[column].tolist()) for split in (train, test))
        alone = {_meant(value) for value in ours - theirs}
        if any(_meant(value) in alone for value in theirs - ours):
            shown = [", ".join(map(repr, sorted(values)[:5])) for values in (ours, theirs)]
            raise DataError(
                f"{column}: is written {shown[0]} in split {train.name}, and {shown[1]} in split "
                f"{test.name}, which would be different groups; write both alike"
            )


def _meant(value: str) -> float | str:
    plain = value.strip().lower()
    try:
        return float({"true": "1", "false": "0"}.get(plain, plain))
    except ValueError:
        return plain


def _attribute(
    plan: SplitPlan, column: str, table: Table, rows: NDArray[np.int64]
) -> NDArray[np.str_]:
    """``(N,)`` words; those of rows that are not wanted are empty."""
    values = dict(zip(rows.tolist(), _filled(plan, column, table, rows), strict=True))
    return np.array([str(values.get(row, "")) for row in range(len(table.columns[column]))])


def _filled(plan: SplitPlan, column: str, table: Table, rows: NDArray[np.int64]) -> list[Any]:
    """The wanted values of a column that has one in each; NaN, which equals nothing, is none."""
    values = table.columns[column]
    empty = [
        row
        for row in rows.tolist()
        if (x := values[row]) is None or str(x).isspace() or x in ("",) or x != x
    ]
    if empty:
        raise DataError(
            f"{plan.path}: {column} is empty in {len(empty)} rows, the first is row {empty[0]}; "
            "fill them in or remove the rows"
        )
    return [values[row] for row in rows.tolist()]


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


def _require_printable(plan: SplitPlan, names: Mapping[str, Iterable[str]]) -> None:
    """Refuse names of classes and attributes that would not show as what they are."""
    for column, values in names.items():
        for name in dict.fromkeys(values):
            try:
                require_printable(name, lines=False)
            except ValueError as fault:
                raise DataError(f"{plan.path}: {column}: {fault}") from fault


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


def _labels(
    plan: SplitPlan, values: list[Any], rows: NDArray[np.int64], named: ClassNames
) -> NDArray[np.int64]:
    labels = np.empty(len(values), np.int64)
    for place, (row, value) in enumerate(zip(rows.tolist(), values, strict=True)):
        found = named.place(value)
        if found is None:
            raise DataError(f"{plan.path}: row {row} has label {value!r}{named.refusal(value)}")
        labels[place] = found
    return labels


def _text(row: Row) -> str | None:
    return row.content if isinstance(row.content, str) and row.content.strip() else None


def _batched(items: Iterator[Content], size: int) -> Iterator[list[Content]]:
    while batch := list(islice(items, size)):
        yield batch
