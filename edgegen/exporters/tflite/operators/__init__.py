"""What each of torch's operators becomes in TFLite: one table that grep finds.

`edgegen/exporters/lowering.py` says what a lowering gets and returns.
"""

from __future__ import annotations

from edgegen.exporters.operators import operator_table
from edgegen.exporters.tflite.operators import arithmetic, attention, layers, layout

OPERATORS = operator_table(
    {
        # casts
        "to_dtype": layout.to_dtype,
        # layout
        "reshape": layout.reshape,
        "permute": layout.permute,
        "transpose": layout.transpose,
        "t": layout.t,
        "unsqueeze": layout.reshape,
        "squeeze": layout.reshape,
        "expand": layout.expand,
        "slice": layout.slice_,
        "select": layout.select,
        "cat": layout.cat,
        "split": layout.split,
        "constant_pad": layout.constant_pad,
        "arange": layout.constant,
        "arange_start": layout.constant,
        "ones": layout.constant,
        "index": layout.index,
        # arithmetic
        "add": arithmetic.BASIC.add,
        "sub": arithmetic.BASIC.sub,
        "rsub": arithmetic.BASIC.rsub,
        "mul": arithmetic.BASIC.mul,
        "div": arithmetic.BASIC.div,
        "power": arithmetic.power,
        "negative": arithmetic.unary("NEG", "NegOptions"),
        "exp": arithmetic.unary("EXP", "ExpOptions"),
        "log": arithmetic.unary("LOG"),
        "sin": arithmetic.unary("SIN"),
        "cos": arithmetic.unary("COS", "CosOptions"),
        "sqrt": arithmetic.unary("SQRT"),
        "sigmoid": arithmetic.unary("LOGISTIC"),
        "tanh": arithmetic.unary("TANH"),
        "relu": arithmetic.unary("RELU"),
        "silu": arithmetic.silu,
        "gelu": arithmetic.gelu,
        "mish": arithmetic.mish,
        "clamp": arithmetic.clamp,
        "mean": arithmetic.mean,
        "equal": arithmetic.equal,
        "less_or_equal": arithmetic.less_or_equal,
        "argmax": arithmetic.argmax,
        # layers
        "linear": layers.linear,
        "conv2d": layers.conv2d,
        "embedding": layout.embedding,
        "group_norm": layers.group_norm,
        "layer_norm": layers.layer_norm,
        "upsample_nearest": layers.upsample_nearest,
        "average_pool": layers.average_pool,
        "softmax": attention.softmax,
        "matmul": attention.matmul,
        "baddbmm": attention.baddbmm,
        # attention
        "attention": attention.scaled_dot_product_attention,
    }
)
