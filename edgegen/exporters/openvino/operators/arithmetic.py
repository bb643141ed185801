"""Entry-wise arithmetic, comparisons and reductions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from edgegen.exporters import calls
from edgegen.exporters.calls import RefusedError
from edgegen.exporters.openvino.graph import NUMPY_TYPES, Value
from edgegen.exporters.openvino.writer import FLOATS, Context

_LARGEST = float(np.finfo(np.float32).max)


def _typed(context: Context, operand: Any) -> Value:
    """Return an operand of arithmetic in the type of the result: float32 or int64."""
    writer = context.writer
    if context.is_floating:
        return writer.floating(operand)
    if isinstance(operand, Value):
        return operand
    return writer.constant(np.asarray(operand, dtype=np.int64))


def binary(op_type: str) -> Callable[[Context, calls.Binary], Value]:
    def lowering(context: Context, call: calls.Binary) -> Value:
        first, second = _typed(context, call.x), _typed(context, call.y)
        return context.writer.binary(op_type, first, second)

    return lowering


BINARY: Mapping[type[calls.Call], Callable[..., Value]] = {
    calls.Add: binary("Add"),
    calls.Sub: binary("Subtract"),
    calls.Mul: binary("Multiply"),
    calls.Div: binary("Divide"),
    calls.Maximum: binary("Maximum"),
    calls.Minimum: binary("Minimum"),
}


def power(context: Context, call: calls.Pow) -> Value:
    base, exponent = _typed(context, call.x), _typed(context, call.exponent)
    return context.writer.binary("Power", base, exponent)


def _unary(op_type: str) -> Callable[[Context, calls.Unary], Value]:
    return lambda context, call: context.writer.op(op_type, context.writer.floating(call.x))


UNARY: Mapping[type[calls.Call], Callable[..., Value]] = {
    calls.Abs: _unary("Abs"),
    calls.Cos: _unary("Cos"),
    calls.Exp: _unary("Exp"),
    calls.Log: _unary("Log"),
    calls.Mish: _unary("Mish"),
    calls.Neg: _unary("Negative"),
    calls.Relu: _unary("ReLU"),
    calls.Sigmoid: _unary("Sigmoid"),
    calls.Silu: _unary("Swish"),
    calls.Sin: _unary("Sin"),
    calls.Softplus: _unary("SoftPlus"),
    calls.Sqrt: _unary("Sqrt"),
    calls.Tanh: _unary("Tanh"),
}


def gelu(context: Context, call: calls.Gelu) -> Value:
    writer = context.writer
    mode = "TANH" if call.by_tanh else "ERF"
    return writer.op("Gelu", writer.floating(call.x), approximation_mode=mode)


def clamp(context: Context, call: calls.Clamp) -> Value:
    return context.writer.op(
        "Clamp",
        context.writer.floating(call.x),
        min=-_LARGEST if call.low is None else float(call.low),
        max=_LARGEST if call.high is None else float(call.high),
    )


def reduction(op_type: str) -> Callable[[Context, Any], Value]:
    def lowering(context: Context, call: calls.Mean | calls.Sum) -> Value:
        writer = context.writer
        axes = writer.integers(*call.axes)
        return writer.op(op_type, writer.floating(call.x), axes, keep_dims=call.keepdim)

    return lowering


def _comparison(op_type: str) -> Callable[[Context, calls.Comparison], Value]:
    def lowering(context: Context, call: calls.Comparison) -> Value:
        writer, left, right = context.writer, call.x, call.y
        if not isinstance(right, Value):
            right = writer.constant(np.asarray(right).astype(NUMPY_TYPES[left.dtype]))
        if left.dtype in FLOATS:
            left, right = writer.floating(left), writer.floating(right)
        return writer.binary(op_type, left, right, dtype="boolean")

    return lowering


COMPARISONS: Mapping[type[calls.Call], Callable[..., Value]] = {
    calls.Equal: _comparison("Equal"),
    calls.Greater: _comparison("Greater"),
    calls.GreaterOrEqual: _comparison("GreaterEqual"),
    calls.Less: _comparison("Less"),
    calls.LessOrEqual: _comparison("LessEqual"),
}


def _truth(context: Context, operand: Any) -> Value:
    return context.writer.convert(context.writer.value(operand), "boolean")


def logical(op_type: str) -> Callable[[Context, Any], Value]:
    """Return the lowering of an operator of truth values."""

    def lowering(context: Context, call: calls.Binary | calls.Unary) -> Value:
        truths = [_truth(context, operand) for operand in call.operands()]
        broadcast = {"auto_broadcast": "numpy"} if len(truths) == 2 else {}
        return context.writer.op(op_type, *truths, dtype="boolean", **broadcast)

    return lowering


def where(context: Context, call: calls.Where) -> Value:
    condition = _truth(context, call.condition)
    first, second = _typed(context, call.x), _typed(context, call.y)
    return context.writer.op(
        "Select", condition, first, second, dtype=first.dtype, auto_broadcast="numpy"
    )


def argmax(context: Context, call: calls.Argmax) -> Value:
    """Lower the index of the first largest entry.

    OpenVINO's `TopK` leaves open which of several equal entries it takes, and CLIP's end of text
    is the first of many: so the lowest index that holds the maximum is looked for.
    """
    writer, value, axis = context.writer, call.x, call.axis
    shape = context.shape_of("x")
    if axis % len(shape) != len(shape) - 1:
        raise RefusedError("an axis other than the last")
    axes = writer.integers(axis)
    highest = writer.op("ReduceMax", value, axes, keep_dims=True)
    is_highest = writer.binary("Equal", value, highest, dtype="boolean")
    size = writer.op("Squeeze", writer.size(shape[axis]), writer.integers(0))
    positions = writer.op(
        "Range", writer.integer(0), size, writer.integer(1), dtype="i64", output_type="i64"
    )
    chosen = writer.op("Select", is_highest, positions, size, dtype="i64", auto_broadcast="numpy")
    return writer.op("ReduceMin", chosen, axes, keep_dims=call.keepdim)
