"""A TFLite graph as a value: tensors and operators, before they are a flatbuffer.

Names are those of TFLite's schema (tensorflow/compiler/mlir/lite/schema/schema.fbs).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from numpy.typing import NDArray

from edgegen.exporters.stored_weights import WeightForm

TensorType = Literal["float32", "float16", "int64", "int32", "int16", "int8", "bool"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantization:
    """`(stored − zero point) × scale` is the number. Several scales are those of `axis`."""

    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    axis: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """A tensor's data that is streamed from the model; `quantize_axis` is set for int8.

    The scales of an int8 weight are known when it is streamed: a scale for each index of the axis
    or, without `per_channel`, one.
    """

    form: WeightForm
    quantize_axis: int | None = None
    per_channel: bool = True


@dataclass(slots=True, kw_only=True, eq=False)
class Tensor:
    """A tensor. What has `data` is a constant: an array, or a weight that is streamed."""

    name: str
    shape: tuple[int, ...]
    dtype: TensorType
    data: NDArray[Any] | Weight | None = None
    quantization: Quantization | None = None


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
