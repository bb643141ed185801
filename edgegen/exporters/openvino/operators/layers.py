"""Layers with weights, normalization, pooling and products of matrices."""

from __future__ import annotations

import numpy as np

from edgegen.exporters import calls
from edgegen.exporters.calls import RefusedError
from edgegen.exporters.lowering import Parameter
from edgegen.exporters.openvino.graph import PACKED_BITS, Value
from edgegen.exporters.openvino.writer import Context


def linear(context: Context, call: calls.Linear) -> Value:
    """Lower `x W^T + b`; the product takes the weight as it is stored."""
    writer = context.writer
    product = writer.op(
        "MatMul",
        writer.factor(call.x, call.weight),
        writer.floating(call.weight),
        transpose_a=False,
        transpose_b=True,
    )
    if call.bias is None:
        return product
    return writer.binary("Add", product, writer.floating(call.bias))


def conv2d(context: Context, call: calls.Conv2d) -> Value:
    writer, weight, groups = context.writer, call.weight, call.groups
    if isinstance(weight, Value):
        raise RefusedError("a kernel that the inputs decide")
    channels, *rest = weight.shape
    shape = tuple(weight.shape) if groups == 1 else (groups, channels // groups, *rest)
    kernel = (
        writer.weight(weight, shape=shape)
        if isinstance(weight, Parameter)
        else writer.floating(np.asarray(weight).reshape(shape))
    )
    result = writer.op(
        "Convolution" if groups == 1 else "GroupConvolution",
        writer.factor(call.x, weight),
        kernel,
        strides=call.stride,
        dilations=call.dilation,
        pads_begin=call.padding,
        pads_end=call.padding,
        auto_pad="explicit",
    )
    if isinstance(call.bias, Parameter):
        column = (1, channels, 1, 1)
        return writer.binary("Add", result, writer.weight(call.bias, shape=column))
    if call.bias is not None:
        raise RefusedError("a bias that is not a weight")
    return result


def embedding(context: Context, call: calls.Embedding) -> Value:
    """Lower a look-up: rows are gathered as they are stored, and only those are widened.

    Plugins do that by themselves with tables in float16 and in 4 bits.
    """
    writer = context.writer
    positions = writer.value(call.indices)
    if not isinstance(call.weight, Parameter):
        return writer.gather(writer.floating(call.weight), positions, 0)
    table = writer.stored(call.weight)
    if table.scales is None or table.values.dtype in PACKED_BITS:
        # Plugins know the form: they gather from 16 bits and from less than bytes in no other.
        return writer.gather(writer.weight(call.weight), positions, 0)
    rows = writer.convert(writer.gather(table.values, positions, 0), "f32")
    return writer.binary("Multiply", rows, writer.gather(table.scales, positions, 0))


def group_norm(context: Context, call: calls.GroupNorm) -> Value:
    """Lower group normalization; without scale and shift they are ones and zeros."""
    writer, channels = context.writer, context.shape_of("x")[1]
    if isinstance(call.weight, Parameter) and isinstance(call.bias, Parameter):
        affine = writer.weight(call.weight), writer.weight(call.bias)
    elif call.weight is None and call.bias is None and isinstance(channels, int):
        affine = writer.floating(np.ones(channels)), writer.floating(np.zeros(channels))
    else:
        raise RefusedError("a scale that is not a weight")
    return writer.op(
        "GroupNormalization",
        writer.floating(call.x),
        *affine,
        num_groups=call.groups,
        epsilon=float(call.eps),
    )


def layer_norm(context: Context, call: calls.LayerNorm) -> Value:
    """Lower layer normalization as plugins fuse it."""
    writer = context.writer
    result = writer.op(
        "MVN",
        writer.floating(call.x),
        writer.integers(*range(-len(call.shape), 0)),
        eps=float(call.eps),
        normalize_variance=True,
        eps_mode="INSIDE_SQRT",
    )
    for op_type, affine in (("Multiply", call.weight), ("Add", call.bias)):
        if affine is not None:
            result = writer.binary(op_type, result, writer.floating(affine))
    return result


def upsample_nearest(context: Context, call: calls.UpsampleNearest) -> Value:
    """Lower nearest-neighbour upsampling, by factors or to a size."""
    writer = context.writer
    by_scale = call.scales is not None
    target = (
        writer.floating(call.scales) if by_scale else writer.shape_from(context.result_shape[2:])
    )
    return writer.op(
        "Interpolate",
        writer.floating(call.x),
        target,
        writer.integers(2, 3),
        mode="nearest",
        shape_calculation_mode="scales" if by_scale else "sizes",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
        antialias=False,
        pads_begin=[0] * 4,
        pads_end=[0] * 4,
        cube_coeff=-0.75,
    )


def average_pool(context: Context, call: calls.AveragePool) -> Value:
    return context.writer.op(
        "AvgPool",
        context.writer.floating(call.x),
        kernel=call.kernel,
        strides=call.stride,
        pads_begin=call.padding,
        pads_end=call.padding,
        exclude_pad=call.rounds_up or not call.count_include_pad,
        auto_pad="explicit",
        rounding_type="ceil" if call.rounds_up else "floor",
    )


def softmax(context: Context, call: calls.Softmax) -> Value:
    return context.writer.op("SoftMax", context.writer.floating(call.x), axis=call.axis)


def matmul(context: Context, call: calls.Matmul) -> Value:
    writer = context.writer
    return writer.op(
        "MatMul",
        writer.floating(call.x),
        writer.floating(call.y),
        transpose_a=False,
        transpose_b=False,
    )
