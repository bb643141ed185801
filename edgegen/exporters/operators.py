"""What the targets' lowerings share: which of torch's operators mean the same, operators that move
no number, and rules of arithmetic.

A target's own table (`exporters/<target>/operators/__init__.py`) names a lowering for each entry of
`SPELLINGS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from edgegen.exporters.lowering import Context

Lowering = Callable[..., Any]


def same(context: Context[Any], value: Any, *_: Any, **__: Any) -> Any:
    """Drop an operator that changes nothing when a trained network runs."""
    return value


def getitem(context: Context[Any], values: Any, position: int) -> Any:
    """Take one of several results."""
    return values[position]


def nothing(context: Context[Any], *_: Any, **__: Any) -> None:
    """Drop a condition that the capture has settled."""


NEUTRAL: dict[str, Lowering] = {
    # one of several results, and conditions that the capture has settled
    "operator.getitem": getitem,
    "aten._assert_tensor_metadata.default": nothing,
    "aten._assert_scalar.default": nothing,
    # no arithmetic at all
    "aten.alias.default": same,
    "aten.clone.default": same,
    "aten.contiguous.default": same,
    "aten.detach.default": same,
    "aten.detach_.default": same,
    "aten.dropout.default": same,
    "aten.feature_dropout.default": same,
    "aten.lift_fresh_copy.default": same,
}


SPELLINGS: Mapping[str, tuple[str, ...]] = {
    # casts
    "to_dtype": ("aten.to.dtype",),
    "to_dtype_layout": ("aten.to.dtype_layout", "aten._to_copy.default"),
    "to_device": ("aten.to.device",),
    # layout
    "reshape": (
        "aten.view.default",
        "aten.reshape.default",
        "aten._unsafe_view.default",
        "aten.flatten.using_ints",
        "aten.unflatten.int",
    ),
    "permute": ("aten.permute.default",),
    "transpose": ("aten.transpose.int",),
    "t": ("aten.t.default",),
    "unsqueeze": ("aten.unsqueeze.default",),
    "squeeze": ("aten.squeeze.dim",),
    "expand": ("aten.expand.default",),
    "slice": ("aten.slice.Tensor",),
    "select": ("aten.select.int",),
    "cat": ("aten.cat.default", "aten.concat.default"),
    "split": ("aten.chunk.default", "aten.split.Tensor", "aten.split_with_sizes.default"),
    "pad": ("aten.pad.default",),
    "constant_pad": ("aten.constant_pad_nd.default",),
    "arange": ("aten.arange.default",),
    "arange_start": ("aten.arange.start",),
    "ones": ("aten.ones.default",),
    "index": ("aten.index.Tensor",),
    # arithmetic
    "add": ("aten.add.Tensor", "aten.add_.Tensor"),
    "sub": ("aten.sub.Tensor",),
    "rsub": ("aten.rsub.Scalar",),
    "mul": ("aten.mul.Tensor", "aten.mul.Scalar"),
    "div": ("aten.div.Tensor", "aten.div_.Tensor", "aten.div.Scalar"),
    "power": ("aten.pow.Tensor_Scalar",),
    "square": ("aten.square.default",),
    "negative": ("aten.neg.default",),
    "exp": ("aten.exp.default",),
    "log": ("aten.log.default",),
    "sin": ("aten.sin.default",),
    "cos": ("aten.cos.default",),
    "sqrt": ("aten.sqrt.default",),
    "sigmoid": ("aten.sigmoid.default",),
    "tanh": ("aten.tanh.default", "aten.tanh_.default"),
    "relu": ("aten.relu.default", "aten.relu_.default"),
    "silu": ("aten.silu.default", "aten.silu_.default"),
    "gelu": ("aten.gelu.default",),
    "mish": ("aten.mish.default",),
    "clamp": ("aten.clamp.default", "aten.clip.default"),
    "hardtanh": ("aten.hardtanh.default",),
    "mean": ("aten.mean.dim",),
    "equal": ("aten.eq.Scalar", "aten.eq.Tensor"),
    "less_or_equal": ("aten.le.Tensor",),
    "argmax": ("aten.argmax.default",),
    # layers
    "linear": ("aten.linear.default",),
    "conv2d": ("aten.conv2d.default",),
    "embedding": ("aten.embedding.default",),
    "group_norm": ("aten.group_norm.default",),
    "layer_norm": ("aten.layer_norm.default",),
    "upsample_nearest": ("aten.upsample_nearest2d.vec",),
    "average_pool": ("aten.avg_pool2d.default",),
    "softmax": ("aten.softmax.int",),
    "matmul": ("aten.matmul.default", "aten.bmm.default"),
    "baddbmm": ("aten.baddbmm.default",),
    # attention
    "attention": ("aten.scaled_dot_product_attention.default",),
}
"""What the networks of pipelines compute, and torch's names for each."""


def operator_table(lowerings: Mapping[str, Lowering]) -> Mapping[str, Lowering]:
    """Return torch's names → lowerings, of lowerings by their names in `SPELLINGS`.

    The forms of `to_dtype` and `constant_pad` with more arguments follow from them, and so do
    special cases of a power and a clamp.
    """
    lowerings = {
        "to_dtype_layout": with_layout(lowerings["to_dtype"]),
        "to_device": with_device(lowerings["to_dtype"]),
        "pad": padding(lowerings["constant_pad"]),
        "square": square(lowerings["power"]),
        "hardtanh": hardtanh(lowerings["clamp"]),
        **lowerings,
    }
    assert set(lowerings) == set(SPELLINGS), set(lowerings) ^ set(SPELLINGS)
    return NEUTRAL | {
        name: lowering for key, lowering in lowerings.items() for name in SPELLINGS[key]
    }


def with_layout(to_dtype: Lowering) -> Lowering:
    """Return the lowering of a cast that may also name a device and a layout."""

    def lowering(
        context: Context[Any], value: Any, *_: Any, dtype: torch.dtype | None = None, **__: Any
    ) -> Any:
        return value if dtype is None else to_dtype(context, value, dtype)

    return lowering


def with_device(to_dtype: Lowering) -> Lowering:
    """Return the lowering of a move to a device with a cast."""

    def lowering(
        context: Context[Any], value: Any, device: Any, dtype: torch.dtype, *_: Any, **__: Any
    ) -> Any:
        return to_dtype(context, value, dtype)

    return lowering


def padding(constant_pad: Lowering) -> Lowering:
    """Return the lowering of padding that names its mode, of which only `constant` is known."""

    def lowering(
        context: Context[Any],
        value: Any,
        widths: Sequence[int],
        mode: str = "constant",
        fill: float | None = None,
    ) -> Any:
        if mode != "constant":
            raise context.refuse(f"the padding mode {mode!r}")
        return constant_pad(context, value, widths, fill or 0.0)

    return lowering


def square(power: Lowering) -> Lowering:
    """Return the lowering of a square."""
    return lambda context, value: power(context, value, 2)


def hardtanh(clamp: Lowering) -> Lowering:
    """Return the lowering of a clamp whose limits default to −1 and 1."""

    def lowering(context: Context[Any], value: Any, low: float = -1.0, high: float = 1.0) -> Any:
        return clamp(context, value, low, high)

    return lowering


def from_zero(arange: Lowering) -> Lowering:
    """Return the lowering of the numbers from `start`, which has to be 0, to below a size."""

    def lowering(context: Context[Any], start: Any, end: Any, **kwargs: Any) -> Any:
        if start != 0:
            raise context.refuse("a first number other than 0")
        return arange(context, end, **kwargs)

    return lowering


def exchanged(rank: int, first: int, second: int) -> list[int]:
    """Return the order of axes in which two of them are exchanged."""
    axes = list(range(rank))
    axes[first], axes[second] = axes[second], axes[first]
    return axes


def pad_widths(widths: Sequence[int], rank: int) -> tuple[list[int], list[int]]:
    """Return what is added before and behind each axis; torch lists the last axis first."""
    begins, ends = [0] * rank, [0] * rank
    for index in range(len(widths) // 2):
        begins[rank - 1 - index] = int(widths[2 * index])
        ends[rank - 1 - index] = int(widths[2 * index + 1])
    return begins, ends


def pair(numbers: Sequence[int]) -> list[int]:
    """Return a number for each of height and width, where one may stand for both."""
    return list(numbers) * (2 if len(numbers) == 1 else 1)


def is_number(value: Any, number: float) -> bool:
    """Tell whether an argument is a number, or a tensor of one number, with this value."""
    if isinstance(value, torch.Tensor):
        return value.numel() == 1 and value.ndim == 0 and value.item() == number
    return isinstance(value, int | float) and value == number


def constant_mask(context: Context[Any], mask: Any) -> torch.Tensor | None:
    """Return a mask's numbers, seen through the `expand` that repeats it for each of a batch."""
    if isinstance(mask, torch.Tensor):
        return mask
    arguments = (*context.node.args, context.node.kwargs.get("attn_mask"))
    node = next((item for item in arguments[3:] if isinstance(item, torch.fx.Node)), None)
    while node is not None and node.target == torch.ops.aten.expand.default:
        source = node.args[0]
        value = context.values[source]
        if isinstance(value, torch.Tensor):
            return value
        node = source if isinstance(source, torch.fx.Node) else None
    return None


def additive_mask(mask: torch.Tensor, lowest: float) -> NDArray[Any]:
    """Return what is added to attention's scores: 0 where a key may be seen, else `lowest`."""
    if mask.dtype == torch.bool:
        return np.where(mask.numpy(), 0.0, lowest)
    return np.maximum(mask.numpy(), lowest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arithmetic:
    """Sums and products by a target's own operators.

    `binary` appends one of two arguments, `scaled` the product of an argument and a number. What
    changes nothing is dropped: a sum with 0, a product with 1, a quotient by 1 (diffusers'
    `output_scale_factor`).
    """

    binary: Callable[[Literal["Add", "Sub", "Mul", "Div"], Any, Any, Any], Any]
    scaled: Callable[[Any, Any, float], Any]

    def add(self, context: Context[Any], left: Any, right: Any, alpha: float = 1) -> Any:
        """Lower `left + alpha × right`."""
        if alpha != 1:
            right = self.scaled(context, right, alpha)
        if is_number(right, 0) and isinstance(left, context.writer.value_type):
            return left
        return self.binary("Add", context, left, right)

    def sub(self, context: Context[Any], left: Any, right: Any, alpha: float = 1) -> Any:
        """Lower `left − alpha × right`."""
        if alpha != 1:
            right = self.scaled(context, right, alpha)
        return self.binary("Sub", context, left, right)

    def rsub(self, context: Context[Any], left: Any, right: Any, alpha: float = 1) -> Any:
        """Lower `right − alpha × left`."""
        return self.sub(context, right, left, alpha)

    def mul(self, context: Context[Any], left: Any, right: Any) -> Any:
        """Lower a product."""
        if is_number(right, 1) and isinstance(left, context.writer.value_type):
            return left
        return self.binary("Mul", context, left, right)

    def div(self, context: Context[Any], left: Any, right: Any) -> Any:
        """Lower a quotient."""
        if is_number(right, 1) and isinstance(left, context.writer.value_type):
            return left
        return self.binary("Div", context, left, right)
