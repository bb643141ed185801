"""An OpenVINO graph as a value: layers and their results, before they are XML.

Names are those of OpenVINO's operation sets (docs.openvino.ai, "Available Operation Sets").
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgegen.exporters.stored_weights import WeightForm

ElementType = Literal["f32", "f16", "i64", "i32", "i8", "i4", "u4", "boolean"]

NUMPY_TYPES: Mapping[ElementType, np.dtype[Any]] = {
    "f32": np.dtype("<f4"),
    "f16": np.dtype("<f2"),
    "i64": np.dtype("<i8"),
    "i32": np.dtype("<i4"),
    "i8": np.dtype("i1"),
    "boolean": np.dtype("?"),
}
PACKED_BITS: Mapping[ElementType, int] = {"i4": 4, "u4": 4}
"""Types of less than a byte: numbers lie from each byte's lowest bit on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamedWeight:
    """A constant whose numbers are a weight of the model, read when the file is written.

    `storage` is the name of its codec.
    """

    form: WeightForm
    storage: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightScales:
    """A constant of the scales with which the weight `of` was rounded."""

    of: StreamedWeight


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightZeroPoints:
    """A constant of what is subtracted from the numbers of the weight `of` before scaling."""

    of: StreamedWeight


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant:
    """What a `Const` layer holds."""

    dtype: ElementType
    shape: tuple[int, ...]
    data: NDArray[Any] | StreamedWeight | WeightScales | WeightZeroPoints

    @property
    def size_bytes(self) -> int:
        """Return how many bytes of the weights' file it takes."""
        bits = PACKED_BITS.get(self.dtype)
        bits = 8 * NUMPY_TYPES[self.dtype].itemsize if bits is None else bits
        return -(-bits * math.prod(self.shape) // 8)


@dataclass(slots=True, kw_only=True, eq=False)
class Layer:
    """A layer: `opset` is the operation set that defines its `type`.

    `constant` is set for a `Const`; `is_decompression` marks a `Convert` that only undoes how a
    weight is stored, so that a plugin may put it off.
    """

    name: str
    type: str
    opset: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    inputs: Sequence[Value] = ()
    outputs: tuple[Value, ...] = ()
    constant: Constant | None = None
    is_decompression: bool = False


@dataclass(slots=True, kw_only=True, eq=False)
class Value:
    """A result of a layer, the `index`th. `name` is set for the component's inputs and outputs."""

    layer: Layer
    index: int
    dtype: ElementType
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """Layers in an order in which they can run, with the inputs first and the results last."""

    name: str
    layers: tuple[Layer, ...]

    @property
    def constants(self) -> tuple[Constant, ...]:
        """Return the constants of all layers, in their order."""
        return tuple(layer.constant for layer in self.layers if layer.constant is not None)
