"""Scaled dot-product attention (arXiv 1706.03762), fused where the runtime can.

`com.microsoft::MultiHeadAttention` takes queries, keys and values as (batch, sequence, heads ×
width), as the projections make them: no transposition of heads is left in the graph. On
onnxruntime's CPU provider it took a fifth of the time and a ninth of the memory of ONNX's own
`Attention` of opset 23 (see docs/decisions/0002-own-onnx-writer.md).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx_ir as ir
import torch

from edgegen.exporters.onnx.operators.context import Context
from edgegen.exporters.onnx.writer import CONTRIB_DOMAIN
from edgegen.exporters.operators import additive_mask, constant_mask

_LOWEST = {ir.DataType.FLOAT: float(np.finfo(np.float32).min), ir.DataType.FLOAT16: -65504.0}


def scaled_dot_product_attention(
    context: Context,
    query: Any,
    key: Any,
    value: Any,
    mask: Any = None,
    dropout: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> ir.Value:
    """Lower attention of (batch, heads, sequence, width) tensors.

    The type is float32 where the network asks for `upcast_attention`, else the compute type.
    """
    if dropout or enable_gqa:
        raise context.refuse("dropout or grouped queries")
    writer = context.writer
    heads, width = _heads(context)
    factor = 1.0 / math.sqrt(width) if scale is None else float(scale)
    dtype = ir.DataType.FLOAT if writer.upcast_attention else writer.compute
    packed = _packed_arguments(context) if mask is None and not is_causal else None
    if packed is not None and writer.operators == "contrib":
        result = writer.op(
            "MultiHeadAttention",
            *(writer.floating(argument, dtype) for argument in packed),
            domain=CONTRIB_DOMAIN,
            num_heads=heads,
            scale=factor,
        )
        result = writer.cast(result, writer.compute)
        writer.packed.add(id(result))
        return result
    bias = _bias(context, mask, is_causal, dtype)
    queries, keys, values = (writer.floating(argument, dtype) for argument in (query, key, value))
    if dtype == ir.DataType.FLOAT16:  # both are scaled before the product, so that it stays small
        root = writer.floating(math.sqrt(factor), dtype)
        queries, keys = writer.op("Mul", queries, root), writer.op("Mul", keys, root)
    else:
        queries = writer.op("Mul", queries, writer.floating(factor, dtype))
    scores = writer.op("MatMul", queries, writer.op("Transpose", keys, perm=[0, 1, 3, 2]))
    if bias is not None:
        scores = writer.op("Add", scores, bias)
    weights = writer.op("Softmax", scores, axis=-1)
    return writer.cast(writer.op("MatMul", weights, values), writer.compute)


def _packed_arguments(context: Context) -> tuple[ir.Value, ...] | None:
    """Return queries, keys and values before their heads were split, and None where that fails.

    The trace reads `transpose(view(x, (batch, −1, heads, width)), 1, 2)` for each of them, and
    `reshape(transpose(attention, 1, 2), (batch, −1, heads × width))` behind.
    """
    heads, width = _heads(context)
    arguments = []
    for node in context.node.args[:3]:
        view = _exchanged(node)
        if view is None or view.target not in _RESHAPES:
            return None
        source = view.args[0]
        shape = context.capture.shapes[source][0]
        if len(shape) != 3 or shape[-1] != heads * width:
            return None
        arguments.append(context.values[source])
    users = list(context.node.users)
    if len(users) != 1 or _exchanged(users[0]) is not context.node:
        return None
    for reader in users[0].users:
        joined = context.capture.shapes[reader][0]
        if reader.target not in _RESHAPES or len(joined) != 3 or joined[-1] != heads * width:
            return None
    return tuple(arguments)


def _heads(context: Context) -> tuple[int, int]:
    """Return the number of heads and the width of one."""
    shape = context.shape_of(0)
    heads, width = shape[1], shape[3]
    if not (len(shape) == 4 and isinstance(heads, int) and isinstance(width, int)):
        raise context.refuse("queries that are not (batch, heads, sequence, width)")
    return heads, width


_RESHAPES = (torch.ops.aten.view.default, torch.ops.aten.reshape.default)


def _exchanged(node: Any) -> Any:
    """Return the argument of `transpose(·, 1, 2)`, or None for another node."""
    if isinstance(node, torch.fx.Node) and node.target == torch.ops.aten.transpose.int:
        return node.args[0] if node.args[1:] in ((1, 2), (-3, -2), (2, 1)) else None
    return None


def _bias(context: Context, mask: Any, is_causal: bool, dtype: ir.DataType) -> ir.Value | None:
    """Return what is added to the scores: 0 where a key may be seen, else the lowest number."""
    writer = context.writer
    if is_causal:
        rows, columns = context.shape_of(0)[-2], context.shape_of(1)[-2]
        if not (isinstance(rows, int) and isinstance(columns, int)):
            raise context.refuse("a causal mask of unknown size")
        mask = torch.ones(rows, columns, dtype=torch.bool).tril()
    if mask is None:
        return None
    constant = constant_mask(context, mask)
    if constant is None:
        raise context.refuse("a mask that depends on the inputs")
    return writer.floating(additive_mask(constant, _LOWEST[dtype]), dtype)
