"""Facts as text for a terminal: a name, and what was found, line by line."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from textwrap import wrap

from gate.inspection.facts import DataFacts, Features, ModelFacts, Tensor

_WIDTH, _INDENT = 100, 14
_SHOWN = 20


def model_text(facts: ModelFacts) -> str:
    """A model in lines of at most a hundred letters."""
    rows: list[tuple[str, str]] = [
        ("model", facts.path),
        (
            "format",
            " ".join([facts.format, *(f"({facts.producer})" for _ in [0] if facts.producer)]),
        ),
        ("size", f"{facts.bytes:,} bytes"),
        ("digest", facts.digest),
    ]
    if facts.opsets:
        rows.append(("opsets", _counts(facts.opsets)))
    if facts.parameters is not None:
        rows.append(("parameters", f"{facts.parameters:,}"))
    rows += [("input", _tensor(each)) for each in facts.inputs[:_SHOWN]]
    if facts.images:
        images = facts.images
        size = (
            f"{images.size} x {images.size} pixels" if images.size else "of a size it leaves open"
        )
        channels = f"{images.channels} channels" if images.channels else "channels not told"
        rows.append(("images", f"{size}, {channels}, {images.layout or 'layout not told'}"))
    if facts.tensors:
        rows.append(("tensors", _counts(facts.tensors)))
    rows += [
        ("tensor" if facts.format == "weights" else "output", _tensor(each))
        for each in facts.outputs[:_SHOWN]
    ]
    for name, known in (("features", facts.features), ("logits", facts.logits)):
        if known:
            rows.append((name, _features(known)))
    if facts.likely:
        rows.append(("likely", f"{facts.likely}, by the tensors' names alone"))
    rows += [(each.what, each.path) for each in facts.sidecars]
    return _lines([*rows, *_last(facts.refused, facts.notes)])


def data_text(facts: DataFacts) -> str:
    """Data in lines of at most a hundred letters."""
    rows: list[tuple[str, str]] = [("data", facts.path), ("layout", facts.layout)]
    if facts.why:
        rows.append(("why", facts.why))
    if facts.kind:
        what = f"{facts.kind}s"
        rows.append((what, "not counted" if facts.rows is None else f"{facts.rows:,}"))
    for column in facts.columns[:_SHOWN]:
        few = f", {column.distinct} distinct" if column.distinct is not None else ""
        such = f": {', '.join(column.examples)}" if column.examples else ""
        rows.append(("column", f"{column.name} ({column.type}{few}){such}"))
    if len(facts.columns) > _SHOWN:
        rows.append(("", f"and {len(facts.columns) - _SHOWN} more columns"))
    if facts.examples:
        rows.append((f"{facts.kind}s in", facts.examples))
    if facts.label:
        rows.append(("label", facts.label))
    if facts.classes:
        rows.append(("classes", f"{len(facts.classes)}: {_counts(facts.classes)}"))
    if facts.splits:
        where = f"column {facts.split_column}: " if facts.split_column else ""
        known = {name: "?" if rows is None else rows for name, rows in facts.splits.items()}
        rows.append(("splits", where + _counts(known)))
    if facts.attributes:
        rows.append(("attributes", f"{', '.join(facts.attributes)}: may go with the label"))
    if seen := facts.pictures:
        rows.append(("looked at", f"headers of {seen.looked_at} images"))
        rows.append(("sizes", _counts(seen.sizes)))
        rows.append(("modes", _counts(seen.modes)))
        if seen.formats:
            rows.append(("formats", _counts(seen.formats)))
        if seen.turned:
            rows.append(("turned", f"{seen.turned} have an EXIF tag that turns or mirrors them"))
        if seen.unreadable:
            rows.append(("unreadable", f"{seen.unreadable} of those looked at"))
    return _lines([*rows, *_last(facts.refused, facts.notes)])


def _last(refused: Sequence[str], notes: Sequence[str]) -> Iterator[tuple[str, str]]:
    yield from (("refused", each) for each in refused)
    yield from (("note", each) for each in notes)


def shape_of(shape: Sequence[int | str | None] | None) -> str:
    """A shape as it is read.

    >>> shape_of(("N", 3, None)), shape_of(None)
    ('(N, 3, ?)', 'any shape')
    """
    if shape is None:
        return "any shape"
    return f"({', '.join('?' if each is None else str(each) for each in shape)})"


def _tensor(tensor: Tensor) -> str:
    what = f"  {tensor.what}" if tensor.what else ""
    return f"{tensor.name}  {tensor.type} {shape_of(tensor.shape)}{what}"


def _features(features: Features) -> str:
    shape = f" {shape_of(features.shape)}" if features.shape else ""
    return f"{features.name}{shape}: {features.why}"


def _counts(counts: Mapping[str, object]) -> str:
    shown = ", ".join(f"{name} {count}" for name, count in islice(counts.items(), _SHOWN))
    return shown + (f", and {len(counts) - _SHOWN} more" if len(counts) > _SHOWN else "")


def _lines(rows: Sequence[tuple[str, str]]) -> str:
    lines = []
    for name, content in rows:
        parts = wrap(content, _WIDTH - _INDENT, break_on_hyphens=False) or [""]
        lines.append(f"{name:<{_INDENT}}{parts[0]}".rstrip())
        lines += [" " * _INDENT + part for part in parts[1:]]
    return "\n".join(lines) + "\n"
