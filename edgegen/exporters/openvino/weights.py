"""Streams a graph's constants into the file beside its XML, tensor by tensor.

The XML names the place of each constant, and sizes are known from shapes: so places are given out
first, and the file is then written from front to back with one weight in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegen.compress.codec import BY_CHANNEL
from edgegen.compress.codecs import CODECS
from edgegen.core.files import translate_disk_errors
from edgegen.exporters.data_file import alignment_bytes, write_all
from edgegen.exporters.openvino.graph import (
    NUMPY_TYPES,
    Constant,
    StreamedWeight,
    WeightScales,
)
from edgegen.exporters.stored_weights import WeightForm, encode_weight
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
) -> int:
    """Write the constants in their order at the places that `place` gave; return the file's size.

    A weight comes before its scales. `progress` gets the bytes of each. Raises SourceError
    for a weight that is not finite, ExportError for one that its storage type cannot hold.
    """
    position = 0
    scales: dict[int, NDArray[Any]] = {}
    with translate_disk_errors(destination.parent), destination.open("wb", buffering=0) as file:
        for constant in constants:
            array = _array(constant, bound, weights, scales)
            offset = offsets[id(constant)]
            write_all(file, bytes(offset - position))
            write_all(file, np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
            position = offset + constant.size_bytes
            progress(constant.size_bytes)
    return position


def _array(
    constant: Constant,
    bound: Mapping[str, BoundTensor],
    weights: WeightSource,
    scales: dict[int, NDArray[Any]],
) -> NDArray[Any]:
    data = constant.data
    if isinstance(data, WeightScales):
        return scales.pop(id(data.of))
    if not isinstance(data, StreamedWeight):
        return data.astype(NUMPY_TYPES[constant.dtype], copy=False)
    # The graph may reshape a weight; its output channels are the first axis only in its own shape.
    parameter = data.form.parameter
    form = WeightForm(parameter=parameter, axes=None, shape=bound[parameter].shape)
    encoded = encode_weight(form, CODECS[data.storage], BY_CHANNEL, bound, weights)
    if encoded.scales is not None:
        scales[id(data)] = encoded.scales
    return encoded.values
