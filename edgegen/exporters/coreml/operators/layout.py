"""Operators that move, cut, join or retype tensors.

What only counts the numbers of a sequence in another way costs nothing where they lie as the
Neural Engine wants them: see `graph.Layout`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import torch

from edgegen.exporters import calls
from edgegen.exporters.calls import RefusedError
from edgegen.exporters.coreml.graph import Layout, Value
from edgegen.exporters.coreml.writer import MOST_AXES, Context
from edgegen.exporters.decompositions import pad_widths
from edgegen.exporters.lowering import sizes_of

_TO_CHANNELS_LAST, _TO_CHANNELS_FIRST = (0, 2, 3, 1), (0, 3, 1, 2)


def to_dtype(context: Context, call: calls.To) -> Value:
    writer = context.writer
    if context.is_floating:
        return writer.cast(call.x, writer.compute)
    return writer.cast(call.x, "bool" if call.dtype == torch.bool else "int32")


def reshape(context: Context, call: calls.Reshape) -> Value:
    writer = context.writer
    new = context.sizes
    if isinstance(call.x, Value):
        moved = _reshaped_in_place(context, call.x, new)
        if moved is not None:
            return moved
    return writer.reshaped(writer.value(call.x), new)


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


def permute(context: Context, call: calls.Permute) -> Value:
    writer, value = context.writer, call.x
    order = tuple(axis % len(call.axes) for axis in call.axes)
    new = context.sizes
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
    if len(order) > MOST_AXES:
        return _permuted_in_two_steps(context, writer.value(value), order)
    return writer.op("transpose", x=writer.value(value), perm=list(order), result=new)


def _permuted_in_two_steps(context: Context, value: Value, order: tuple[int, ...]) -> Value:
    """Permute six axes by two permutations of five, in each of which two neighbours are one axis.

    `unpatchify` of diffusion transformers is such a permutation.
    """
    writer, middle = context.writer, _middle_of(order)
    sizes = dict(enumerate(value.shape))
    before = tuple(range(len(order)))
    for after in (middle, order):
        pair = next(pair for pair in itertools.pairwise(before) if _neighbours(pair, after))
        old = [axis for axis in before if axis != pair[1]]
        merged = {**sizes, pair[0]: sizes[pair[0]] * sizes[pair[1]]}
        flat = writer.reshaped(value, tuple(merged[axis] for axis in old))
        new = [axis for axis in after if axis != pair[1]]
        value = writer.op(
            "transpose",
            x=flat,
            perm=[old.index(axis) for axis in new],
            result=tuple(merged[axis] for axis in new),
        )
        before = after
    return writer.reshaped(value, context.sizes)


def _middle_of(order: tuple[int, ...]) -> tuple[int, ...]:
    """Return an order that shares neighbours with the plain one and with `order`."""
    for middle in itertools.permutations(range(len(order))):
        if any(_neighbours(pair, middle) for pair in itertools.pairwise(range(len(order)))) and any(
            _neighbours(pair, order) for pair in itertools.pairwise(middle)
        ):
            return middle
    raise RefusedError("a permutation of more than six axes")


def _neighbours(pair: tuple[int, int], order: tuple[int, ...]) -> bool:
    return pair in itertools.pairwise(order)


def unsqueeze(context: Context, call: calls.Unsqueeze) -> Value:
    writer, new = context.writer, context.sizes
    axis = call.axis % len(new)
    return writer.op("expand_dims", x=writer.value(call.x), axes=[axis], result=new)


def squeeze(context: Context, call: calls.Squeeze) -> Value:
    writer, argument = context.writer, context.writer.value(call.x)
    axis = call.axis % len(argument.shape)
    return writer.op("squeeze", x=argument, axes=[axis], result=context.sizes)


def expand(context: Context, call: calls.Expand) -> Value:
    return context.writer.spread(context.writer.value(call.x), context.sizes)


def slice_(context: Context, call: calls.Slice) -> Value:
    writer, axis = context.writer, call.axis
    argument = writer.value(call.x)
    first, behind, _ = slice(call.start, call.end, call.step).indices(argument.shape[axis])
    rank = len(argument.shape)
    begins, ends, steps = [0] * rank, list(argument.shape), [1] * rank
    begins[axis], ends[axis], steps[axis] = first, behind, call.step
    return writer.op(
        "slice_by_index", x=argument, begin=begins, end=ends, stride=steps, result=context.sizes
    )


def select(context: Context, call: calls.Select) -> Value:
    writer, axis = context.writer, call.axis
    argument = writer.value(call.x)
    rank = len(argument.shape)
    begins, ends = [0] * rank, list(argument.shape)
    begins[axis] = call.index % argument.shape[axis]
    ends[axis] = begins[axis] + 1
    squeezed = [position == axis % rank for position in range(rank)]
    return writer.op(
        "slice_by_index",
        x=argument,
        begin=begins,
        end=ends,
        squeeze_mask=squeezed,
        result=context.sizes,
    )


def cat(context: Context, call: calls.Cat) -> Value:
    writer, new = context.writer, context.sizes
    convert = writer.floating if context.is_floating else writer.value
    return writer.op(
        "concat",
        values=[convert(part) for part in call.parts],
        axis=call.axis % len(new),
        interleave=False,
        result=new,
    )


def split(context: Context, call: calls.Split) -> Sequence[Value]:
    writer, value = context.writer, call.x
    shapes = [sizes_of(shape) for shape in context.result_shapes]
    cut = [shape[call.axis] for shape in shapes]
    rank = len(shapes[0])
    axis = call.axis % rank
    if isinstance(value, Value) and value.layout == "channels-first" and axis == rank - 1:
        return writer.op_many(
            "split", x=value, split_sizes=cut, axis=1, results=shapes, layout="channels-first"
        )
    return writer.op_many(
        "split", x=writer.value(value), split_sizes=cut, axis=axis, results=shapes
    )


def pad(context: Context, call: calls.Pad) -> Value:
    writer, new = context.writer, context.sizes
    begins, ends = pad_widths(call.widths, len(new))
    pads = [width for both in zip(begins, ends, strict=True) for width in both]
    return writer.op(
        "pad",
        x=writer.floating(call.x),
        pad=pads,
        mode="constant",
        constant_val=float(call.fill),
        result=new,
    )


def index(context: Context, call: calls.Index) -> Value:
    """Lower the look-up of entries by vectors of indices over the leading axes."""
    writer = context.writer
    columns = [writer.cast(writer.value(position), "int32") for position in call.indices]
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
    return writer.gather("gather_nd", writer.value(call.x), joined, context.sizes, batch_dims=0)
