"""Builds an OpenVINO graph layer by layer, with weights stored as a recipe asks for.

The writer knows values, types and weights; what an operator becomes is the business of
`operators/`, in what order they are lowered that of `lowering.py`. It never sees a weight's
numbers: it records which weight is wanted in which type and layout, and `weights.py` streams it.

The graph computes in float32; in which type a device does is what its plugin is told when it
loads the graph (`INFERENCE_PRECISION_HINT`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgegen.core.calibration import Calibration
from edgegen.core.errors import ExportError
from edgegen.core.model import DType, TensorSpec
from edgegen.core.recipe import ComponentRecipe
from edgegen.exporters import lowering
from edgegen.exporters.capture import Axis, Shape
from edgegen.exporters.lowering import Parameter
from edgegen.exporters.open_axes import OpenAxes
from edgegen.exporters.openvino.graph import (
    NUMPY_TYPES,
    Constant,
    ElementType,
    Graph,
    Layer,
    StreamedWeight,
    Value,
    WeightScales,
    WeightZeroPoints,
)
from edgegen.exporters.openvino.operations import OPERATION_SETS
from edgegen.exporters.openvino.storage import STORED
from edgegen.exporters.stored_weights import WeightForm

if TYPE_CHECKING:
    from numpy.typing import NDArray

SMALL_WEIGHT_ELEMENTS = 4096
"""Vectors (biases, scales of norms) and tensors up to this size are stored in float32."""

LEVELS = 256
"""How many numbers calibrated activations have."""

ELEMENT_TYPES: Mapping[DType, ElementType] = {
    "float32": "f32",
    "float16": "f16",
    "int64": "i64",
    "int32": "i32",
    "int8": "i8",
    "bool": "boolean",
}
FLOATS = frozenset({"f32", "f16"})
_ATTRIBUTES = {"exclude_pad": "exclude-pad"}
"""What cannot be written as an argument's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredWeight:
    """The constants of a weight; its values have the `shape` in which they meet their scales."""

    values: Value
    scales: Value | None
    zero_points: Value | None
    shape: tuple[int, ...]


class GraphWriter:
    """An OpenVINO graph under construction. `layer` is the module path of the node in hand."""

    title = "OpenVINO"
    value_type: type = Value

    def __init__(
        self, component: str, recipe: ComponentRecipe, calibration: Calibration | None
    ) -> None:
        self.component = component
        self.recipe = recipe
        self.calibration = calibration
        self.layer = ""
        self.axes: OpenAxes[Value] = OpenAxes()
        """Where the size of an open axis can be read: a value and one of its axes."""
        self._layers: list[Layer] = []
        self._weights: dict[tuple[str, tuple[int, ...]], StoredWeight] = {}
        self._converted: dict[tuple[int, ElementType], Value] = {}
        self._quantized: dict[tuple[int, float, float], Value] = {}
        self._constants: dict[tuple[str, tuple[int, ...], bytes], Value] = {}
        self._shapes: dict[int, Value] = {}
        self._axis_sizes: dict[tuple[int, int], Value] = {}

    def enter(self, layer: str) -> None:
        """Say which layer the next nodes belong to.

        Raises ExportError where the recipe wants it in float16.
        """
        self.layer = layer
        if self.recipe.compute_of(layer) != "float32":
            raise ExportError(
                f"The recipe {self.recipe.name} wants {self.component} to compute in float16, "
                "which an OpenVINO graph does not say.",
                hint='Write `compute = "float32"`: the device chooses its type when it loads.',
            )

    def op(
        self,
        op_type: str,
        *inputs: Value,
        dtype: ElementType | None = None,
        **attributes: object,
    ) -> Value:
        """Append a layer with one result and return that; `dtype` defaults to the first input's."""
        return self.op_many(op_type, *inputs, count=1, dtype=dtype, **attributes)[0]

    def op_many(
        self,
        op_type: str,
        *inputs: Value,
        count: int,
        dtype: ElementType | None = None,
        **attributes: object,
    ) -> tuple[Value, ...]:
        """Append a layer with `count` results of one type."""
        layer = Layer(
            name=f"{self.layer or self.component}/{op_type}_{len(self._layers)}",
            type=op_type,
            opset=OPERATION_SETS[op_type],
            attributes={
                _ATTRIBUTES.get(name, name): _text(value) for name, value in attributes.items()
            },
            inputs=inputs,
        )
        self._layers.append(layer)
        kind = dtype or inputs[0].dtype
        layer.outputs = tuple(Value(layer=layer, index=i, dtype=kind) for i in range(count))
        return layer.outputs

    def binary(
        self, op_type: str, left: Value, right: Value, dtype: ElementType | None = None
    ) -> Value:
        """Append an element-wise layer of two inputs that are broadcast as numpy does."""
        return self.op(op_type, left, right, dtype=dtype, auto_broadcast="numpy")

    def constant(self, array: NDArray[Any]) -> Value:
        """Return a constant with an array's values; equal arrays are one constant."""
        array = np.ascontiguousarray(array).reshape(np.shape(array))
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            dtype = next(name for name, kind in NUMPY_TYPES.items() if kind == array.dtype)
            constant = Constant(dtype=dtype, shape=array.shape, data=array)
            self._constants[key] = self._const(f"constant_{len(self._constants)}", constant)
        return self._constants[key]

    def integers(self, *numbers: int) -> Value:
        """Return a constant vector of int64."""
        return self.constant(np.array(numbers, dtype=np.int64))

    def integer(self, number: int) -> Value:
        """Return a constant int64."""
        return self.constant(np.array(number, dtype=np.int64))

    def convert(self, value: Value, dtype: ElementType) -> Value:
        """Return `value` in another type; converted once, however many nodes want it so."""
        if value.dtype == dtype:
            return value
        key = (id(value), dtype)
        if key not in self._converted:
            self._converted[key] = self.op("Convert", value, dtype=dtype, destination_type=dtype)
        return self._converted[key]

    def floating(self, argument: Any) -> Value:
        """Return a value, a weight, an array or a number as float32."""
        if isinstance(argument, Parameter):
            return self.weight(argument)
        if isinstance(argument, Value):
            return self.convert(argument, "f32")
        return self.constant(np.asarray(argument).astype(np.float32))

    def value(self, argument: Any) -> Value:
        """Return an argument in the type that it has; what only moves numbers keeps it."""
        if isinstance(argument, Parameter):
            return self.weight(argument)
        if isinstance(argument, Value):
            return argument
        array = np.asarray(argument)
        return self.floating(array) if array.dtype.kind == "f" else self.constant(array)

    def weight(self, parameter: Parameter, *, shape: tuple[int, ...] | None = None) -> Value:
        """Return a weight in float32, in another `shape` of as many numbers where one is given.

        Stored in 16 bits it passes through a conversion that is marked as decompression; integers
        are also multiplied by their scales, in blocks before they get their shape. Plugins keep
        these forms in memory where they have kernels for them.
        """
        shape = shape or parameter.shape
        stored = self.stored(parameter, shape=shape)
        values, scales = stored.values, stored.scales
        if values.dtype == "f32":
            return values
        key = (id(values), values.dtype)
        if key not in self._converted:
            if scales is None:
                wide = self.op("Convert", values, dtype="f32", destination_type="f32")
                wide.layer.is_decompression = True
            else:
                wide = self._scaled(stored, scales, shape)
            self._converted[key] = wide
        return self._converted[key]

    def _scaled(self, stored: StoredWeight, scales: Value, shape: tuple[int, ...]) -> Value:
        """Return the numbers that integers stand for; arithmetic is in the type of their scales."""
        kind = scales.dtype
        value = self.op("Convert", stored.values, dtype=kind, destination_type=kind)
        if stored.zero_points is not None:
            zeros = self.op("Convert", stored.zero_points, dtype=kind, destination_type=kind)
            value = self.binary("Subtract", value, zeros)
        value = self.binary("Multiply", value, scales)
        if stored.shape != shape:
            value = self.op("Reshape", value, self.integers(*shape), special_zero=False)
        return self.convert(value, "f32")

    def stored(self, parameter: Parameter, *, shape: tuple[int, ...] | None = None) -> StoredWeight:
        """Return a weight as the file stores it, for a graph that wants it in a `shape`."""
        shape = shape or parameter.shape
        key = (parameter.name, shape)
        if key not in self._weights:
            small = _is_small(parameter)
            storage = self._storage_of(parameter)
            kind, block = STORED[storage], self.recipe.block
            form = WeightForm(parameter=parameter.name, axes=None, shape=shape)
            data = StreamedWeight(form=form, storage=storage)
            name = parameter.name
            if shape != parameter.shape:
                name += f".{'x'.join(map(str, shape))}"
            lying = shape if small else kind.values_shape(parameter.shape, shape, block)
            values = self._const(name, Constant(dtype=kind.dtype, shape=lying, data=data))
            scales = zero_points = None
            if kind.scales is not None:
                along = kind.scales_shape(parameter.shape, shape, block)
                constant = Constant(dtype=kind.scales, shape=along, data=WeightScales(of=data))
                scales = self._const(f"{name}.scales", constant)
                if kind.zero_points is not None:
                    zeros = WeightZeroPoints(of=data)
                    constant = Constant(dtype=kind.zero_points, shape=along, data=zeros)
                    zero_points = self._const(f"{name}.zero_points", constant)
            self._weights[key] = StoredWeight(
                values=values, scales=scales, zero_points=zero_points, shape=lying
            )
        return self._weights[key]

    def factor(self, argument: Any, weight: Any) -> Value:
        """Return what a layer's product multiplies its `weight` with, as float32.

        Where the recipe asks for calibrated activations beside int8 weights, they are those 256
        numbers that stand for the layer's range: plugins then multiply integers. Raises ExportError
        where no range was measured.
        """
        value = self.floating(argument)
        wants = self.recipe.activations_of(self.layer) == "int8"
        if not (wants and isinstance(weight, Parameter) and self._is_int8(weight)):
            return value
        if self.calibration is None:
            raise ExportError(
                f"The recipe '{self.recipe.name}' wants calibrated activations in "
                f"{self.component}, and there is no calibration.",
                hint="Please report it: packaging has to calibrate for this recipe.",
            )
        measured = self.calibration.layer(self.component, self.layer)
        low, high = min(measured.input_low, 0.0), max(measured.input_high, 0.0)
        key = (id(value), low, high)
        if low == high:  # nothing but zeros was seen
            return value
        if key not in self._quantized:
            ends = [self.floating(end) for end in (low, high, low, high)]
            self._quantized[key] = self.op(
                "FakeQuantize", value, *ends, levels=LEVELS, auto_broadcast="numpy"
            )
        return self._quantized[key]

    def _is_int8(self, parameter: Parameter) -> bool:
        return STORED[self._storage_of(parameter)].dtype == "i8"

    def _storage_of(self, parameter: Parameter) -> str:
        return "float32" if _is_small(parameter) else self.recipe.storage_of(self.layer)

    def remember(self, value: Any, shapes: tuple[Shape, ...]) -> None:
        """Let later nodes find a size as an axis of this value."""
        if isinstance(value, Value) and len(shapes) == 1:
            self.axes.remember(value, shapes[0])

    def shape(self, value: Value) -> Value:
        """Return the shape of a value as a vector of int64."""
        if id(value) not in self._shapes:
            self._shapes[id(value)] = self.op("ShapeOf", value, dtype="i64", output_type="i64")
        return self._shapes[id(value)]

    def size(self, size: Axis) -> Value:
        """Return the size of an axis as a vector of one int64.

        Raises ExportError for an open axis that no tensor so far has.
        """
        if isinstance(size, int):
            return self.integers(size)
        value, axis = self.axes.find(size, self.component, self.layer)
        key = (id(value), axis)
        if key not in self._axis_sizes:
            shape = self.shape(value)
            self._axis_sizes[key] = self.gather(shape, self.integers(axis), 0)
        return self._axis_sizes[key]

    def shape_from(self, sizes: Sequence[Axis]) -> Value:
        """Return a shape as a vector of int64: constant, or put together when the graph runs."""
        fixed = [size for size in sizes if isinstance(size, int)]
        if len(fixed) == len(sizes):
            return self.integers(*fixed)
        return self.op("Concat", *(self.size(size) for size in sizes), axis=0)

    def gather(self, value: Value, indices: Value, axis: int) -> Value:
        """Return the entries at `indices` along an axis."""
        return self.op("Gather", value, indices, self.integer(axis), batch_dims=0)

    def input(self, tensor: TensorSpec) -> Value:
        """Return a graph input; an axis without a number stays open."""
        dtype = ELEMENT_TYPES[tensor.dtype]
        sizes = (str(axis) if isinstance(axis, int) else "?" for axis in tensor.shape)
        layer = Layer(
            name=tensor.name,
            type="Parameter",
            opset=OPERATION_SETS["Parameter"],
            attributes={"shape": ",".join(sizes), "element_type": dtype},
        )
        value = Value(layer=layer, index=0, dtype=dtype, name=tensor.name)
        layer.outputs = (value,)
        return value

    def finish(self, inputs: Sequence[Value], outputs: Sequence[tuple[TensorSpec, Value]]) -> Graph:
        """Close the graph: outputs get the names and types of their specifications."""
        results = []
        for tensor, value in outputs:
            named = self.convert(value, ELEMENT_TYPES[tensor.dtype])
            if named.name or named.layer.constant is not None:
                # a port has one name: what is an input or another output too gets one of its own
                named = self.op("Convert", named, destination_type=named.dtype)
            named.name = tensor.name
            results.append(
                Layer(
                    name=f"{tensor.name}/result",
                    type="Result",
                    opset=OPERATION_SETS["Result"],
                    inputs=(named,),
                )
            )
        parameters = [value.layer for value in inputs]
        return Graph(
            name=self.component,
            layers=(*parameters, *_reachable(self._layers, results), *results),
        )

    def _const(self, name: str, constant: Constant) -> Value:
        layer = Layer(name=name, type="Const", opset=OPERATION_SETS["Const"], constant=constant)
        layer.outputs = (Value(layer=layer, index=0, dtype=constant.dtype),)
        self._layers.append(layer)
        return layer.outputs[0]


def _reachable(layers: Sequence[Layer], results: Sequence[Layer]) -> list[Layer]:
    """Return the layers that the results depend on, in their order."""
    wanted = {id(value.layer) for result in results for value in result.inputs}
    kept = []
    for layer in reversed(layers):
        if id(layer) in wanted:
            kept.append(layer)
            wanted.update(id(value.layer) for value in layer.inputs)
    return kept[::-1]


def _is_small(parameter: Parameter) -> bool:
    shape = parameter.shape
    return len(shape) < 2 or math.prod(shape) <= SMALL_WEIGHT_ELEMENTS


def _text(value: object) -> str:
    """Return an attribute as IR writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    return str(value)


Context = lowering.Context[GraphWriter]
