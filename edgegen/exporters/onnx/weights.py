"""Streams weights from their safetensors into one file beside the graph, tensor by tensor.

At no time is more than one weight in memory. Large tensors begin at a multiple of the page size,
so that a runtime can map them instead of reading them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgegen.compress.codecs import CODECS
from edgegen.core.files import translate_disk_errors
from edgegen.exporters.data_file import alignment_bytes, write_all
from edgegen.exporters.onnx.storage import STORED
from edgegen.exporters.onnx.writer import WeightUse
from edgegen.exporters.stored_weights import encode_weight, load_weight
from edgegen.models.binding import BoundTensor
from edgegen.models.weight_source import WeightSource

INLINE_BYTES = 1024


def stream_weights(
    uses: Iterable[WeightUse],
    bound: Mapping[str, BoundTensor],
    weights: WeightSource,
    destination: Path,
    progress: Callable[[int], None],
) -> int:
    """Write each weight in the type and layout that the graph wants; return the bytes written.

    The initializers in `uses` are bound to their place in the file; very small ones stay in the
    graph. `progress` gets the bytes of each. Raises SourceError for a weight that is not finite,
    ExportError for one that its storage type cannot hold.
    """
    position = 0
    with translate_disk_errors(destination.parent), destination.open("wb", buffering=0) as file:
        for use in uses:
            for value, array in _arrays(use, bound, weights):
                if array.nbytes <= INLINE_BYTES:
                    value.const_value = ir.tensor(array, name=value.name)
                else:
                    padding = -position % alignment_bytes(array.nbytes)
                    write_all(file, bytes(padding))
                    write_all(file, array.reshape(-1).view(np.uint8).data)
                    position += padding
                    value.const_value = ir.ExternalTensor(
                        destination.name,
                        position,
                        array.nbytes,
                        ir.DataType.from_numpy(array.dtype),
                        shape=ir.Shape(array.shape),
                        name=str(value.name),
                        base_dir=destination.parent,
                    )
                    position += array.nbytes
                progress(array.nbytes)
                del array
    return position


def _arrays(
    use: WeightUse, bound: Mapping[str, BoundTensor], weights: WeightSource
) -> Iterator[tuple[ir.Value, NDArray[Any]]]:
    """Yield the initializers of a weight and what they hold, in the order of the file."""
    encoded = encode_weight(use.form, CODECS[use.storage], use.granularity, bound, weights)
    scales = encoded.scales
    values: NDArray[Any] = encoded.values
    del encoded
    if STORED[use.storage].in_blocks:
        values = in_nibbles(values)
    yield use.value, values.reshape(_shape(use.value))
    if use.scales is None or scales is None:
        return
    del values
    yield use.scales, scales.reshape(_shape(use.scales))
    for bias in use.biases:
        numbers = load_weight(bias.form, np.dtype(np.float32), bound, weights).astype(np.float64)
        by_channel = (scales.reshape(-1) * np.float32(bias.input_scale)).astype(np.float32)
        limits = np.iinfo(np.int32)
        whole = np.clip(np.rint(numbers / by_channel), limits.min, limits.max)
        yield bias.value, whole.astype(np.int32)
        yield bias.scales, np.broadcast_to(by_channel, numbers.shape).copy()


def in_nibbles(values: NDArray[np.int8]) -> NDArray[np.uint8]:
    """Return two numbers of −8…7 a byte, plus 8 and the first in its lower half.

    >>> in_nibbles(np.array([[-7, 0, 7, 1]], np.int8))
    array([[129, 159]], dtype=uint8)
    """
    raised = (values + np.int8(8)).view(np.uint8)
    packed: NDArray[np.uint8] = np.bitwise_or(raised[..., 0::2], raised[..., 1::2] << np.uint8(4))
    return packed


def _shape(value: ir.Value) -> tuple[int, ...]:
    assert value.shape is not None
    return value.shape.numpy()
