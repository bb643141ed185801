"""Writes a program's constants as a recipe asks for, one weight in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegen.compress.codec import Encoded, Granularity
from edgegen.compress.codecs import CODECS
from edgegen.exporters.coreml.graph import Graph, Operation, StreamedWeight
from edgegen.exporters.coreml.storage import GROUPED_FROM, STORED, Decompression
from edgegen.exporters.stored_weights import encode_weight
from edgegen.mil import schema
from edgegen.mil.types import TYPES, TypeName
from edgegen.mil.values import immediate, in_file, named, string
from edgegen.mil.weight_file import WeightFileWriter
from edgegen.models.binding import BoundTensor
from edgegen.models.weight_source import WeightSource

_IN_FILE_FROM = 10
"""How many numbers a constant has that stands in the file and not in the program."""

_FILE_TYPES: tuple[TypeName, ...] = ("fp16", "fp32", "int8", "uint8")


def stored_bytes(graph: Graph, bound: Mapping[str, BoundTensor]) -> int:
    """Return how many bytes of the model's files a graph's weights are."""
    return sum(
        bound[item.data.form.parameter].entry.size_bytes
        for item in graph.operations
        if isinstance(item.data, StreamedWeight)
    )


@dataclass(frozen=True, kw_only=True)
class ConstantWriter:
    """Writes constants: large ones into the file of weights, small ones into the program."""

    file: WeightFileWriter
    minimum_os: int
    palette_channels: int | None
    block: int | None
    bound: Mapping[str, BoundTensor]
    weights: WeightSource
    progress: Callable[[int], None]

    def write(self, operation: Operation) -> schema.Operation:
        """Return a constant's operation.

        Raises SourceError for a weight that is not finite, ExportError for one that its type cannot
        hold.
        """
        data = operation.data
        if isinstance(data, StreamedWeight):
            return self._weight(operation, data)
        value = string(data) if isinstance(data, str) else self.value(np.asarray(data))
        return self._const(operation, value)

    def value(self, array: NDArray[Any]) -> schema.Value:
        """Return an array's value: in the file of weights, unless it is small."""
        kind = next((name for name in _FILE_TYPES if TYPES[name].numpy == array.dtype), None)
        if kind is None or array.size < _IN_FILE_FROM:
            return immediate(array)
        return self.stored(array, kind)

    def stored(self, array: NDArray[Any], kind: TypeName) -> schema.Value:
        """Return a value in the file of weights."""
        return in_file(self.file.add(array, kind), kind, array.shape)

    def _weight(self, operation: Operation, data: StreamedWeight) -> schema.Operation:
        encoded = self._encoded(data)
        stored = STORED[data.storage]
        if stored.decompress is None:
            return self._const(operation, self.value(encoded.values))
        made = stored.decompress(encoded, stored.kind, self.minimum_os, self)
        return self._constexpr(operation, made)

    def _encoded(self, data: StreamedWeight) -> Encoded:
        grouped = self.minimum_os >= GROUPED_FROM
        granularity = Granularity(
            half_scales=True,
            palette_channels=self.palette_channels if grouped else None,
            block=self.block,
        )
        encoded = encode_weight(
            data.form, CODECS[data.storage], granularity, self.bound, self.weights
        )
        self.progress(self.bound[data.form.parameter].entry.size_bytes)
        return encoded

    def _const(self, operation: Operation, value: schema.Value) -> schema.Operation:
        (output,) = operation.outputs
        return schema.Operation(
            type="const",
            outputs=[named(output.name, output.kind, output.stored_shape)],
            attributes={"name": string(output.name), "val": value},
        )

    def _constexpr(self, operation: Operation, decompression: Decompression) -> schema.Operation:
        (output,) = operation.outputs
        made = schema.Operation(
            type=decompression.op_type,
            outputs=[named(output.name, output.kind, output.stored_shape)],
            attributes={"name": string(output.name)},
        )
        if self.minimum_os >= GROUPED_FROM:
            made.inputs = {
                name: schema.Argument(arguments=[schema.Binding(value=value)])
                for name, value in decompression.inputs.items()
            }
        else:
            made.attributes.update(decompression.inputs)
        return made
