"""Torch's operators as typed calls: each node of a trace is decoded once, for every target.

A call's fields are its operator's arguments in the order of torch's schema, with torch's defaults;
those that say where a tensor lives (device, layout, pinned memory) are left out. Where tensors
stand, a call holds nodes of the trace when it is decoded, and values of a target's writer when it
reaches a lowering. What no target writes is refused here.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import torch

Operand = Any
"""A node, a value of a writer, a weight (`Parameter`), a constant tensor, or a number."""
Axis = Any
"""A number, or a `Size` where an axis is open."""


class RefusedError(Exception):
    """A use of an operator that no target writes; the text completes "has …"."""


@dataclass(frozen=True, slots=True)
class Call:
    """An operator and its arguments."""

    def operands(self) -> Iterator[Any]:
        """Yield the arguments in their order."""
        return (getattr(self, field.name) for field in fields(self))


C = TypeVar("C", bound=Call)


def mapped(call: C, function: Callable[[Any], Any]) -> C:
    """Return the call with `function` applied to each of its arguments."""
    return type(call)(*(function(operand) for operand in call.operands()))


# --- what changes no number ---


@dataclass(frozen=True, slots=True)
class Same(Call):
    x: Operand


@dataclass(frozen=True, slots=True)
class Item(Call):
    """One of several results."""

    values: Operand
    position: int


@dataclass(frozen=True, slots=True)
class Condition(Call):
    """A condition that the capture has settled."""


@dataclass(frozen=True, slots=True)
class To(Call):
    """A cast. One that isn't needed (no type, or between floating-point types) is dropped."""

    x: Operand
    dtype: torch.dtype | None


# --- layout; the traced shapes of the results say the rest ---


@dataclass(frozen=True, slots=True)
class Reshape(Call):
    x: Operand


@dataclass(frozen=True, slots=True)
class Permute(Call):
    x: Operand
    axes: Sequence[int]


@dataclass(frozen=True, slots=True)
class Transpose(Call):
    x: Operand
    first: int
    second: int


@dataclass(frozen=True, slots=True)
class Unsqueeze(Call):
    x: Operand
    axis: int


@dataclass(frozen=True, slots=True)
class Squeeze(Call):
    x: Operand
    axis: int


@dataclass(frozen=True, slots=True)
class Expand(Call):
    x: Operand


@dataclass(frozen=True, slots=True)
class Slice(Call):
    x: Operand
    axis: int
    start: Axis | None
    end: Axis | None
    step: int


@dataclass(frozen=True, slots=True)
class Select(Call):
    x: Operand
    axis: int
    index: int


@dataclass(frozen=True, slots=True)
class Cat(Call):
    parts: Sequence[Operand]
    axis: int


@dataclass(frozen=True, slots=True)
class Split(Call):
    x: Operand
    parts: Any
    axis: int


@dataclass(frozen=True, slots=True)
class Pad(Call):
    """Padding with one number; torch lists the last axis first."""

    x: Operand
    widths: Sequence[int]
    fill: float


@dataclass(frozen=True, slots=True)
class Arange(Call):
    """The whole numbers from 0 to below an open size."""

    end: Axis


@dataclass(frozen=True, slots=True)
class Full(Call):
    """One number in a shape that the inputs decide."""

    number: float


@dataclass(frozen=True, slots=True)
class Index(Call):
    """Entries by tensors of indices over the leading axes."""

    x: Operand
    indices: Sequence[Operand]


# --- arithmetic ---


@dataclass(frozen=True, slots=True)
class Unary(Call):
    """An operator of one argument, entry by entry."""

    x: Operand


@dataclass(frozen=True, slots=True)
class Binary(Call):
    """An operator of two arguments, entry by entry, broadcast as numpy does."""

    x: Operand
    y: Operand


@dataclass(frozen=True, slots=True)
class Scaled(Call):
    """A sum or difference whose second argument is multiplied by `alpha`; lowerings see 1."""

    x: Operand
    y: Operand
    alpha: float


class Add(Scaled): ...


class Sub(Scaled): ...


class Mul(Binary): ...


class Div(Binary): ...


class Maximum(Binary): ...


class Minimum(Binary): ...


class And(Binary): ...


class Or(Binary): ...


class Comparison(Binary): ...


class Equal(Comparison): ...


class Less(Comparison): ...


class LessOrEqual(Comparison): ...


class Greater(Comparison): ...


class GreaterOrEqual(Comparison): ...


class Abs(Unary): ...


class Cos(Unary): ...


class Exp(Unary): ...


class Log(Unary): ...


class Mish(Unary): ...


class Neg(Unary): ...


class Not(Unary): ...


class Relu(Unary): ...


class Rsqrt(Unary): ...


class Sigmoid(Unary): ...


class Silu(Unary): ...


class Sin(Unary): ...


class Softplus(Unary): ...


class Sqrt(Unary): ...


class Tanh(Unary): ...


@dataclass(frozen=True, slots=True)
class Pow(Call):
    x: Operand
    exponent: float


@dataclass(frozen=True, slots=True)
class Gelu(Call):
    """GELU (arXiv 1606.08415), exact or by its hyperbolic tangent."""

    x: Operand
    by_tanh: bool


@dataclass(frozen=True, slots=True)
class Clamp(Call):
    x: Operand
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Where(Call):
    condition: Operand
    x: Operand
    y: Operand


@dataclass(frozen=True, slots=True)
class Mean(Call):
    x: Operand
    axes: Sequence[int]
    keepdim: bool


@dataclass(frozen=True, slots=True)
class Sum(Call):
    x: Operand
    axes: Sequence[int]
    keepdim: bool


@dataclass(frozen=True, slots=True)
class Argmax(Call):
    """The index of the first largest entry."""

    x: Operand
    axis: int
    keepdim: bool


# --- layers ---


@dataclass(frozen=True, slots=True)
class Linear(Call):
    x: Operand
    weight: Operand
    bias: Operand | None


@dataclass(frozen=True, slots=True)
class Conv2d(Call):
    """A convolution of (batch, channels, height, width)."""

    x: Operand
    weight: Operand
    bias: Operand | None
    stride: Sequence[int]
    padding: Sequence[int]
    dilation: Sequence[int]
    groups: int


@dataclass(frozen=True, slots=True)
class Embedding(Call):
    weight: Operand
    indices: Operand


@dataclass(frozen=True, slots=True)
class GroupNorm(Call):
    """Group normalization (arXiv 1803.08494)."""

    x: Operand
    groups: int
    weight: Operand | None
    bias: Operand | None
    eps: float


@dataclass(frozen=True, slots=True)
class LayerNorm(Call):
    """Layer normalization (arXiv 1607.06450) over the last axes."""

    x: Operand
    shape: Sequence[int]
    weight: Operand | None
    bias: Operand | None
    eps: float


@dataclass(frozen=True, slots=True)
class UpsampleNearest(Call):
    x: Operand
    scales: Sequence[float] | None


@dataclass(frozen=True, slots=True)
class AveragePool(Call):
    x: Operand
    kernel: Sequence[int]
    stride: Sequence[int]
    padding: Sequence[int]
    count_include_pad: bool
    rounds_up: bool = False
    """Whether what is left at the end is a window, too, of fewer numbers."""


@dataclass(frozen=True, slots=True)
class Softmax(Call):
    x: Operand
    axis: int


@dataclass(frozen=True, slots=True)
class Matmul(Call):
    x: Operand
    y: Operand


@dataclass(frozen=True, slots=True)
class Attention(Call):
    """Scaled dot-product attention (arXiv 1706.03762) of (batch, heads, sequence, width) tensors.

    A mask is of truth values, where False hides a key, or is added to the scores.
    """

    query: Operand
    key: Operand
    value: Operand
    mask: Operand | None
    is_causal: bool
    scale: float | None


# --- decoders ---


def _only_first(kind: Callable[[Any], Call]) -> Callable[..., Call]:
    """Return the decoder of an operator of which the shapes say all but the first argument."""
    return lambda x, *_: kind(x)


def _pair(numbers: Sequence[int]) -> Sequence[int]:
    """Return a number for each of height and width, where one may stand for both."""
    return list(numbers) * (2 if len(numbers) == 1 else 1)


def _dropout(x: Operand, probability: float, train: bool) -> Same:
    if train and probability:
        raise RefusedError("dropout that is switched on")
    return Same(x)


def _pad(x: Operand, widths: Sequence[int], mode: str, fill: float | None) -> Pad:
    if mode != "constant":
        raise RefusedError(f"the padding mode {mode!r}")
    return Pad(x, widths, fill or 0.0)


def _arange(start: Axis, end: Axis, dtype: torch.dtype | None) -> Arange:
    if start != 0 or (dtype is not None and dtype.is_floating_point):
        raise RefusedError("an open number of steps that are not 0, 1, 2, …")
    return Arange(end)


def _index(x: Operand, indices: Sequence[Operand | None]) -> Index:
    if any(index is None for index in indices):
        raise RefusedError("an index over axes that are not the first")
    return Index(x, indices)


def _gelu(x: Operand, approximate: str) -> Gelu:
    if approximate not in ("none", "tanh"):
        raise RefusedError(f"the approximation {approximate!r}")
    return Gelu(x, approximate == "tanh")


def _softplus(x: Operand, beta: float, threshold: float) -> Softplus:
    if beta != 1:
        raise RefusedError(f"a softplus of the slope {beta}")
    return Softplus(x)


def _reduction(kind: type[Mean] | type[Sum]) -> Callable[..., Call]:
    def decode(
        x: Operand, axes: Sequence[int] | None, keepdim: bool, dtype: torch.dtype | None
    ) -> Call:
        if not axes:
            raise RefusedError("a reduction of all axes")
        return kind(x, axes, keepdim)

    return decode


def _argmax(x: Operand, axis: int | None, keepdim: bool) -> Argmax:
    if axis is None:
        raise RefusedError("an index over all axes")
    return Argmax(x, axis, keepdim)


def _conv2d(
    x: Operand,
    weight: Operand,
    bias: Operand | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Conv2d:
    return Conv2d(x, weight, bias, _pair(stride), _pair(padding), _pair(dilation), groups)


def _average_pool(
    x: Operand,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    ceil_mode: bool,
    count_include_pad: bool,
    divisor: int | None,
) -> AveragePool:
    sizes, steps, pads = _pair(kernel), _pair(stride or kernel), _pair(padding)
    if divisor is not None:
        raise RefusedError("a divisor")
    if ceil_mode and (any(pads) or [*sizes] != [*steps]):
        raise RefusedError("the ceiling mode with padding or windows that overlap")
    return AveragePool(x, sizes, steps, pads, count_include_pad, ceil_mode)


def _attention(
    query: Operand,
    key: Operand,
    value: Operand,
    mask: Operand | None,
    dropout: float,
    is_causal: bool,
    scale: float | None,
    enable_gqa: bool,
) -> Attention:
    if dropout or enable_gqa:
        raise RefusedError("dropout or grouped queries")
    return Attention(query, key, value, mask, is_causal, scale)


Decoder = Callable[..., Call]

CALLS: Mapping[str, Decoder] = {
    # what changes no number
    "_operator.getitem": Item,
    "aten._assert_tensor_metadata.default": lambda *_: Condition(),
    "aten._assert_scalar.default": lambda *_: Condition(),
    "aten.alias.default": Same,
    "aten.clone.default": Same,
    "aten.contiguous.default": Same,
    "aten.detach.default": Same,
    "aten.dropout.default": _dropout,
    "aten.feature_dropout.default": _dropout,
    "aten.lift_fresh_copy.default": Same,
    "aten.to.dtype": To,
    "aten.to.dtype_layout": To,
    "aten.to.device": To,
    "aten._to_copy.default": To,
    # layout
    "aten.view.default": _only_first(Reshape),
    "aten.reshape.default": _only_first(Reshape),
    "aten._unsafe_view.default": _only_first(Reshape),
    "aten.flatten.using_ints": _only_first(Reshape),
    "aten.unflatten.int": _only_first(Reshape),
    "aten.permute.default": Permute,
    "aten.transpose.int": Transpose,
    "aten.t.default": lambda x: Transpose(x, 0, 1),
    "aten.mT.default": lambda x: Transpose(x, -2, -1),
    "aten.unsqueeze.default": Unsqueeze,
    "aten.squeeze.dim": Squeeze,
    "aten.expand.default": _only_first(Expand),
    "aten.expand_as.default": _only_first(Expand),
    "aten.slice.Tensor": Slice,
    "aten.select.int": Select,
    "aten.cat.default": Cat,
    "aten.concat.default": Cat,
    "aten.chunk.default": Split,
    "aten.split.Tensor": Split,
    "aten.split_with_sizes.default": Split,
    "aten.pad.default": _pad,
    "aten.constant_pad_nd.default": Pad,
    "aten.arange.default": lambda end, dtype: _arange(0, end, dtype),
    "aten.arange.start": _arange,
    "aten.ones.default": lambda size, dtype: Full(1.0),
    "aten.ones_like.default": lambda x, dtype: Full(1.0),
    "aten.new_ones.default": lambda x, size, dtype: Full(1.0),
    "aten.zeros.default": lambda size, dtype: Full(0.0),
    "aten.zeros_like.default": lambda x, dtype: Full(0.0),
    "aten.full.default": lambda size, number, dtype: Full(number),
    "aten.full_like.default": lambda x, number, dtype: Full(number),
    "aten.index.Tensor": _index,
    # arithmetic
    "aten.add.Tensor": Add,
    "aten.sub.Tensor": Sub,
    "aten.mul.Tensor": Mul,
    "aten.mul.Scalar": Mul,
    "aten.div.Tensor": Div,
    "aten.div.Scalar": Div,
    "aten.maximum.default": Maximum,
    "aten.max.other": Maximum,
    "aten.minimum.default": Minimum,
    "aten.min.other": Minimum,
    "aten.abs.default": Abs,
    "aten.cos.default": Cos,
    "aten.exp.default": Exp,
    "aten.log.default": Log,
    "aten.mish.default": Mish,
    "aten.neg.default": Neg,
    "aten.relu.default": Relu,
    "aten.rsqrt.default": Rsqrt,
    "aten.sigmoid.default": Sigmoid,
    "aten.silu.default": Silu,
    "aten.sin.default": Sin,
    "aten.softplus.default": _softplus,
    "aten.sqrt.default": Sqrt,
    "aten.tanh.default": Tanh,
    "aten.pow.Tensor_Scalar": Pow,
    "aten.gelu.default": _gelu,
    "aten.clamp.default": Clamp,
    "aten.clip.default": Clamp,
    "aten.hardtanh.default": Clamp,
    "aten.mean.dim": _reduction(Mean),
    "aten.sum.dim_IntList": _reduction(Sum),
    "aten.argmax.default": _argmax,
    # truth values
    "aten.eq.Scalar": Equal,
    "aten.eq.Tensor": Equal,
    "aten.lt.Scalar": Less,
    "aten.lt.Tensor": Less,
    "aten.le.Scalar": LessOrEqual,
    "aten.le.Tensor": LessOrEqual,
    "aten.gt.Scalar": Greater,
    "aten.gt.Tensor": Greater,
    "aten.ge.Scalar": GreaterOrEqual,
    "aten.ge.Tensor": GreaterOrEqual,
    "aten.__and__.Tensor": And,
    "aten.bitwise_and.Tensor": And,
    "aten.logical_and.default": And,
    "aten.__or__.Tensor": Or,
    "aten.bitwise_or.Tensor": Or,
    "aten.logical_or.default": Or,
    "aten.bitwise_not.default": Not,
    "aten.logical_not.default": Not,
    "aten.where.self": Where,
    "aten.where.ScalarOther": Where,
    "aten.where.ScalarSelf": Where,
    "aten.where.Scalar": Where,
    # layers
    "aten.linear.default": Linear,
    "aten.conv2d.default": _conv2d,
    "aten.embedding.default": lambda weight, indices, *_: Embedding(weight, indices),
    "aten.group_norm.default": GroupNorm,
    "aten.layer_norm.default": LayerNorm,
    "aten.upsample_nearest2d.vec": lambda x, size, scales: UpsampleNearest(x, scales),
    "aten.avg_pool2d.default": _average_pool,
    "aten.softmax.int": lambda x, axis, dtype: Softmax(x, axis),
    "aten.matmul.default": Matmul,
    "aten.bmm.default": Matmul,
    "aten.scaled_dot_product_attention.default": _attention,
}
"""What the networks of pipelines compute, by torch's names. An operator that changes its argument
(`add_`) is decoded like the one that does not."""

_PLACES = frozenset(
    {
        *("layout", "device", "pin_memory", "memory_format", "requires_grad"),
        *("non_blocking", "copy", "implicit", "cudnn_enable", "cudnn_enabled"),
    }
)
"""Arguments of torch's schemas that say where a tensor lives, and change no number."""


def name_of(target: Any) -> str:
    """Return torch's name of an operator: `aten.add.Tensor`."""
    if isinstance(target, torch._ops.OpOverload):
        return str(target)
    return f"{target.__module__}.{target.__name__}"


def decoder_of(target: Any) -> Decoder | None:
    """Return an operator's decoder, or None for an operator that is not known."""
    name = name_of(target)
    base, _, overload = name.rpartition(".")
    return CALLS.get(name) or (CALLS.get(f"{base[:-1]}.{overload}") if base[-1:] == "_" else None)


def decode(target: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Call:
    """Return the call that an operator is with these arguments.

    Raises KeyError for an operator that is not known, and RefusedError where no target writes it.
    """
    decoder = decoder_of(target)
    if decoder is None:
        raise KeyError(name_of(target))
    if target is operator.getitem:
        return decoder(*args)
    return decoder(*arguments_of(target, args, kwargs))


def arguments_of(
    target: torch._ops.OpOverload, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Iterator[Any]:
    """Yield an operator's arguments in its schema's order, with its defaults."""
    for position, argument in enumerate(target._schema.arguments):
        if argument.name in _PLACES:
            continue
        if position < len(args):
            yield args[position]
        else:
            yield kwargs.get(argument.name, argument.default_value)
