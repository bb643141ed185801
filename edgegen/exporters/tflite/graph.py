"""A TFLite graph as a value: tensors and operators, before they are a flatbuffer.

Names are those of TFLite's schema (tensorflow/compiler/mlir/lite/schema/schema.fbs).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgegen.compress.codec import BY_CHANNEL, Granularity, packed_bytes
from edgegen.exporters.stored_weights import WeightForm

TensorType = Literal["float32", "float16", "int64", "int32", "int16", "int8", "int4", "bool"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantization:
    """`(stored − zero point) × scale` is the number. Several scales are those of `axis`."""

    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    axis: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """A tensor's data that is streamed from the model; `storage` is the name of its codec.

    The scales of integers are known when they are streamed; how many they are, `granularity` says.
    """

    form: WeightForm
    storage: str = "float32"
    granularity: Granularity = BY_CHANNEL


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockScales:
    """The scales of a weight's blocks, (rows, blocks): known when the weight is streamed."""

    of: Weight


Data = NDArray[Any] | Weight | BlockScales
"""What a constant holds: an array, a weight that is streamed, or what comes with that."""


@dataclass(slots=True, kw_only=True, eq=False)
class Tensor:
    """A tensor; what has `data` is a constant.

    `block_scales` is the tensor of the scales of a weight that is stored in blocks of its rows.
    """

    name: str
    shape: tuple[int, ...]
    dtype: TensorType
    data: Data | None = None
    quantization: Quantization | None = None
    block_scales: Tensor | None = None

    @property
    def size_bytes(self) -> int:
        """Return what its numbers take; two of 4 bits share a byte."""
        elements = math.prod(self.shape)
        if self.dtype == "int4":
            return packed_bytes(elements, 4)
        return elements * np.dtype(self.dtype).itemsize


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Operator:
    """An operator: `code` is a name of `BuiltinOperator` (`CONV_2D`).

    `options` are the fields of its options table as the schema calls them (`strideW`), and
    `options_type` that table's name (`Conv2DOptions`), or `` where it has none. A missing optional
    input is None.
    """

    code: str
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor, ...]
    options_type: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    version: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """Operators in the order in which they run; inputs and outputs by the component's names."""

    name: str
    operators: tuple[Operator, ...]
    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]
