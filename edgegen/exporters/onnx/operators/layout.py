"""Operators that move, cut, join or retype tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from edgegen.exporters import calls
from edgegen.exporters.decompositions import exchanged, pad_widths
from edgegen.exporters.onnx.writer import DTYPES, Context


def to_dtype(context: Context, call: calls.To) -> ir.Value:
    if context.is_floating:
        return context.writer.floating(call.x)
    return context.writer.cast(call.x, DTYPES[str(call.dtype).removeprefix("torch.")])


def reshape(context: Context, call: calls.Reshape) -> ir.Value:
    """Lower a reshape to the traced shape: open axes that stay are copied, one is inferred."""
    writer = context.writer
    argument = writer.value(call.x)
    if id(argument) in writer.packed:
        return argument
    target = writer.axes.reshape_target(context.shape_of("x"), context.result_shape)
    return writer.op("Reshape", argument, writer.shape_from(target))


def permute(context: Context, call: calls.Permute) -> ir.Value:
    rank = len(call.axes)
    perm = [axis % rank for axis in call.axes]
    return context.writer.op("Transpose", context.writer.value(call.x), perm=perm)


def transpose(context: Context, call: calls.Transpose) -> ir.Value:
    argument = context.writer.value(call.x)
    if id(argument) in context.writer.packed:
        return argument
    axes = exchanged(len(context.result_shape), call.first, call.second)
    return context.writer.op("Transpose", argument, perm=axes)


def unsqueeze(context: Context, call: calls.Unsqueeze) -> ir.Value:
    writer = context.writer
    return writer.op("Unsqueeze", writer.value(call.x), writer.integers(call.axis))


def squeeze(context: Context, call: calls.Squeeze) -> ir.Value:
    writer = context.writer
    return writer.op("Squeeze", writer.value(call.x), writer.integers(call.axis))


def expand(context: Context, call: calls.Expand) -> ir.Value:
    writer = context.writer
    return writer.op("Expand", writer.value(call.x), writer.shape_from(context.result_shape))


def slice_(context: Context, call: calls.Slice) -> ir.Value:
    writer = context.writer
    argument = writer.value(call.x)
    first = writer.size(0 if call.start is None else call.start)
    behind = writer.size(np.iinfo(np.int64).max if call.end is None else call.end)
    axis, step = writer.integers(call.axis), writer.integers(call.step)
    return writer.op("Slice", argument, first, behind, axis, step)


def select(context: Context, call: calls.Select) -> ir.Value:
    writer = context.writer
    position = writer.constant(np.asarray(call.index, dtype=np.int64))
    return writer.op("Gather", writer.value(call.x), position, axis=call.axis)


def cat(context: Context, call: calls.Cat) -> ir.Value:
    writer = context.writer
    convert = writer.floating if context.is_floating else writer.value
    return writer.op("Concat", *(convert(part) for part in call.parts), axis=call.axis)


def split(context: Context, call: calls.Split) -> Sequence[ir.Value]:
    writer = context.writer
    sizes = [shape[call.axis] for shape in context.result_shapes]
    parts = writer.shape_from(sizes)
    return writer.op_many("Split", writer.value(call.x), parts, count=len(sizes), axis=call.axis)


def pad(context: Context, call: calls.Pad) -> ir.Value:
    """Lower padding; ONNX lists all beginnings, then all ends."""
    writer = context.writer
    begins, ends = pad_widths(call.widths, len(context.result_shape))
    widths = writer.integers(*begins, *ends)
    return writer.op("Pad", writer.floating(call.x), widths, writer.floating(call.fill))


def arange(context: Context, call: calls.Arange) -> ir.Value:
    writer = context.writer
    first = writer.constant(np.asarray(0, dtype=np.int64))
    step = writer.constant(np.asarray(1, dtype=np.int64))
    return writer.op("Range", first, writer.op("Squeeze", writer.size(call.end)), step)


def full(context: Context, call: calls.Full) -> ir.Value:
    writer = context.writer
    number: Any = np.asarray(call.number)
    if not context.is_floating:
        number = number.astype(str(context.dtype).removeprefix("torch."))
    return writer.op("Expand", writer.value(number), writer.shape_from(context.result_shape))


def index(context: Context, call: calls.Index) -> ir.Value:
    """Lower the look-up of entries by vectors of indices over the leading axes."""
    writer = context.writer
    columns = [
        writer.op("Unsqueeze", writer.value(position), writer.integers(-1))
        for position in call.indices
    ]
    return writer.op("GatherND", writer.value(call.x), writer.op("Concat", *columns, axis=-1))
