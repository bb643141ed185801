"""Entry-wise arithmetic, comparisons and reductions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from edgegen.exporters import calls
from edgegen.exporters.tflite import layout
from edgegen.exporters.tflite.graph import Tensor, TensorType
from edgegen.exporters.tflite.writer import NO_ACTIVATION, Context, Value, as_torch

_OPTIONS = {
    "ADD": "AddOptions",
    "SUB": "SubOptions",
    "MUL": "MulOptions",
    "DIV": "DivOptions",
}


def arithmetic(context: Context, code: str, left: Tensor, right: Tensor) -> Tensor:
    """Append an operator of two tensors whose stored axes match or broadcast."""
    shape = np.broadcast_shapes(left.shape, right.shape)
    activation: dict[str, Any] = (
        {"fusedActivationFunction": NO_ACTIVATION} if code in _OPTIONS else {}
    )
    options_type = _OPTIONS.get(code, "MaximumMinimumOptions")
    return context.writer.op(
        code, [left, right], shape, dtype=left.dtype, options_type=options_type, **activation
    )


def aligned(
    context: Context, operands: tuple[Any, ...], *, floating: bool
) -> tuple[list[Tensor], layout.Order]:
    """Return arguments as tensors whose stored axes match, and their order.

    It is that of the first one which has numbers for the whole result.
    """
    writer = context.writer
    convert = writer.floating if floating else writer.integer
    values = [convert(operand) for operand in operands]
    whole = max(values, key=lambda value: math.prod(value.tensor.shape))
    order = layout.widened(whole.order, len(context.result_shape))
    return [_broadcastable(context, value, order) for value in values], order


def _broadcastable(context: Context, value: Value, order: layout.Order) -> Tensor:
    """Return a value in an order; constants are permuted here and now, numbers stay as they are."""
    tensor = value.tensor
    if math.prod(tensor.shape) == 1 and len(tensor.shape) <= 1:
        return tensor
    if isinstance(tensor.data, np.ndarray):
        wide = tensor.data.reshape((1,) * (len(order) - tensor.data.ndim) + tensor.data.shape)
        return context.writer.constant(wide.transpose(order), tensor.dtype)
    return context.writer.arrange(value, order)


def binary(code: str) -> Callable[[Context, calls.Binary], Value]:
    def lowering(context: Context, call: calls.Binary) -> Value:
        tensors, order = aligned(context, (call.x, call.y), floating=context.is_floating)
        return Value(tensor=arithmetic(context, code, *tensors), order=order)

    return lowering


BINARY: Mapping[type[calls.Call], Callable[..., Value]] = {
    calls.Add: binary("ADD"),
    calls.Sub: binary("SUB"),
    calls.Mul: binary("MUL"),
    calls.Div: binary("DIV"),
    calls.Maximum: binary("MAXIMUM"),
    calls.Minimum: binary("MINIMUM"),
}


def power(context: Context, call: calls.Pow) -> Value:
    value = context.writer.floating(call.x)
    if call.exponent == 2:
        return Value(
            tensor=arithmetic(context, "MUL", value.tensor, value.tensor), order=value.order
        )
    number = context.writer.constant(np.float32(call.exponent))
    return elementwise(context, "POW", value, number, options_type="PowOptions")


def elementwise(
    context: Context,
    code: str,
    value: Value,
    *others: Tensor,
    options_type: str = "",
    **options: Any,
) -> Value:
    """Append an operator whose result is shaped and ordered as its first argument."""
    result = context.writer.op(
        code,
        [value.tensor, *others],
        value.tensor.shape,
        options_type=options_type,
        **options,
    )
    return Value(tensor=result, order=value.order)


def _unary(code: str, options_type: str = "") -> Callable[[Context, Any], Value]:
    def lowering(context: Context, call: Any) -> Value:
        argument = context.writer.floating(call.x)
        return elementwise(context, code, argument, options_type=options_type)

    return lowering


UNARY: Mapping[type[calls.Call], Callable[..., Value]] = {
    calls.Abs: _unary("ABS", "AbsOptions"),
    calls.Cos: _unary("COS", "CosOptions"),
    calls.Exp: _unary("EXP", "ExpOptions"),
    calls.Log: _unary("LOG"),
    calls.Neg: _unary("NEG", "NegOptions"),
    calls.Relu: _unary("RELU"),
    calls.Rsqrt: _unary("RSQRT"),
    calls.Sigmoid: _unary("LOGISTIC"),
    calls.Sin: _unary("SIN"),
    calls.Sqrt: _unary("SQRT"),
    calls.Tanh: _unary("TANH"),
}


def gelu(context: Context, call: calls.Gelu) -> Value:
    argument = context.writer.floating(call.x)
    return elementwise(
        context, "GELU", argument, options_type="GeluOptions", approximate=call.by_tanh
    )


def mish(context: Context, call: calls.Mish) -> Value:
    """Lower `x × tanh(softplus(x))` (arXiv 1908.08681), which TFLite has no softplus for.

    With `s = sigmoid(−x)` the curve is `(1 − s²) / (1 + s²)`, and no number grows large.
    """
    writer = context.writer
    argument = writer.floating(call.x)
    one = writer.constant(np.float32(1))
    negative = elementwise(context, "NEG", argument, options_type="NegOptions")
    shrinking = elementwise(context, "LOGISTIC", negative)
    square = arithmetic(context, "MUL", shrinking.tensor, shrinking.tensor)
    curve = arithmetic(
        context,
        "DIV",
        arithmetic(context, "SUB", one, square),
        arithmetic(context, "ADD", square, one),
    )
    product = arithmetic(context, "MUL", argument.tensor, curve)
    return Value(tensor=product, order=argument.order)


def clamp(context: Context, call: calls.Clamp) -> Value:
    result = context.writer.floating(call.x)
    for code, limit in (("MAXIMUM", call.low), ("MINIMUM", call.high)):
        if limit is not None:
            number = context.writer.constant(np.float32(limit))
            result = elementwise(
                context, code, result, number, options_type="MaximumMinimumOptions"
            )
    return result


def reduced(context: Context, code: str, tensor: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Append a reduction of stored axes, which stay with the size 1."""
    shape = [1 if axis in axes else size for axis, size in enumerate(tensor.shape)]
    return context.writer.op(
        code,
        [tensor, context.writer.integers(*axes)],
        shape,
        options_type="ReducerOptions",
        keepDims=True,
    )


def reduction(code: str) -> Callable[[Context, Any], Value]:
    def lowering(context: Context, call: calls.Mean | calls.Sum) -> Value:
        argument = context.writer.floating(call.x)
        gone = {axis % len(argument.order) for axis in call.axes}
        places = tuple(place for place, axis in enumerate(argument.order) if axis in gone)
        kept = Value(tensor=reduced(context, code, argument.tensor, places), order=argument.order)
        if call.keepdim:
            return kept
        return as_torch(context.writer.reshape(context.writer.plain(kept), context.sizes))

    return lowering


def _comparison(code: str, options_type: str) -> Callable[[Context, calls.Comparison], Value]:
    def lowering(context: Context, call: calls.Comparison) -> Value:
        floating = call.x.dtype == "float32"
        tensors, order = aligned(context, (call.x, call.y), floating=floating)
        return _truth(context, code, tensors, order, options_type)

    return lowering


def _truth(
    context: Context, code: str, tensors: list[Tensor], order: layout.Order, options_type: str
) -> Value:
    shape = np.broadcast_shapes(*(tensor.shape for tensor in tensors))
    result = context.writer.op(code, tensors, shape, dtype="bool", options_type=options_type)
    return Value(tensor=result, order=order)


COMPARISONS: Mapping[type[calls.Call], Callable[..., Value]] = {
    calls.Equal: _comparison("EQUAL", "EqualOptions"),
    calls.Greater: _comparison("GREATER", "GreaterOptions"),
    calls.GreaterOrEqual: _comparison("GREATER_EQUAL", "GreaterEqualOptions"),
    calls.Less: _comparison("LESS", "LessOptions"),
    calls.LessOrEqual: _comparison("LESS_EQUAL", "LessEqualOptions"),
}


def logical(code: str, options_type: str) -> Callable[[Context, Any], Value]:
    """Return the lowering of an operator of truth values."""

    def lowering(context: Context, call: calls.Binary | calls.Unary) -> Value:
        writer, rank = context.writer, len(context.result_shape)
        values = [writer.truth(operand) for operand in call.operands()]
        order = layout.plain(rank)
        return _truth(
            context, code, [writer.arrange(value, order) for value in values], order, options_type
        )

    return lowering


def where(context: Context, call: calls.Where) -> Value:
    """Lower a choice, whose three arguments broadcast."""
    (first, second), order = aligned(context, (call.x, call.y), floating=context.is_floating)
    condition = context.writer.arrange(context.writer.truth(call.condition), order)
    shape = np.broadcast_shapes(condition.shape, first.shape, second.shape)
    result = context.writer.op(
        "SELECT_V2",
        [condition, first, second],
        shape,
        dtype=first.dtype,
        options_type="SelectV2Options",
    )
    return Value(tensor=result, order=order)


def argmax(context: Context, call: calls.Argmax) -> Value:
    """Lower the index of the first largest entry, as int32."""
    writer = context.writer
    kind: TensorType = "float32" if call.x.dtype == "float32" else "int32"
    argument = writer.plain(writer.cast(call.x, kind))
    axis = call.axis % len(argument.shape)
    result = writer.op(
        "ARG_MAX",
        [argument, writer.constant(axis, "int32")],
        [size for place, size in enumerate(argument.shape) if place != axis],
        dtype="int32",
        options_type="ArgMaxOptions",
        outputType=2,  # TensorType.INT32
    )
    return as_torch(writer.reshape(result, context.sizes))
