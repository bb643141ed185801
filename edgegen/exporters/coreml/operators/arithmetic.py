"""Entry-wise arithmetic, comparisons and reductions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from edgegen.exporters import calls
from edgegen.exporters.calls import RefusedError
from edgegen.exporters.coreml.graph import Value
from edgegen.exporters.coreml.writer import FLOATS, Context


def _apply(context: Context, op_type: str, left: Any, right: Any) -> Value:
    writer = context.writer
    shape = context.sizes
    if not context.is_floating:
        first, second = writer.value(left), writer.value(right)
        return writer.op(op_type, x=first, y=second, result=shape)
    values = [writer.floating_as_it_lies(item) for item in (left, right)]
    layouts = {value.layout for value in values if value.shape != ()}
    if len(layouts) == 1 and all(value.shape in ((), shape) for value in values):
        layout = layouts.pop()
    else:
        values, layout = [writer.plain(value) for value in values], "plain"
    return writer.op(op_type, x=values[0], y=values[1], result=shape, layout=layout)


def binary(op_type: str) -> Callable[[Context, calls.Binary], Value]:
    return lambda context, call: _apply(context, op_type, call.x, call.y)


BINARY: Mapping[type[calls.Call], Callable[..., Value]] = {
    calls.Add: binary("add"),
    calls.Sub: binary("sub"),
    calls.Mul: binary("mul"),
    calls.Div: binary("real_div"),
    calls.Maximum: binary("maximum"),
    calls.Minimum: binary("minimum"),
}


def power(context: Context, call: calls.Pow) -> Value:
    return _apply(context, "pow", call.x, float(call.exponent))


def negative(context: Context, call: calls.Neg) -> Value:
    return _apply(context, "mul", call.x, -1.0)


def _unary(op_type: str, **options: Any) -> Callable[[Context, Any], Value]:
    def lowering(context: Context, call: Any) -> Value:
        argument = context.writer.floating_as_it_lies(call.x)
        return context.writer.op(
            op_type, x=argument, result=argument.shape, layout=argument.layout, **options
        )

    return lowering


UNARY: Mapping[type[calls.Call], Callable[..., Value]] = {
    calls.Abs: _unary("abs"),
    calls.Cos: _unary("cos"),
    calls.Exp: _unary("exp"),
    calls.Log: _unary("log", epsilon=1e-45),
    calls.Relu: _unary("relu"),
    calls.Rsqrt: _unary("rsqrt", epsilon=1e-12),
    calls.Sigmoid: _unary("sigmoid"),
    calls.Silu: _unary("silu"),
    calls.Sin: _unary("sin"),
    calls.Softplus: _unary("softplus"),
    calls.Sqrt: _unary("sqrt"),
    calls.Tanh: _unary("tanh"),
}


def gelu(context: Context, call: calls.Gelu) -> Value:
    mode = "TANH_APPROXIMATION" if call.by_tanh else "EXACT"
    return _unary("gelu", mode=mode)(context, call)


def clamp(context: Context, call: calls.Clamp) -> Value:
    largest = 65504.0 if context.writer.compute == "fp16" else float(np.finfo(np.float32).max)
    low = -largest if call.low is None else float(call.low)
    high = largest if call.high is None else float(call.high)
    return _unary("clip", alpha=low, beta=high)(context, call)


def reduction(op_type: str) -> Callable[[Context, Any], Value]:
    def lowering(context: Context, call: calls.Mean | calls.Sum) -> Value:
        return context.writer.op(
            op_type,
            x=context.writer.floating(call.x),
            axes=list(call.axes),
            keep_dims=call.keepdim,
            result=context.sizes,
        )

    return lowering


def _comparison(op_type: str) -> Callable[[Context, calls.Comparison], Value]:
    def lowering(context: Context, call: calls.Comparison) -> Value:
        writer = context.writer
        first = writer.plain(call.x)
        if isinstance(call.y, Value):
            second = writer.cast(writer.plain(call.y), first.kind)
        elif first.kind in FLOATS and np.size(call.y) == 1:
            second = writer.number(float(call.y), first.kind)
        elif first.kind in FLOATS:
            second = writer.floating(call.y, first.kind)
        else:
            second = writer.constant(np.asarray(call.y).astype(np.int32))
        return writer.op(op_type, x=first, y=second, kind="bool", result=context.sizes)

    return lowering


COMPARISONS: Mapping[type[calls.Call], Callable[..., Value]] = {
    calls.Equal: _comparison("equal"),
    calls.Greater: _comparison("greater"),
    calls.GreaterOrEqual: _comparison("greater_equal"),
    calls.Less: _comparison("less"),
    calls.LessOrEqual: _comparison("less_equal"),
}


def _truth(context: Context, operand: Any) -> Value:
    return context.writer.cast(context.writer.value(operand), "bool")


def logical(op_type: str) -> Callable[[Context, Any], Value]:
    """Return the lowering of an operator of truth values."""

    def lowering(context: Context, call: calls.Binary | calls.Unary) -> Value:
        names = zip("xy", call.operands(), strict=False)
        truths: dict[str, Any] = {name: _truth(context, operand) for name, operand in names}
        return context.writer.op(op_type, **truths, kind="bool", result=context.sizes)

    return lowering


def where(context: Context, call: calls.Where) -> Value:
    """Lower a choice; Core ML's `select` takes tensors of the whole shape."""
    writer, shape = context.writer, context.sizes
    convert = writer.floating if context.is_floating else writer.value
    first, second = (writer.spread(convert(item), shape) for item in (call.x, call.y))
    condition = writer.spread(_truth(context, call.condition), shape)
    return writer.op("select", cond=condition, a=first, b=second, kind=first.kind, result=shape)


def argmax(context: Context, call: calls.Argmax) -> Value:
    """Lower the index of the first largest entry.

    Core ML's `reduce_argmax` leaves open which of several equal entries it takes, and CLIP's end of
    text is the first of many: so the lowest index that holds the maximum is looked for.
    """
    writer, axis = context.writer, call.axis
    argument = writer.cast(writer.value(call.x), "int32")
    size, rank = argument.shape[axis], len(argument.shape)
    if axis % rank != rank - 1:
        raise RefusedError("an axis other than the last")
    kept = (*argument.shape[:-1], 1)
    highest = writer.op("reduce_max", x=argument, axes=[-1], keep_dims=True, result=kept)
    is_highest = writer.op("equal", x=argument, y=highest, kind="bool", result=argument.shape)
    positions = writer.constant(
        np.broadcast_to(np.arange(size, dtype=np.int32), argument.shape).copy()
    )
    behind = writer.constant(np.full(argument.shape, size, np.int32))
    chosen = writer.op(
        "select", cond=is_highest, a=positions, b=behind, kind="int32", result=argument.shape
    )
    return writer.op(
        "reduce_min", x=chosen, axes=[-1], keep_dims=call.keepdim, result=context.sizes
    )
