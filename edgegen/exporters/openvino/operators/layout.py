"""Operators that move, cut, join or retype tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from edgegen.exporters import calls
from edgegen.exporters.decompositions import pad_widths
from edgegen.exporters.openvino.graph import ElementType, Value
from edgegen.exporters.openvino.writer import Context

_INTEGERS: Mapping[torch.dtype, ElementType] = {
    torch.int64: "i64",
    torch.int32: "i32",
    torch.bool: "boolean",
}


def to_dtype(context: Context, call: calls.To) -> Value:
    if context.is_floating:
        return context.writer.floating(call.x)
    return context.writer.convert(call.x, _INTEGERS[context.dtype])


def reshape(context: Context, call: calls.Reshape) -> Value:
    """Lower a reshape to the traced shape: open axes that stay are copied, one is inferred."""
    writer = context.writer
    argument = writer.value(call.x)
    target = writer.axes.reshape_target(context.shape_of("x"), context.result_shape)
    return writer.op("Reshape", argument, writer.shape_from(target), special_zero=True)


def permute(context: Context, call: calls.Permute) -> Value:
    writer = context.writer
    rank = len(call.axes)
    order = writer.integers(*(axis % rank for axis in call.axes))
    return writer.op("Transpose", writer.value(call.x), order)


def unsqueeze(context: Context, call: calls.Unsqueeze) -> Value:
    writer = context.writer
    return writer.op("Unsqueeze", writer.value(call.x), writer.integers(call.axis))


def squeeze(context: Context, call: calls.Squeeze) -> Value:
    writer = context.writer
    return writer.op("Squeeze", writer.value(call.x), writer.integers(call.axis))


def expand(context: Context, call: calls.Expand) -> Value:
    writer = context.writer
    argument = writer.value(call.x)
    return writer.op("Broadcast", argument, writer.shape_from(context.result_shape), mode="numpy")


def slice_(context: Context, call: calls.Slice) -> Value:
    writer = context.writer
    argument = writer.value(call.x)
    first = writer.size(0 if call.start is None else call.start)
    behind = writer.size(np.iinfo(np.int64).max if call.end is None else call.end)
    step, axis = writer.integers(call.step), writer.integers(call.axis)
    return writer.op("Slice", argument, first, behind, step, axis)


def select(context: Context, call: calls.Select) -> Value:
    writer = context.writer
    return writer.gather(writer.value(call.x), writer.integer(call.index), call.axis)


def cat(context: Context, call: calls.Cat) -> Value:
    writer = context.writer
    convert = writer.floating if context.is_floating else writer.value
    return writer.op("Concat", *(convert(part) for part in call.parts), axis=call.axis)


def split(context: Context, call: calls.Split) -> Sequence[Value]:
    writer = context.writer
    sizes = [shape[call.axis] for shape in context.result_shapes]
    parts = writer.shape_from(sizes)
    argument, axis = writer.value(call.x), writer.integer(call.axis)
    return writer.op_many("VariadicSplit", argument, axis, parts, count=len(sizes))


def pad(context: Context, call: calls.Pad) -> Value:
    writer = context.writer
    begins, ends = pad_widths(call.widths, len(context.result_shape))
    return writer.op(
        "Pad",
        writer.floating(call.x),
        writer.integers(*begins),
        writer.integers(*ends),
        writer.floating(call.fill),
        pad_mode="constant",
    )


def arange(context: Context, call: calls.Arange) -> Value:
    writer = context.writer
    stop = writer.op("Squeeze", writer.size(call.end), writer.integers(0))
    return writer.op("Range", writer.integer(0), stop, writer.integer(1), output_type="i64")


def full(context: Context, call: calls.Full) -> Value:
    writer = context.writer
    number: Any = np.asarray(call.number)
    if not context.is_floating:
        number = number.astype(str(context.dtype).removeprefix("torch."))
    argument = writer.value(number)
    return writer.op("Broadcast", argument, writer.shape_from(context.result_shape), mode="numpy")


def index(context: Context, call: calls.Index) -> Value:
    """Lower the look-up of entries by vectors of indices over the leading axes."""
    writer = context.writer
    columns = [
        writer.op("Unsqueeze", writer.value(position), writer.integers(-1))
        for position in call.indices
    ]
    positions = writer.op("Concat", *columns, axis=-1)
    return writer.op("GatherND", writer.value(call.x), positions, batch_dims=0)
