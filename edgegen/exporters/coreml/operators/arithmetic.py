"""Element-wise arithmetic, comparisons and reductions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edgegen.exporters.coreml.graph import Value
from edgegen.exporters.coreml.operators.context import Context, result_of
from edgegen.exporters.coreml.writer import FLOATS
from edgegen.exporters.operators import Arithmetic

_NAMES = {"Add": "add", "Sub": "sub", "Mul": "mul", "Div": "real_div"}
_GELU_MODES = {"none": "EXACT", "tanh": "TANH_APPROXIMATION"}


def _binary(op_type: str, context: Context, left: Any, right: Any) -> Value:
    writer = context.writer
    shape = result_of(context)
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


def _basic(kind: str, context: Context, left: Any, right: Any) -> Value:
    return _binary(_NAMES[kind], context, left, right)


BASIC = Arithmetic(
    binary=_basic,
    scaled=lambda context, value, factor: context.writer.op(
        "mul",
        x=context.writer.floating(value),
        y=float(factor),
        result=context.writer.floating(value).shape,
    ),
)


def power(context: Context, base: Any, exponent: float) -> Value:
    """Lower a power with a fixed exponent."""
    return _binary("pow", context, base, float(exponent))


def negative(context: Context, value: Any) -> Value:
    """Lower the change of sign."""
    return _binary("mul", context, value, -1.0)


def unary(op_type: str, **options: Any) -> Callable[[Context, Any], Value]:
    """Return the lowering of an operator of one argument that Core ML has under `op_type`."""

    def lowering(context: Context, value: Any) -> Value:
        writer = context.writer
        argument = writer.floating_as_it_lies(value)
        return writer.op(
            op_type, x=argument, result=argument.shape, layout=argument.layout, **options
        )

    return lowering


def gelu(context: Context, value: Any, approximate: str = "none") -> Value:
    """Lower GELU (arXiv 1606.08415)."""
    if approximate not in _GELU_MODES:
        raise context.refuse(f"the approximation {approximate!r}")
    return unary("gelu", mode=_GELU_MODES[approximate])(context, value)


def mish(context: Context, value: Any) -> Value:
    """Lower `x × tanh(softplus(x))` (arXiv 1908.08681)."""
    argument = context.writer.floating_as_it_lies(value)
    curve = unary("tanh")(context, unary("softplus")(context, argument))
    return context.writer.op(
        "mul", x=argument, y=curve, result=argument.shape, layout=argument.layout
    )


def clamp(
    context: Context, value: Any, low: float | None = None, high: float | None = None
) -> Value:
    """Lower a clamp to a lowest and a highest value."""
    largest = 65504.0 if context.writer.compute == "fp16" else float(np.finfo(np.float32).max)
    return unary(
        "clip",
        alpha=-largest if low is None else float(low),
        beta=largest if high is None else float(high),
    )(context, value)


def mean(context: Context, value: Any, axes: Any, keepdim: bool = False) -> Value:
    """Lower a mean over axes."""
    writer = context.writer
    return writer.op(
        "reduce_mean",
        x=writer.floating(value),
        axes=list(axes),
        keep_dims=keepdim,
        result=result_of(context),
    )


def _comparison(op_type: str, context: Context, left: Value, right: Any) -> Value:
    writer = context.writer
    first = writer.plain(left)
    if isinstance(right, Value):
        second = writer.cast(writer.plain(right), first.kind)
    elif first.kind in FLOATS:
        second = writer.number(float(right), first.kind)
    else:
        second = writer.constant(np.asarray(right).astype(np.int32))
    return writer.op(op_type, x=first, y=second, kind="bool", result=result_of(context))


def equal(context: Context, left: Value, right: Any) -> Value:
    """Lower `left == right`."""
    return _comparison("equal", context, left, right)


def less_or_equal(context: Context, left: Value, right: Any) -> Value:
    """Lower `left <= right`."""
    return _comparison("less_equal", context, left, right)


def argmax(context: Context, value: Value, axis: int, keepdim: bool = False) -> Value:
    """Lower the index of the first largest entry.

    Core ML's `reduce_argmax` leaves open which of several equal entries it takes, and CLIP's end of
    text is the first of many: so the lowest index that holds the maximum is looked for.
    """
    writer = context.writer
    argument = writer.cast(writer.value(value), "int32")
    size, rank = argument.shape[axis], len(argument.shape)
    if axis % rank != rank - 1:
        raise context.refuse("an axis other than the last")
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
        "reduce_min", x=chosen, axes=[-1], keep_dims=keepdim, result=result_of(context)
    )
