"""Entry-wise arithmetic, comparisons and reductions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir

from edgegen.exporters import calls
from edgegen.exporters.onnx.writer import FLOATS, Context


def _typed(context: Context, operand: Any) -> ir.Value:
    """Return an operand of arithmetic in the type of the result: the compute type, or int64."""
    writer = context.writer
    if context.is_floating:
        return writer.floating(operand)
    if isinstance(operand, ir.Value):
        return operand
    return writer.constant(np.asarray(operand, dtype=np.int64))


def binary(op_type: str) -> Callable[[Context, calls.Binary], ir.Value]:
    def lowering(context: Context, call: calls.Binary) -> ir.Value:
        first, second = _typed(context, call.x), _typed(context, call.y)
        return context.writer.op(op_type, first, second)

    return lowering


BINARY: Mapping[type[calls.Call], Callable[..., ir.Value]] = {
    calls.Add: binary("Add"),
    calls.Sub: binary("Sub"),
    calls.Mul: binary("Mul"),
    calls.Div: binary("Div"),
    calls.Maximum: binary("Max"),
    calls.Minimum: binary("Min"),
}


def power(context: Context, call: calls.Pow) -> ir.Value:
    base, exponent = _typed(context, call.x), _typed(context, call.exponent)
    return context.writer.op("Pow", base, exponent)


def _unary(op_type: str) -> Callable[[Context, calls.Unary], ir.Value]:
    return lambda context, call: context.writer.op(op_type, context.writer.floating(call.x))


UNARY: Mapping[type[calls.Call], Callable[..., ir.Value]] = {
    kind: _unary(kind.__name__)
    for kind in (
        *(calls.Abs, calls.Cos, calls.Exp, calls.Log, calls.Neg, calls.Relu, calls.Sigmoid),
        *(calls.Sin, calls.Softplus, calls.Sqrt, calls.Tanh),
    )
}
"""Those that ONNX calls by the same name."""


def gelu(context: Context, call: calls.Gelu) -> ir.Value:
    """Lower GELU in the form that runtimes recognise and fuse."""
    writer = context.writer
    argument = writer.floating(call.x)
    if call.by_tanh:
        cube = writer.op("Pow", argument, writer.floating(3.0))
        cube = writer.op("Mul", cube, writer.floating(0.044715))
        summed = writer.op("Add", argument, cube)
        scaled = writer.op("Mul", summed, writer.floating(math.sqrt(2.0 / math.pi)))
        inner = writer.op("Tanh", scaled)
    else:
        scaled = writer.op("Div", argument, writer.floating(math.sqrt(2.0)))
        inner = writer.op("Erf", scaled)
    outer = writer.op("Mul", argument, writer.op("Add", inner, writer.floating(1.0)))
    return writer.op("Mul", outer, writer.floating(0.5))


def clamp(context: Context, call: calls.Clamp) -> ir.Value:
    writer = context.writer
    lowest = writer.floating(call.low) if call.low is not None else None
    highest = writer.floating(call.high) if call.high is not None else None
    return writer.op("Clip", writer.floating(call.x), lowest, highest)


def reduction(op_type: str) -> Callable[[Context, Any], ir.Value]:
    def lowering(context: Context, call: calls.Mean | calls.Sum) -> ir.Value:
        writer = context.writer
        axes = writer.integers(*call.axes)
        return writer.op(op_type, writer.floating(call.x), axes, keepdims=int(call.keepdim))

    return lowering


def _comparison(op_type: str) -> Callable[[Context, calls.Comparison], ir.Value]:
    def lowering(context: Context, call: calls.Comparison) -> ir.Value:
        writer, left, right = context.writer, call.x, call.y
        if not isinstance(right, ir.Value):
            kind = left.dtype.numpy() if left.dtype is not None else np.int64
            right = writer.constant(np.asarray(right).astype(kind))
        if left.dtype in FLOATS:
            left, right = writer.floating(left), writer.floating(right)
        return writer.op(op_type, left, right, dtype=ir.DataType.BOOL)

    return lowering


COMPARISONS: Mapping[type[calls.Call], Callable[..., ir.Value]] = {
    kind: _comparison(kind.__name__)
    for kind in (calls.Equal, calls.Greater, calls.GreaterOrEqual, calls.Less, calls.LessOrEqual)
}


def _truth(context: Context, operand: Any) -> ir.Value:
    return context.writer.cast(context.writer.value(operand), ir.DataType.BOOL)


def logical(op_type: str) -> Callable[[Context, Any], ir.Value]:
    """Return the lowering of an operator of truth values."""

    def lowering(context: Context, call: calls.Binary | calls.Unary) -> ir.Value:
        truths = [_truth(context, operand) for operand in call.operands()]
        return context.writer.op(op_type, *truths, dtype=ir.DataType.BOOL)

    return lowering


def where(context: Context, call: calls.Where) -> ir.Value:
    condition = _truth(context, call.condition)
    first, second = _typed(context, call.x), _typed(context, call.y)
    return context.writer.op("Where", condition, first, second, dtype=first.dtype)


def argmax(context: Context, call: calls.Argmax) -> ir.Value:
    return context.writer.op(
        "ArgMax", call.x, dtype=ir.DataType.INT64, axis=call.axis, keepdims=int(call.keepdim)
    )
