"""Layers with weights, normalization, pooling and products of matrices."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegen.exporters import calls
from edgegen.exporters.calls import RefusedError
from edgegen.exporters.coreml.graph import Value
from edgegen.exporters.coreml.writer import Context
from edgegen.exporters.lowering import Parameter, sizes_of


def linear(context: Context, call: calls.Linear) -> Value:
    """Lower `x W^T + b`: a convolution of one pixel where a sequence lies channels-first."""
    writer, weight = context.writer, call.weight
    if not isinstance(weight, Parameter):
        raise RefusedError("a matrix that is not a weight")
    argument = writer.floating_as_it_lies(call.x)
    addend = None if call.bias is None else writer.weight(call.bias)
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
            result=context.sizes,
            layout="channels-first",
        )
    return writer.op(
        "linear",
        x=writer.plain(argument),
        weight=writer.weight(weight),
        bias=addend,
        result=context.sizes,
    )


def conv2d(context: Context, call: calls.Conv2d) -> Value:
    writer = context.writer
    if isinstance(call.weight, Value):
        raise RefusedError("a kernel that the inputs decide")
    rows, columns = call.padding
    return writer.op(
        "conv",
        x=writer.floating(call.x),
        weight=writer.floating(call.weight),
        bias=None if call.bias is None else writer.floating(call.bias),
        strides=call.stride,
        pad_type="custom",
        pad=[rows, rows, columns, columns],
        dilations=call.dilation,
        groups=call.groups,
        result=context.sizes,
    )


def embedding(context: Context, call: calls.Embedding) -> Value:
    writer = context.writer
    return writer.gather(
        "gather",
        writer.floating(call.weight),
        writer.cast(writer.value(call.indices), "int32"),
        context.sizes,
        axis=0,
        batch_dims=0,
    )


def group_norm(context: Context, call: calls.GroupNorm) -> Value:
    """Lower group normalization as coremltools lowers it.

    Scale and shift are one `batch_norm` of a mean of 0 and a variance of 1, which coremltools would
    make of a product and a sum.
    """
    writer, groups = context.writer, call.groups
    source = writer.floating(call.x)
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
    shifted = writer.op("add", x=variance, y=_epsilon(context, call.eps), result=single)
    deviation = writer.op("sqrt", x=shifted, result=single)
    normal = writer.op("real_div", x=centred, y=deviation, result=grouped)
    result = writer.op("reshape", x=normal, shape=list(shape), result=shape)
    if call.weight is None and call.bias is None:
        return result
    if not (isinstance(call.weight, Parameter) and isinstance(call.bias, Parameter)):
        raise RefusedError("a scale that is not a weight")
    return writer.op(
        "batch_norm",
        x=result,
        mean=np.zeros(channels),
        variance=np.ones(channels),
        gamma=writer.weight(call.weight),
        beta=writer.weight(call.bias),
        epsilon=0.0,
        result=shape,
    )


def _epsilon(context: Context, eps: float) -> float:
    """Return what keeps a variance from 0, as a number that the layer's type has."""
    if context.writer.compute == "fp16":
        return max(float(eps), float(np.finfo(np.float16).smallest_subnormal) * 16)
    return float(eps)


def layer_norm(context: Context, call: calls.LayerNorm) -> Value:
    """Lower layer normalization over the last axis, which may lie second."""
    writer = context.writer
    if len(call.shape) != 1:
        raise RefusedError("a norm over several axes")
    argument = writer.floating_as_it_lies(call.x)
    if argument.layout != "channels-first" or not writer.split_attention:
        argument = writer.plain(argument)
    return writer.op(
        "layer_norm",
        x=argument,
        axes=[1 if argument.layout == "channels-first" else len(argument.shape) - 1],
        gamma=None if call.weight is None else writer.floating(call.weight),
        beta=None if call.bias is None else writer.floating(call.bias),
        epsilon=_epsilon(context, call.eps),
        result=argument.shape,
        layout=argument.layout,
    )


def upsample_nearest(context: Context, call: calls.UpsampleNearest) -> Value:
    """Lower nearest-neighbour upsampling, by whole factors or to any size.

    To an odd size, pixels are doubled and the last is cut off, which gives the same ones. To a size
    where that does not, rows and columns are gathered: how Core ML rounds a factor that is not
    whole, its documentation does not say.
    """
    writer, new = context.writer, context.sizes
    source = writer.floating(call.x)
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


def average_pool(context: Context, call: calls.AveragePool) -> Value:
    rows, columns = call.padding
    below, right = rows, columns
    if call.rounds_up:  # the windows lie side by side: what the last one lacks doesn't count
        below, right = (
            new * size - old
            for new, size, old in zip(
                context.sizes[2:], call.kernel, sizes_of(context.shape_of("x"))[2:], strict=True
            )
        )
    return context.writer.op(
        "avg_pool",
        x=context.writer.floating(call.x),
        kernel_sizes=call.kernel,
        strides=call.stride,
        pad_type="custom",
        pad=[rows, below, columns, right],
        exclude_padding_from_average=call.rounds_up or not call.count_include_pad,
        ceil_mode=False,
        result=context.sizes,
    )


def softmax(context: Context, call: calls.Softmax) -> Value:
    writer = context.writer
    return writer.op("softmax", x=writer.floating(call.x), axis=call.axis, result=context.sizes)


def matmul(context: Context, call: calls.Matmul) -> Value:
    writer = context.writer
    first, second = writer.floating(call.x), writer.floating(call.y)
    return writer.op(
        "matmul", x=first, y=second, transpose_x=False, transpose_y=False, result=context.sizes
    )
