"""What each operation of a program computes, in torch.

Source: coremltools, "MIL Ops". Every function takes the arguments of one operation and returns its
result, or a tuple of them; numbers with fractions are float32 here, and the program rounds them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F

from edgegen.core.errors import IntegrityError
from edgegen.mil.executor.arguments import Arguments

Operator = Callable[[Arguments], "torch.Tensor | tuple[torch.Tensor, ...]"]

_GELU = {"EXACT": "none", "TANH_APPROXIMATION": "tanh"}
_CASTS = {
    "fp16": torch.float32,
    "fp32": torch.float32,
    "int32": torch.int32,
    "int16": torch.int16,
    "int8": torch.int8,
    "uint8": torch.uint8,
    "bool": torch.bool,
}


def _unary(function: Callable[[torch.Tensor], torch.Tensor]) -> Operator:
    def compute(arguments: Arguments) -> torch.Tensor:
        x = arguments.tensor("x")
        return x if x.is_meta else function(x)

    return compute


def _binary(function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> Operator:
    def compute(arguments: Arguments) -> torch.Tensor:
        x, y = arguments.tensor("x"), arguments.tensor("y")
        if x.is_meta or y.is_meta:
            return x.new_empty(np.broadcast_shapes(x.shape, y.shape))
        return function(x, y)

    return compute


def _shifted(function: Callable[[torch.Tensor], torch.Tensor], default: float) -> Operator:
    return lambda arguments: function(arguments.tensor("x") + arguments.number("epsilon", default))


def _reduction(function: Callable[..., torch.Tensor]) -> Operator:
    def reduce(arguments: Arguments) -> torch.Tensor:
        x = arguments.tensor("x")
        axes = arguments.integers("axes", list(range(x.ndim)))
        if x.is_meta:
            return _reduced(x, axes, keep=arguments.flag("keep_dims"))
        result = function(x, axes, keepdim=arguments.flag("keep_dims"))
        return result.to(x.dtype)

    return reduce


def _reduced(x: torch.Tensor, axes: Sequence[int], *, keep: bool) -> torch.Tensor:
    """Return the shape of a reduction, as the other shapes by hand in this module.

    torch says them too, in Python that takes 1.7 CPU seconds to import.
    """
    gone = {axis % x.ndim for axis in axes}
    sizes = [1 if axis in gone else size for axis, size in enumerate(x.shape)]
    return x.new_empty([size for axis, size in enumerate(sizes) if keep or axis not in gone])


def _gelu(arguments: Arguments) -> torch.Tensor:
    mode, x = arguments.text("mode", "EXACT"), arguments.tensor("x")
    if mode == "SIGMOID_APPROXIMATION":
        return x * torch.sigmoid(1.702 * x)
    if mode not in _GELU:
        raise _unknown(arguments, f"the mode {mode!r}")
    if x.is_meta:
        return x
    return F.gelu(x, approximate=_GELU[mode])


def _require_equal(left: int, right: int) -> None:
    if left != right:
        raise ValueError(f"{left} columns meet {right} rows")


def _linear(arguments: Arguments) -> torch.Tensor:
    x, weight = arguments.tensor("x"), arguments.tensor("weight")
    if x.is_meta:
        _require_equal(x.shape[-1], weight.shape[-1])
        return x.new_empty((*x.shape[:-1], weight.shape[0]))
    return F.linear(x, weight, arguments.optional("bias"))


def _matmul(arguments: Arguments) -> torch.Tensor:
    x, y = arguments.tensor("x"), arguments.tensor("y")
    if arguments.flag("transpose_x"):
        x = x.transpose(-1, -2)
    if arguments.flag("transpose_y"):
        y = y.transpose(-1, -2)
    if x.is_meta or y.is_meta:
        _require_equal(x.shape[-1], y.shape[-2])
        batch = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
        return x.new_empty((*batch, x.shape[-2], y.shape[-1]))
    return x @ y


def _einsum(arguments: Arguments) -> torch.Tensor:
    return torch.einsum(arguments.text("equation"), *arguments.tensors("values"))


def _attention(arguments: Arguments) -> torch.Tensor:
    return F.scaled_dot_product_attention(
        arguments.tensor("query"),
        arguments.tensor("key"),
        arguments.tensor("value"),
        attn_mask=arguments.optional("attn_mask"),
    )


def _conv(arguments: Arguments) -> torch.Tensor:
    x, weight = arguments.tensor("x"), arguments.tensor("weight")
    rank = x.ndim - 2
    strides = arguments.integers("strides", [1] * rank)
    dilations = arguments.integers("dilations", [1] * rank)
    x = _padded(arguments, x, weight.shape[2:], strides, dilations)
    if x.is_meta:
        steps = zip(x.shape[2:], weight.shape[2:], strides, dilations, strict=True)
        spatial = [
            (size - step * (kernel - 1) - 1) // stride + 1 for size, kernel, stride, step in steps
        ]
        return x.new_empty((x.shape[0], weight.shape[0], *spatial))
    function = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[rank]
    groups = arguments.integer("groups", 1)
    return function(x, weight, arguments.optional("bias"), strides, 0, dilations, groups)


def _padded(
    arguments: Arguments,
    x: torch.Tensor,
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> torch.Tensor:
    """Return a convolution's or a pool's input with its padding of zeros."""
    mode, rank = arguments.text("pad_type", "valid"), x.ndim - 2
    if mode == "valid":
        return x
    if mode == "custom":
        pads = arguments.integers("pad", [0] * 2 * rank)
    elif mode in ("same", "same_lower"):
        pads = []
        for size, length, stride, step in zip(kernel, x.shape[2:], strides, dilations, strict=True):
            total = max((-(-length // stride) - 1) * stride + (size - 1) * step + 1 - length, 0)
            less, more = total // 2, total - total // 2
            pads += [less, more] if mode == "same" else [more, less]
    else:
        raise _unknown(arguments, f"the padding {mode!r}")
    return F.pad(x, _as_torch(pads)) if any(pads) else x


def _as_torch(pads: Sequence[int]) -> list[int]:
    """Return widths, which list the first axis first, as torch lists them."""
    pairs = [list(pads[index : index + 2]) for index in range(0, len(pads), 2)]
    return [width for pair in reversed(pairs) for width in pair]


def _pad(arguments: Arguments) -> torch.Tensor:
    mode = arguments.text("mode", "constant")
    pads = _as_torch(arguments.integers("pad"))
    if mode == "constant":
        return F.pad(arguments.tensor("x"), pads, value=arguments.number("constant_val", 0.0))
    if mode not in ("reflect", "replicate"):
        raise _unknown(arguments, f"the padding {mode!r}")
    return F.pad(arguments.tensor("x"), pads, mode=mode)


def _avg_pool(arguments: Arguments) -> torch.Tensor:
    x = arguments.tensor("x")
    rank = x.ndim - 2
    kernel = arguments.integers("kernel_sizes")
    strides = arguments.integers("strides", [1] * rank)
    padded = _padded(arguments, x, kernel, strides, [1] * rank)
    if arguments.flag("ceil_mode"):
        raise _unknown(arguments, "the ceiling mode")
    function = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}[rank]
    result = function(padded, kernel, strides)
    if arguments.flag("exclude_padding_from_average") and padded is not x:
        ones = _padded(arguments, torch.ones_like(x), kernel, strides, [1] * rank)
        result = result / function(ones, kernel, strides)
    return result


def _layer_norm(arguments: Arguments) -> torch.Tensor:
    x = arguments.tensor("x")
    axes = [axis % x.ndim for axis in arguments.integers("axes", list(range(x.ndim)))]
    if x.is_meta:
        return x
    variance, middle = torch.var_mean(x, axes, correction=0, keepdim=True)
    result = (x - middle) * torch.rsqrt(variance + arguments.number("epsilon", 1e-5))
    shape = [size if axis in axes else 1 for axis, size in enumerate(x.shape)]
    for name, combine in (("gamma", torch.mul), ("beta", torch.add)):
        if name in arguments:
            result = combine(result, arguments.tensor(name).reshape(shape))
    return result


def _instance_norm(arguments: Arguments) -> torch.Tensor:
    if arguments.tensor("x").is_meta:
        return arguments.tensor("x")
    return F.instance_norm(
        arguments.tensor("x"),
        weight=arguments.optional("gamma"),
        bias=arguments.optional("beta"),
        eps=arguments.number("epsilon", 1e-5),
    )


def _batch_norm(arguments: Arguments) -> torch.Tensor:
    if arguments.tensor("x").is_meta:
        return arguments.tensor("x")
    return F.batch_norm(
        arguments.tensor("x"),
        arguments.tensor("mean"),
        arguments.tensor("variance"),
        arguments.optional("gamma"),
        arguments.optional("beta"),
        eps=arguments.number("epsilon", 1e-5),
    )


def _reshape(arguments: Arguments) -> torch.Tensor:
    x = arguments.tensor("x")
    shape = arguments.integers("shape")
    return x.reshape([x.shape[axis] if size == 0 else size for axis, size in enumerate(shape)])


def _transpose(arguments: Arguments) -> torch.Tensor:
    return arguments.tensor("x").permute(arguments.integers("perm"))


def _expand_dims(arguments: Arguments) -> torch.Tensor:
    x, axes = arguments.tensor("x"), arguments.integers("axes")
    rank = x.ndim + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        x = x.unsqueeze(axis)
    return x


def _squeeze(arguments: Arguments) -> torch.Tensor:
    x = arguments.tensor("x")
    if "axes" not in arguments:
        return x.squeeze()
    for axis in sorted((axis % x.ndim for axis in arguments.integers("axes")), reverse=True):
        if x.shape[axis] != 1:
            raise _unknown(arguments, "an axis that is not 1")
        x = x.squeeze(axis)
    return x


def _concat(arguments: Arguments) -> torch.Tensor:
    if arguments.flag("interleave"):
        raise _unknown(arguments, "interleaved values")
    values, axis = arguments.tensors("values"), arguments.integer("axis")
    if any(value.is_meta for value in values):
        shape = list(values[0].shape)
        shape[axis] = sum(value.shape[axis] for value in values)
        return values[0].new_empty(shape)
    return torch.cat(values, axis)


def _stack(arguments: Arguments) -> torch.Tensor:
    return torch.stack(arguments.tensors("values"), arguments.integer("axis"))


def _split(arguments: Arguments) -> tuple[torch.Tensor, ...]:
    x, axis = arguments.tensor("x"), arguments.integer("axis")
    if "split_sizes" in arguments:
        return tuple(torch.split(x, arguments.integers("split_sizes"), axis))
    count = arguments.integer("num_splits")
    if x.shape[axis] % count:
        raise _unknown(arguments, "parts of different sizes")
    return tuple(torch.chunk(x, count, axis))


def _slice_by_index(arguments: Arguments) -> torch.Tensor:
    x = arguments.tensor("x")
    begins, ends = arguments.integers("begin"), arguments.integers("end")
    rank = len(begins)
    steps = arguments.integers("stride", [1] * rank)
    from_start = arguments.flags("begin_mask", rank)
    to_end = arguments.flags("end_mask", rank)
    squeezed = arguments.flags("squeeze_mask", rank)
    axis = 0
    for index in range(rank):
        if squeezed[index]:
            x = x.select(axis, begins[index])
            continue
        first = None if from_start[index] else begins[index]
        behind = None if to_end[index] else ends[index]
        places = range(x.shape[axis])[first : behind : steps[index]]
        x = x.index_select(axis, torch.tensor(list(places), dtype=torch.int64, device=x.device))
        axis += 1
    return x


def _slice_by_size(arguments: Arguments) -> torch.Tensor:
    x = arguments.tensor("x")
    for axis, (begin, size) in enumerate(
        zip(arguments.integers("begin"), arguments.integers("size"), strict=True)
    ):
        x = x.narrow(axis, begin, x.shape[axis] - begin if size == -1 else size)
    return x


def _gather(arguments: Arguments) -> torch.Tensor:
    x, indices = arguments.tensor("x"), arguments.tensor("indices").long()
    if arguments.integer("batch_dims", 0):
        raise _unknown(arguments, "axes of a batch")
    axis = arguments.integer("axis", 0) % x.ndim
    if x.is_meta or indices.is_meta:
        return x.new_empty((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]))
    indices = torch.where(indices < 0, indices + x.shape[axis], indices)
    flat = x.index_select(axis, indices.reshape(-1))
    return flat.reshape(*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])


def _gather_nd(arguments: Arguments) -> torch.Tensor:
    if arguments.integer("batch_dims", 0):
        raise _unknown(arguments, "axes of a batch")
    x, indices = arguments.tensor("x"), arguments.tensor("indices")
    if x.is_meta or indices.is_meta:
        return x.new_empty((*indices.shape[:-1], *x.shape[indices.shape[-1] :]))
    return x[tuple(indices.long().unbind(-1))]


def _gather_along_axis(arguments: Arguments) -> torch.Tensor:
    indices = arguments.tensor("indices").long()
    return torch.gather(arguments.tensor("x"), arguments.integer("axis"), indices)


def _select(arguments: Arguments) -> torch.Tensor:
    condition, a, b = (arguments.tensor(name) for name in ("cond", "a", "b"))
    if a.is_meta or b.is_meta:
        return a.new_empty(np.broadcast_shapes(condition.shape, a.shape, b.shape))
    return torch.where(condition.bool(), a, b)


def _argmax(arguments: Arguments) -> torch.Tensor:
    keep = arguments.flag("keep_dims", True)
    return arguments.tensor("x").argmax(arguments.integer("axis", -1), keepdim=keep).int()


def _cast(arguments: Arguments) -> torch.Tensor:
    dtype = arguments.text("dtype")
    if dtype not in _CASTS:
        raise _unknown(arguments, f"the type {dtype!r}")
    return arguments.tensor("x").to(_CASTS[dtype])


def _upsample_nearest(arguments: Arguments) -> torch.Tensor:
    factors = (
        arguments.number("scale_factor_height", 1.0),
        arguments.number("scale_factor_width", 1.0),
    )
    return F.interpolate(arguments.tensor("x"), scale_factor=factors, mode="nearest")


def _upsample_bilinear(arguments: Arguments) -> torch.Tensor:
    factors = (
        arguments.number("scale_factor_height", 1.0),
        arguments.number("scale_factor_width", 1.0),
    )
    return F.interpolate(
        arguments.tensor("x"),
        scale_factor=factors,
        mode="bilinear",
        align_corners=arguments.flag("align_corners", True),
    )


def _softmax(arguments: Arguments) -> torch.Tensor:
    x = arguments.tensor("x")
    return x if x.is_meta else torch.softmax(x, arguments.integer("axis", -1))


def _clip(arguments: Arguments) -> torch.Tensor:
    return arguments.tensor("x").clamp(arguments.number("alpha"), arguments.number("beta"))


def _tile(arguments: Arguments) -> torch.Tensor:
    return arguments.tensor("x").repeat(arguments.integers("reps"))


OPERATORS: Mapping[str, Operator] = {
    # arithmetic
    "add": _binary(torch.add),
    "sub": _binary(torch.sub),
    "mul": _binary(torch.mul),
    "real_div": _binary(torch.true_divide),
    "floor_div": _binary(lambda x, y: torch.div(x, y, rounding_mode="floor")),
    "mod": _binary(torch.remainder),
    "pow": _binary(torch.pow),
    "maximum": _binary(torch.maximum),
    "minimum": _binary(torch.minimum),
    "equal": _binary(torch.eq),
    "not_equal": _binary(torch.ne),
    "greater": _binary(torch.gt),
    "greater_equal": _binary(torch.ge),
    "less": _binary(torch.lt),
    "less_equal": _binary(torch.le),
    "logical_and": _binary(torch.logical_and),
    "logical_or": _binary(torch.logical_or),
    "logical_not": _unary(torch.logical_not),
    "abs": _unary(torch.abs),
    "cos": _unary(torch.cos),
    "erf": _unary(torch.erf),
    "exp": _unary(torch.exp),
    "floor": _unary(torch.floor),
    "identity": _unary(lambda x: x),
    "relu": _unary(torch.relu),
    "sigmoid": _unary(torch.sigmoid),
    "silu": _unary(F.silu),
    "sin": _unary(torch.sin),
    "softplus": _unary(F.softplus),
    "sqrt": _unary(torch.sqrt),
    "square": _unary(torch.square),
    "tanh": _unary(torch.tanh),
    "inverse": _shifted(torch.reciprocal, 1e-4),
    "log": _shifted(torch.log, 1e-45),
    "rsqrt": _shifted(torch.rsqrt, 1e-12),
    "cast": _cast,
    "clip": _clip,
    "gelu": _gelu,
    "select": _select,
    "softmax": _softmax,
    # reductions
    "reduce_argmax": _argmax,
    "reduce_max": _reduction(torch.amax),
    "reduce_mean": _reduction(torch.mean),
    "reduce_min": _reduction(torch.amin),
    "reduce_sum": _reduction(torch.sum),
    # layers
    "avg_pool": _avg_pool,
    "batch_norm": _batch_norm,
    "conv": _conv,
    "einsum": _einsum,
    "instance_norm": _instance_norm,
    "layer_norm": _layer_norm,
    "linear": _linear,
    "matmul": _matmul,
    "scaled_dot_product_attention": _attention,
    "upsample_bilinear": _upsample_bilinear,
    "upsample_nearest_neighbor": _upsample_nearest,
    # layout
    "concat": _concat,
    "expand_dims": _expand_dims,
    "gather": _gather,
    "gather_along_axis": _gather_along_axis,
    "gather_nd": _gather_nd,
    "pad": _pad,
    "reshape": _reshape,
    "slice_by_index": _slice_by_index,
    "slice_by_size": _slice_by_size,
    "split": _split,
    "squeeze": _squeeze,
    "stack": _stack,
    "tile": _tile,
    "transpose": _transpose,
}

MOVES = frozenset(
    {
        *("concat", "expand_dims", "gather", "gather_along_axis", "gather_nd", "reshape"),
        *("slice_by_index", "slice_by_size", "split", "squeeze", "stack", "tile", "transpose"),
    }
)
"""Operations that move numbers and compute none."""

MAY_RETURN_ITS_ARGUMENT = frozenset({"cast", "clip", "identity", "pad", "select"})
"""Operations whose result may be an argument itself, which nothing may write to."""


def _unknown(arguments: Arguments, what: str) -> IntegrityError:
    return IntegrityError(
        f"An operation {arguments.op_type} has {what}, which this executor does not compute.",
        hint="Run the model with Core ML, on a Mac or an iPhone.",
    )
