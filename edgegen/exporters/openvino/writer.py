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
from typing import TYPE_CHECKING, Any

import numpy as np

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
)
from edgegen.exporters.openvino.operations import OPERATION_SETS
from edgegen.exporters.openvino.storage import STORED
from edgegen.exporters.stored_weights import WeightForm

if TYPE_CHECKING:
    from numpy.typing import NDArray

SMALL_WEIGHT_ELEMENTS = 4096
"""Vectors (biases, scales of norms) and tensors up to this size are stored in float32."""

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


class GraphWriter:
    """An OpenVINO graph under construction. `layer` is the module path of the node in hand."""

    title = "OpenVINO"
    value_type: type = Value

    def __init__(self, component: str, recipe: ComponentRecipe) -> None:
        self.component = component
        self.recipe = recipe
        self.layer = ""
        self.axes: OpenAxes[Value] = OpenAxes()
        """Where the size of an open axis can be read: a value and one of its axes."""
        self._layers: list[Layer] = []
        self._weights: dict[tuple[str, tuple[int, ...]], tuple[Value, Value | None]] = {}
        self._converted: dict[tuple[int, ElementType], Value] = {}
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
        are also multiplied by their scales. Plugins keep either form in memory where they have
        kernels for it.
        """
        stored, scales = self.stored(parameter, shape=shape)
        if stored.dtype == "f32":
            return stored
        key = (id(stored), stored.dtype)
        if key not in self._converted:
            value = self.op("Convert", stored, dtype="f32", destination_type="f32")
            value.layer.is_decompression = scales is None
            self._converted[key] = (
                value if scales is None else self.binary("Multiply", value, scales)
            )
        return self._converted[key]

    def stored(
        self, parameter: Parameter, *, shape: tuple[int, ...] | None = None
    ) -> tuple[Value, Value | None]:
        """Return a weight as the file stores it and, where it has some, its scales."""
        shape = shape or parameter.shape
        key = (parameter.name, shape)
        if key not in self._weights:
            small = len(parameter.shape) < 2 or math.prod(shape) <= SMALL_WEIGHT_ELEMENTS
            storage = "float32" if small else self.recipe.storage_of(self.layer)
            kind = STORED[storage]
            form = WeightForm(parameter=parameter.name, axes=None, shape=shape)
            data = StreamedWeight(form=form, storage=storage)
            name = parameter.name
            if shape != parameter.shape:
                name += f".{'x'.join(map(str, shape))}"
            stored = self._const(name, Constant(dtype=kind.dtype, shape=shape, data=data))
            scales = None
            if kind.scales_shape is not None:
                scales = self._const(
                    f"{name}.scales",
                    Constant(
                        dtype="f32",
                        shape=kind.scales_shape(shape, parameter.shape[0]),
                        data=WeightScales(of=data),
                    ),
                )
            self._weights[key] = (stored, scales)
        return self._weights[key]

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


def _text(value: object) -> str:
    """Return an attribute as IR writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    return str(value)


Context = lowering.Context[GraphWriter]
