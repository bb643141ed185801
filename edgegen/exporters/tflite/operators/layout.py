"""Operators that move, cut, join or retype tensors. Most only change how stored axes are read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from edgegen.exporters.capture import Axis
from edgegen.exporters.lowering import Parameter
from edgegen.exporters.operators import exchanged, pad_widths
from edgegen.exporters.tflite import layout
from edgegen.exporters.tflite.graph import Tensor
from edgegen.exporters.tflite.operators.context import Context, fixed
from edgegen.exporters.tflite.storage import STORED
from edgegen.exporters.tflite.writer import NO_ACTIVATION, Value

_SPLIT_PARTS = 4  # what XNNPACK cuts at most at once


def to_dtype(context: Context, value: Any, dtype: torch.dtype, *_: Any, **__: Any) -> Any:
    """Lower a cast; integers are all of 32 bits, and floating-point types the recipe's business."""
    if not isinstance(value, Value):
        return value
    if dtype.is_floating_point:
        return context.writer.floating(value)
    if dtype == torch.bool:
        return context.writer.cast(value, "bool")
    return context.writer.cast(value, "int32")


def constant(context: Context, *_: Any, **__: Any) -> Value:
    """Refuse numbers that depend on no input and yet were not folded."""
    raise context.refuse("more numbers than are folded")


def reshape(context: Context, value: Any, *_: Any) -> Value:
    """Lower a reshape, or a new or lost axis of size 1, without moving numbers where that can be.

    A value whose numbers lie in another order than the reshape needs is transposed first.
    """
    writer = context.writer
    argument = writer.value(value)
    new = fixed(context, context.result_shape)
    order = layout.reshaped(argument.shape, new, argument.order)
    if order is None:
        order, tensor = layout.plain(len(new)), writer.plain(argument)
    else:
        tensor = argument.tensor
    return Value(tensor=writer.reshape(tensor, layout.stored(new, order)), order=order)


def permute(context: Context, value: Any, axes: Sequence[int]) -> Value:
    """Lower a permutation of the axes: nothing moves, they are read in another order."""
    argument = context.writer.value(value)
    moved = [axis % len(axes) for axis in axes]
    order = tuple(moved.index(axis) for axis in argument.order)
    return Value(tensor=argument.tensor, order=order)


def transpose(context: Context, value: Any, first: int, second: int) -> Value:
    """Lower the exchange of two axes."""
    return permute(context, value, exchanged(len(context.result_shape), first, second))


def t(context: Context, value: Any) -> Value:
    """Lower the transposition of a matrix."""
    return transpose(context, value, 0, 1)


def expand(context: Context, value: Any, *_: Any, **__: Any) -> Value:
    """Lower a broadcast to the traced shape."""
    writer = context.writer
    argument = writer.value(value)
    new = fixed(context, context.result_shape)
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


def slice_(
    context: Context,
    value: Any,
    axis: int = 0,
    start: Axis | None = None,
    end: Axis | None = None,
    step: int = 1,
) -> Value:
    """Lower a slice along one axis; one that takes everything is dropped."""
    argument = context.writer.value(value)
    if step != 1:
        raise context.refuse("a step other than 1")
    new = fixed(context, context.result_shape)
    if argument.shape == new:
        return argument
    axis %= len(new)
    first = int(start) if isinstance(start, int) else 0
    if first < 0:
        first = max(0, first + argument.shape[axis])
    return cut(context, argument, axis, first, new[axis])


def select(context: Context, value: Any, axis: int, index: int) -> Value:
    """Lower the choice of one entry along an axis, which goes."""
    argument = context.writer.value(value)
    axis %= len(argument.order)
    chosen = cut(context, argument, axis, index % argument.shape[axis], 1)
    return reshape(context, chosen)


def cat(context: Context, values: Sequence[Any], axis: int = 0) -> Value:
    """Lower the joining of tensors along an axis, in the order of the largest."""
    writer = context.writer
    convert = writer.floating if context.is_floating else writer.integer
    parts = [convert(value) for value in values]
    order = max(parts, key=lambda part: math.prod(part.tensor.shape)).order
    tensors = [writer.arrange(part, order) for part in parts]
    return Value(tensor=join(context, tensors, order.index(axis % len(order))), order=order)


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


def split(context: Context, value: Any, sizes: Any, axis: int = 0) -> tuple[Value, ...]:
    """Lower the cutting into parts: the traced shapes say where."""
    shapes = [fixed(context, shape) for shape in context.capture.shapes[context.node]]
    axis %= len(shapes[0])
    argument = context.writer.value(value)
    return pieces(context, argument, axis, [shape[axis] for shape in shapes])


def constant_pad(context: Context, value: Any, widths: Sequence[int], fill: float = 0.0) -> Value:
    """Lower padding with zeros; torch lists the last axis first."""
    if fill:
        raise context.refuse("a padding other than zeros")
    argument = context.writer.floating(value)
    return padded(context, argument, *pad_widths(widths, len(argument.order)))


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


def index(context: Context, value: Any, indices: Sequence[Any]) -> Value:
    """Lower the look-up of entries by vectors of indices over the leading axes."""
    if any(position is None for position in indices):
        raise context.refuse("an index over axes that are not the first")
    writer = context.writer
    source = writer.plain(writer.value(value))
    columns = []
    for position in indices:
        column = writer.integer(position)
        columns.append(writer.reshape(writer.plain(column), (*column.shape, 1)))
    positions = join(context, columns, len(columns[0].shape) - 1)
    result = writer.op(
        "GATHER_ND",
        [source, positions],
        fixed(context, context.result_shape),
        dtype=source.dtype,
        options_type="GatherNdOptions",
    )
    return Value(tensor=result, order=layout.plain(len(result.shape)))


def embedding(context: Context, weight: Any, indices: Any, padding_idx: int = -1, *_: Any) -> Value:
    """Lower a look-up of rows.

    EMBEDDING_LOOKUP reads rows of integers with a scale each, so that the table is never widened.
    """
    writer = context.writer
    shape = fixed(context, context.result_shape)
    if not isinstance(weight, Parameter):
        raise context.refuse("a table that is not a weight")
    everything = np.arange(weight.shape[0])
    if isinstance(indices, torch.Tensor) and np.array_equal(indices.flatten(), everything):
        rows = writer.weight(weight)
    else:
        positions = writer.integer(indices)
        flat = writer.reshape(writer.plain(positions), (math.prod(positions.shape),))
        rows_shape = (math.prod(positions.shape), weight.shape[1])
        if STORED[writer.storage_for(weight)].is_scaled:
            table = writer.stored_weight(weight)
            rows = writer.op("EMBEDDING_LOOKUP", [flat, table], rows_shape, version=3)
        else:
            table = writer.weight(weight)
            rows = writer.op(
                "GATHER", [table, flat], rows_shape, options_type="GatherOptions", axis=0
            )
    return Value(tensor=writer.reshape(rows, shape), order=layout.plain(len(shape)))
