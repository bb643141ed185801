"""What each of torch's operators becomes in OpenVINO: one table that grep finds.

`edgegen/exporters/lowering.py` says what a lowering gets and returns.
"""

from __future__ import annotations

from edgegen.exporters.openvino.operators import arithmetic, attention, layers, layout
from edgegen.exporters.operators import from_zero, operator_table

OPERATORS = operator_table(
    {
        # casts
        "to_dtype": layout.to_dtype,
        # layout
        "reshape": layout.reshape,
        "permute": layout.permute,
        "transpose": layout.transpose,
        "t": layout.t,
        "unsqueeze": layout.unsqueeze,
        "squeeze": layout.squeeze,
        "expand": layout.expand,
        "slice": layout.slice_,
        "select": layout.select,
        "cat": layout.cat,
        "split": layout.split,
        "constant_pad": layout.constant_pad,
        "arange": layout.arange,
        "arange_start": from_zero(layout.arange),
        "ones": layout.ones,
        "index": layout.index,
        # arithmetic
        "add": arithmetic.BASIC.add,
        "sub": arithmetic.BASIC.sub,
        "rsub": arithmetic.BASIC.rsub,
        "mul": arithmetic.BASIC.mul,
        "div": arithmetic.BASIC.div,
        "power": arithmetic.power,
        "negative": arithmetic.unary("Negative"),
        "exp": arithmetic.unary("Exp"),
        "log": arithmetic.unary("Log"),
        "sin": arithmetic.unary("Sin"),
        "cos": arithmetic.unary("Cos"),
        "sqrt": arithmetic.unary("Sqrt"),
        "sigmoid": arithmetic.unary("Sigmoid"),
        "tanh": arithmetic.unary("Tanh"),
        "relu": arithmetic.unary("ReLU"),
        "silu": arithmetic.unary("Swish"),
        "gelu": arithmetic.gelu,
        "mish": arithmetic.unary("Mish"),
        "clamp": arithmetic.clamp,
        "mean": arithmetic.mean,
        "equal": arithmetic.equal,
        "less_or_equal": arithmetic.less_or_equal,
        "argmax": arithmetic.argmax,
        # layers
        "linear": layers.linear,
        "conv2d": layers.conv2d,
        "embedding": layers.embedding,
        "group_norm": layers.group_norm,
        "layer_norm": layers.layer_norm,
        "upsample_nearest": layers.upsample_nearest,
        "average_pool": layers.average_pool,
        "softmax": layers.softmax,
        "matmul": layers.matmul,
        "baddbmm": layers.baddbmm,
        # attention
        "attention": attention.scaled_dot_product_attention,
    }
)
