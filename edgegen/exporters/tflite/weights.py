"""Lays the data of a TFLite file out behind its graph, and streams it there, buffer by buffer.

At no time is more than one weight in memory. Large buffers begin at a multiple of the page size, so
that a runtime can map them; all others at a multiple of 64 bytes, of which TFLite wants 16.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import RawIOBase
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegen.compress.codecs import CODECS
from edgegen.exporters.data_file import alignment_bytes, write_all
from edgegen.exporters.stored_weights import encode_weight
from edgegen.exporters.tflite.graph import BlockScales, Data, Graph, Tensor, Weight
from edgegen.exporters.tflite.storage import STORED
from edgegen.exporters.tflite.walk import tensors_of
from edgegen.models.binding import BoundTensor
from edgegen.models.weight_source import WeightSource

LENGTH_BYTES = 4  # a vector's number of elements, before them


DataKey = Weight | BlockScales | bytes
"""What tells a buffer from others: a weight's form and codec, or the hash of a constant's bytes."""

Scales = dict[int, NDArray[np.float32]]
"""The scales of weights of integers that stand beside their tensors, by their buffers' numbers."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Buffer:
    """The data of one tensor, or of several that hold the same."""

    key: DataKey
    data: Data
    size_bytes: int

    @property
    def alignment_bytes(self) -> int:
        """What the data's place in the file is a multiple of."""
        return alignment_bytes(self.size_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Buffers:
    """The buffers of a file, without the empty one, and which tensor has which."""

    all: tuple[Buffer, ...]
    index: Mapping[Tensor, int]


def buffer_of(tensor: Tensor) -> Buffer | None:
    """Return a constant's buffer; None for what has no data, or has no elements."""
    data = tensor.data
    if data is None or tensor.size_bytes == 0:
        return None
    key = (
        data if isinstance(data, Weight | BlockScales) else hashlib.sha256(_bytes_of(data)).digest()
    )
    return Buffer(key=key, data=data, size_bytes=tensor.size_bytes)


def collect_buffers(tensors: Iterable[Tensor]) -> Buffers:
    """Give each constant a buffer; those of the same weight or the same bytes share one."""
    places: dict[DataKey, int] = {}
    buffers: list[Buffer] = []
    index: dict[Tensor, int] = {}
    for tensor in tensors:
        buffer = buffer_of(tensor)
        if buffer is None:
            continue
        if buffer.key not in places:
            places[buffer.key] = len(buffers)
            buffers.append(buffer)
        index[tensor] = places[buffer.key]
    return Buffers(all=tuple(buffers), index=index)


def data_bytes(graph: Graph) -> int:
    """Return the bytes of a graph's data: what the progress of writing it adds up to."""
    return sum(buffer.size_bytes for buffer in collect_buffers(tensors_of(graph)).all)


def lay_out(head_bytes: int, buffers: Sequence[Buffer]) -> tuple[list[int], int]:
    """Return where each buffer's data begins behind a head of that size, and where the file ends.

    The four bytes before each belong to it: there its length stands.
    """
    offsets = []
    position = head_bytes
    for buffer in buffers:
        position += LENGTH_BYTES
        position += -position % buffer.alignment_bytes
        offsets.append(position)
        position += buffer.size_bytes
    return offsets, position


def scale_count(weight: Weight) -> int:
    """Return how many scales will stand beside the tensor of a weight of integers."""
    kind = STORED[weight.storage]
    if not kind.is_scaled or kind.in_blocks:
        return 0
    granularity = weight.granularity
    return weight.form.shape[granularity.axis] if granularity.per_channel else 1


def stream_buffers(
    file: RawIOBase,
    buffers: Sequence[Buffer],
    offsets: Sequence[int],
    bound: Mapping[str, BoundTensor],
    weights: WeightSource,
    progress: Callable[[int], None],
) -> Scales:
    """Write each buffer's length and data to its place; return the scales of integers.

    Those of blocks are buffers themselves, behind that of their weight.

    `file` stands at the end of the head. `progress` gets the bytes of each. Raises SourceError for
    a weight that is not finite, ExportError for one that its storage type cannot hold.
    """
    scales: Scales = {}
    of_blocks: dict[Weight, NDArray[np.float16]] = {}
    position = file.tell()
    for number, (buffer, offset) in enumerate(zip(buffers, offsets, strict=True)):
        array, scale = _load(buffer, of_blocks, bound, weights)
        if scale is not None:
            scales[number] = scale
        # No runtime looks at the length of data outside the flatbuffer, which may be any size.
        length = (buffer.size_bytes & 0xFFFFFFFF).to_bytes(LENGTH_BYTES, "little")
        write_all(file, bytes(offset - LENGTH_BYTES - position) + length)
        write_all(file, _bytes_of(array))
        position = offset + buffer.size_bytes
        progress(buffer.size_bytes)
        del array
    return scales


def _load(
    buffer: Buffer,
    of_blocks: dict[Weight, NDArray[np.float16]],
    bound: Mapping[str, BoundTensor],
    weights: WeightSource,
) -> tuple[NDArray[Any], NDArray[np.float32] | None]:
    """Return what a buffer holds, and a weight's scales unless they are those `of_blocks`.

    These wait there for their own buffer.
    """
    if isinstance(buffer.data, BlockScales):
        return of_blocks.pop(buffer.data.of), None
    if not isinstance(buffer.data, Weight):
        return buffer.data, None
    weight = buffer.data
    kind, codec = STORED[weight.storage], CODECS[weight.storage]
    encoded = encode_weight(weight.form, codec, weight.granularity, bound, weights)
    values = _packed(encoded.values) if kind.dtype == "int4" else encoded.values
    if encoded.scales is None:
        return values, None
    if kind.in_blocks:
        of_blocks[weight] = encoded.scales.astype(np.float16)  # whose numbers they are
        return values, None
    return values, encoded.scales.reshape(-1)


def _packed(values: NDArray[np.int8]) -> NDArray[np.uint8]:
    """Return integers of 4 bits two a byte, the first in its lower half (two's complement).

    >>> _packed(np.array([1, -1, 7], np.int8)).tolist()
    [241, 7]
    """
    flat: NDArray[np.uint8] = values.reshape(-1).view(np.uint8) & np.uint8(15)
    packed: NDArray[np.uint8] = flat[::2].copy()
    packed[: flat.size // 2] |= flat[1::2] << np.uint8(4)
    return packed


def _bytes_of(array: NDArray[Any]) -> memoryview:
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return little.reshape(-1).view(np.uint8).data
