"""What each of torch's operators becomes in Core ML: one table that grep finds.

`edgegen/exporters/lowering.py` says what a lowering gets and returns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from edgegen.exporters.coreml.operators import arithmetic, attention, layers, layout
from edgegen.exporters.operators import NEUTRAL, padding, with_device, with_layout

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
    "aten.permute.default": layout.permute,
    "aten.transpose.int": layout.transpose,
    "aten.t.default": layout.t,
    "aten.unsqueeze.default": layout.unsqueeze,
    "aten.squeeze.dim": layout.squeeze,
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
    "aten.arange.default": layout.folded,
    "aten.arange.start": layout.folded,
    "aten.ones.default": layout.folded,
    "aten.index.Tensor": layout.index,
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
    "aten.neg.default": arithmetic.negative,
    "aten.exp.default": arithmetic.unary("exp"),
    "aten.log.default": arithmetic.unary("log", epsilon=1e-45),
    "aten.sin.default": arithmetic.unary("sin"),
    "aten.cos.default": arithmetic.unary("cos"),
    "aten.sqrt.default": arithmetic.unary("sqrt"),
    "aten.sigmoid.default": arithmetic.unary("sigmoid"),
    "aten.tanh.default": arithmetic.unary("tanh"),
    "aten.tanh_.default": arithmetic.unary("tanh"),
    "aten.relu.default": arithmetic.unary("relu"),
    "aten.relu_.default": arithmetic.unary("relu"),
    "aten.silu.default": arithmetic.unary("silu"),
    "aten.silu_.default": arithmetic.unary("silu"),
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
    "aten.embedding.default": layers.embedding,
    "aten.group_norm.default": layers.group_norm,
    "aten.layer_norm.default": layers.layer_norm,
    "aten.upsample_nearest2d.vec": layers.upsample_nearest,
    "aten.avg_pool2d.default": layers.average_pool,
    "aten.softmax.int": layers.softmax,
    "aten.matmul.default": layers.matmul,
    "aten.bmm.default": layers.matmul,
    "aten.baddbmm.default": layers.baddbmm,
    # attention
    "aten.scaled_dot_product_attention.default": attention.scaled_dot_product_attention,
}
