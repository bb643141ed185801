"""Element-wise arithmetic, comparisons and reductions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir

from edgegen.exporters.onnx.operators.context import Context
from edgegen.exporters.onnx.writer import FLOATS
from edgegen.exporters.operators import Arithmetic


def _binary(op_type: str, context: Context, left: Any, right: Any) -> ir.Value:
    writer = context.writer
    if context.is_floating:
        return writer.op(op_type, writer.floating(left), writer.floating(right))
    first, second = (
        value if isinstance(value, ir.Value) else writer.constant(np.asarray(value, dtype=np.int64))
        for value in (left, right)
    )
    return writer.op(op_type, first, second)


BASIC = Arithmetic(
    binary=_binary,
    scaled=lambda context, value, factor: _binary("Mul", context, value, factor),
)


def power(context: Context, base: Any, exponent: float) -> ir.Value:
    """Lower a power with a fixed exponent."""
    return _binary("Pow", context, base, exponent)


def unary(op_type: str) -> Callable[[Context, Any], ir.Value]:
    """Return the lowering of an operator of one argument that ONNX has under `op_type`."""

    def lowering(context: Context, value: Any) -> ir.Value:
        return context.writer.op(op_type, context.writer.floating(value))

    return lowering


def silu(context: Context, value: Any) -> ir.Value:
    """Lower `x × sigmoid(x)`, which runtimes fuse."""
    argument = context.writer.floating(value)
    return context.writer.op("Mul", argument, context.writer.op("Sigmoid", argument))


def gelu(context: Context, value: Any, approximate: str = "none") -> ir.Value:
    """Lower GELU (arXiv 1606.08415) in the form that runtimes recognise and fuse."""
    writer = context.writer
    argument = writer.floating(value)
    if approximate == "none":
        scaled = writer.op("Div", argument, writer.floating(math.sqrt(2.0)))
        inner = writer.op("Erf", scaled)
    elif approximate == "tanh":
        cube = writer.op("Pow", argument, writer.floating(3.0))
        cube = writer.op("Mul", cube, writer.floating(0.044715))
        summed = writer.op("Add", argument, cube)
        scaled = writer.op("Mul", summed, writer.floating(math.sqrt(2.0 / math.pi)))
        inner = writer.op("Tanh", scaled)
    else:
        raise context.refuse(f"the approximation {approximate!r}")
    outer = writer.op("Mul", argument, writer.op("Add", inner, writer.floating(1.0)))
    return writer.op("Mul", outer, writer.floating(0.5))


def mish(context: Context, value: Any) -> ir.Value:
    """Lower `x × tanh(softplus(x))` (arXiv 1908.08681)."""
    writer = context.writer
    argument = writer.floating(value)
    return writer.op("Mul", argument, writer.op("Tanh", writer.op("Softplus", argument)))


def clamp(
    context: Context, value: Any, low: float | None = None, high: float | None = None
) -> ir.Value:
    """Lower a clamp to a lowest and a highest value."""
    writer = context.writer
    lowest = writer.floating(low) if low is not None else None
    highest = writer.floating(high) if high is not None else None
    return writer.op("Clip", writer.floating(value), lowest, highest)


def mean(context: Context, value: Any, axes: Any, keepdim: bool = False) -> ir.Value:
    """Lower a mean over axes."""
    writer = context.writer
    return writer.op(
        "ReduceMean", writer.floating(value), writer.integers(*axes), keepdims=int(keepdim)
    )


def _comparison(op_type: str, context: Context, left: ir.Value, right: Any) -> ir.Value:
    writer = context.writer
    if not isinstance(right, ir.Value):
        kind = left.dtype.numpy() if left.dtype is not None else np.int64
        right = writer.constant(np.asarray(right).astype(kind))
    if left.dtype in FLOATS:
        left, right = writer.floating(left), writer.floating(right)
    return writer.op(op_type, left, right, dtype=ir.DataType.BOOL)


def equal(context: Context, left: ir.Value, right: Any) -> ir.Value:
    """Lower `left == right`."""
    return _comparison("Equal", context, left, right)


def less_or_equal(context: Context, left: ir.Value, right: Any) -> ir.Value:
    """Lower `left <= right`."""
    return _comparison("LessOrEqual", context, left, right)


def argmax(context: Context, value: ir.Value, axis: int, keepdim: bool = False) -> ir.Value:
    """Lower the index of the first largest entry."""
    return context.writer.op(
        "ArgMax", value, dtype=ir.DataType.INT64, axis=axis, keepdims=int(keepdim)
    )
