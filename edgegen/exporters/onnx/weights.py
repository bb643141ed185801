"""Streams weights from their safetensors into one file beside the graph, tensor by tensor.

At no time is more than one tensor in memory. Large tensors begin at a multiple of the page size,
so that a runtime can map them instead of reading them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import onnx_ir as ir

from edgegen.compress.codec import BY_CHANNEL
from edgegen.compress.codecs import CODECS
from edgegen.core.files import translate_disk_errors
from edgegen.exporters.data_file import alignment_bytes, write_all
from edgegen.exporters.onnx.storage import STORED
from edgegen.exporters.onnx.writer import WeightUse
from edgegen.exporters.stored_weights import encode_weight
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
            codec = CODECS[use.storage]
            array = encode_weight(use.form, codec, BY_CHANNEL, bound, weights).values
            name = use.value.name
            if array.nbytes <= INLINE_BYTES:
                use.value.const_value = ir.tensor(array, name=name)
            else:
                padding = -position % alignment_bytes(array.nbytes)
                write_all(file, bytes(padding))
                write_all(file, array.reshape(-1).view(np.uint8).data)
                position += padding
                use.value.const_value = ir.ExternalTensor(
                    destination.name,
                    position,
                    array.nbytes,
                    STORED[use.storage],
                    shape=ir.Shape(array.shape),
                    name=str(name),
                    base_dir=destination.parent,
                )
                position += array.nbytes
            progress(array.nbytes)
    return position
