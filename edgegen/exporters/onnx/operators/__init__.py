"""What calls become in ONNX: one table that grep finds, of what ONNX says better than
`exporters/decompositions.py`. `exporters/lowering.py` says what a lowering gets and returns.
"""

from __future__ import annotations

from collections.abc import Mapping

from edgegen.exporters import calls
from edgegen.exporters.lowering import Lowering
from edgegen.exporters.onnx.operators import arithmetic, attention, layers, layout

LOWERINGS: Mapping[type[calls.Call], Lowering] = {
    # layout
    calls.To: layout.to_dtype,
    calls.Reshape: layout.reshape,
    calls.Permute: layout.permute,
    calls.Transpose: layout.transpose,
    calls.Unsqueeze: layout.unsqueeze,
    calls.Squeeze: layout.squeeze,
    calls.Expand: layout.expand,
    calls.Slice: layout.slice_,
    calls.Select: layout.select,
    calls.Cat: layout.cat,
    calls.Split: layout.split,
    calls.Pad: layout.pad,
    calls.Arange: layout.arange,
    calls.Full: layout.full,
    calls.Index: layout.index,
    # arithmetic
    **arithmetic.BINARY,
    **arithmetic.UNARY,
    **arithmetic.COMPARISONS,
    calls.And: arithmetic.logical("And"),
    calls.Or: arithmetic.logical("Or"),
    calls.Not: arithmetic.logical("Not"),
    calls.Where: arithmetic.where,
    calls.Pow: arithmetic.power,
    calls.Gelu: arithmetic.gelu,
    calls.Clamp: arithmetic.clamp,
    calls.Mean: arithmetic.reduction("ReduceMean"),
    calls.Sum: arithmetic.reduction("ReduceSum"),
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
