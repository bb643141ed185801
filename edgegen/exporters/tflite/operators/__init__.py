"""What calls become in TFLite: one table that grep finds, of what TFLite says better than
`exporters/decompositions.py`. `exporters/lowering.py` says what a lowering gets and returns.

All axes are fixed: what only depends on sizes is a constant, and never comes here.
"""

from __future__ import annotations

from collections.abc import Mapping

from edgegen.exporters import calls
from edgegen.exporters.lowering import Lowering
from edgegen.exporters.tflite.operators import arithmetic, attention, layers, layout

LOWERINGS: Mapping[type[calls.Call], Lowering] = {
    # layout
    calls.To: layout.to_dtype,
    calls.Reshape: layout.reshape,
    calls.Permute: layout.permute,
    calls.Unsqueeze: layout.reshape,
    calls.Squeeze: layout.reshape,
    calls.Expand: layout.expand,
    calls.Slice: layout.slice_,
    calls.Select: layout.select,
    calls.Cat: layout.cat,
    calls.Split: layout.split,
    calls.Pad: layout.pad,
    calls.Index: layout.index,
    # arithmetic
    **arithmetic.BINARY,
    **arithmetic.UNARY,
    **arithmetic.COMPARISONS,
    calls.And: arithmetic.logical("LOGICAL_AND", "LogicalAndOptions"),
    calls.Or: arithmetic.logical("LOGICAL_OR", "LogicalOrOptions"),
    calls.Not: arithmetic.logical("LOGICAL_NOT", "LogicalNotOptions"),
    calls.Where: arithmetic.where,
    calls.Pow: arithmetic.power,
    calls.Gelu: arithmetic.gelu,
    calls.Mish: arithmetic.mish,
    calls.Clamp: arithmetic.clamp,
    calls.Mean: arithmetic.reduction("MEAN"),
    calls.Sum: arithmetic.reduction("SUM"),
    calls.Argmax: arithmetic.argmax,
    # layers
    calls.Linear: layers.linear,
    calls.Conv2d: layers.conv2d,
    calls.Embedding: layers.embedding,
    calls.GroupNorm: layers.group_norm,
    calls.LayerNorm: layers.layer_norm,
    calls.UpsampleNearest: layers.upsample_nearest,
    calls.AveragePool: layers.average_pool,
    calls.Softmax: layers.softmax,
    calls.Matmul: layers.matmul,
    calls.Attention: attention.attention,
}
