"""Streams a graph's constants into the file beside its XML, tensor by tensor.

The XML names the place of each constant, and sizes are known from shapes: so places are given out
first, and the file is then written from front to back with one weight in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegen.compress.codec import Encoded, Granularity
from edgegen.compress.codecs import CODECS
from edgegen.core.files import translate_disk_errors
from edgegen.exporters.data_file import alignment_bytes, write_all
from edgegen.exporters.openvino.graph import (
    NUMPY_TYPES,
    PACKED_BITS,
    Constant,
    StreamedWeight,
    WeightScales,
    WeightZeroPoints,
)
from edgegen.exporters.stored_weights import WeightForm, encode_weight
from edgegen.mil.types import pack_bits
from edgegen.models.binding import BoundTensor
from edgegen.models.weight_source import WeightSource


def place(constants: Sequence[Constant]) -> dict[int, int]:
    """Return where each constant (by its `id`) begins in the file.

    What is large begins at a multiple of the page size, so that a runtime can map it.
    """
    offsets: dict[int, int] = {}
    position = 0
    for constant in constants:
        position += -position % alignment_bytes(constant.size_bytes)
        offsets[id(constant)] = position
        position += constant.size_bytes
    return offsets


def stream_constants(
    constants: Sequence[Constant],
    offsets: Mapping[int, int],
    bound: Mapping[str, BoundTensor],
    weights: WeightSource,
    destination: Path,
    progress: Callable[[int], None],
    *,
    block: int | None,
) -> int:
    """Write the constants in their order at the places that `place` gave; return the file's size.

    A weight comes before its scales and zero points. `block` is how many numbers share a scale, in
    codecs that have blocks. `progress` gets the bytes of each. Raises SourceError
    for a weight that is not finite, ExportError for one that its storage type cannot hold.
    """
    position = 0
    granularity = Granularity(block=block)
    encoded: dict[int, Encoded] = {}
    with translate_disk_errors(destination.parent), destination.open("wb", buffering=0) as file:
        for constant in constants:
            array = _array(constant, granularity, bound, weights, encoded)
            offset = offsets[id(constant)]
            write_all(file, bytes(offset - position))
            write_all(file, _stored(constant, array))
            position = offset + constant.size_bytes
            progress(constant.size_bytes)
    return position


def _stored(constant: Constant, array: NDArray[Any]) -> memoryview:
    """Return an array's bytes in the type of its constant."""
    bits = PACKED_BITS.get(constant.dtype)
    if bits is not None:
        return pack_bits(array, bits).data
    lying = np.ascontiguousarray(array, dtype=NUMPY_TYPES[constant.dtype])
    return lying.reshape(-1).view(np.uint8).data


def _array(
    constant: Constant,
    granularity: Granularity,
    bound: Mapping[str, BoundTensor],
    weights: WeightSource,
    encoded: dict[int, Encoded],
) -> NDArray[Any]:
    """Return a constant's numbers; `encoded` keeps what else a codec gave, by the weight's `id`."""
    data = constant.data
    if isinstance(data, WeightScales):
        scales = encoded[id(data.of)].scales
        assert scales is not None
        return scales
    if isinstance(data, WeightZeroPoints):
        zero_points = encoded[id(data.of)].zero_points
        assert zero_points is not None
        return zero_points
    if not isinstance(data, StreamedWeight):
        return data
    # The graph may reshape a weight; its output channels are the first axis only in its own shape.
    parameter = data.form.parameter
    form = WeightForm(parameter=parameter, axes=None, shape=bound[parameter].shape)
    found = encode_weight(form, CODECS[data.storage], granularity, bound, weights)
    encoded.clear()
    encoded[id(data)] = replace(found, values=np.empty(0, found.values.dtype))
    return found.values
