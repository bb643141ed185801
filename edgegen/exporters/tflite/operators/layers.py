"""Layers with weights, normalization, resizing and pooling: channels-last, as TFLite has them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from edgegen.exporters.lowering import Parameter
from edgegen.exporters.operators import pair
from edgegen.exporters.tflite import layout
from edgegen.exporters.tflite.graph import Tensor
from edgegen.exporters.tflite.operators.arithmetic import arithmetic, reduce_mean
from edgegen.exporters.tflite.operators.context import Context, fixed
from edgegen.exporters.tflite.operators.layout import join, padded
from edgegen.exporters.tflite.quantized import Product, multiply
from edgegen.exporters.tflite.writer import NO_ACTIVATION, Value

_SAME, _VALID = 0, 1  # Padding of the schema
_JOINED_COPIES = 4


def linear(context: Context, value: Any, weight: Any, bias: Any = None) -> Value:
    """Lower `x W^T + b`; a weight is stored as it lies, and leading axes keep their order."""
    if not isinstance(weight, Parameter):
        raise context.refuse("a matrix that is not a weight")
    writer = context.writer
    argument = writer.floating(value)
    last = len(argument.order) - 1
    order = (*(axis for axis in argument.order if axis != last), last)
    source = writer.arrange(argument, order)
    product = Product(
        code="FULLY_CONNECTED",
        weight=weight,
        axes=None,
        bias=bias,
        shape=(*source.shape[:-1], weight.shape[0]),
        options_type="FullyConnectedOptions",
        options={"keepNumDims": True, "fusedActivationFunction": NO_ACTIVATION},
    )
    return Value(tensor=multiply(writer, product, source), order=order)


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
    """Lower a convolution of (batch, channels, height, width), of all channels or of each alone."""
    channels = fixed(context, context.shape_of(0))[1]
    if isinstance(weight, Value) or groups not in (1, channels):
        raise context.refuse("a kernel that the inputs decide, or groups of channels")
    kernel = weight.shape[2:]
    strides, pads, dilations = (pair(each) for each in (stride, padding, dilation))
    argument = context.writer.floating(value)
    if any(pads):
        spans = [step * (size - 1) + 1 for size, step in zip(kernel, dilations, strict=True)]
        same = [
            _same_padding(*numbers) == (pad, pad)
            for pad, *numbers in zip(pads, argument.shape[2:], spans, strides, strict=True)
        ]
        if not all(same):
            argument = padded(context, argument, (0, 0, *pads), (0, 0, *pads))
            pads = [0, 0]
    source = context.writer.arrange(argument, layout.channels_last(4))
    depthwise = groups == channels and groups > 1
    options = {
        "padding": _SAME if any(pads) else _VALID,
        "strideH": strides[0],
        "strideW": strides[1],
        "dilationHFactor": dilations[0],
        "dilationWFactor": dilations[1],
        "fusedActivationFunction": NO_ACTIVATION,
    }
    if depthwise:
        options["depthMultiplier"] = weight.shape[0] // channels
    product = Product(
        code="DEPTHWISE_CONV_2D" if depthwise else "CONV_2D",
        weight=weight if isinstance(weight, Parameter) else weight.numpy(),
        axes=(1, 2, 3, 0) if depthwise else (0, 2, 3, 1),
        channel_axis=3 if depthwise else 0,
        bias=bias,
        shape=layout.stored(fixed(context, context.result_shape), layout.channels_last(4)),
        options_type="DepthwiseConv2DOptions" if depthwise else "Conv2DOptions",
        options=options,
    )
    result = multiply(context.writer, product, source)
    return Value(tensor=result, order=layout.channels_last(4))


def _same_padding(size: int, span: int, stride: int) -> tuple[int, int]:
    """Return what TFLite's SAME adds before and behind an axis (TensorFlow's definition)."""
    total = max(0, (math.ceil(size / stride) - 1) * stride + span - size)
    return total // 2, total - total // 2


def group_norm(
    context: Context,
    value: Any,
    groups: int,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
    *_: Any,
) -> Value:
    """Lower group normalization (arXiv 1803.08494) to five passes over the numbers.

    Means are taken channel by channel, which runtimes do well, and then over the few channels of a
    group. The variance is that of the centred numbers; mean, variance and the layer's own scale and
    shift become one factor and one summand a channel.
    """
    writer = context.writer
    argument = writer.floating(value)
    order = layout.channels_last(len(argument.order))
    source = writer.arrange(argument, order)
    batch, channels = source.shape[0], source.shape[-1]
    grouped = (batch, groups, channels // groups)
    spatial = tuple(range(1, len(source.shape) - 1))
    single = (batch, *[1] * len(spatial), channels)
    ones = writer.constant(np.ones((1, *grouped[1:])))

    def over_groups(tensor: Tensor) -> Tensor:
        by_channel = writer.reshape(reduce_mean(context, tensor, spatial), grouped)
        return reduce_mean(context, by_channel, (2,))

    middle = over_groups(source)
    spread = writer.reshape(arithmetic(context, "MUL", ones, middle), single)
    squares = writer.op(
        "SQUARED_DIFFERENCE",
        [source, spread],
        source.shape,
        options_type="SquaredDifferenceOptions",
    )
    inverse = _inverse_deviation(context, over_groups(squares), eps)
    scale = _affine(context, weight, ones, (1, *grouped[1:]))
    factor = arithmetic(context, "MUL", scale, inverse)
    summand = arithmetic(context, "MUL", factor, middle)
    zeros = writer.constant(np.zeros((1, *grouped[1:])))
    summand = arithmetic(context, "SUB", _affine(context, bias, zeros, (1, *grouped[1:])), summand)
    result = arithmetic(context, "MUL", source, writer.reshape(factor, single))
    result = arithmetic(context, "ADD", result, writer.reshape(summand, single))
    return Value(tensor=result, order=order)


def _inverse_deviation(context: Context, variance: Tensor, eps: float) -> Tensor:
    shifted = arithmetic(context, "ADD", variance, context.writer.constant(np.float32(eps)))
    return context.writer.op("RSQRT", [shifted], shifted.shape)


def _affine(context: Context, weight: Any, default: Tensor, shape: tuple[int, ...]) -> Tensor:
    if weight is None:
        return default
    if not isinstance(weight, Parameter):
        raise context.refuse("a scale that is not a weight")
    return context.writer.weight(weight, shape=shape)


def layer_norm(
    context: Context,
    value: Any,
    shape: Sequence[int],
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
    *_: Any,
) -> Value:
    """Lower layer normalization (arXiv 1607.06450) over the last axis."""
    if len(shape) != 1:
        raise context.refuse("a norm over several axes")
    writer = context.writer
    argument = writer.floating(value)
    last = len(argument.order) - 1
    order = (*(axis for axis in argument.order if axis != last), last)
    source = writer.arrange(argument, order)
    centred = arithmetic(context, "SUB", source, reduce_mean(context, source, (last,)))
    squares = arithmetic(context, "MUL", centred, centred)
    inverse = _inverse_deviation(context, reduce_mean(context, squares, (last,)), eps)
    result = arithmetic(context, "MUL", centred, inverse)
    for code, affine in (("MUL", weight), ("ADD", bias)):
        if affine is not None:
            result = arithmetic(
                context, code, result, _affine(context, affine, result, (shape[0],))
            )
    return Value(tensor=result, order=order)


def upsample_nearest(
    context: Context,
    value: Any,
    output_size: Sequence[Any] | None,
    scale_factors: Sequence[float] | None,
) -> Value:
    """Lower nearest-neighbour upsampling.

    By whole factors copies are joined, first of each pixel, then of each row: XNNPACK has
    CONCATENATION but not RESIZE_NEAREST_NEIGHBOR, which would end its run.
    """
    writer = context.writer
    order = layout.channels_last(4)
    source = writer.arrange(writer.floating(value), order)
    batch, height, width, channels = source.shape
    _, _, new_height, new_width = fixed(context, context.result_shape)
    down, across = new_height // height, new_width // width
    whole = (down * height, across * width) == (new_height, new_width)
    target = (batch, new_height, new_width, channels)
    if whole and max(down, across) <= _JOINED_COPIES:
        pixels = join(context, [source] * across, 3) if across > 1 else source
        rows = writer.reshape(pixels, (batch, height, new_width * channels))
        rows = join(context, [rows] * down, 2) if down > 1 else rows
        return Value(tensor=writer.reshape(rows, target), order=order)
    result = writer.op(
        "RESIZE_NEAREST_NEIGHBOR",
        [source, writer.integers(new_height, new_width)],
        target,
        options_type="ResizeNearestNeighborOptions",
    )
    return Value(tensor=result, order=order)


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
    pads = pair(padding)
    if divisor is not None or ceil_mode or (any(pads) and not count_include_pad):
        raise context.refuse("a divisor, the ceiling mode or padding that does not count")
    argument = context.writer.floating(value)
    if any(pads):
        argument = padded(context, argument, (0, 0, *pads), (0, 0, *pads))
    order = layout.channels_last(4)
    source = context.writer.arrange(argument, order)
    sizes, steps = pair(kernel), pair(stride or kernel)
    result = context.writer.op(
        "AVERAGE_POOL_2D",
        [source],
        layout.stored(fixed(context, context.result_shape), order),
        options_type="Pool2DOptions",
        padding=_VALID,
        strideH=steps[0],
        strideW=steps[1],
        filterHeight=sizes[0],
        filterWidth=sizes[1],
        fusedActivationFunction=NO_ACTIVATION,
    )
    return Value(tensor=result, order=order)
