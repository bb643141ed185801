"""Layers with weights, normalization, pooling and products of matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgegen.exporters.lowering import Parameter
from edgegen.exporters.openvino.graph import Value
from edgegen.exporters.openvino.operators.context import Context
from edgegen.exporters.operators import pair


def linear(context: Context, value: Any, weight: Any, bias: Any = None) -> Value:
    """Lower `x W^T + b`; the product takes the weight as it is stored."""
    writer = context.writer
    product = writer.op(
        "MatMul",
        writer.floating(value),
        writer.floating(weight),
        transpose_a=False,
        transpose_b=True,
    )
    return product if bias is None else writer.binary("Add", product, writer.floating(bias))


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
    channels, *rest = weight.shape
    shape = tuple(weight.shape) if groups == 1 else (groups, channels // groups, *rest)
    kernel = (
        writer.weight(weight, shape=shape)
        if isinstance(weight, Parameter)
        else writer.floating(np.asarray(weight).reshape(shape))
    )
    result = writer.op(
        "Convolution" if groups == 1 else "GroupConvolution",
        writer.floating(value),
        kernel,
        strides=pair(stride),
        dilations=pair(dilation),
        pads_begin=pair(padding),
        pads_end=pair(padding),
        auto_pad="explicit",
    )
    if isinstance(bias, Parameter):
        column = (1, channels, 1, 1)
        return writer.binary("Add", result, writer.weight(bias, shape=column))
    if bias is not None:
        raise context.refuse("a bias that is not a weight")
    return result


def embedding(context: Context, weight: Any, indices: Any, padding_idx: int = -1, *_: Any) -> Value:
    """Lower a look-up: rows are gathered as they are stored, and only those are widened."""
    writer = context.writer
    positions = writer.value(indices)
    if not isinstance(weight, Parameter):
        return writer.gather(writer.floating(weight), positions, 0)
    table, scales = writer.stored(weight)
    rows = writer.convert(writer.gather(table, positions, 0), "f32")
    if scales is None:
        return rows
    return writer.binary("Multiply", rows, writer.gather(scales, positions, 0))


def group_norm(
    context: Context,
    value: Any,
    groups: int,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
    *_: Any,
) -> Value:
    """Lower group normalization (arXiv 1803.08494)."""
    if not (isinstance(weight, Parameter) and isinstance(bias, Parameter)):
        raise context.refuse("a scale that is not a weight")
    writer = context.writer
    return writer.op(
        "GroupNormalization",
        writer.floating(value),
        writer.weight(weight),
        writer.weight(bias),
        num_groups=groups,
        epsilon=float(eps),
    )


def layer_norm(
    context: Context,
    value: Any,
    shape: Sequence[int],
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
    *_: Any,
) -> Value:
    """Lower layer normalization (arXiv 1607.06450) over the last axes, as plugins fuse it."""
    writer = context.writer
    result = writer.op(
        "MVN",
        writer.floating(value),
        writer.integers(*range(-len(shape), 0)),
        eps=float(eps),
        normalize_variance=True,
        eps_mode="INSIDE_SQRT",
    )
    for op_type, affine in (("Multiply", weight), ("Add", bias)):
        if affine is not None:
            result = writer.binary(op_type, result, writer.floating(affine))
    return result


def upsample_nearest(
    context: Context,
    value: Any,
    output_size: Sequence[Any] | None,
    scale_factors: Sequence[float] | None,
) -> Value:
    """Lower nearest-neighbour upsampling, by factors or to a size."""
    writer = context.writer
    by_scale = scale_factors is not None
    target = (
        writer.floating(scale_factors) if by_scale else writer.shape_from(context.result_shape[2:])
    )
    return writer.op(
        "Interpolate",
        writer.floating(value),
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
    return context.writer.op(
        "AvgPool",
        context.writer.floating(value),
        kernel=pair(kernel),
        strides=pair(stride or kernel),
        pads_begin=pair(padding),
        pads_end=pair(padding),
        exclude_pad=not count_include_pad,
        auto_pad="explicit",
        rounding_type="floor",
    )


def softmax(context: Context, value: Any, axis: int, dtype: Any = None) -> Value:
    """Lower the softmax over one axis."""
    return context.writer.op("SoftMax", context.writer.floating(value), axis=axis)


def matmul(context: Context, left: Any, right: Any) -> Value:
    """Lower a product of matrices."""
    writer = context.writer
    return writer.op(
        "MatMul",
        writer.floating(left),
        writer.floating(right),
        transpose_a=False,
        transpose_b=False,
    )


def baddbmm(
    context: Context, value: Any, left: Any, right: Any, beta: float = 1, alpha: float = 1
) -> Value:
    """Lower `beta × value + alpha × left right`."""
    writer = context.writer
    product = matmul(context, left, right)
    if alpha != 1:
        product = writer.binary("Multiply", product, writer.floating(alpha))
    if beta == 0:
        return product
    addend = writer.floating(value)
    if beta != 1:
        addend = writer.binary("Multiply", addend, writer.floating(beta))
    return writer.binary("Add", addend, product)
