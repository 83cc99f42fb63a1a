"""Whether a backbone gives an example one answer, whenever and beside whatever it is passed.

A graph in training mode does not: Dropout draws, and BatchNorm takes its statistics of the batch.
What is measured of such a backbone is a matter of chance, or of the order of the examples.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from gate.arrays import Float64, Images, Int64
from gate.backbone.backbone import Backbone
from gate.errors import BackboneError

# Of what examples differ by, root mean square: a batch of another size may be computed otherwise.
# float32 on CPUs moves by up to 1e-6; bfloat16 lies up to 0.016 from float32, float16 0.002.
BOUND = 0.02
_ROUNDING = 1e-4  # where an operator is found that puts rows together, rounding alone
_FLOOR = 1e-3  # of the size of outputs: what differs by less is not looked at by itself
_NAMED = 3  # operators, at the most, that a message names

_Given = dict[str, Float64]  # outputs (N, D), by their name


@dataclass(frozen=True)
class _Difference:
    """How far two answers to the same examples lie apart, as a share of what examples differ by."""

    output: str
    share: float


def require_stable(backbone: Backbone, examples: Images | list[str]) -> None:
    """Refuse a backbone whose answers depend on chance, or on a batch's other rows.

    A batch is passed twice, then in reverse order, and some of its examples alone.

    Args:
        backbone: Is tried, its own head's logits too.
        examples: A batch of N images ``(N, S, S, C)`` or of texts; of one, nothing but chance can
            be told.

    Raises:
        BackboneError: Says how far answers differ, and by which operator, if one is found.
    """
    count = len(examples)
    first = _given(backbone, examples)
    again = _difference(first, _given(backbone, examples), np.arange(count))
    drawn = _named(backbone, "chance") if again.share > 0 else ""
    # what draws at random is refused however little it adds: no evidence would come twice
    if drawn or again.share > BOUND:
        # batch statistics in training mode may be kept from pass to pass, too
        named = drawn or _named(backbone, "batch")
        raise BackboneError(
            f"{backbone.plan.path}: one batch, passed twice, gives two answers: {again.output} "
            f"differ by {again.share:.2g} of what {backbone.plan.takes} differ by{named}; export "
            "it in evaluation mode (model.eval()), or without noise"
        )
    if count == 1:
        return
    order = np.arange(count)[::-1]
    back = _difference(first, _given(backbone, _at(examples, order)), order)
    _require(backbone, back, f"in a batch of {count} and in the same batch in another order")
    for row in _rows(examples):
        alone = _difference(first, _alone(backbone, examples, row), np.array([row]))
        _require(backbone, alone, f"alone and in a batch of {count}")


def _require(backbone: Backbone, found: _Difference, where: str) -> None:
    """Refuse answers that differ by where their example stands."""
    if found.share <= _ROUNDING:
        return
    named = _named(backbone, "batch")
    if not named and found.share <= BOUND:
        return
    do = "export it in evaluation mode (model.eval()), each row by itself"
    if "DynamicQuantize" in named:
        do = "say batch_size: 1 in the plan, or quantise it with ranges that are fixed"
    elif backbone.plan.text:
        do += ", and with attention_mask among its inputs, so that padding plays no part"
    kind = backbone.plan.takes[:-1]
    raise BackboneError(
        f"{backbone.plan.path}: {found.output} of one {kind} {where} differ, by {found.share:.2g} "
        f"of what {backbone.plan.takes} differ by, which no rounding does (at most {BOUND:g}, or "
        f"{_ROUNDING:g} with such an operator): rows depend on each other{named}; {do}"
    )


def _given(backbone: Backbone, examples: Images | list[str]) -> _Given:
    """What the backbone gives for a batch, by the name of the output."""
    if isinstance(examples, list):
        outputs = backbone.outputs(backbone.tokens(examples))
    else:
        outputs = backbone.outputs(backbone.inputs(examples))
    given = {"features": outputs.features, "logits": outputs.logits}
    return {
        name: values.reshape(len(values), -1).astype(np.float64)
        for name, values in given.items()
        if values is not None
    }


def _alone(backbone: Backbone, examples: Images | list[str], row: int) -> _Given:
    """What it gives for one example alone, or beside its copies where it takes no single one."""
    try:
        return _given(backbone, _at(examples, np.array([row])))
    except BackboneError:  # a batch of another size, which is refused where it is met
        pass
    try:
        copies = _given(backbone, _at(examples, np.full(len(examples), row)))
    except BackboneError as fault:
        kind = backbone.plan.takes[:-1]
        raise BackboneError(
            f"{backbone.plan.path}: gives what it should for {len(examples)} {kind}s, and not for "
            f"copies of one of them: its rows depend on each other{_named(backbone, 'batch')}; "
            f"export it in evaluation mode (model.eval()) ({fault})"
        ) from fault
    return {name: values[:1] for name, values in copies.items()}


def _at(examples: Images | list[str], rows: Int64) -> Images | list[str]:
    """The examples at these places of a batch."""
    if isinstance(examples, list):
        return [examples[row] for row in rows]
    return np.ascontiguousarray(examples[rows])


def _rows(examples: Images | list[str]) -> list[int]:
    """Places of two examples that are passed alone; of texts, the shortest has most padding."""
    middle = len(examples) // 2
    if isinstance(examples, list):
        return [int(np.argmin([len(text) for text in examples])), middle]
    return [0, middle]


def _difference(batch: _Given, other: _Given, rows: Int64) -> _Difference:
    """The output whose answers differ most, those to a batch and others to some rows of it.

    Each of the D numbers of an output is divided by what examples of the batch differ by in it,
    as heads on standardised features do.
    """
    found = [_Difference(name, 0.0) for name in batch]
    for place, (name, values) in enumerate(batch.items()):
        size = np.sqrt((values**2).mean())
        spread = np.maximum(values.std(axis=0), _FLOOR * size)  # (D,)
        moved = other[name] - values[rows]
        if moved.any():
            share = np.sqrt(((moved / np.maximum(spread, np.finfo(np.float64).tiny)) ** 2).mean())
            found[place] = _Difference(name, float(share))
    return max(found, key=lambda each: each.share)


def _named(backbone: Backbone, by: Literal["chance", "batch"]) -> str:
    """The operators of the graph that may be at fault, for a message; nothing where none is."""
    names = [each.name for each in backbone.unstable_operators() if each.by == by]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f" ({', '.join(names[:_NAMED])}{more})" if names else ""
