"""Layers with weights, normalization, resizing, pooling and products of matrices.

Pictures are channels-last, as TFLite has them.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from edgegen.exporters import calls
from edgegen.exporters.calls import RefusedError
from edgegen.exporters.lowering import Parameter, sizes_of
from edgegen.exporters.tflite import layout
from edgegen.exporters.tflite.graph import Tensor
from edgegen.exporters.tflite.operators.arithmetic import arithmetic, reduced
from edgegen.exporters.tflite.operators.layout import join, padded
from edgegen.exporters.tflite.quantized import Product, multiply
from edgegen.exporters.tflite.storage import STORED
from edgegen.exporters.tflite.writer import (
    NO_ACTIVATION,
    Context,
    GraphWriter,
    Value,
    as_torch,
)

_SAME, _VALID = 0, 1  # Padding of the schema
_JOINED_COPIES = 4


def linear(context: Context, call: calls.Linear) -> Value:
    """Lower `x W^T + b`; a weight is stored as it lies, and leading axes keep their order."""
    writer, weight = context.writer, call.weight
    if not isinstance(weight, Parameter):
        raise RefusedError("a matrix that is not a weight")
    argument = writer.floating(call.x)
    last = len(argument.order) - 1
    order = (*(axis for axis in argument.order if axis != last), last)
    source = writer.arrange(argument, order)
    product = Product(
        code="FULLY_CONNECTED",
        weight=weight,
        axes=None,
        bias=call.bias,
        shape=(*source.shape[:-1], weight.shape[0]),
        options_type="FullyConnectedOptions",
        options={"keepNumDims": True, "fusedActivationFunction": NO_ACTIVATION},
    )
    return Value(tensor=multiply(writer, product, source), order=order)


def conv2d(context: Context, call: calls.Conv2d) -> Value:
    """Lower a convolution of all channels or of each one."""
    weight, groups = call.weight, call.groups
    channels = sizes_of(context.shape_of("x"))[1]
    if isinstance(weight, Value) or groups not in (1, channels):
        raise RefusedError("a kernel that the inputs decide, or groups of channels")
    kernel = weight.shape[2:]
    strides, pads, dilations = call.stride, call.padding, call.dilation
    argument = context.writer.floating(call.x)
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
    if _is_matrix(context.writer, weight) and tuple(strides) == (1, 1) and not any(call.padding):
        result = multiply(context.writer, _pointwise(context, weight, call.bias), source)
        return Value(tensor=result, order=layout.channels_last(4))
    product = Product(
        code="DEPTHWISE_CONV_2D" if depthwise else "CONV_2D",
        weight=weight if isinstance(weight, Parameter) else weight.numpy(),
        axes=(1, 2, 3, 0) if depthwise else (0, 2, 3, 1),
        channel_axis=3 if depthwise else 0,
        bias=call.bias,
        shape=layout.stored(context.sizes, layout.channels_last(4)),
        options_type="DepthwiseConv2DOptions" if depthwise else "Conv2DOptions",
        options=options,
    )
    result = multiply(context.writer, product, source)
    return Value(tensor=result, order=layout.channels_last(4))


def _is_matrix(writer: GraphWriter, weight: object) -> bool:
    """Return whether a kernel of one pixel is stored in a form that XNNPACK has of matrices."""
    return (
        isinstance(weight, Parameter)
        and weight.shape[2:] == (1, 1)
        and STORED[writer.storage_for(weight)].otherwise is not None
    )


def _pointwise(context: Context, weight: Parameter, bias: object) -> Product:
    """Return a convolution of single pixels as the product with a matrix, which it is."""
    return Product(
        code="FULLY_CONNECTED",
        weight=weight,
        axes=None,
        weight_shape=weight.shape[:2],
        bias=bias,
        shape=layout.stored(context.sizes, layout.channels_last(4)),
        options_type="FullyConnectedOptions",
        options={"keepNumDims": True, "fusedActivationFunction": NO_ACTIVATION},
    )


def _same_padding(size: int, span: int, stride: int) -> tuple[int, int]:
    """Return what TFLite's SAME adds before and behind an axis (TensorFlow's definition)."""
    total = max(0, (math.ceil(size / stride) - 1) * stride + span - size)
    return total // 2, total - total // 2


def group_norm(context: Context, call: calls.GroupNorm) -> Value:
    """Lower group normalization to five passes over the numbers.

    Means are taken channel by channel, which runtimes do well, and then over the few channels of a
    group. The variance is that of the centred numbers; mean, variance and the layer's own scale and
    shift become one factor and one summand a channel.
    """
    writer, groups = context.writer, call.groups
    argument = writer.floating(call.x)
    order = layout.channels_last(len(argument.order))
    source = writer.arrange(argument, order)
    batch, channels = source.shape[0], source.shape[-1]
    grouped = (batch, groups, channels // groups)
    spatial = tuple(range(1, len(source.shape) - 1))
    single = (batch, *[1] * len(spatial), channels)
    ones = writer.constant(np.ones((1, *grouped[1:])))

    def over_groups(tensor: Tensor) -> Tensor:
        by_channel = writer.reshape(reduced(context, "MEAN", tensor, spatial), grouped)
        return reduced(context, "MEAN", by_channel, (2,))

    middle = over_groups(source)
    spread = writer.reshape(arithmetic(context, "MUL", ones, middle), single)
    squares = writer.op(
        "SQUARED_DIFFERENCE",
        [source, spread],
        source.shape,
        options_type="SquaredDifferenceOptions",
    )
    inverse = _inverse_deviation(context, over_groups(squares), call.eps)
    scale = _affine(context, call.weight, ones, (1, *grouped[1:]))
    factor = arithmetic(context, "MUL", scale, inverse)
    summand = arithmetic(context, "MUL", factor, middle)
    zeros = writer.constant(np.zeros((1, *grouped[1:])))
    summand = arithmetic(
        context, "SUB", _affine(context, call.bias, zeros, (1, *grouped[1:])), summand
    )
    result = arithmetic(context, "MUL", source, writer.reshape(factor, single))
    result = arithmetic(context, "ADD", result, writer.reshape(summand, single))
    return Value(tensor=result, order=order)


def _inverse_deviation(context: Context, variance: Tensor, eps: float) -> Tensor:
    shifted = arithmetic(context, "ADD", variance, context.writer.constant(np.float32(eps)))
    return context.writer.op("RSQRT", [shifted], shifted.shape)


def _affine(context: Context, weight: object, default: Tensor, shape: tuple[int, ...]) -> Tensor:
    if weight is None:
        return default
    if not isinstance(weight, Parameter):
        raise RefusedError("a scale that is not a weight")
    return context.writer.weight(weight, shape=shape)


def layer_norm(context: Context, call: calls.LayerNorm) -> Value:
    """Lower layer normalization over the last axis."""
    if len(call.shape) != 1:
        raise RefusedError("a norm over several axes")
    writer = context.writer
    argument = writer.floating(call.x)
    last = len(argument.order) - 1
    order = (*(axis for axis in argument.order if axis != last), last)
    source = writer.arrange(argument, order)
    centred = arithmetic(context, "SUB", source, reduced(context, "MEAN", source, (last,)))
    squares = arithmetic(context, "MUL", centred, centred)
    inverse = _inverse_deviation(context, reduced(context, "MEAN", squares, (last,)), call.eps)
    result = arithmetic(context, "MUL", centred, inverse)
    for code, affine in (("MUL", call.weight), ("ADD", call.bias)):
        if affine is not None:
            result = arithmetic(
                context, code, result, _affine(context, affine, result, (call.shape[0],))
            )
    return Value(tensor=result, order=order)


def upsample_nearest(context: Context, call: calls.UpsampleNearest) -> Value:
    """Lower nearest-neighbour upsampling.

    By whole factors copies are joined, first of each pixel, then of each row: XNNPACK has
    CONCATENATION but not RESIZE_NEAREST_NEIGHBOR, which would end its run.
    """
    writer = context.writer
    order = layout.channels_last(4)
    source = writer.arrange(writer.floating(call.x), order)
    batch, height, width, channels = source.shape
    _, _, new_height, new_width = context.sizes
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


def average_pool(context: Context, call: calls.AveragePool) -> Value:
    pads = call.padding
    if any(pads) and not call.count_include_pad:
        raise RefusedError("padding that does not count")
    argument = context.writer.floating(call.x)
    if any(pads):
        argument = padded(context, argument, (0, 0, *pads), (0, 0, *pads))
    order = layout.channels_last(4)
    source = context.writer.arrange(argument, order)
    sizes, steps = call.kernel, call.stride
    result = context.writer.op(
        "AVERAGE_POOL_2D",
        [source],
        layout.stored(context.sizes, order),
        options_type="Pool2DOptions",
        padding=_SAME if call.rounds_up else _VALID,
        strideH=steps[0],
        strideW=steps[1],
        filterHeight=sizes[0],
        filterWidth=sizes[1],
        fusedActivationFunction=NO_ACTIVATION,
    )
    return Value(tensor=result, order=order)


def softmax(context: Context, call: calls.Softmax) -> Value:
    """Lower the softmax over one axis, which TFLite wants to be stored last."""
    writer = context.writer
    argument = writer.floating(call.x)
    axis = call.axis % len(argument.order)
    order = (*(other for other in argument.order if other != axis), axis)
    tensor = writer.arrange(argument, order)
    result = writer.op("SOFTMAX", [tensor], tensor.shape, options_type="SoftmaxOptions", beta=1.0)
    return Value(tensor=result, order=order)


def matmul(context: Context, call: calls.Matmul) -> Value:
    """Lower a product of matrices; a right one that is stored transposed stays so."""
    writer = context.writer
    first, second = writer.floating(call.x), writer.floating(call.y)
    rank = len(second.order)
    exchanged = (*range(rank - 2), rank - 1, rank - 2)
    if second.order == exchanged:
        tensor = matrix_product(context, writer.plain(first), second.tensor, transposed=True)
    else:
        tensor = matrix_product(context, writer.plain(first), writer.plain(second))
    return as_torch(tensor)


def matrix_product(
    context: Context, left: Tensor, right: Tensor, *, transposed: bool = False
) -> Tensor:
    """Append the product of the last two axes; `transposed` says that `right`'s are exchanged."""
    columns = right.shape[-2] if transposed else right.shape[-1]
    leading = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    return context.writer.op(
        "BATCH_MATMUL",
        [left, right],
        (*leading, left.shape[-2], columns),
        options_type="BatchMatMulOptions",
        adjY=transposed,
    )


def embedding(context: Context, call: calls.Embedding) -> Value:
    """Lower a look-up of rows.

    EMBEDDING_LOOKUP reads rows of integers with a scale each, or one for each block of theirs, so
    that the table is never widened.
    """
    writer, weight, indices = context.writer, call.weight, call.indices
    if not isinstance(weight, Parameter):
        raise RefusedError("a table that is not a weight")
    everything = np.arange(weight.shape[0])
    storage = writer.held_for(weight, "EMBEDDING_LOOKUP", weight.shape)
    whole = isinstance(indices, torch.Tensor) and np.array_equal(indices.flatten(), everything)
    if whole and STORED[storage].otherwise is None:
        rows = writer.weight(weight)
    else:
        positions = writer.integer(indices)
        flat = writer.reshape(writer.plain(positions), (math.prod(positions.shape),))
        rows_shape = (math.prod(positions.shape), weight.shape[1])
        if STORED[storage].is_scaled:
            table = writer.stored_weight(weight, storage=storage)
            version = 4 if table.dtype == "int4" else 3
            rows = writer.op("EMBEDDING_LOOKUP", [flat, table], rows_shape, version=version)
        else:
            table = writer.weight(weight)
            rows = writer.op(
                "GATHER", [table, flat], rows_shape, options_type="GatherOptions", axis=0
            )
    return as_torch(writer.reshape(rows, context.sizes))
