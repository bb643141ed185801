"""Scaled dot-product attention, fused where the runtime can.

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

from edgegen.exporters import calls
from edgegen.exporters.calls import RefusedError
from edgegen.exporters.decompositions import HIDDEN, additive_mask, causal_mask, scale_of
from edgegen.exporters.onnx.writer import CONTRIB_DOMAIN, Context

_LOWEST = {ir.DataType.FLOAT: float(np.finfo(np.float32).min), ir.DataType.FLOAT16: -65504.0}


def attention(context: Context, call: calls.Attention) -> ir.Value:
    """Lower attention of (batch, heads, sequence, width) tensors.

    The type is float32 where the network asks for `upcast_attention`, else the compute type.
    """
    writer = context.writer
    heads, _ = _heads(context)
    factor = scale_of(call, context.shape_of("query"))
    dtype = ir.DataType.FLOAT if writer.upcast_attention else writer.compute
    packed = _packed_arguments(context) if call.mask is None and not call.is_causal else None
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
    bias = _bias(context, call, dtype)
    arguments = (call.query, call.key, call.value)
    queries, keys, values = (writer.floating(argument, dtype) for argument in arguments)
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
    if not isinstance(context.node, torch.fx.Node):
        return None
    arguments = []
    for node in context.node.args[:3]:
        view = _exchanged(node)
        if view is None or view.target not in _RESHAPES:
            return None
        source = view.args[0]
        shape = context.walk.shape(source)
        if len(shape) != 3 or shape[-1] != heads * width:
            return None
        arguments.append(context.walk.values[source])
    users = list(context.node.users)
    if len(users) != 1 or _exchanged(users[0]) is not context.node:
        return None
    for reader in users[0].users:
        joined = context.walk.shape(reader)
        if reader.target not in _RESHAPES or len(joined) != 3 or joined[-1] != heads * width:
            return None
    return tuple(arguments)


def _heads(context: Context) -> tuple[int, int]:
    """Return the number of heads and the width of one."""
    shape = context.shape_of("query")
    heads, width = shape[1], shape[3]
    if not (len(shape) == 4 and isinstance(heads, int) and isinstance(width, int)):
        raise RefusedError("queries that are not (batch, heads, sequence, width)")
    return heads, width


_RESHAPES = (torch.ops.aten.view.default, torch.ops.aten.reshape.default)


def _exchanged(node: Any) -> Any:
    """Return the argument of `transpose(·, 1, 2)`, or None for another node."""
    if isinstance(node, torch.fx.Node) and node.target == torch.ops.aten.transpose.int:
        return node.args[0] if node.args[1:] in ((1, 2), (-3, -2), (2, 1)) else None
    return None


def _bias(context: Context, call: calls.Attention, dtype: ir.DataType) -> ir.Value | None:
    """Return what is added to the scores."""
    writer, mask = context.writer, call.mask
    if call.is_causal:
        mask = causal_mask(context.shape_of("query"), context.shape_of("key"))
    if isinstance(mask, torch.Tensor):
        return writer.floating(additive_mask(mask, _LOWEST[dtype]), dtype)
    if mask is None:
        return None
    bias = writer.floating(mask, dtype)
    if dtype == ir.DataType.FLOAT16:  # a lowest number and a score would add up to infinity
        bias = writer.op("Max", bias, writer.floating(HIDDEN, dtype))
    return bias
