"""Scaled dot-product attention (arXiv 1706.03762) in TFLite's operators.

The scores of all heads at once take 512 MB at 64 × 64 latents of SD 1.5, and runtimes hold two
such tensors. Heads are therefore taken one by one where the scores are large, and queries in
blocks where those of one head are.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import torch

from edgegen.exporters.operators import additive_mask
from edgegen.exporters.tflite import layout
from edgegen.exporters.tflite.graph import Tensor
from edgegen.exporters.tflite.operators.arithmetic import arithmetic
from edgegen.exporters.tflite.operators.context import Context, fixed
from edgegen.exporters.tflite.operators.layout import cut, join
from edgegen.exporters.tflite.writer import Value

SCORES_BYTES = 64 << 20
"""Scores that are computed at once take no more than this."""

_LOWEST = float(np.finfo(np.float32).min)


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
) -> Value:
    """Lower attention of (batch, heads, sequence, width) tensors."""
    if dropout or enable_gqa:
        raise context.refuse("dropout or grouped queries")
    writer = context.writer
    queries, keys, values = (writer.floating(argument) for argument in (query, key, value))
    if len(queries.shape) != 4:
        raise context.refuse("queries that are not (batch, heads, sequence, width)")
    factor = writer.constant(
        np.float32(1.0 / math.sqrt(queries.shape[3]) if scale is None else scale)
    )
    if queries.shape[2] <= keys.shape[2]:
        queries = _multiplied(context, queries, factor)
    else:
        keys = _multiplied(context, keys, factor)
    bias = _bias(context, mask, is_causal)
    batch, heads, length, width = queries.shape
    head_bytes = 4 * batch * length * keys.shape[2]
    if heads * head_bytes <= SCORES_BYTES:
        result = _attend(
            context, writer.plain(queries), writer.plain(keys), writer.plain(values), bias
        )
        return Value(tensor=result, order=(0, 1, 2, 3))
    if bias is not None:
        raise context.refuse(f"a mask over {length} queries")
    blocks = -(-head_bytes // SCORES_BYTES)
    parts = []
    for head in range(heads):
        one, its_keys, its_values = (
            cut(context, each, 1, head, 1) if heads > 1 else each
            for each in (queries, keys, values)
        )
        parts.append(_by_blocks(context, one, its_keys, its_values, blocks))
    # heads one behind the other are (batch, sequence, heads × width), as what follows wants them
    flat = [writer.reshape(part, (batch, length, width)) for part in parts]
    joined = join(context, flat, 2) if heads > 1 else flat[0]
    result = writer.reshape(joined, (batch, length, heads, width))
    return Value(tensor=result, order=(0, 2, 1, 3))


def _multiplied(context: Context, value: Value, factor: Tensor) -> Value:
    return Value(tensor=arithmetic(context, "MUL", value.tensor, factor), order=value.order)


def _by_blocks(context: Context, queries: Value, keys: Value, values: Value, blocks: int) -> Tensor:
    """Attend with one head, a block of queries at a time."""
    writer = context.writer
    plain_keys, plain_values = writer.plain(keys), writer.plain(values)
    length = queries.shape[2]
    bounds = [length * block // blocks for block in range(blocks + 1)]
    parts = []
    for start, end in itertools.pairwise(bounds):
        block = cut(context, queries, 2, start, end - start) if blocks > 1 else queries
        parts.append(_attend(context, writer.plain(block), plain_keys, plain_values, None))
    return join(context, parts, 2) if blocks > 1 else parts[0]


def _attend(
    context: Context, queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor | None
) -> Tensor:
    writer = context.writer
    scores = matrix_product(context, queries, keys, transposed=True)
    if bias is not None:
        scores = arithmetic(context, "ADD", scores, bias)
    weights = writer.op("SOFTMAX", [scores], scores.shape, options_type="SoftmaxOptions", beta=1.0)
    return matrix_product(context, weights, values)


def matrix_product(
    context: Context, left: Tensor, right: Tensor, *, transposed: bool = False
) -> Tensor:
    """Append the product of the last two axes; `transposed` says that `right`'s are exchanged."""
    columns = right.shape[-2] if transposed else right.shape[-1]
    leading = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    return context.writer.op(
        "BATCH_MATMUL",
        [left, right],
        (*leading, left.shape[-2], columns),
        options_type="BatchMatMulOptions",
        adjY=transposed,
    )


def _bias(context: Context, mask: Any, is_causal: bool) -> Tensor | None:
    """Return what is added to the scores: 0 where a key may be seen, else the lowest number."""
    if is_causal:
        rows = fixed(context, context.shape_of(0))[-2]
        columns = fixed(context, context.shape_of(1))[-2]
        mask = torch.ones(rows, columns, dtype=torch.bool).tril()
    if mask is None:
        return None
    if not isinstance(mask, torch.Tensor):
        raise context.refuse("a mask that depends on the inputs")
    numbers = additive_mask(mask, _LOWEST)
    wide = numbers.reshape((1,) * (4 - numbers.ndim) + numbers.shape)
    return context.writer.constant(wide)


def matmul(context: Context, left: Any, right: Any) -> Value:
    """Lower a product of matrices; a right one that is stored transposed stays so."""
    writer = context.writer
    first, second = writer.floating(left), writer.floating(right)
    rank = len(second.order)
    exchanged = (*range(rank - 2), rank - 1, rank - 2)
    if second.order == exchanged:
        tensor = matrix_product(context, writer.plain(first), second.tensor, transposed=True)
    else:
        tensor = matrix_product(context, writer.plain(first), writer.plain(second))
    return Value(tensor=tensor, order=layout.plain(len(tensor.shape)))


def baddbmm(
    context: Context, value: Any, left: Any, right: Any, beta: float = 1, alpha: float = 1
) -> Value:
    """Lower `beta × value + alpha × left right`."""
    writer = context.writer
    product = matmul(context, left, right)
    if alpha != 1:
        product = _multiplied(context, product, writer.constant(np.float32(alpha)))
    if beta == 0:
        return product
    addend = writer.floating(value)
    if beta != 1:
        addend = _multiplied(context, addend, writer.constant(np.float32(beta)))
    total = arithmetic(context, "ADD", product.tensor, writer.plain(addend))
    return Value(tensor=total, order=product.order)


def softmax(context: Context, value: Any, axis: int, dtype: Any = None) -> Value:
    """Lower the softmax over one axis, which TFLite wants to be stored last."""
    writer = context.writer
    argument = writer.floating(value)
    axis %= len(argument.order)
    order = (*(other for other in argument.order if other != axis), axis)
    tensor = writer.arrange(argument, order)
    result = writer.op("SOFTMAX", [tensor], tensor.shape, options_type="SoftmaxOptions", beta=1.0)
    return Value(tensor=result, order=order)
