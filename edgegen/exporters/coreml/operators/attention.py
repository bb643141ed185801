"""Scaled dot-product attention: head by head, or of all heads together.

Head by head is the form that Apple found the Neural Engine to like ("Deploying Transformers on the
Apple Neural Engine", machinelearning.apple.com, 2022; `split_einsum` of ml-stable-diffusion).
"""

from __future__ import annotations

import math

import torch

from edgegen.exporters import calls
from edgegen.exporters.coreml.graph import Value
from edgegen.exporters.coreml.writer import Context
from edgegen.exporters.decompositions import HIDDEN, additive_mask, causal_mask, scale_of
from edgegen.mil.types import TypeName

_EQUATION = "nchw,nwhu->nchu"
"""The one equation that Core ML has for four axes."""
_FUSED_FROM = 18  # iOS's version that has the operation `scaled_dot_product_attention`


def attention(context: Context, call: calls.Attention) -> Value:
    """Lower attention of (batch, heads, sequence, width) tensors.

    The type is float32 where the network asks for `upcast_attention`, else the compute type.
    """
    writer = context.writer
    factor = scale_of(call, context.shape_of("query"))
    kind: TypeName = "fp32" if writer.upcast_attention else writer.compute
    arguments = (call.query, call.key, call.value)
    inputs = [writer.floating_as_it_lies(item, kind) for item in arguments]
    is_constant = call.is_causal or isinstance(call.mask, torch.Tensor)
    if not is_constant and all(item.layout == "heads-first" for item in inputs):
        return _head_by_head(context, inputs, _bias(context, call, kind), factor)
    queries, keys, values = (writer.plain(item) for item in inputs)
    bias = _bias(context, call, kind)
    default = math.isclose(factor, queries.shape[-1] ** -0.5, rel_tol=1e-6)
    if writer.minimum_os >= _FUSED_FROM and default:
        return writer.op(
            "scaled_dot_product_attention",
            query=queries,
            key=keys,
            value=values,
            attn_mask=bias,
            result=queries.shape[:-1] + values.shape[-1:],
        )
    scores_shape = (*queries.shape[:-1], keys.shape[-2])
    scaled = writer.op("mul", x=queries, y=factor, result=queries.shape)
    scores = writer.op(
        "matmul", x=scaled, y=keys, transpose_x=False, transpose_y=True, result=scores_shape
    )
    if bias is not None:
        scores = writer.op("add", x=scores, y=bias, result=scores_shape)
    weights = writer.op("softmax", x=scores, axis=-1, result=scores_shape)
    return writer.op(
        "matmul",
        x=weights,
        y=values,
        transpose_x=False,
        transpose_y=False,
        result=(*queries.shape[:-1], values.shape[-1]),
    )


def _head_by_head(
    context: Context, inputs: list[Value], bias: Value | None, factor: float
) -> Value:
    """Lower attention of tensors that are stored as (batch, heads × width, 1, sequence)."""
    writer = context.writer
    queries, keys, values = inputs
    batch, heads, length, width = queries.shape
    others, of_values = keys.shape[2], values.shape[3]
    # (batch, sequence, 1, heads × width), as the first product wants the keys
    turned = writer.op(
        "transpose", x=keys, perm=[0, 3, 2, 1], result=(batch, others, 1, heads * width)
    )
    of_queries = _cut(context, queries, (batch, width, 1, length), heads, axis=1)
    of_keys = _cut(context, turned, (batch, others, 1, width), heads, axis=3)
    cut_values = _cut(context, values, (batch, of_values, 1, others), heads, axis=1)
    biases = [None] * heads if bias is None else _biases(context, bias, heads)
    results = []
    for one_query, one_key, one_value, its_bias in zip(
        of_queries, of_keys, cut_values, biases, strict=True
    ):
        shape = (batch, others, 1, length)
        scores = writer.op("einsum", values=[one_key, one_query], equation=_EQUATION, result=shape)
        scaled = writer.op("mul", x=scores, y=factor, result=shape)
        if its_bias is not None:
            scaled = writer.op("add", x=scaled, y=its_bias, result=shape)
        weights = writer.op("softmax", x=scaled, axis=1, result=shape)
        results.append(
            writer.op(
                "einsum",
                values=[one_value, weights],
                equation=_EQUATION,
                result=(batch, of_values, 1, length),
            )
        )
    joined = results[0]
    if heads > 1:
        stored = (batch, heads * of_values, 1, length)
        joined = writer.op("concat", values=results, axis=1, interleave=False, result=stored)
    return writer.relabelled(joined, (batch, heads, length, of_values), "heads-first")


def _cut(
    context: Context, value: Value, shape: tuple[int, ...], heads: int, *, axis: int
) -> tuple[Value, ...]:
    """Return a tensor of each head."""
    if heads == 1:
        return (context.writer.stored(value),)
    return context.writer.op_many(
        "split", x=value, num_splits=heads, axis=axis, results=[shape] * heads
    )


def _biases(context: Context, bias: Value, heads: int) -> tuple[Value, ...]:
    """Return what each head adds to its scores, which lie as (batch, keys, 1, queries)."""
    wide = context.writer.of_rank(bias, 4)
    batch, count, queries, keys = wide.shape
    turned = context.writer.op(
        "transpose", x=wide, perm=[0, 3, 1, 2], result=(batch, keys, count, queries)
    )
    if count == 1:
        return (turned,) * heads
    return _cut(context, turned, (batch, keys, 1, queries), heads, axis=2)


def _bias(context: Context, call: calls.Attention, kind: TypeName) -> Value | None:
    """Return what is added to the scores: 0 where a key may be seen, else a low number."""
    writer, mask = context.writer, call.mask
    if call.is_causal:
        mask = causal_mask(context.shape_of("query"), context.shape_of("key"))
    if isinstance(mask, torch.Tensor):
        return writer.floating(additive_mask(mask, HIDDEN), kind)
    if mask is None:
        return None
    bias = writer.floating(mask, kind)
    if kind == "fp16":  # a lowest number and a score would add up to infinity
        bias = writer.op("maximum", x=bias, y=HIDDEN, result=bias.shape)
    return bias
