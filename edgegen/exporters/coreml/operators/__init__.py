"""What each of torch's operators becomes in Core ML: one table that grep finds.

`edgegen/exporters/lowering.py` says what a lowering gets and returns.
"""

from __future__ import annotations

from edgegen.exporters.coreml.operators import arithmetic, attention, layers, layout
from edgegen.exporters.operators import operator_table

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
        "arange": layout.folded,
        "arange_start": layout.folded,
        "ones": layout.folded,
        "index": layout.index,
        # arithmetic
        "add": arithmetic.BASIC.add,
        "sub": arithmetic.BASIC.sub,
        "rsub": arithmetic.BASIC.rsub,
        "mul": arithmetic.BASIC.mul,
        "div": arithmetic.BASIC.div,
        "power": arithmetic.power,
        "negative": arithmetic.negative,
        "exp": arithmetic.unary("exp"),
        "log": arithmetic.unary("log", epsilon=1e-45),
        "sin": arithmetic.unary("sin"),
        "cos": arithmetic.unary("cos"),
        "sqrt": arithmetic.unary("sqrt"),
        "sigmoid": arithmetic.unary("sigmoid"),
        "tanh": arithmetic.unary("tanh"),
        "relu": arithmetic.unary("relu"),
        "silu": arithmetic.unary("silu"),
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
