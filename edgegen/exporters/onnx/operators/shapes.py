"""Sizes of dynamic axes: vectors of one int64, so that they concatenate to shapes."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from edgegen.exporters.onnx.operators.context import Context


def sym_size(context: Context, value: ir.Value, axis: int) -> ir.Value:
    """Lower the size of an axis."""
    return context.writer.axis_size(value, axis)


def _size(context: Context, size: ir.Value | int) -> ir.Value:
    return size if isinstance(size, ir.Value) else context.writer.integers(size)


def _binary(op_type: str, context: Context, left: Any, right: Any) -> ir.Value:
    return context.writer.op(op_type, _size(context, left), _size(context, right))


def add(context: Context, left: Any, right: Any) -> ir.Value:
    """Lower the sum of two sizes."""
    return _binary("Add", context, left, right)


def sub(context: Context, left: Any, right: Any) -> ir.Value:
    """Lower the difference of two sizes."""
    return _binary("Sub", context, left, right)


def mul(context: Context, left: Any, right: Any) -> ir.Value:
    """Lower the product of two sizes."""
    return _binary("Mul", context, left, right)


def floordiv(context: Context, left: Any, right: Any) -> ir.Value:
    """Lower the quotient of two sizes, which are positive."""
    return _binary("Div", context, left, right)


def getitem(context: Context, values: Any, index: int) -> Any:
    """Take one of several results."""
    return values[index]


def nothing(context: Context, *args: Any, **kwargs: Any) -> None:
    """Drop a condition that the capture has settled."""
