"""ONNX operators in torch: one table, from an operator's name to a function.

Inputs of an operator are positional, None where one is left out; attributes are named after a
star, with the standard's default; an attribute that is not named there is refused. Two names are no
attributes: ``opset``, the version of the standard set that the model states, and ``outputs``, how
many a node has. Opsets from 7 on; where a later one made an input of an attribute, both are read.

Rounding is for arithmetic on shapes: it refuses values that depend on the images, since a gradient
through it would be zero and say nothing. Operators with graphs inside them are left out.

Source:
    github.com/onnx/onnx, docs/Operators.md and docs/Changelog.md.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor
from torch.nn import functional

Computed = Tensor | tuple[Tensor, ...]
Operator = Callable[..., Computed]

_TYPES = {
    getattr(onnx.TensorProto, name): kind
    for name, kind in {
        "FLOAT": torch.float32,
        "FLOAT16": torch.float16,
        "BFLOAT16": torch.bfloat16,
        "DOUBLE": torch.float64,
        "INT8": torch.int8,
        "UINT8": torch.uint8,
        "INT16": torch.int16,
        "INT32": torch.int32,
        "INT64": torch.int64,
        "BOOL": torch.bool,
    }.items()
}


def tensor_of(stored: onnx.TensorProto) -> Tensor:
    """A tensor of a model, which nothing else shares.

    Raises:
        ValueError: It is of a type that this file has no operators for.
    """
    if stored.data_type not in _TYPES:
        kind = onnx.helper.tensor_dtype_to_string(stored.data_type)
        raise ValueError(f"tensor {stored.name!r} is of type {kind}")
    values = onnx.numpy_helper.to_array(stored)
    if stored.data_type == onnx.TensorProto.BFLOAT16:  # which numpy has not
        return torch.from_numpy(values.astype(np.float32)).bfloat16()
    return torch.from_numpy(np.array(values))


def _ints(values: Tensor | Sequence[int] | None) -> list[int] | None:
    """Whole numbers, from an attribute or from an input."""
    if isinstance(values, Tensor):
        values = values.tolist()
    return None if values is None else [int(each) for each in values]


def _required(values: list[int] | None, what: str) -> list[int]:
    if values is None:
        raise ValueError(f"{what} is missing")
    return values


# --- numbers one by one ---------------------------------------------------------------------------


def _clip(
    x: Tensor,
    low: Tensor | None = None,
    high: Tensor | None = None,
    *,
    min: float | None = None,  # noqa: A002  # the attribute's name
    max: float | None = None,  # noqa: A002
) -> Tensor:
    least, most = (min, max) if low is None and high is None else (low, high)
    return x if least is None and most is None else torch.clamp(x, least, most)  # type: ignore[arg-type]  # both kinds are taken


def _leaky_relu(x: Tensor, *, alpha: float = 0.01) -> Tensor:
    return functional.leaky_relu(x, alpha)


def _prelu(x: Tensor, slope: Tensor) -> Tensor:
    return torch.where(x < 0, slope * x, x)


def _elu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    return functional.elu(x, alpha)


def _celu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    return functional.celu(x, alpha)


def _selu(
    x: Tensor, *, alpha: float = 1.6732631921768188, gamma: float = 1.0507010221481323
) -> Tensor:
    return gamma * functional.elu(x, alpha)


def _hard_sigmoid(x: Tensor, *, alpha: float = 0.2, beta: float = 0.5) -> Tensor:
    return torch.clamp(alpha * x + beta, 0, 1)


def _gelu(x: Tensor, *, approximate: str = "none") -> Tensor:
    return functional.gelu(x, approximate=approximate)


def _swish(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    return x * torch.sigmoid(alpha * x)


def _div(a: Tensor, b: Tensor) -> Tensor:
    whole = not a.is_floating_point()
    return torch.div(a, b, rounding_mode="trunc" if whole else None)


def _pow(a: Tensor, b: Tensor) -> Tensor:
    # a square by a tensor would have the gradient of a power, which is NaN at zero for some
    power: Any = b.item() if b.numel() == 1 and b.ndim <= a.ndim else b
    return torch.pow(a, power).to(a.dtype)


def _mod(a: Tensor, b: Tensor, *, fmod: int = 0) -> Tensor:
    return torch.fmod(a, b) if fmod else torch.remainder(a, b)


def _over(pair: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    """An operator on any number of tensors, from one on two."""

    def over(first: Tensor, *more: Tensor) -> Tensor:
        for each in more:
            first = pair(first, each)
        return first

    return over


def _mean(*each: Tensor) -> Tensor:
    return torch.as_tensor(sum(each)) / len(each)


def _stepped(rounded: Callable[[Tensor], Tensor]) -> Operator:
    """Rounding, for arithmetic on shapes alone."""

    def operator(x: Tensor) -> Tensor:
        if x.requires_grad:
            raise ValueError("it rounds what depends on the images, which has no slope")
        return rounded(x)

    return operator


def _cast(x: Tensor, *, to: int, saturate: int = 1) -> Tensor:
    return x.to(_TYPES[to])


def _cast_like(x: Tensor, like: Tensor, *, saturate: int = 1) -> Tensor:
    return x.to(like.dtype)


def _dropout(
    x: Tensor,
    _ratio: Tensor | None = None,
    training: Tensor | None = None,
    *,
    ratio: float = 0.5,
    seed: int = 0,
) -> tuple[Tensor, ...]:
    if training is not None and bool(training):
        raise ValueError("it is in training mode")
    return x, torch.ones_like(x, dtype=torch.bool)


def _cum_sum(x: Tensor, axis: Tensor, *, exclusive: int = 0, reverse: int = 0) -> Tensor:
    along = int(axis)
    ordered = x.flip(along) if reverse else x
    sums = ordered.cumsum(along, dtype=x.dtype)
    if exclusive:
        sums = sums - ordered
    return sums.flip(along) if reverse else sums


# --- shapes ---------------------------------------------------------------------------------------


def _shape(x: Tensor, *, start: int = 0, end: int | None = None) -> Tensor:
    return torch.tensor(x.shape[start:end], dtype=torch.int64)


def _size(x: Tensor) -> Tensor:
    return torch.tensor(x.numel())


def _reshape(x: Tensor, shape: Tensor, *, allowzero: int = 0) -> Tensor:
    sizes = shape.tolist()
    if not allowzero:
        sizes = [x.shape[i] if size == 0 else size for i, size in enumerate(sizes)]
    return x.reshape(sizes)


def _flatten(x: Tensor, *, axis: int = 1) -> Tensor:
    axis = axis + x.ndim if axis < 0 else axis
    return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))


def _transpose(x: Tensor, *, perm: list[int] | None = None) -> Tensor:
    return x.permute(perm if perm is not None else list(range(x.ndim))[::-1])


def _squeeze(x: Tensor, given: Tensor | None = None, *, axes: list[int] | None = None) -> Tensor:
    dropped = _ints(given if given is not None else axes)
    if dropped is None:
        return x.squeeze()
    if any(x.shape[axis] != 1 for axis in dropped):
        raise ValueError(f"axes {dropped} of shape {tuple(x.shape)} are not all of size 1")
    return x.squeeze(tuple(dropped))


def _unsqueeze(x: Tensor, given: Tensor | None = None, *, axes: list[int] | None = None) -> Tensor:
    added = _required(_ints(given if given is not None else axes), "axes")
    rank = x.ndim + len(added)
    for axis in sorted(each % rank for each in added):
        x = x.unsqueeze(axis)
    return x


def _concat(*parts: Tensor, axis: int) -> Tensor:
    return torch.cat(parts, dim=axis)


def _split(
    x: Tensor,
    given: Tensor | None = None,
    *,
    outputs: int,
    axis: int = 0,
    split: list[int] | None = None,
    num_outputs: int | None = None,
) -> tuple[Tensor, ...]:
    sizes = _ints(given if given is not None else split)
    if sizes is None:
        each = -(-x.shape[axis] // (num_outputs or outputs))
        return torch.split(x, each, dim=axis)
    return torch.split(x, sizes, dim=axis)


def _slice(
    x: Tensor,
    starts_given: Tensor | None = None,
    ends_given: Tensor | None = None,
    axes_given: Tensor | None = None,
    steps_given: Tensor | None = None,
    *,
    starts: list[int] | None = None,
    ends: list[int] | None = None,
    axes: list[int] | None = None,
) -> Tensor:
    first = _required(_ints(starts_given if starts_given is not None else starts), "starts")
    last = _required(_ints(ends_given if ends_given is not None else ends), "ends")
    along = _ints(axes_given if axes_given is not None else axes) or list(range(len(first)))
    steps = _ints(steps_given) or [1] * len(first)
    for start, end, axis, step in zip(first, last, along, steps, strict=True):
        wanted = slice(start, end, step)
        if step > 0:
            x = x[(slice(None),) * (axis % x.ndim) + (wanted,)]
            continue
        rows = list(range(*wanted.indices(x.shape[axis])))  # torch has no steps backwards
        x = x.index_select(axis, torch.tensor(rows, dtype=torch.int64, device=x.device))
    return x


def _gather(x: Tensor, indices: Tensor, *, axis: int = 0) -> Tensor:
    axis, size = axis % x.ndim, x.shape[axis]
    flat = indices.reshape(-1).to(torch.int64)
    rows = x.index_select(axis, torch.where(flat < 0, flat + size, flat))
    return rows.reshape((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]))


def _gather_elements(x: Tensor, indices: Tensor, *, axis: int = 0) -> Tensor:
    indices = indices.to(torch.int64)
    return x.gather(axis, torch.where(indices < 0, indices + x.shape[axis], indices))


def _gather_nd(x: Tensor, indices: Tensor, *, batch_dims: int = 0) -> Tensor:
    indices = indices.to(torch.int64)
    if not batch_dims:
        return x[indices.unbind(-1)]
    shared = indices.shape[:batch_dims]
    rows = x.reshape(-1, *x.shape[batch_dims:])
    places = indices.reshape(-1, *indices.shape[batch_dims:])
    picked = [row[place.unbind(-1)] for row, place in zip(rows, places, strict=True)]
    return torch.stack(picked).reshape(*shared, *picked[0].shape)


def _scatter_nd(x: Tensor, indices: Tensor, updates: Tensor, *, reduction: str = "none") -> Tensor:
    if reduction != "none":
        raise ValueError(f"reduction {reduction!r}")
    return x.index_put(indices.to(torch.int64).unbind(-1), updates)


def _expand(x: Tensor, shape: Tensor) -> Tensor:
    sizes = np.broadcast_shapes(tuple(x.shape), tuple(shape.tolist()))
    return x.expand(sizes)


def _tile(x: Tensor, repeats: Tensor) -> Tensor:
    return x.repeat(repeats.tolist())


def _pad(
    x: Tensor,
    given: Tensor | None = None,
    value_given: Tensor | None = None,
    axes: Tensor | None = None,
    *,
    mode: str = "constant",
    pads: list[int] | None = None,
    value: float = 0.0,
) -> Tensor:
    sizes = _required(_ints(given if given is not None else pads), "pads")
    half = len(sizes) // 2
    along = [axis % x.ndim for axis in (_ints(axes) or range(half))]
    if mode == "constant":
        around = [0] * (2 * x.ndim)  # torch begins with the last axis
        for place, axis in enumerate(along):
            last = 2 * (x.ndim - 1 - axis)
            around[last : last + 2] = sizes[place], sizes[place + half]
        filled = value if value_given is None else value_given.item()
        return functional.pad(x, around, value=filled)
    if mode not in ("reflect", "edge", "wrap") or min(sizes) < 0:
        raise ValueError(f"mode {mode!r} with pads {sizes}")
    for place, axis in enumerate(along):
        rows = np.pad(np.arange(x.shape[axis]), (sizes[place], sizes[place + half]), mode)  # type: ignore[call-overload]  # one of three modes
        x = x.index_select(axis, torch.from_numpy(rows).to(x.device))
    return x


def _constant(
    *,
    value: Tensor | None = None,
    value_float: float | None = None,
    value_floats: list[float] | None = None,
    value_int: int | None = None,
    value_ints: list[int] | None = None,
) -> Tensor:
    if value is not None:
        return value
    if value_int is not None or value_ints is not None:
        return torch.tensor(value_ints if value_int is None else value_int, dtype=torch.int64)
    return torch.tensor(value_floats if value_float is None else value_float, dtype=torch.float32)


def _constant_of_shape(shape: Tensor, *, value: Tensor | None = None) -> Tensor:
    filled = torch.zeros(1) if value is None else value
    return filled.reshape(1).expand(math.prod(shape.tolist())).reshape(shape.tolist())


def _range(start: Tensor, limit: Tensor, delta: Tensor) -> Tensor:
    return torch.arange(start.item(), limit.item(), delta.item(), dtype=start.dtype)


# --- sums and products ----------------------------------------------------------------------------


def _reduction(reduced: Callable[[Tensor, list[int], bool], Tensor]) -> Operator:
    """A reduction over axes, which stand in an attribute or, in later opsets, in an input."""

    def operator(
        x: Tensor,
        given: Tensor | None = None,
        *,
        axes: list[int] | None = None,
        keepdims: int = 1,
        noop_with_empty_axes: int = 0,
    ) -> Tensor:
        along = _ints(given if given is not None else axes) or []
        if not along and noop_with_empty_axes:
            return x
        return reduced(x, along or list(range(x.ndim)), bool(keepdims))

    return operator


def _softmax(x: Tensor, *, axis: int | None = None, opset: int) -> Tensor:
    return _on_softmax_axis(torch.softmax, x, axis, opset)


def _log_softmax(x: Tensor, *, axis: int | None = None, opset: int) -> Tensor:
    return _on_softmax_axis(torch.log_softmax, x, axis, opset)


def _on_softmax_axis(
    softmax: Callable[[Tensor, int], Tensor], x: Tensor, axis: int | None, opset: int
) -> Tensor:
    if opset >= 13:
        return softmax(x, -1 if axis is None else axis)
    # before, all axes from that one on were taken together
    return softmax(_flatten(x, axis=1 if axis is None else axis), 1).reshape(x.shape)


def _gemm(
    a: Tensor,
    b: Tensor,
    c: Tensor | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,  # noqa: N803  # the attribute's name
    transB: int = 0,  # noqa: N803
) -> Tensor:
    product = (a.T if transA else a) @ (b.T if transB else b)
    product = product if alpha == 1 else alpha * product
    if c is None:
        return product
    return product + (c if beta == 1 else beta * c)


def _einsum(*operands: Tensor, equation: str) -> Tensor:
    return torch.einsum(equation, *operands)


# --- windows --------------------------------------------------------------------------------------


def _around(
    sizes: Sequence[int],
    reach: list[int],
    strides: list[int],
    auto_pad: str,
    pads: list[int] | None,
    *,
    ceil: bool = False,
) -> list[tuple[int, int]]:
    """What is put before and behind each axis, so that whole windows cover what ONNX says."""
    rank = len(sizes)
    before, behind = (pads or [0] * 2 * rank)[:rank], (pads or [0] * 2 * rank)[rank:]
    if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        lacking = [
            max((-(-size // step) - 1) * step + window - size, 0)
            for size, step, window in zip(sizes, strides, reach, strict=True)
        ]
        small, large = [each // 2 for each in lacking], [each - each // 2 for each in lacking]
        before, behind = (small, large) if auto_pad == "SAME_UPPER" else (large, small)
    elif auto_pad not in ("NOTSET", "VALID"):
        raise ValueError(f"auto_pad {auto_pad!r}")
    around = list(zip(before, behind, strict=True))
    if ceil:
        for axis, (low, high) in enumerate(around):
            step, size = strides[axis], sizes[axis]
            windows = -(-(size + low + high - reach[axis]) // step) + 1
            if (windows - 1) * step >= size + low:  # it would begin behind the image
                windows -= 1
            high = max((windows - 1) * step + reach[axis] - size - low, high)
            around[axis] = low, high
    return around


def _padded(x: Tensor, around: list[tuple[int, int]], value: float = 0.0) -> Tensor:
    if not any(map(any, around)):
        return x
    return functional.pad(x, [each for axis in reversed(around) for each in axis], value=value)


_CONVOLUTIONS: dict[int, Callable[..., Tensor]] = {
    1: functional.conv1d,
    2: functional.conv2d,
    3: functional.conv3d,
}


def _conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: list[int] | None = None,
    group: int = 1,
    kernel_shape: list[int] | None = None,
    pads: list[int] | None = None,
    strides: list[int] | None = None,
) -> Tensor:
    kernel = list(weight.shape[2:])
    if kernel_shape not in (None, kernel):
        raise ValueError(f"kernel_shape {kernel_shape}, and its weights have {kernel}")
    ones = [1] * len(kernel)
    steps, gaps = strides or ones, dilations or ones
    reach = [gap * (size - 1) + 1 for gap, size in zip(gaps, kernel, strict=True)]
    around = _around(x.shape[2:], reach, steps, auto_pad, pads)
    convolution = _CONVOLUTIONS[len(kernel)]
    return convolution(_padded(x, around), weight, bias, steps, 0, gaps, group)


_MAXIMA: dict[int, Callable[..., Tensor]] = {
    1: functional.max_pool1d,
    2: functional.max_pool2d,
    3: functional.max_pool3d,
}
_AVERAGES: dict[int, Callable[..., Tensor]] = {
    1: functional.avg_pool1d,
    2: functional.avg_pool2d,
    3: functional.avg_pool3d,
}


def _max_pool(
    x: Tensor,
    *,
    kernel_shape: list[int],
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: list[int] | None = None,
    pads: list[int] | None = None,
    storage_order: int = 0,
    strides: list[int] | None = None,
) -> Tensor:
    ones = [1] * len(kernel_shape)
    steps, gaps = strides or ones, dilations or ones
    reach = [gap * (size - 1) + 1 for gap, size in zip(gaps, kernel_shape, strict=True)]
    around = _around(x.shape[2:], reach, steps, auto_pad, pads, ceil=bool(ceil_mode))
    padded = _padded(x, around, -math.inf)
    return _MAXIMA[len(kernel_shape)](padded, kernel_shape, steps, 0, gaps)


def _average_pool(
    x: Tensor,
    *,
    kernel_shape: list[int],
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    count_include_pad: int = 0,
    dilations: list[int] | None = None,
    pads: list[int] | None = None,
    strides: list[int] | None = None,
) -> Tensor:
    ones = [1] * len(kernel_shape)
    steps = strides or ones
    if (dilations or ones) != ones:
        raise ValueError(f"dilations {dilations}, and only windows without gaps are averaged")
    sizes, average = x.shape[2:], _AVERAGES[len(kernel_shape)]
    around = _around(sizes, kernel_shape, steps, auto_pad, pads, ceil=bool(ceil_mode))
    means = average(_padded(x, around), kernel_shape, steps)
    if not any(map(any, around)):
        return means
    # a share of each window counts: the image, and what was asked for around it if that counts too
    asked = _around(sizes, kernel_shape, steps, auto_pad, pads)
    counted = torch.ones((1, 1, *sizes), dtype=x.dtype, device=x.device)
    counted = _padded(counted, asked, float(count_include_pad))
    more = [(0, high - known) for (_, high), (_, known) in zip(around, asked, strict=True)]
    return means / average(_padded(counted, more), kernel_shape, steps)


def _global(reduced: Callable[[Tensor, list[int], bool], Tensor]) -> Operator:
    return lambda x: reduced(x, list(range(2, x.ndim)), True)


# --- normalisation --------------------------------------------------------------------------------


def _batch_normalization(
    x: Tensor,
    scale: Tensor,
    shift: Tensor,
    mean: Tensor,
    variance: Tensor,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: int = 0,
) -> Tensor | tuple[Tensor, Tensor, Tensor]:
    if not training_mode:
        return functional.batch_norm(x, mean, variance, scale, shift, eps=epsilon)
    # of weights, which networks without batch normalisation standardise by it
    if x.requires_grad:
        raise ValueError("it is in training mode, so images depend on each other")
    axes = [0, *range(2, x.ndim)]
    now_variance, now_mean = torch.var_mean(x, axes, correction=0)
    y = functional.batch_norm(x, None, None, scale, shift, training=True, eps=epsilon)
    drifted = [
        old * momentum + now * (1 - momentum)
        for old, now in ((mean, now_mean), (variance, now_variance))
    ]
    return y, drifted[0], drifted[1]


def _instance_normalization(
    x: Tensor, scale: Tensor, shift: Tensor, *, epsilon: float = 1e-5
) -> Tensor:
    return functional.instance_norm(x, weight=scale, bias=shift, eps=epsilon)


def _group_normalization(
    x: Tensor,
    scale: Tensor,
    shift: Tensor,
    *,
    num_groups: int,
    epsilon: float = 1e-5,
    stash_type: int = 1,
    opset: int,
) -> Tensor:
    if opset < 21:  # scale and shift are of groups, not of channels
        each = x.shape[1] // num_groups
        scale, shift = scale.repeat_interleave(each), shift.repeat_interleave(each)
    return functional.group_norm(x, num_groups, scale, shift, epsilon)


def _layer_normalization(
    x: Tensor,
    scale: Tensor,
    shift: Tensor | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> Tensor:
    axes = list(range(axis % x.ndim, x.ndim))
    variance, mean = torch.var_mean(x, dim=axes, correction=0, keepdim=True)
    normal = (x - mean) * torch.rsqrt(variance + epsilon) * scale
    return normal if shift is None else normal + shift


def _lp_normalization(x: Tensor, *, axis: int = -1, p: int = 2) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(x, ord=p, dim=axis, keepdim=True)
    return x / length


def _lrn(
    x: Tensor, *, size: int, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0
) -> Tensor:
    return functional.local_response_norm(x, size, alpha, beta, bias)


OPERATORS: dict[str, Operator] = {
    "Abs": torch.abs,
    "Add": torch.add,
    "And": torch.logical_and,
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_normalization,
    "Cast": _cast,
    "CastLike": _cast_like,
    "Ceil": _stepped(torch.ceil),
    "Celu": _celu,
    "Clip": _clip,
    "Concat": _concat,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Conv": _conv,
    "Cos": torch.cos,
    "CumSum": _cum_sum,
    "Div": _div,
    "Dropout": _dropout,
    "Einsum": _einsum,
    "Elu": _elu,
    "Equal": torch.eq,
    "Erf": torch.erf,
    "Exp": torch.exp,
    "Expand": _expand,
    "Flatten": _flatten,
    "Floor": _stepped(torch.floor),
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "Gelu": _gelu,
    "Gemm": _gemm,
    "GlobalAveragePool": _global(torch.mean),
    "GlobalMaxPool": _global(torch.amax),
    "Greater": torch.gt,
    "GreaterOrEqual": torch.ge,
    "GroupNormalization": _group_normalization,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": functional.hardswish,
    "Identity": lambda x: x,
    "InstanceNormalization": _instance_normalization,
    "LRN": _lrn,
    "LayerNormalization": _layer_normalization,
    "LeakyRelu": _leaky_relu,
    "Less": torch.lt,
    "LessOrEqual": torch.le,
    "Log": torch.log,
    "LogSoftmax": _log_softmax,
    "LpNormalization": _lp_normalization,
    "MatMul": torch.matmul,
    "Max": _over(torch.maximum),
    "MaxPool": _max_pool,
    "Mean": _mean,
    "Min": _over(torch.minimum),
    "Mish": functional.mish,
    "Mod": _mod,
    "Mul": torch.mul,
    "Neg": torch.neg,
    "Not": torch.logical_not,
    "Or": torch.logical_or,
    "PRelu": _prelu,
    "Pad": _pad,
    "Pow": _pow,
    "Range": _range,
    "Reciprocal": torch.reciprocal,
    "ReduceL2": _reduction(lambda x, axes, keep: torch.linalg.vector_norm(x, 2, axes, keep)),
    "ReduceMax": _reduction(torch.amax),
    "ReduceMean": _reduction(torch.mean),
    "ReduceMin": _reduction(torch.amin),
    "ReduceSum": _reduction(torch.sum),
    "Relu": torch.relu,
    "Reshape": _reshape,
    "Round": _stepped(torch.round),
    "ScatterND": _scatter_nd,
    "Selu": _selu,
    "Shape": _shape,
    "Sigmoid": torch.sigmoid,
    "Sin": torch.sin,
    "Size": _size,
    "Slice": _slice,
    "Softmax": _softmax,
    "Softplus": functional.softplus,
    "Softsign": functional.softsign,
    "Split": _split,
    "Sqrt": torch.sqrt,
    "Squeeze": _squeeze,
    "Sub": torch.sub,
    "Sum": _over(torch.add),
    "Swish": _swish,
    "Tanh": torch.tanh,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Where": torch.where,
}
