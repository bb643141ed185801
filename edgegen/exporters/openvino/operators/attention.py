"""Scaled dot-product attention (arXiv 1706.03762), as OpenVINO's operation of the same name."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from edgegen.exporters.openvino.graph import Value
from edgegen.exporters.openvino.operators.context import Context
from edgegen.exporters.operators import additive_mask, constant_mask

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
    """Lower attention of (batch, heads, sequence, width) tensors.

    `upcast_attention` needs nothing here: the graph computes in float32.
    """
    if dropout or enable_gqa:
        raise context.refuse("dropout or grouped queries")
    writer = context.writer
    width = context.shape_of(0)[-1]
    if not isinstance(width, int):
        raise context.refuse("queries of an open width")
    inputs = [writer.floating(argument) for argument in (query, key, value)]
    default = 1.0 / math.sqrt(width)
    factor = default if scale is None else float(scale)
    bias = _bias(context, mask)
    if not math.isclose(factor, default, rel_tol=1e-6):
        inputs += [writer.floating(0.0) if bias is None else bias, writer.floating(factor)]
    elif bias is not None:
        inputs.append(bias)
    return writer.op("ScaledDotProductAttention", *inputs, causal=is_causal)


def _bias(context: Context, mask: Any) -> Value | None:
    """Return what is added to the scores: 0 where a key may be seen, else the lowest number."""
    if mask is None:
        return None
    constant = constant_mask(context, mask)
    if constant is None:
        raise context.refuse("a mask that depends on the inputs")
    return context.writer.floating(additive_mask(constant, _LOWEST))
