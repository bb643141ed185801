"""Scaled dot-product attention, as OpenVINO's operation of the same name."""

from __future__ import annotations

import math

import numpy as np
import torch

from edgegen.exporters import calls
from edgegen.exporters.decompositions import additive_mask, scale_of
from edgegen.exporters.openvino.graph import Value
from edgegen.exporters.openvino.writer import Context

_LOWEST = float(np.finfo(np.float32).min)


def attention(context: Context, call: calls.Attention) -> Value:
    """Lower attention of (batch, heads, sequence, width) tensors.

    `upcast_attention` needs nothing here: the graph computes in float32.
    """
    writer, mask = context.writer, call.mask
    factor = scale_of(call, context.shape_of("query"))
    width = context.shape_of("query")[-1]
    default = isinstance(width, int) and math.isclose(factor, width**-0.5, rel_tol=1e-6)
    inputs = [writer.floating(argument) for argument in (call.query, call.key, call.value)]
    if isinstance(mask, torch.Tensor):
        mask = additive_mask(mask, _LOWEST)
    if mask is not None:
        inputs.append(writer.floating(mask))
    if not default:
        inputs += [writer.floating(0.0)] if mask is None else []
        inputs.append(writer.floating(factor))
    return writer.op("ScaledDotProductAttention", *inputs, causal=call.is_causal)
