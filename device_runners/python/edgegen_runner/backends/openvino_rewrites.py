"""Says a graph as OpenVINO's processor plugin computes it faster; the numbers stay the same.

Each rewrite was worth its lines on a graph of Stable Diffusion 1.5's shape
(docs/decisions/0098-rewrites-for-openvino.md). They are made when a graph is loaded, because only
then are the device, its instructions and the arithmetic known. The plugins of GPUs and NPUs have
kernels for what is written anew here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Callable, NamedTuple, Optional

import numpy as np
import openvino as ov
from openvino import opset13 as op

from ..arithmetic import BFLOAT16, FLOAT32, processor_features
from . import Array

_AMX_DEPTH = 32
"""How many numbers in bfloat16 a row of a tile has (Intel's manual of instructions, TDPBF16PS)."""
_MOST_CHANNELS = 512 * 512
"""Up to so many pairs of channels an upsampling's kernel is written anew: it grows from 9 to 16
taps, which larger ones don't earn back."""
_DECOMPRESSION = "decompression_0"
"""Marks a conversion of weights: without it they are widened before anything else is decided."""
_ARITHMETIC_OF_WEIGHTS = ("Convert", "Multiply", "Subtract", "Reshape")


class Rewriting(NamedTuple):
    """In which type a graph is computed, and the constants of which others use the memory."""

    arithmetic: str
    lent: list[ov.Node]


def rewrite(model: ov.Model, arithmetic: str) -> list[ov.Node]:
    """Write what a graph has of the forms below anew, in place, for the processor.

    Returns constants in whose memory the graph still reads, and what is compiled of it: who has
    that must keep them.
    """
    _mark_weights(model)
    whole = Rewriting(arithmetic, [])
    for node in model.get_ordered_ops():
        form = _FORMS.get(node.get_type_name())
        results = None if form is None else form(node, whole)
        for output, result in zip(node.outputs(), results or ()):
            _replace(output, result)
    model.validate_nodes_and_infer_types()
    return whole.lent


def widens(model: ov.Model) -> bool:
    """Say whether the plugin would widen kernels of a graph to float32 and keep them so."""
    return any(_integer_kernel(node) is not None for node in model.get_ordered_ops())


def widen(model: ov.Model) -> None:
    """Store the kernels that `widens` is about in float16, in place.

    The plugin has products of matrices with integers as weights, and no convolutions but of
    calibrated activations. In 16 bits it takes them as they lie in the file.
    """
    for node in model.get_ordered_ops():
        kernel = _integer_kernel(node)
        numbers = None if kernel is None else _numbers(kernel)
        if kernel is not None and numbers is not None:
            _replace(kernel, _in_float16(numbers))


def _integer_kernel(node: ov.Node) -> Optional[ov.Output]:
    """Return a convolution's kernel that is made of integers, None where it is none."""
    if node.get_type_name() not in ("Convolution", "GroupConvolution"):
        return None
    picture, kernel = _sources(node)
    if picture.get_node().get_type_name() == "FakeQuantize":
        return None
    stored = kernel.get_node()
    while stored.get_type_name() in _ARITHMETIC_OF_WEIGHTS:
        stored = stored.input(0).get_source_output().get_node()
    is_integer = stored.get_output_element_type(0).is_integral()
    return kernel if stored.get_type_name() == "Constant" and is_integer else None


def _mark_weights(model: ov.Model) -> None:
    """Mark conversions of weights in 16 bits, as a file that OpenVINO wrote may not."""
    for node in model.get_ordered_ops():
        if node.get_type_name() == "Convert" and _DECOMPRESSION not in node.get_rt_info():
            stored = node.input(0).get_source_output()
            if stored.get_element_type() == ov.Type.f16 and _is_constant(stored):
                node.get_rt_info()[_DECOMPRESSION] = ""


def _is_constant(output: ov.Output) -> bool:
    return bool(output.get_node().get_type_name() == "Constant")


def _in_float16(numbers: Array) -> ov.Output:
    """Return numbers that are stored in float16, or in float32 where that is too narrow."""
    if np.abs(numbers).max(initial=0) > np.finfo(np.float16).max:
        return op.constant(numbers).output(0)
    result = op.convert(op.constant(numbers.astype(np.float16)), "f32")
    result.get_rt_info()[_DECOMPRESSION] = ""
    return result.output(0)


def _replace(output: ov.Output, result: ov.Output) -> None:
    for target in output.get_target_inputs():
        target.replace_source_output(result)
    # Results are found by their names, which stay with the numbers.
    result.add_names(output.get_names())


def group_norm(node: ov.Node, whole: Rewriting) -> Optional[Sequence[ov.Output]]:
    """Normalize by groups from the sums of channels, of pictures whose size is known.

    The plugin's own way lays (batch, channels, height, width) out anew before and after.
    """
    picture, scale, shift = _sources(node)
    shape = picture.get_partial_shape()
    if len(shape) != 4 or shape.is_dynamic:
        return None
    batch, channels = (shape[axis].get_length() for axis in (0, 1))
    groups = node.get_attributes()["num_groups"]
    by_channel = _integers(batch, channels, 1, 1)
    by_group = _integers(batch, groups, channels // groups, 1)

    def mean(value: ov.Node) -> ov.Node:
        """Return the mean of a channel's group, for each channel."""
        of_channels = op.reduce_mean(value, _integers(2, 3), True)
        members = op.reshape(of_channels, by_group, False)
        of_groups = op.reduce_mean(members, _integers(2), True)
        return op.reshape(op.broadcast(of_groups, by_group), by_channel, False)

    center = mean(picture)
    distance = op.subtract(picture, center)
    variance = mean(op.multiply(distance, distance))
    deviation = op.sqrt(op.add(variance, _number(node.get_attributes()["epsilon"])))
    column = _integers(1, channels, 1, 1)
    factor = op.divide(op.reshape(scale, column, False), deviation)
    offset = op.subtract(op.reshape(shift, column, False), op.multiply(center, factor))
    # One product and one sum of the picture, which the plugin computes with what follows.
    return [op.add(op.multiply(picture, factor), offset).output(0)]


def attention(node: ov.Node, whole: Rewriting) -> Optional[Sequence[ov.Output]]:
    """Pad the heads of queries and keys with zeros to whole rows of a tile.

    What is left of a row is multiplied as slowly as several of them. Values stay as they are.
    """
    if whole.arithmetic != BFLOAT16 or "amx_bf16" not in processor_features():
        return None
    query, key, value, *rest = _sources(node)
    width = query.get_partial_shape()[-1]
    rank = len(query.get_partial_shape())
    if rest or node.get_attributes()["causal"] or width.is_dynamic:
        return None
    numbers = width.get_length()
    missing = -numbers % _AMX_DEPTH
    if not missing:
        return None
    before, behind = _integers(*[0] * rank), _integers(*[0] * (rank - 1), missing)
    query, key = (op.pad(heads, before, behind, "constant", _number(0.0)) for heads in (query, key))
    scores = op.matmul(op.multiply(query, _number(numbers**-0.5)), key, False, True)
    return [op.matmul(op.softmax(scores, -1), value, False, False).output(0)]


def upsampling(node: ov.Node, whole: Rewriting) -> Optional[Sequence[ov.Output]]:
    """Convolve what was doubled in height and width by one transposed convolution.

    Each pixel of a 3 × 3 convolution of doubled pixels has 4 different neighbours, and not 9.
    """
    doubled, kernel = _sources(node)
    before = doubled.get_node()
    said = node.get_attributes()
    plain = (said["strides"], said["dilations"], said["pads_begin"], said["pads_end"])
    if plain != ([1, 1],) * 4 or not _doubles(before):
        return None
    shape = kernel.get_partial_shape()
    outputs, inputs, *sides = (size.get_length() for size in shape)
    if sides != [3, 3] or outputs * inputs > _MOST_CHANNELS:
        return None
    numbers = _numbers(kernel)
    if numbers is None:
        return None
    flipped = numbers[:, :, ::-1, ::-1].swapaxes(0, 1)
    spread = np.zeros((inputs, outputs, 4, 4), np.float32)
    for row in range(2):
        for column in range(2):
            spread[:, :, row : row + 3, column : column + 3] += flipped
    picture = before.input(0).get_source_output()
    # In 16 bits half of it stays beside what the plugin makes of it.
    in_float32 = whole.arithmetic == FLOAT32
    taps = op.constant(spread).output(0) if in_float32 else _in_float16(spread)
    result = op.convolution_backprop_data(
        picture, taps, [2, 2], pads_begin=[1, 1], pads_end=[1, 1], dilations=[1, 1]
    )
    return [result.output(0)]


def split_product(node: ov.Node, whole: Rewriting) -> Optional[Sequence[ov.Output]]:
    """Compute the halves of a product by themselves where nothing else takes it.

    The plugin then multiplies a gate with its activation while it computes it.
    """
    sums = node.input(0).get_source_output()
    halves = [output.get_partial_shape()[-1] for output in node.outputs()]
    if len(halves) != 2 or halves[0] != halves[1] or not _is_last_axis(node):
        return None
    if sums.get_node().get_type_name() != "Add" or len(sums.get_target_inputs()) != 1:
        return None
    product, bias = _sources(sums.get_node())
    matrix = product.get_node()
    if matrix.get_type_name() != "MatMul" or len(product.get_target_inputs()) != 1:
        return None
    factor, weight = _sources(matrix)
    if matrix.get_attributes() != {"transpose_a": False, "transpose_b": True}:
        return None
    ranks = [len(stored.get_partial_shape()) for stored in (weight, bias)]
    if ranks != [2, 1] or bias.get_partial_shape()[0] != product.get_partial_shape()[-1]:
        return None
    results = []
    for index in range(2):
        rows, shifts = (_half(stored, index, whole.lent) for stored in (weight, bias))
        if rows is None or shifts is None:
            return None
        part = op.matmul(factor, rows, False, True)
        results += op.add(part, shifts).outputs()
    return results


_FORMS: Mapping[str, Callable[[ov.Node, Rewriting], Optional[Sequence[ov.Output]]]] = {
    "GroupNormalization": group_norm,
    "ScaledDotProductAttention": attention,
    "Convolution": upsampling,
    "VariadicSplit": split_product,
}
"""What stands for an operation: its outputs, or None where it stays."""


def _sources(node: ov.Node) -> list[ov.Output]:
    return [port.get_source_output() for port in node.inputs()]


def _integers(*numbers: int) -> ov.Node:
    return op.constant(np.array(numbers, np.int64))


def _number(number: float) -> ov.Node:
    return op.constant(np.float32(number))


def _doubles(node: ov.Node) -> bool:
    """Say whether a node doubles height and width by repeating each pixel, for one user alone."""
    if node.get_type_name() != "Interpolate" or len(node.output(0).get_target_inputs()) != 1:
        return False
    said = node.get_attributes()
    if (said["mode"], said["nearest_mode"], said["coordinate_transformation_mode"]) != (
        "nearest",
        "floor",
        "asymmetric",
    ):
        return False
    target = _numbers(node.input(1).get_source_output())
    if said["shape_calculation_mode"] == "scales":
        return target is not None and target.tolist() == [2.0, 2.0]
    before, after = node.get_input_partial_shape(0), node.get_output_partial_shape(0)
    if before.is_dynamic or after.is_dynamic:
        return False
    return list(after.to_shape())[2:] == [2 * size for size in list(before.to_shape())[2:]]


def _is_last_axis(node: ov.Node) -> bool:
    axis = _numbers(node.input(1).get_source_output())
    return axis is not None and int(axis) in (-1, len(node.get_input_partial_shape(0)) - 1)


def _numbers(output: ov.Output) -> Optional[Array]:
    """Return the numbers of a constant, or of a weight that is stored in fewer bits, as float32.

    None for what the inputs decide.
    """
    node = output.get_node()
    kind = node.get_type_name()
    if kind == "Constant":
        return _unpacked(node).astype(np.float32)
    if kind not in _ARITHMETIC_OF_WEIGHTS:
        return None
    values = [_numbers(source) for source in _sources(node)]
    if any(value is None for value in values):
        return None
    first: Array = values[0]  # type: ignore[assignment]  # None of them is None.
    if kind == "Multiply":
        return np.asarray(first * values[1])
    if kind == "Subtract":
        return np.asarray(first - values[1])
    return first.reshape(list(node.get_output_shape(0)))


def _half(output: ov.Output, index: int, lent: list[ov.Node]) -> Optional[ov.Output]:
    """Return one half of the rows of a weight or a vector, stored as that is.

    None for what is not a weight, or doesn't lie row after row.
    """
    node = output.get_node()
    kind, known = node.get_type_name(), output.get_partial_shape()
    shape = [] if known.is_dynamic else list(known.to_shape())
    if not shape or shape[0] % 2:
        return None
    half = [shape[0] // 2, *shape[1:]]
    if kind == "Constant":
        flat = np.asarray(node.data).reshape(-1)
        if flat.size % 2:
            return None
        part = np.split(flat, 2)[index]
        # The same memory: what the file maps isn't copied.
        lent.append(node)
        tensor = ov.Tensor(part, ov.Shape(half), node.get_output_element_type(0))
        return ov.op.Constant(tensor, shared_memory=True).output(0)
    if kind not in _ARITHMETIC_OF_WEIGHTS:
        return None
    first, *rest = _sources(node)
    rows = _half(first, index, lent)
    if rows is None:
        return None
    if kind == "Convert":
        converted = op.convert(rows, node.get_attributes()["destination_type"])
        if _DECOMPRESSION in node.get_rt_info():
            converted.get_rt_info()[_DECOMPRESSION] = ""
        return converted.output(0)
    if kind == "Reshape":
        return op.reshape(rows, _integers(*half), False).output(0)
    other = _half(rest[0], index, lent)
    if other is None:
        return None
    make = op.multiply if kind == "Multiply" else op.subtract
    return make(rows, other).output(0)


def _unpacked(constant: ov.Node) -> Array:
    """Return a constant's numbers; of two in a byte, the first is its lower half."""
    data, kind = np.asarray(constant.data), constant.get_output_element_type(0)
    if kind.bitwidth != 4:
        return data
    packed = data.reshape(-1).view(np.uint8)
    pairs = np.stack([packed & 15, packed >> 4], axis=-1).astype(np.int8)
    if kind == ov.Type.i4:
        pairs = (pairs ^ 8) - 8
    shape = list(constant.get_output_shape(0))
    return np.asarray(pairs.reshape(-1)[: int(np.prod(shape))].reshape(shape))
