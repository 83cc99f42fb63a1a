"""The linear layers of a network, read off the steps that it computes, whatever its format.

Channels between two layers are *hidden* where everything that reads them works on each channel by
itself, up to further linear layers: then they can be permuted, and rescaled where the steps allow
it, and the network computes the same.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Literal, NamedTuple

import numpy as np

from gate.arrays import Array, Float64

# flattening: from maps to one axis, on which each channel's places stay together
Kind = Literal[
    "convolution", "linear", "normalisation", "channelwise", "flattening", "other", "shape"
]
_ALONG = ("normalisation", "channelwise", "flattening")


class Step(NamedTuple):
    """One operation of a network.

    Args:
        kind: What it does to channels; ``shape`` reads no number of what it is given.
        name: What people call it.
        reads: Names of the values that it reads; weights and other constants are left out.
        gives: Name of the value that it gives.
        weight: ``(O, I, ...)`` of a convolution or a linear step.
        parameter: Where the weight is held, so that one held for two steps is known.
        scale: ``(C,)``, what a normalisation multiplies channels by.
    """

    kind: Kind
    name: str
    reads: tuple[str, ...]
    gives: str
    weight: Array | None = None
    parameter: str = ""
    scale: Array | None = None


class Site(NamedTuple):
    """A value inside a network, and the axis that its channels are on: 1 of maps, else -1."""

    value: str
    axis: int


class Layer(NamedTuple):
    """A convolution or linear layer, a normalisation right behind it taken in.

    Args:
        name: What people call it.
        weight: ``(O, I, P)`` float64: output channels, input channels, places of the kernel.
        reads: Where its input channels are; None for the input of the network.
        gives: Where its output channels are, as far on as each is worked on by itself.
        readers: Places, among the layers, of those that alone read its output channels; none where
            something else reads them, too.
    """

    name: str
    weight: Float64
    reads: Site | None
    gives: Site
    readers: tuple[int, ...]


def layers_of(steps: Sequence[Step], images: Collection[str], wanted: str) -> list[Layer]:
    """The layers that a value is computed by, in their order.

    Grouped convolutions are none; one with a kernel for each channel is a step on each by itself.

    Args:
        steps: All that the network computes, each behind what it reads.
        images: Names of what the network is given.
        wanted: The value, such as the features; what it alone needs is looked at.

    Raises:
        ValueError: No layer is among them.
    """
    needed = _needed(steps, wanted)
    linear = [step for step in needed if step.weight is not None]
    if not linear:
        raise ValueError(f"{wanted!r} is computed without a convolution or linear layer")
    places = {step.gives: place for place, step in enumerate(linear)}
    tied = {name for name, count in Counter(step.parameter for step in linear).items() if count > 1}
    flows = [_flow(step, needed, wanted) for step in linear]
    weights = [_folded(step, flow) for step, flow in zip(linear, flows, strict=True)]
    layers = []
    for step, flow in zip(linear, flows, strict=True):
        readers = [places[reader.gives] for reader in flow.readers]
        is_hidden = flow.is_closed and not tied & {each.parameter for each in (step, *flow.readers)}
        if is_hidden:
            for place in readers:  # a flattened map: its places are those of a kernel
                weights[place] = weights[place].reshape(len(weights[place]), len(step.weight), -1)  # type: ignore[arg-type]  # a layer has one
        reads = None if step.reads[0] in images else Site(step.reads[0], _axis(step.kind))
        layers.append((step.name, reads, flow.site, tuple(readers) if is_hidden else ()))
    return [
        Layer(name, weight, reads, site, readers)
        for (name, reads, site, readers), weight in zip(layers, weights, strict=True)
    ]


class _Flow(NamedTuple):
    """Where the output channels of a layer go."""

    site: Site  # the last value in which each was worked on by itself
    readers: list[Step]  # layers
    is_closed: bool  # whether nothing but layers reads them
    normalisation: Step | None  # right behind the layer, and alone


def _needed(steps: Sequence[Step], wanted: str) -> list[Step]:
    names, needed = {wanted}, []
    for step in reversed(steps):
        if step.gives in names:
            names.update(step.reads)
            needed.append(step)
    return needed[::-1]


def _axis(kind: Kind) -> int:
    return 1 if kind == "convolution" else -1


def _flow(layer: Step, steps: Sequence[Step], wanted: str) -> _Flow:
    """Follow the output channels of a layer."""
    axes = {layer.gives: _axis(layer.kind)}  # of values whose channels are these, by name
    last, readers, is_closed = layer.gives, [], True
    for step in steps:
        ours = [name for name in step.reads if name in axes]
        if not ours or step.kind == "shape":
            continue
        if step.weight is not None:
            readers.append(step)
            is_closed = is_closed and _fits(layer, step, axes[ours[0]])
        elif step.kind in _ALONG and len(ours) == len(step.reads):
            axes[step.gives] = -1 if step.kind == "flattening" else axes[ours[0]]
            last = step.gives
        else:
            is_closed = False
    behind = [step for step in steps if layer.gives in step.reads and step.kind != "shape"]
    alone = len(behind) == 1 and layer.gives != wanted
    normalisation = behind[0] if alone and behind[0].kind == "normalisation" else None
    is_closed = is_closed and bool(readers) and wanted not in axes
    return _Flow(Site(last, axes[last]), readers, is_closed, normalisation)


def _fits(layer: Step, reader: Step, axis: int) -> bool:
    """Whether a layer reads the channels of another as channels, or each one's places in a row."""
    assert layer.weight is not None and reader.weight is not None  # noqa: S101  # they are layers
    channels, read = len(layer.weight), reader.weight.shape[1]
    if axis != _axis(reader.kind):
        return False
    return read == channels or (
        layer.kind == "convolution" and reader.kind == "linear" and read % channels == 0
    )


def _folded(layer: Step, flow: _Flow) -> Float64:
    """The weight ``(O, I, P)``, times what a normalisation right behind it multiplies by."""
    assert layer.weight is not None  # noqa: S101  # it is a layer
    weight = np.asarray(layer.weight, np.float64)
    weight = weight.reshape(*weight.shape[:2], -1)
    if flow.normalisation is not None and flow.normalisation.scale is not None:
        weight = weight * np.asarray(flow.normalisation.scale, np.float64)[:, None, None]
    return weight


def by_channel(values: Array, channels: int) -> Float64:
    """Values ``(N, C)`` of flattened maps ``(N, C * P)``, a mean over places; others as they are.

    >>> by_channel(np.array([[1.0, 3.0, 5.0, 5.0]]), 2).tolist()
    [[2.0, 5.0]]
    """
    rows = np.asarray(values, np.float64)
    return np.asarray(rows.reshape(len(rows), channels, -1).mean(axis=2))
