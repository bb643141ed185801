"""Operators that move, cut, join or retype tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import torch

from edgegen.exporters.capture import Axis
from edgegen.exporters.onnx.operators.context import Context
from edgegen.exporters.onnx.writer import DTYPES, FLOATS
from edgegen.exporters.operators import exchanged, pad_widths


def to_dtype(context: Context, value: Any, dtype: torch.dtype, *_: Any, **__: Any) -> Any:
    """Lower a cast; which floating-point type is used is the recipe's business."""
    if not isinstance(value, ir.Value):
        return value
    if dtype.is_floating_point:
        return value if value.dtype in FLOATS else context.writer.floating(value)
    return context.writer.cast(value, DTYPES[str(dtype).removeprefix("torch.")])


def reshape(context: Context, value: Any, *_: Any) -> ir.Value:
    """Lower a reshape to the traced shape: open axes that stay are copied, one is inferred."""
    writer = context.writer
    argument = writer.value(value)
    if id(argument) in writer.packed:
        return argument
    old, new = context.shape_of(0), context.result_shape
    if old == new:
        return argument
    target = writer.axes.reshape_target(old, new)
    return writer.op("Reshape", argument, writer.shape_from(target))


def permute(context: Context, value: Any, axes: Sequence[int]) -> ir.Value:
    """Lower a permutation of the axes."""
    rank = len(axes)
    return context.writer.op(
        "Transpose", context.writer.value(value), perm=[axis % rank for axis in axes]
    )


def transpose(context: Context, value: Any, first: int, second: int) -> ir.Value:
    """Lower the exchange of two axes."""
    argument = context.writer.value(value)
    if id(argument) in context.writer.packed:
        return argument
    axes = exchanged(len(context.result_shape), first, second)
    return context.writer.op("Transpose", argument, perm=axes)


def t(context: Context, value: Any) -> ir.Value:
    """Lower the transposition of a matrix."""
    return transpose(context, value, 0, 1)


def unsqueeze(context: Context, value: Any, axis: int) -> ir.Value:
    """Lower a new axis of size 1."""
    writer = context.writer
    return writer.op("Unsqueeze", writer.value(value), writer.integers(axis))


def squeeze(context: Context, value: Any, axis: int) -> ir.Value:
    """Lower the removal of an axis of size 1."""
    writer = context.writer
    if len(context.result_shape) == len(context.shape_of(0)):
        return writer.value(value)
    return writer.op("Squeeze", writer.value(value), writer.integers(axis))


def expand(context: Context, value: Any, *_: Any, **__: Any) -> ir.Value:
    """Lower a broadcast to the traced shape."""
    writer = context.writer
    argument = writer.value(value)
    if context.shape_of(0) == context.result_shape:
        return argument
    return writer.op("Expand", argument, writer.shape_from(context.result_shape))


def slice_(
    context: Context,
    value: Any,
    axis: int = 0,
    start: Axis | None = None,
    end: Axis | None = None,
    step: int = 1,
) -> ir.Value:
    """Lower a slice along one axis; one that takes everything is dropped."""
    writer = context.writer
    argument = writer.value(value)
    if step == 1 and context.shape_of(0) == context.result_shape:
        return argument
    first = writer.size(0 if start is None else start)
    behind = writer.size(np.iinfo(np.int64).max if end is None else end)
    return writer.op("Slice", argument, first, behind, writer.integers(axis), writer.integers(step))


def select(context: Context, value: Any, axis: int, index: int) -> ir.Value:
    """Lower the choice of one entry along an axis, which goes."""
    writer = context.writer
    position = writer.constant(np.asarray(index, dtype=np.int64))
    return writer.op("Gather", writer.value(value), position, axis=axis)


def cat(context: Context, values: Sequence[Any], axis: int = 0) -> ir.Value:
    """Lower the joining of tensors along an axis."""
    writer = context.writer
    convert = writer.floating if context.is_floating else writer.value
    return writer.op("Concat", *(convert(value) for value in values), axis=axis)


def split(context: Context, value: Any, _: Any, axis: int = 0) -> Sequence[ir.Value]:
    """Lower the cutting into parts: the traced shapes say where."""
    writer = context.writer
    sizes = [shape[axis] for shape in context.capture.shapes[context.node]]
    parts = writer.shape_from(sizes)
    return writer.op_many("Split", writer.value(value), parts, count=len(sizes), axis=axis)


def constant_pad(
    context: Context, value: Any, widths: Sequence[int], fill: float = 0.0
) -> ir.Value:
    """Lower padding; torch lists the last axis first, ONNX all beginnings, then all ends."""
    writer = context.writer
    begins, ends = pad_widths(widths, len(context.result_shape))
    return writer.op(
        "Pad", writer.floating(value), writer.integers(*begins, *ends), writer.floating(fill)
    )


def arange(context: Context, end: Axis, **_: Any) -> ir.Value:
    """Lower the numbers from 0 to below a size."""
    writer = context.writer
    first = writer.constant(np.asarray(0, dtype=np.int64))
    step = writer.constant(np.asarray(1, dtype=np.int64))
    return writer.op("Range", first, writer.op("Squeeze", writer.size(end)), step)


def ones(context: Context, shape: Any, *, dtype: torch.dtype = torch.float32, **_: Any) -> ir.Value:
    """Lower a tensor of ones whose shape the inputs decide."""
    writer = context.writer
    name = str(dtype).removeprefix("torch.")
    one = (
        writer.floating(1.0)
        if dtype.is_floating_point
        else writer.constant(np.asarray(1, dtype=name))
    )
    return writer.op("Expand", one, writer.shape_from(context.result_shape))


def index(context: Context, value: Any, indices: Sequence[Any]) -> ir.Value:
    """Lower the look-up of entries by vectors of indices over the leading axes."""
    writer = context.writer
    if any(position is None for position in indices):
        raise context.refuse("an index over axes that are not the first")
    columns = [
        writer.op("Unsqueeze", writer.value(position), writer.integers(-1)) for position in indices
    ]
    return writer.op("GatherND", writer.value(value), writer.op("Concat", *columns, axis=-1))
