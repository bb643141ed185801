"""Operators that move, cut, join or retype tensors. Most only change how stored axes are read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from edgegen.exporters import calls
from edgegen.exporters.calls import RefusedError
from edgegen.exporters.decompositions import pad_widths
from edgegen.exporters.lowering import sizes_of
from edgegen.exporters.tflite import layout
from edgegen.exporters.tflite.graph import Tensor
from edgegen.exporters.tflite.writer import NO_ACTIVATION, Context, Value, as_torch

_SPLIT_PARTS = 4  # what XNNPACK cuts at most at once


def to_dtype(context: Context, call: calls.To) -> Value:
    """Lower a cast; integers are all of 32 bits."""
    if context.is_floating:
        return context.writer.floating(call.x)
    return context.writer.cast(call.x, "bool" if call.dtype == torch.bool else "int32")


def reshape(context: Context, call: Any) -> Value:
    """Lower a reshape, or a new or lost axis of size 1, without moving numbers where that can be.

    A value whose numbers lie in another order than the reshape needs is transposed first.
    """
    return _reshaped(context, context.writer.value(call.x))


def _reshaped(context: Context, argument: Value) -> Value:
    writer, new = context.writer, context.sizes
    order = layout.reshaped(argument.shape, new, argument.order)
    if order is None:
        return as_torch(writer.reshape(writer.plain(argument), new))
    tensor = writer.reshape(argument.tensor, layout.stored(new, order))
    return Value(tensor=tensor, order=order)


def permute(context: Context, call: calls.Permute) -> Value:
    """Lower a permutation of the axes: nothing moves, they are read in another order."""
    argument = context.writer.value(call.x)
    moved = [axis % len(call.axes) for axis in call.axes]
    order = tuple(moved.index(axis) for axis in argument.order)
    return Value(tensor=argument.tensor, order=order)


def expand(context: Context, call: calls.Expand) -> Value:
    writer = context.writer
    argument = writer.value(call.x)
    new = context.sizes
    order = layout.widened(argument.order, len(new))
    tensor = writer.arrange(argument, order)
    target = layout.stored(new, order)
    if tensor.shape != target:
        tensor = writer.op(
            "BROADCAST_TO",
            [tensor, writer.integers(*target)],
            target,
            dtype=tensor.dtype,
            version=2,
        )
    return Value(tensor=tensor, order=order)


def cut(context: Context, value: Value, axis: int, start: int, size: int) -> Value:
    """Append the slice of `size` entries from `start` along a logical axis."""
    writer = context.writer
    place = value.order.index(axis)
    begins = [0] * len(value.order)
    begins[place] = start
    sizes = list(value.tensor.shape)
    sizes[place] = size
    result = writer.op(
        "SLICE",
        [value.tensor, writer.integers(*begins), writer.integers(*sizes)],
        sizes,
        dtype=value.dtype,
        options_type="SliceOptions",
    )
    return Value(tensor=result, order=value.order)


def slice_(context: Context, call: calls.Slice) -> Value:
    argument = context.writer.value(call.x)
    if call.step != 1:
        raise RefusedError("a step other than 1")
    new = context.sizes
    axis = call.axis % len(new)
    first = int(call.start) if isinstance(call.start, int) else 0
    if first < 0:
        first = max(0, first + argument.shape[axis])
    return cut(context, argument, axis, first, new[axis])


def select(context: Context, call: calls.Select) -> Value:
    argument = context.writer.value(call.x)
    axis = call.axis % len(argument.order)
    chosen = cut(context, argument, axis, call.index % argument.shape[axis], 1)
    return _reshaped(context, chosen)


def cat(context: Context, call: calls.Cat) -> Value:
    """Lower the joining of tensors along an axis, in the order of the largest."""
    writer = context.writer
    convert = writer.floating if context.is_floating else writer.integer
    parts = [convert(part) for part in call.parts]
    order = max(parts, key=lambda part: math.prod(part.tensor.shape)).order
    tensors = [writer.arrange(part, order) for part in parts]
    return Value(tensor=join(context, tensors, order.index(call.axis % len(order))), order=order)


def join(context: Context, tensors: Sequence[Tensor], place: int) -> Tensor:
    """Append the joining of tensors along a stored axis."""
    shape = list(tensors[0].shape)
    shape[place] = sum(tensor.shape[place] for tensor in tensors)
    return context.writer.op(
        "CONCATENATION",
        tensors,
        shape,
        dtype=tensors[0].dtype,
        options_type="ConcatenationOptions",
        axis=place,
        fusedActivationFunction=NO_ACTIVATION,
    )


def pieces(context: Context, value: Value, axis: int, sizes: Sequence[int]) -> tuple[Value, ...]:
    """Append the cutting of a value along a logical axis."""
    if len(set(sizes)) == 1 and 1 < len(sizes) <= _SPLIT_PARTS:
        writer = context.writer
        place = value.order.index(axis)
        shape = list(value.tensor.shape)
        shape[place] = sizes[0]
        parts = writer.op_many(
            "SPLIT",
            [writer.constant(place, "int32"), value.tensor],
            [shape] * len(sizes),
            dtype=value.dtype,
            options_type="SplitOptions",
            numSplits=len(sizes),
        )
        return tuple(Value(tensor=part, order=value.order) for part in parts)
    starts = np.cumsum([0, *sizes[:-1]])
    return tuple(
        cut(context, value, axis, int(start), size)
        for start, size in zip(starts, sizes, strict=True)
    )


def split(context: Context, call: calls.Split) -> tuple[Value, ...]:
    shapes = [sizes_of(shape) for shape in context.result_shapes]
    axis = call.axis % len(shapes[0])
    argument = context.writer.value(call.x)
    return pieces(context, argument, axis, [shape[axis] for shape in shapes])


def pad(context: Context, call: calls.Pad) -> Value:
    if call.fill:
        raise RefusedError("a padding other than zeros")
    argument = context.writer.floating(call.x)
    return padded(context, argument, *pad_widths(call.widths, len(argument.order)))


def padded(context: Context, value: Value, begins: Sequence[int], ends: Sequence[int]) -> Value:
    """Append zeros before and behind logical axes."""
    writer = context.writer
    pairs = [(begins[axis], ends[axis]) for axis in value.order]
    shape = [
        before + size + behind
        for (before, behind), size in zip(pairs, value.tensor.shape, strict=True)
    ]
    table = writer.constant(np.array(pairs, dtype=np.int32), "int32")
    result = writer.op("PAD", [value.tensor, table], shape, options_type="PadOptions")
    return Value(tensor=result, order=value.order)


def index(context: Context, call: calls.Index) -> Value:
    """Lower the look-up of entries by vectors of indices over the leading axes."""
    writer = context.writer
    source = writer.plain(writer.value(call.x))
    columns = []
    for position in call.indices:
        column = writer.integer(position)
        columns.append(writer.reshape(writer.plain(column), (*column.shape, 1)))
    positions = join(context, columns, len(columns[0].shape) - 1)
    result = writer.op(
        "GATHER_ND",
        [source, positions],
        context.sizes,
        dtype=source.dtype,
        options_type="GatherNdOptions",
    )
    return as_torch(result)
