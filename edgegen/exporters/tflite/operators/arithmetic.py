"""Element-wise arithmetic, comparisons and reductions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from edgegen.exporters.operators import Arithmetic
from edgegen.exporters.tflite import layout
from edgegen.exporters.tflite.graph import Tensor, TensorType
from edgegen.exporters.tflite.operators.context import Context, fixed
from edgegen.exporters.tflite.writer import NO_ACTIVATION, Value

_OPTIONS = {
    "ADD": "AddOptions",
    "SUB": "SubOptions",
    "MUL": "MulOptions",
    "DIV": "DivOptions",
}


def arithmetic(context: Context, code: str, left: Tensor, right: Tensor) -> Tensor:
    """Append ADD, SUB, MUL or DIV of two tensors whose stored axes match or broadcast."""
    shape = np.broadcast_shapes(left.shape, right.shape)
    return context.writer.op(
        code,
        [left, right],
        shape,
        dtype=left.dtype,
        options_type=_OPTIONS[code],
        fusedActivationFunction=NO_ACTIVATION,
    )


def aligned(
    context: Context, left: Any, right: Any, rank: int, *, floating: bool
) -> tuple[Tensor, Tensor, layout.Order]:
    """Return two arguments as tensors whose stored axes match, and their order.

    It is that of the first one which has numbers for the whole result.
    """
    writer = context.writer
    convert = writer.floating if floating else writer.integer
    values = [convert(argument) for argument in (left, right)]
    whole = max(values, key=lambda value: math.prod(value.tensor.shape))
    order = layout.widened(whole.order, rank)
    first, second = (_broadcastable(context, value, order) for value in values)
    return first, second, order


def _broadcastable(context: Context, value: Value, order: layout.Order) -> Tensor:
    """Return a value in an order; constants are permuted here and now, numbers stay as they are."""
    tensor = value.tensor
    if math.prod(tensor.shape) == 1 and len(tensor.shape) <= 1:
        return tensor
    if isinstance(tensor.data, np.ndarray):
        wide = tensor.data.reshape((1,) * (len(order) - tensor.data.ndim) + tensor.data.shape)
        return context.writer.constant(wide.transpose(order), tensor.dtype)
    return context.writer.arrange(value, order)


def _binary(code: str, context: Context, left: Any, right: Any) -> Value:
    rank = len(context.result_shape)
    first, second, order = aligned(context, left, right, rank, floating=context.is_floating)
    return Value(tensor=arithmetic(context, code, first, second), order=order)


def _scaled(context: Context, value: Any, factor: float) -> Value:
    argument = context.writer.floating(value)
    number = context.writer.constant(np.float32(factor))
    return Value(tensor=arithmetic(context, "MUL", argument.tensor, number), order=argument.order)


BASIC = Arithmetic(
    binary=lambda kind, context, left, right: _binary(kind.upper(), context, left, right),
    scaled=_scaled,
)


def power(context: Context, base: Any, exponent: float) -> Value:
    """Lower a power with a fixed exponent."""
    value = context.writer.floating(base)
    if exponent == 2:
        return Value(
            tensor=arithmetic(context, "MUL", value.tensor, value.tensor), order=value.order
        )
    number = context.writer.constant(np.float32(exponent))
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


def unary(code: str, options_type: str = "") -> Callable[[Context, Any], Value]:
    """Return the lowering of an operator of one argument that TFLite has under `code`."""

    def lowering(context: Context, value: Any) -> Value:
        argument = context.writer.floating(value)
        return elementwise(context, code, argument, options_type=options_type)

    return lowering


def silu(context: Context, value: Any) -> Value:
    """Lower `x × sigmoid(x)`."""
    argument = context.writer.floating(value)
    sigmoid = elementwise(context, "LOGISTIC", argument)
    product = arithmetic(context, "MUL", argument.tensor, sigmoid.tensor)
    return Value(tensor=product, order=argument.order)


def gelu(context: Context, value: Any, approximate: str = "none") -> Value:
    """Lower GELU (arXiv 1606.08415), exact or by its hyperbolic tangent."""
    if approximate not in ("none", "tanh"):
        raise context.refuse(f"the approximation {approximate!r}")
    argument = context.writer.floating(value)
    return elementwise(
        context, "GELU", argument, options_type="GeluOptions", approximate=approximate == "tanh"
    )


def mish(context: Context, value: Any) -> Value:
    """Lower `x × tanh(softplus(x))` (arXiv 1908.08681), which TFLite has no softplus for.

    With `s = sigmoid(−x)` the curve is `(1 − s²) / (1 + s²)`, and no number grows large.
    """
    writer = context.writer
    argument = writer.floating(value)
    one = writer.constant(np.float32(1))
    shrinking = elementwise(context, "LOGISTIC", unary("NEG", "NegOptions")(context, argument))
    square = arithmetic(context, "MUL", shrinking.tensor, shrinking.tensor)
    curve = arithmetic(
        context,
        "DIV",
        arithmetic(context, "SUB", one, square),
        arithmetic(context, "ADD", square, one),
    )
    product = arithmetic(context, "MUL", argument.tensor, curve)
    return Value(tensor=product, order=argument.order)


def clamp(
    context: Context, value: Any, low: float | None = None, high: float | None = None
) -> Value:
    """Lower a clamp to a lowest and a highest value."""
    result = context.writer.floating(value)
    for code, limit in (("MAXIMUM", low), ("MINIMUM", high)):
        if limit is not None:
            number = context.writer.constant(np.float32(limit))
            result = elementwise(
                context, code, result, number, options_type="MaximumMinimumOptions"
            )
    return result


def reduce_mean(context: Context, tensor: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Append the mean over stored axes, which stay with the size 1."""
    shape = [1 if axis in axes else size for axis, size in enumerate(tensor.shape)]
    return context.writer.op(
        "MEAN",
        [tensor, context.writer.integers(*axes)],
        shape,
        options_type="ReducerOptions",
        keepDims=True,
    )


def mean(context: Context, value: Any, axes: Any, keepdim: bool = False) -> Value:
    """Lower a mean over axes."""
    argument = context.writer.floating(value)
    rank = len(argument.order)
    gone = {axis % rank for axis in axes}
    places = tuple(place for place, axis in enumerate(argument.order) if axis in gone)
    kept = Value(tensor=reduce_mean(context, argument.tensor, places), order=argument.order)
    if keepdim:
        return kept
    result = context.writer.reshape(
        context.writer.plain(kept), fixed(context, context.result_shape)
    )
    return Value(tensor=result, order=layout.plain(len(result.shape)))


def _comparison(code: str, options_type: str, context: Context, left: Value, right: Any) -> Value:
    rank = len(context.result_shape)
    floating = left.dtype == "float32"
    first, second, order = aligned(context, left, right, rank, floating=floating)
    shape = np.broadcast_shapes(first.shape, second.shape)
    result = context.writer.op(
        code, [first, second], shape, dtype="bool", options_type=options_type
    )
    return Value(tensor=result, order=order)


def equal(context: Context, left: Value, right: Any) -> Value:
    """Lower `left == right`."""
    return _comparison("EQUAL", "EqualOptions", context, left, right)


def less_or_equal(context: Context, left: Value, right: Any) -> Value:
    """Lower `left <= right`."""
    return _comparison("LESS_EQUAL", "LessEqualOptions", context, left, right)


def argmax(context: Context, value: Value, axis: int, keepdim: bool = False) -> Value:
    """Lower the index of the first largest entry, as int32."""
    writer = context.writer
    kind: TensorType = "float32" if value.dtype == "float32" else "int32"
    argument = writer.plain(writer.cast(value, kind))
    shape = [
        size for place, size in enumerate(argument.shape) if place != axis % len(argument.shape)
    ]
    result = writer.op(
        "ARG_MAX",
        [argument, writer.constant(axis % len(argument.shape), "int32")],
        shape,
        dtype="int32",
        options_type="ArgMaxOptions",
        outputType=2,  # TensorType.INT32
    )
    result = writer.reshape(result, fixed(context, context.result_shape))
    return Value(tensor=result, order=layout.plain(len(result.shape)))
