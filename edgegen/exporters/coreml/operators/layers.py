"""Layers with weights, normalization, pooling and products of matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegen.exporters.coreml.graph import Value
from edgegen.exporters.coreml.operators.context import Context, result_of
from edgegen.exporters.lowering import Parameter
from edgegen.exporters.operators import pair


def linear(context: Context, value: Any, weight: Any, bias: Any = None) -> Value:
    """Lower `x W^T + b`: a convolution of one pixel where a sequence lies channels-first."""
    writer = context.writer
    if not isinstance(weight, Parameter):
        raise context.refuse("a matrix that is not a weight")
    argument = writer.floating_as_it_lies(value)
    addend = None if bias is None else writer.weight(bias)
    if argument.layout == "channels-first" and writer.split_attention:
        return writer.op(
            "conv",
            x=argument,
            weight=writer.weight(weight, shape=(*weight.shape, 1, 1)),
            bias=addend,
            strides=[1, 1],
            pad_type="valid",
            pad=[0] * 4,
            dilations=[1, 1],
            groups=1,
            result=result_of(context),
            layout="channels-first",
        )
    return writer.op(
        "linear",
        x=writer.plain(argument),
        weight=writer.weight(weight),
        bias=addend,
        result=result_of(context),
    )


def conv2d(
    context: Context,
    value: Any,
    weight: Any,
    bias: Any = None,
    stride: Sequence[int] = (1, 1),
    padding: Sequence[int] = (0, 0),
    dilation: Sequence[int] = (1, 1),
    groups: int = 1,
) -> Value:
    """Lower a convolution of (batch, channels, height, width)."""
    writer = context.writer
    if isinstance(weight, Value):
        raise context.refuse("a kernel that the inputs decide")
    rows, columns = pair(padding)
    return writer.op(
        "conv",
        x=writer.floating(value),
        weight=writer.floating(weight),
        bias=None if bias is None else writer.floating(bias),
        strides=pair(stride),
        pad_type="custom",
        pad=[rows, rows, columns, columns],
        dilations=pair(dilation),
        groups=groups,
        result=result_of(context),
    )


def embedding(context: Context, weight: Any, indices: Any, padding_idx: int = -1, *_: Any) -> Value:
    """Lower a look-up of rows."""
    writer = context.writer
    return writer.gather(
        "gather",
        writer.floating(weight),
        writer.cast(writer.value(indices), "int32"),
        result_of(context),
        axis=0,
        batch_dims=0,
    )


def group_norm(
    context: Context,
    value: Any,
    groups: int,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
    *_: Any,
) -> Value:
    """Lower group normalization (arXiv 1803.08494), as coremltools lowers it.

    Scale and shift are one `batch_norm` of a mean of 0 and a variance of 1, which coremltools would
    make of a product and a sum.
    """
    if not (isinstance(weight, Parameter) and isinstance(bias, Parameter)):
        raise context.refuse("a scale that is not a weight")
    writer = context.writer
    source = writer.floating(value)
    shape = source.shape
    batch, channels = shape[:2]
    grouped = (batch, groups, channels // groups, *shape[2:])
    axes = list(range(2, len(grouped)))
    single = (batch, groups, *[1] * len(axes))
    split = writer.op("reshape", x=source, shape=list(grouped), result=grouped)
    middle = writer.op("reduce_mean", x=split, axes=axes, keep_dims=True, result=single)
    centred = writer.op("sub", x=split, y=middle, result=grouped)
    squares = writer.op("square", x=centred, result=grouped)
    variance = writer.op("reduce_mean", x=squares, axes=axes, keep_dims=True, result=single)
    shifted = writer.op("add", x=variance, y=_epsilon(context, eps), result=single)
    deviation = writer.op("sqrt", x=shifted, result=single)
    normal = writer.op("real_div", x=centred, y=deviation, result=grouped)
    result = writer.op("reshape", x=normal, shape=list(shape), result=shape)
    return writer.op(
        "batch_norm",
        x=result,
        mean=np.zeros(channels),
        variance=np.ones(channels),
        gamma=writer.weight(weight),
        beta=writer.weight(bias),
        epsilon=0.0,
        result=shape,
    )


def _epsilon(context: Context, eps: float) -> float:
    """Return what keeps a variance from 0, as a number that the layer's type has."""
    if context.writer.compute == "fp16":
        return max(float(eps), float(np.finfo(np.float16).smallest_subnormal) * 16)
    return float(eps)


def layer_norm(
    context: Context,
    value: Any,
    shape: Sequence[int],
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
    *_: Any,
) -> Value:
    """Lower layer normalization (arXiv 1607.06450) over the last axis, which may lie second."""
    writer = context.writer
    if len(shape) != 1:
        raise context.refuse("a norm over several axes")
    argument = writer.floating_as_it_lies(value)
    if argument.layout != "channels-first" or not writer.split_attention:
        argument = writer.plain(argument)
    return writer.op(
        "layer_norm",
        x=argument,
        axes=[1 if argument.layout == "channels-first" else len(argument.shape) - 1],
        gamma=None if weight is None else writer.floating(weight),
        beta=None if bias is None else writer.floating(bias),
        epsilon=_epsilon(context, eps),
        result=argument.shape,
        layout=argument.layout,
    )


def upsample_nearest(
    context: Context,
    value: Any,
    output_size: Sequence[Any] | None,
    scale_factors: Sequence[float] | None,
) -> Value:
    """Lower nearest-neighbour upsampling, by whole factors or to any size.

    To an odd size, pixels are doubled and the last is cut off, which gives the same ones. To a size
    where that does not, rows and columns are gathered: how Core ML rounds a factor that is not
    whole, its documentation does not say.
    """
    writer, new = context.writer, result_of(context)
    source = writer.floating(value)
    rows, columns = (
        np.arange(size) * old // size for size, old in zip(new[2:], source.shape[2:], strict=True)
    )
    factors = [-(-size // old) for size, old in zip(new[2:], source.shape[2:], strict=True)]
    if not all(
        np.array_equal(places, np.arange(len(places)) // factor)
        for places, factor in zip((rows, columns), factors, strict=True)
    ):
        of_rows = (*new[:3], source.shape[3])
        picked = writer.gather(
            "gather", source, _places(context, rows), of_rows, axis=2, batch_dims=0
        )
        return writer.gather("gather", picked, _places(context, columns), new, axis=3, batch_dims=0)
    whole = (*new[:2], source.shape[2] * factors[0], source.shape[3] * factors[1])
    result = writer.op(
        "upsample_nearest_neighbor",
        x=source,
        scale_factor_height=writer.number(float(factors[0]), "fp32"),
        scale_factor_width=writer.number(float(factors[1]), "fp32"),
        result=whole,
    )
    if whole == new:
        return result
    return writer.op("slice_by_size", x=result, begin=[0] * 4, size=list(new), result=new)


def _places(context: Context, numbers: NDArray[Any]) -> Value:
    return context.writer.constant(numbers.astype(np.int32))


def average_pool(
    context: Context,
    value: Any,
    kernel: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0, 0),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor: int | None = None,
) -> Value:
    """Lower average pooling."""
    if divisor is not None or ceil_mode:
        raise context.refuse("a divisor or the ceiling mode")
    rows, columns = pair(padding)
    return context.writer.op(
        "avg_pool",
        x=context.writer.floating(value),
        kernel_sizes=pair(kernel),
        strides=pair(stride or kernel),
        pad_type="custom",
        pad=[rows, rows, columns, columns],
        exclude_padding_from_average=not count_include_pad,
        ceil_mode=False,
        result=result_of(context),
    )


def softmax(context: Context, value: Any, axis: int, dtype: Any = None) -> Value:
    """Lower the softmax over one axis."""
    writer = context.writer
    return writer.op("softmax", x=writer.floating(value), axis=axis, result=result_of(context))


def matmul(context: Context, left: Any, right: Any) -> Value:
    """Lower a product of matrices."""
    writer = context.writer
    first, second = writer.floating(left), writer.floating(right)
    shape = (
        *np.broadcast_shapes(first.shape[:-2], second.shape[:-2]),
        first.shape[-2],
        second.shape[-1],
    )
    return writer.op(
        "matmul", x=first, y=second, transpose_x=False, transpose_y=False, result=shape
    )


def baddbmm(
    context: Context, value: Any, left: Any, right: Any, beta: float = 1, alpha: float = 1
) -> Value:
    """Lower `beta × value + alpha × left right`."""
    writer = context.writer
    product = matmul(context, left, right)
    if alpha != 1:
        product = writer.op("mul", x=product, y=float(alpha), result=product.shape)
    if beta == 0:
        return product
    addend = writer.floating(value)
    if beta != 1:
        addend = writer.op("mul", x=addend, y=float(beta), result=addend.shape)
    return writer.op("add", x=addend, y=product, result=product.shape)
