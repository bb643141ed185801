"""What each of torch's operators becomes in TFLite: one table that grep finds.

`edgegen/exporters/lowering.py` says what a lowering gets and returns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from edgegen.exporters.operators import NEUTRAL, padding, with_device, with_layout
from edgegen.exporters.tflite.operators import arithmetic, attention, layers, layout

OPERATORS: Mapping[str, Callable[..., Any]] = {
    **NEUTRAL,
    # casts
    "aten.to.dtype": layout.to_dtype,
    "aten.to.dtype_layout": with_layout(layout.to_dtype),
    "aten.to.device": with_device(layout.to_dtype),
    "aten._to_copy.default": with_layout(layout.to_dtype),
    # layout
    "aten.view.default": layout.reshape,
    "aten.reshape.default": layout.reshape,
    "aten._unsafe_view.default": layout.reshape,
    "aten.flatten.using_ints": layout.reshape,
    "aten.unflatten.int": layout.reshape,
    "aten.unsqueeze.default": layout.reshape,
    "aten.squeeze.dim": layout.reshape,
    "aten.permute.default": layout.permute,
    "aten.transpose.int": layout.transpose,
    "aten.t.default": layout.t,
    "aten.expand.default": layout.expand,
    "aten.slice.Tensor": layout.slice_,
    "aten.select.int": layout.select,
    "aten.cat.default": layout.cat,
    "aten.concat.default": layout.cat,
    "aten.chunk.default": layout.split,
    "aten.split.Tensor": layout.split,
    "aten.split_with_sizes.default": layout.split,
    "aten.pad.default": padding(layout.constant_pad),
    "aten.constant_pad_nd.default": layout.constant_pad,
    "aten.arange.default": layout.constant,
    "aten.arange.start": layout.constant,
    "aten.ones.default": layout.constant,
    "aten.index.Tensor": layout.index,
    "aten.embedding.default": layout.embedding,
    # arithmetic
    "aten.add.Tensor": arithmetic.BASIC.add,
    "aten.add_.Tensor": arithmetic.BASIC.add,
    "aten.sub.Tensor": arithmetic.BASIC.sub,
    "aten.rsub.Scalar": arithmetic.BASIC.rsub,
    "aten.mul.Tensor": arithmetic.BASIC.mul,
    "aten.mul.Scalar": arithmetic.BASIC.mul,
    "aten.div.Tensor": arithmetic.BASIC.div,
    "aten.div_.Tensor": arithmetic.BASIC.div,
    "aten.div.Scalar": arithmetic.BASIC.div,
    "aten.pow.Tensor_Scalar": arithmetic.power,
    "aten.neg.default": arithmetic.unary("NEG", "NegOptions"),
    "aten.exp.default": arithmetic.unary("EXP", "ExpOptions"),
    "aten.log.default": arithmetic.unary("LOG"),
    "aten.sin.default": arithmetic.unary("SIN"),
    "aten.cos.default": arithmetic.unary("COS", "CosOptions"),
    "aten.sqrt.default": arithmetic.unary("SQRT"),
    "aten.sigmoid.default": arithmetic.unary("LOGISTIC"),
    "aten.tanh.default": arithmetic.unary("TANH"),
    "aten.tanh_.default": arithmetic.unary("TANH"),
    "aten.relu.default": arithmetic.unary("RELU"),
    "aten.relu_.default": arithmetic.unary("RELU"),
    "aten.silu.default": arithmetic.silu,
    "aten.silu_.default": arithmetic.silu,
    "aten.gelu.default": arithmetic.gelu,
    "aten.clamp.default": arithmetic.clamp,
    "aten.mean.dim": arithmetic.mean,
    "aten.eq.Scalar": arithmetic.equal,
    "aten.eq.Tensor": arithmetic.equal,
    "aten.le.Tensor": arithmetic.less_or_equal,
    "aten.argmax.default": arithmetic.argmax,
    # layers
    "aten.linear.default": layers.linear,
    "aten.conv2d.default": layers.conv2d,
    "aten.group_norm.default": layers.group_norm,
    "aten.layer_norm.default": layers.layer_norm,
    "aten.upsample_nearest2d.vec": layers.upsample_nearest,
    "aten.avg_pool2d.default": layers.average_pool,
    # attention
    "aten.softmax.int": attention.softmax,
    "aten.matmul.default": attention.matmul,
    "aten.bmm.default": attention.matmul,
    "aten.baddbmm.default": attention.baddbmm,
    "aten.scaled_dot_product_attention.default": attention.scaled_dot_product_attention,
}
