"""Operators that move, cut, join or retype tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from edgegen.exporters.capture import Axis
from edgegen.exporters.openvino.graph import ElementType, Value
from edgegen.exporters.openvino.operators.context import Context
from edgegen.exporters.openvino.writer import FLOATS
from edgegen.exporters.operators import exchanged, pad_widths

_INTEGERS: Mapping[torch.dtype, ElementType] = {
    torch.int64: "i64",
    torch.int32: "i32",
    torch.bool: "boolean",
}


def to_dtype(context: Context, value: Any, dtype: torch.dtype, *_: Any, **__: Any) -> Any:
    """Lower a cast; the graph has one floating-point type alone."""
    if not isinstance(value, Value):
        return value
    if dtype.is_floating_point:
        return value if value.dtype in FLOATS else context.writer.floating(value)
    return context.writer.convert(value, _INTEGERS[dtype])


def reshape(context: Context, value: Any, *_: Any) -> Value:
    """Lower a reshape to the traced shape: open axes that stay are copied, one is inferred."""
    writer = context.writer
    argument = writer.value(value)
    old, new = context.shape_of(0), context.result_shape
    if old == new:
        return argument
    target = writer.axes.reshape_target(old, new)
    return writer.op("Reshape", argument, writer.shape_from(target), special_zero=True)


def permute(context: Context, value: Any, axes: Sequence[int]) -> Value:
    """Lower a permutation of the axes."""
    writer = context.writer
    rank = len(axes)
    order = writer.integers(*(axis % rank for axis in axes))
    return writer.op("Transpose", writer.value(value), order)


def transpose(context: Context, value: Any, first: int, second: int) -> Value:
    """Lower the exchange of two axes."""
    axes = exchanged(len(context.result_shape), first, second)
    return permute(context, value, axes)


def t(context: Context, value: Any) -> Value:
    """Lower the transposition of a matrix."""
    return transpose(context, value, 0, 1)


def unsqueeze(context: Context, value: Any, axis: int) -> Value:
    """Lower a new axis of size 1."""
    writer = context.writer
    return writer.op("Unsqueeze", writer.value(value), writer.integers(axis))


def squeeze(context: Context, value: Any, axis: int) -> Value:
    """Lower the removal of an axis of size 1."""
    writer = context.writer
    if len(context.result_shape) == len(context.shape_of(0)):
        return writer.value(value)
    return writer.op("Squeeze", writer.value(value), writer.integers(axis))


def expand(context: Context, value: Any, *_: Any, **__: Any) -> Value:
    """Lower a broadcast to the traced shape."""
    writer = context.writer
    argument = writer.value(value)
    if context.shape_of(0) == context.result_shape:
        return argument
    return writer.op("Broadcast", argument, writer.shape_from(context.result_shape), mode="numpy")


def slice_(
    context: Context,
    value: Any,
    axis: int = 0,
    start: Axis | None = None,
    end: Axis | None = None,
    step: int = 1,
) -> Value:
    """Lower a slice along one axis; one that takes everything is dropped."""
    writer = context.writer
    argument = writer.value(value)
    if step == 1 and context.shape_of(0) == context.result_shape:
        return argument
    first = writer.size(0 if start is None else start)
    behind = writer.size(np.iinfo(np.int64).max if end is None else end)
    return writer.op("Slice", argument, first, behind, writer.integers(step), writer.integers(axis))


def select(context: Context, value: Any, axis: int, index: int) -> Value:
    """Lower the choice of one entry along an axis, which goes."""
    writer = context.writer
    return writer.gather(writer.value(value), writer.integer(index), axis)


def cat(context: Context, values: Sequence[Any], axis: int = 0) -> Value:
    """Lower the joining of tensors along an axis."""
    writer = context.writer
    convert = writer.floating if context.is_floating else writer.value
    return writer.op("Concat", *(convert(value) for value in values), axis=axis)


def split(context: Context, value: Any, _: Any, axis: int = 0) -> Sequence[Value]:
    """Lower the cutting into parts: the traced shapes say where."""
    writer = context.writer
    sizes = [shape[axis] for shape in context.capture.shapes[context.node]]
    parts = writer.shape_from(sizes)
    argument = writer.value(value)
    return writer.op_many("VariadicSplit", argument, writer.integer(axis), parts, count=len(sizes))


def constant_pad(context: Context, value: Any, widths: Sequence[int], fill: float = 0.0) -> Value:
    """Lower padding; torch lists the last axis first."""
    writer = context.writer
    begins, ends = pad_widths(widths, len(context.result_shape))
    return writer.op(
        "Pad",
        writer.floating(value),
        writer.integers(*begins),
        writer.integers(*ends),
        writer.floating(fill),
        pad_mode="constant",
    )


def arange(context: Context, end: Axis, **_: Any) -> Value:
    """Lower the numbers from 0 to below a size."""
    writer = context.writer
    stop = writer.op("Squeeze", writer.size(end), writer.integers(0))
    return writer.op("Range", writer.integer(0), stop, writer.integer(1), output_type="i64")


def ones(context: Context, shape: Any, *, dtype: torch.dtype = torch.float32, **_: Any) -> Value:
    """Lower a tensor of ones whose shape the inputs decide."""
    writer = context.writer
    name = str(dtype).removeprefix("torch.")
    one = (
        writer.floating(1.0)
        if dtype.is_floating_point
        else writer.constant(np.asarray(1, dtype=name))
    )
    return writer.op("Broadcast", one, writer.shape_from(context.result_shape), mode="numpy")


def index(context: Context, value: Any, indices: Sequence[Any]) -> Value:
    """Lower the look-up of entries by vectors of indices over the leading axes."""
    writer = context.writer
    if any(position is None for position in indices):
        raise context.refuse("an index over axes that are not the first")
    columns = [
        writer.op("Unsqueeze", writer.value(position), writer.integers(-1)) for position in indices
    ]
    return writer.op(
        "GatherND",
        writer.value(value),
        writer.op("Concat", *columns, axis=-1),
        batch_dims=0,
    )
