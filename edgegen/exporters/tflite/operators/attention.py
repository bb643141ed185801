"""Scaled dot-product attention in TFLite's operators.

The scores of all heads at once take 512 MB at 64 × 64 latents of SD 1.5, and runtimes hold two
such tensors. Heads are therefore taken one by one where the scores are large, and queries in
blocks where those of one head are.
"""

from __future__ import annotations

import itertools

import numpy as np
import torch

from edgegen.exporters import calls
from edgegen.exporters.calls import RefusedError
from edgegen.exporters.decompositions import additive_mask, causal_mask, scale_of
from edgegen.exporters.tflite import layout
from edgegen.exporters.tflite.graph import Tensor
from edgegen.exporters.tflite.operators.arithmetic import arithmetic
from edgegen.exporters.tflite.operators.layers import matrix_product
from edgegen.exporters.tflite.operators.layout import cut, join
from edgegen.exporters.tflite.writer import Context, Value

SCORES_BYTES = 64 << 20
"""Scores that are computed at once take no more than this."""

_LOWEST = float(np.finfo(np.float32).min)


def attention(context: Context, call: calls.Attention) -> Value:
    """Lower attention of (batch, heads, sequence, width) tensors."""
    writer = context.writer
    arguments = (call.query, call.key, call.value)
    queries, keys, values = (writer.floating(argument) for argument in arguments)
    if len(queries.shape) != 4:
        raise RefusedError("queries that are not (batch, heads, sequence, width)")
    factor = writer.constant(np.float32(scale_of(call, queries.shape)))
    if queries.shape[2] <= keys.shape[2]:
        queries = _multiplied(context, queries, factor)
    else:
        keys = _multiplied(context, keys, factor)
    bias = _bias(context, call)
    batch, heads, length, width = queries.shape
    head_bytes = 4 * batch * length * keys.shape[2]
    if heads * head_bytes <= SCORES_BYTES:
        whole = None if bias is None else writer.plain(bias)
        result = _attend(
            context, writer.plain(queries), writer.plain(keys), writer.plain(values), whole
        )
        return Value(tensor=result, order=(0, 1, 2, 3))
    blocks = -(-head_bytes // SCORES_BYTES)
    parts = []
    for head in range(heads):
        one, its_keys, its_values = (
            cut(context, each, 1, head, 1) if heads > 1 else each
            for each in (queries, keys, values)
        )
        its_bias = _part(context, bias, 1, head, 1)
        parts.append(_by_blocks(context, one, its_keys, its_values, its_bias, blocks))
    # heads one behind the other are (batch, sequence, heads × width), as what follows wants them
    flat = [writer.reshape(part, (batch, length, width)) for part in parts]
    joined = join(context, flat, 2) if heads > 1 else flat[0]
    result = writer.reshape(joined, (batch, length, heads, width))
    return Value(tensor=result, order=(0, 2, 1, 3))


def _multiplied(context: Context, value: Value, factor: Tensor) -> Value:
    return Value(tensor=arithmetic(context, "MUL", value.tensor, factor), order=value.order)


def _part(context: Context, bias: Value | None, axis: int, start: int, size: int) -> Value | None:
    """Return the part of a mask for some heads or queries; one that is for all is for those too."""
    if bias is None or bias.shape[axis] == 1:
        return bias
    if isinstance(bias.tensor.data, np.ndarray):
        places = range(start, start + size)
        return context.writer.floating(bias.tensor.data.take(places, axis))
    return cut(context, bias, axis, start, size)


def _by_blocks(
    context: Context, queries: Value, keys: Value, values: Value, bias: Value | None, blocks: int
) -> Tensor:
    """Attend with one head, a block of queries at a time."""
    writer = context.writer
    plain_keys, plain_values = writer.plain(keys), writer.plain(values)
    length = queries.shape[2]
    bounds = [length * block // blocks for block in range(blocks + 1)]
    parts = []
    for start, end in itertools.pairwise(bounds):
        block = cut(context, queries, 2, start, end - start) if blocks > 1 else queries
        its_bias = _part(context, bias, 2, start, end - start) if blocks > 1 else bias
        added = None if its_bias is None else writer.plain(its_bias)
        parts.append(_attend(context, writer.plain(block), plain_keys, plain_values, added))
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


def _bias(context: Context, call: calls.Attention) -> Value | None:
    """Return what is added to the scores, of four axes."""
    writer, mask = context.writer, call.mask
    if call.is_causal:
        mask = causal_mask(context.shape_of("query"), context.shape_of("key"))
    if isinstance(mask, torch.Tensor):
        numbers = additive_mask(mask, _LOWEST)
        return writer.floating(numbers.reshape((1,) * (4 - numbers.ndim) + numbers.shape))
    if mask is None:
        return None
    bias = writer.floating(mask)
    order = layout.widened(bias.order, 4)
    return Value(tensor=writer.arrange(bias, order), order=order)
