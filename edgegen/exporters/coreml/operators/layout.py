"""Operators that move, cut, join or retype tensors.

What only says anew how the numbers of a sequence are counted costs nothing where they lie as the
Neural Engine wants them: see `graph.Layout`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from edgegen.exporters.coreml.graph import Layout, Value
from edgegen.exporters.coreml.operators.context import Context, result_of, sizes
from edgegen.exporters.coreml.writer import FLOATS
from edgegen.exporters.operators import exchanged, pad_widths

_TO_CHANNELS_LAST, _TO_CHANNELS_FIRST = (0, 2, 3, 1), (0, 3, 1, 2)


def to_dtype(context: Context, value: Any, dtype: torch.dtype, *_: Any, **__: Any) -> Any:
    """Lower a cast; between floating-point types there is none but what layers ask for."""
    if not isinstance(value, Value):
        return value
    if dtype.is_floating_point:
        return value if value.kind in FLOATS else context.writer.cast(value, context.writer.compute)
    return context.writer.cast(value, "bool" if dtype == torch.bool else "int32")


def reshape(context: Context, value: Any, *_: Any) -> Value:
    """Lower a reshape to the traced shape."""
    writer = context.writer
    new = result_of(context)
    if isinstance(value, Value):
        if value.shape == new:
            return value
        moved = _reshaped_in_place(context, value, new)
        if moved is not None:
            return moved
    return writer.op("reshape", x=writer.value(value), shape=list(new), result=new)


def _reshaped_in_place(context: Context, value: Value, new: tuple[int, ...]) -> Value | None:
    """Return a value that lies as the Neural Engine wants it in another shape, without a move."""
    writer, old = context.writer, value.shape
    if value.layout == "heads" and new == (*old[:2], old[2] * old[3]):
        return writer.relabelled(value, new, "channels-first")
    if value.layout != "channels-first":
        return None
    if len(old) == 3 and len(new) == 4 and new[:2] == old[:2] and new[2] * new[3] == old[2]:
        return writer.relabelled(value, new, "heads")
    if new[0] == old[0] and new[-1] == old[-1] and len(new) in (3, 4):
        stored = Value(name="", kind=value.kind, shape=new, layout="channels-first").stored_shape
        return writer.op(
            "reshape", x=value, shape=list(stored), result=new, layout="channels-first"
        )
    return None


def permute(context: Context, value: Any, axes: Sequence[int]) -> Value:
    """Lower a permutation of the axes."""
    writer = context.writer
    order = tuple(axis % len(axes) for axis in axes)
    new = result_of(context)
    if isinstance(value, Value):
        if value.layout == "plain" and order == _TO_CHANNELS_LAST and writer.split_attention:
            return writer.relabelled(value, new, "channels-first")
        if value.layout == "channels-first" and order == _TO_CHANNELS_FIRST:
            return writer.relabelled(value, new, "plain")
        relabelled: dict[Layout, Layout] = {"heads": "heads-first", "heads-first": "heads"}
        if order == (0, 2, 1, 3) and value.layout in relabelled:
            return writer.relabelled(value, new, relabelled[value.layout])
        if order == (0, 2, 1) and value.layout == "channels-first":
            return writer.op("squeeze", x=value, axes=[2], result=new)
        if order == (0, 2, 1) and value.layout == "plain" and writer.split_attention:
            return writer.op("expand_dims", x=value, axes=[2], result=new, layout="channels-first")
    return writer.op("transpose", x=writer.value(value), perm=list(order), result=new)


def transpose(context: Context, value: Any, first: int, second: int) -> Value:
    """Lower the exchange of two axes."""
    return permute(context, value, exchanged(len(context.result_shape), first, second))


def t(context: Context, value: Any) -> Value:
    """Lower the transposition of a matrix."""
    return transpose(context, value, 0, 1)


def unsqueeze(context: Context, value: Any, axis: int) -> Value:
    """Lower a new axis of size 1."""
    writer, new = context.writer, result_of(context)
    return writer.op("expand_dims", x=writer.value(value), axes=[axis % len(new)], result=new)


def squeeze(context: Context, value: Any, axis: int) -> Value:
    """Lower the removal of an axis of size 1."""
    writer, new = context.writer, result_of(context)
    argument = writer.value(value)
    if argument.shape == new:
        return argument
    return writer.op("squeeze", x=argument, axes=[axis % len(argument.shape)], result=new)


def expand(context: Context, value: Any, *_: Any, **__: Any) -> Value:
    """Lower a broadcast to the traced shape."""
    writer, new = context.writer, result_of(context)
    argument = writer.value(value)
    if argument.shape == new:
        return argument
    missing = len(new) - len(argument.shape)
    if missing:
        shape = (*[1] * missing, *argument.shape)
        argument = writer.op("expand_dims", x=argument, axes=list(range(missing)), result=shape)
    times = [size // old for size, old in zip(new, argument.shape, strict=True)]
    return writer.op("tile", x=argument, reps=times, result=new)


def slice_(
    context: Context,
    value: Any,
    axis: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> Value:
    """Lower a slice along one axis; one that takes everything is dropped."""
    writer, new = context.writer, result_of(context)
    argument = writer.value(value)
    if argument.shape == new:
        return argument
    first, behind, _ = slice(start, end, step).indices(argument.shape[axis])
    rank = len(argument.shape)
    begins, ends, steps = [0] * rank, list(argument.shape), [1] * rank
    begins[axis], ends[axis], steps[axis] = first, behind, step
    return writer.op("slice_by_index", x=argument, begin=begins, end=ends, stride=steps, result=new)


def select(context: Context, value: Any, axis: int, index: int) -> Value:
    """Lower the choice of one entry along an axis, which goes."""
    writer, new = context.writer, result_of(context)
    argument = writer.value(value)
    rank = len(argument.shape)
    begins, ends = [0] * rank, list(argument.shape)
    begins[axis] = index % argument.shape[axis]
    ends[axis] = begins[axis] + 1
    squeezed = [position == axis % rank for position in range(rank)]
    return writer.op(
        "slice_by_index",
        x=argument,
        begin=begins,
        end=ends,
        squeeze_mask=squeezed,
        result=new,
    )


def cat(context: Context, values: Sequence[Any], axis: int = 0) -> Value:
    """Lower the joining of tensors along an axis."""
    writer, new = context.writer, result_of(context)
    convert = writer.floating if context.is_floating else writer.value
    return writer.op(
        "concat",
        values=[convert(value) for value in values],
        axis=axis % len(new),
        interleave=False,
        result=new,
    )


def split(context: Context, value: Any, _: Any, axis: int = 0) -> Sequence[Value]:
    """Lower the cutting into parts: the traced shapes say where."""
    writer = context.writer
    shapes = [sizes(context, shape) for shape in context.capture.shapes[context.node]]
    cut = [shape[axis] for shape in shapes]
    rank = len(shapes[0])
    if isinstance(value, Value) and value.layout == "channels-first" and axis % rank == rank - 1:
        return writer.op_many(
            "split", x=value, split_sizes=cut, axis=1, results=shapes, layout="channels-first"
        )
    return writer.op_many(
        "split", x=writer.value(value), split_sizes=cut, axis=axis % rank, results=shapes
    )


def constant_pad(context: Context, value: Any, widths: Sequence[int], fill: float = 0.0) -> Value:
    """Lower padding; torch lists the last axis first."""
    writer, new = context.writer, result_of(context)
    begins, ends = pad_widths(widths, len(new))
    pads = [width for both in zip(begins, ends, strict=True) for width in both]
    return writer.op(
        "pad",
        x=writer.floating(value),
        pad=pads,
        mode="constant",
        constant_val=float(fill),
        result=new,
    )


def folded(context: Context, *_: Any, **__: Any) -> Value:
    """Refuse what is a constant where all axes are fixed, and so never comes here."""
    raise context.refuse("a shape that the inputs decide")


def index(context: Context, value: Any, indices: Sequence[Any]) -> Value:
    """Lower the look-up of entries by vectors of indices over the leading axes."""
    writer, new = context.writer, result_of(context)
    if any(position is None for position in indices):
        raise context.refuse("an index over axes that are not the first")
    columns = [writer.cast(writer.value(position), "int32") for position in indices]
    length = max(math.prod(column.shape) for column in columns)
    stacked = [
        writer.op("reshape", x=column, shape=[length, 1], result=(length, 1))
        if math.prod(column.shape) == length
        else writer.constant(np.zeros((length, 1), np.int32))
        for column in columns
    ]
    joined = writer.op(
        "concat", values=stacked, axis=1, interleave=False, result=(length, len(columns))
    )
    return writer.gather("gather_nd", writer.value(value), joined, new, batch_dims=0)
