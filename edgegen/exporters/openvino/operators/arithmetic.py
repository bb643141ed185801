"""Element-wise arithmetic, comparisons and reductions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edgegen.exporters.openvino.graph import NUMPY_TYPES, Value
from edgegen.exporters.openvino.operators.context import Context
from edgegen.exporters.openvino.writer import FLOATS
from edgegen.exporters.operators import Arithmetic

_NAMES = {"Add": "Add", "Sub": "Subtract", "Mul": "Multiply", "Div": "Divide"}
_GELU_MODES = {"none": "ERF", "tanh": "TANH"}
_LARGEST = float(np.finfo(np.float32).max)


def _binary(op_type: str, context: Context, left: Any, right: Any) -> Value:
    writer = context.writer
    if context.is_floating:
        return writer.binary(op_type, writer.floating(left), writer.floating(right))
    first, second = (
        value if isinstance(value, Value) else writer.constant(np.asarray(value, dtype=np.int64))
        for value in (left, right)
    )
    return writer.binary(op_type, first, second)


def _basic(kind: str, context: Context, left: Any, right: Any) -> Value:
    return _binary(_NAMES[kind], context, left, right)


BASIC = Arithmetic(
    binary=_basic,
    scaled=lambda context, value, factor: _basic("Mul", context, value, factor),
)


def power(context: Context, base: Any, exponent: float) -> Value:
    """Lower a power with a fixed exponent."""
    return _binary("Power", context, base, exponent)


def unary(op_type: str) -> Callable[[Context, Any], Value]:
    """Return the lowering of an operator of one argument that OpenVINO has under `op_type`."""

    def lowering(context: Context, value: Any) -> Value:
        return context.writer.op(op_type, context.writer.floating(value))

    return lowering


def gelu(context: Context, value: Any, approximate: str = "none") -> Value:
    """Lower GELU (arXiv 1606.08415)."""
    if approximate not in _GELU_MODES:
        raise context.refuse(f"the approximation {approximate!r}")
    return context.writer.op(
        "Gelu",
        context.writer.floating(value),
        approximation_mode=_GELU_MODES[approximate],
    )


def clamp(
    context: Context, value: Any, low: float | None = None, high: float | None = None
) -> Value:
    """Lower a clamp to a lowest and a highest value."""
    return context.writer.op(
        "Clamp",
        context.writer.floating(value),
        min=-_LARGEST if low is None else float(low),
        max=_LARGEST if high is None else float(high),
    )


def mean(context: Context, value: Any, axes: Any, keepdim: bool = False) -> Value:
    """Lower a mean over axes."""
    writer = context.writer
    return writer.op(
        "ReduceMean", writer.floating(value), writer.integers(*axes), keep_dims=keepdim
    )


def _comparison(op_type: str, context: Context, left: Value, right: Any) -> Value:
    writer = context.writer
    if not isinstance(right, Value):
        right = writer.constant(np.asarray(right).astype(NUMPY_TYPES[left.dtype]))
    if left.dtype in FLOATS:
        left, right = writer.floating(left), writer.floating(right)
    return writer.binary(op_type, left, right, dtype="boolean")


def equal(context: Context, left: Value, right: Any) -> Value:
    """Lower `left == right`."""
    return _comparison("Equal", context, left, right)


def less_or_equal(context: Context, left: Value, right: Any) -> Value:
    """Lower `left <= right`."""
    return _comparison("LessEqual", context, left, right)


def argmax(context: Context, value: Value, axis: int, keepdim: bool = False) -> Value:
    """Lower the index of the first largest entry.

    OpenVINO's `TopK` leaves open which of several equal entries it takes, and CLIP's end of text
    is the first of many: so the lowest index that holds the maximum is looked for.
    """
    writer = context.writer
    shape = context.shape_of(0)
    if axis % len(shape) != len(shape) - 1:
        raise context.refuse("an axis other than the last")
    axes = writer.integers(axis)
    highest = writer.op("ReduceMax", value, axes, keep_dims=True)
    is_highest = writer.binary("Equal", value, highest, dtype="boolean")
    size = writer.op("Squeeze", writer.size(shape[axis]), writer.integers(0))
    positions = writer.op(
        "Range", writer.integer(0), size, writer.integer(1), dtype="i64", output_type="i64"
    )
    chosen = writer.op("Select", is_highest, positions, size, dtype="i64", auto_broadcast="numpy")
    return writer.op("ReduceMin", chosen, axes, keep_dims=keepdim)
