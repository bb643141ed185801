"""Writes a program's constants as a recipe asks for, one weight in memory at a time.

Core ML decompresses a weight when it loads a model or while it runs, as the compiler sees fit: the
operations that say how are named `constexpr_…`. Those of iOS 16 hold one palette a tensor or one
scale a channel; those of iOS 18 palettes and scales of groups.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegen.compress.int4 import quantize_blocks
from edgegen.compress.int8 import quantize
from edgegen.compress.palettes import palettize, palettize_groups
from edgegen.core.recipe import StorageType
from edgegen.exporters.coreml.graph import Graph, Operation, StreamedWeight
from edgegen.exporters.stored_weights import WeightForm, load_weight
from edgegen.mil import schema
from edgegen.mil.types import TYPES, TypeName, pack_bits
from edgegen.mil.values import immediate, in_file, named, string
from edgegen.mil.weight_file import WeightFileWriter
from edgegen.models.binding import BoundTensor
from edgegen.models.weights import Weights

GROUPED_FROM = 18
"""iOS's version whose operations hold palettes and scales of groups."""

PALETTE_BITS: Mapping[StorageType, int] = {
    "palette1": 1,
    "palette2": 2,
    "palette3": 3,
    "palette4": 4,
    "palette6": 6,
    "palette8": 8,
}
INDEX_TYPES: Mapping[int, TypeName] = {
    1: "uint1",
    2: "uint2",
    3: "uint3",
    4: "uint4",
    6: "uint6",
    8: "uint8",
}
"""Bits of an index -> its type, from iOS 18 on."""

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
    bound: Mapping[str, BoundTensor]
    weights: Weights
    progress: Callable[[int], None]

    def write(self, operation: Operation) -> schema.Operation:
        """Return a constant's operation.

        Raises SourceError for a weight that is not finite, ExportError for one that its type cannot
        hold.
        """
        data = operation.data
        if isinstance(data, StreamedWeight):
            return self._weight(operation, data)
        value = string(data) if isinstance(data, str) else self._value(np.asarray(data))
        return self._const(operation, value)

    def _weight(self, operation: Operation, data: StreamedWeight) -> schema.Operation:
        storage = data.storage
        if storage in ("float32", "float16"):
            kind: TypeName = "fp32" if storage == "float32" else "fp16"
            array = self._load(data.form, TYPES[kind].numpy)
            return self._const(operation, self._value(array))
        if storage in PALETTE_BITS:
            return self._palette(operation, data.form, PALETTE_BITS[storage])
        if storage == "int4":
            return self._int4(operation, data.form)
        return self._int8(operation, data.form)

    def _palette(self, operation: Operation, form: WeightForm, bits: int) -> schema.Operation:
        array = self._load(form, np.dtype(np.float16))
        shape = array.shape
        if self.minimum_os >= GROUPED_FROM:
            grouped = palettize_groups(array, bits, self.palette_channels or shape[0])
            lut_shape = (len(grouped.numbers), *[1] * (len(shape) - 1), 1 << bits, 1)
            return self._constexpr(
                operation,
                "constexpr_lut_to_dense",
                indices=self._packed(grouped.indices, INDEX_TYPES[bits]),
                lut=self._value(grouped.numbers.reshape(lut_shape)),
            )
        palette = palettize(array, bits)
        packed = pack_bits(palette.indices, bits)
        return self._constexpr(
            operation,
            "constexpr_lut_to_dense",
            indices=self._value(packed),
            lut=self._value(palette.numbers),
            shape=immediate(np.array(shape, np.uint32)),
        )

    def _int8(self, operation: Operation, form: WeightForm) -> schema.Operation:
        rounded = quantize(self._as_stored(form), axis=0, half_scales=True)
        scales = rounded.scales.astype(np.float16)
        if self.minimum_os >= GROUPED_FROM:
            column = (len(scales), *[1] * (rounded.values.ndim - 1))
            return self._constexpr(
                operation,
                "constexpr_blockwise_shift_scale",
                data=self._value(rounded.values),
                scale=self._value(scales.reshape(column)),
            )
        return self._constexpr(
            operation,
            "constexpr_affine_dequantize",
            axis=immediate(np.array(0, np.int32)),
            quantized_data=self._value(rounded.values),
            scale=self._value(scales),
            zero_point=immediate(np.array(0, np.int8)),
        )

    def _int4(self, operation: Operation, form: WeightForm) -> schema.Operation:
        rounded = quantize_blocks(self._as_stored(form))
        return self._constexpr(
            operation,
            "constexpr_blockwise_shift_scale",
            data=self._packed(rounded.values, "int4"),
            scale=self._value(rounded.scales.astype(np.float16)),
        )

    def _load(self, form: WeightForm, dtype: np.dtype[Any]) -> NDArray[Any]:
        array = load_weight(form, dtype, self.bound, self.weights)
        self.progress(self.bound[form.parameter].entry.size_bytes)
        return array

    def _as_stored(self, form: WeightForm) -> NDArray[Any]:
        """Read a weight in the type of its file, which may be half as large as float32."""
        narrow = self.bound[form.parameter].entry.dtype == "float16"
        return self._load(form, np.dtype(np.float16 if narrow else np.float32))

    def _value(self, array: NDArray[Any]) -> schema.Value:
        kind = next((name for name in _FILE_TYPES if TYPES[name].numpy == array.dtype), None)
        if kind is None or array.size < _IN_FILE_FROM:
            return immediate(array)
        return in_file(self.file.add(array, kind), kind, array.shape)

    def _packed(self, array: NDArray[Any], kind: TypeName) -> schema.Value:
        return in_file(self.file.add(array, kind), kind, array.shape)

    def _const(self, operation: Operation, value: schema.Value) -> schema.Operation:
        (output,) = operation.outputs
        return schema.Operation(
            type="const",
            outputs=[named(output.name, output.kind, output.stored_shape)],
            attributes={"name": string(output.name), "val": value},
        )

    def _constexpr(
        self, operation: Operation, op_type: str, **values: schema.Value
    ) -> schema.Operation:
        (output,) = operation.outputs
        made = schema.Operation(
            type=op_type,
            outputs=[named(output.name, output.kind, output.stored_shape)],
            attributes={"name": string(output.name)},
        )
        if self.minimum_os >= GROUPED_FROM:
            made.inputs = {
                name: schema.Argument(arguments=[schema.Binding(value=value)])
                for name, value in values.items()
            }
        else:
            made.attributes.update(values)
        return made
