"""Builds a program operation by operation, with weights stored as a recipe asks for.

The writer knows values, types, layouts and weights; what an operator becomes is the business of
`operators/`. It never sees a weight's numbers: it records which weight is wanted in which type, and
`weights.py` streams it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegen.core.errors import ExportError
from edgegen.core.model import DType, TensorSpec
from edgegen.core.recipe import ComponentRecipe, ComputeType
from edgegen.exporters import lowering
from edgegen.exporters.capture import Shape
from edgegen.exporters.coreml.graph import (
    Argument,
    Graph,
    Layout,
    Operation,
    StreamedWeight,
    Value,
    arguments,
)
from edgegen.exporters.coreml.storage import STORED
from edgegen.exporters.lowering import Parameter, narrowed
from edgegen.exporters.stored_weights import WeightForm
from edgegen.mil.types import BY_DTYPE, TYPES, TypeName
from edgegen.networks.base import NativeTensor

SMALL_WEIGHT_ELEMENTS = 2048
"""Vectors and tensors up to this size are stored uncompressed, as coremltools leaves them."""

COMPUTE_TYPES: Mapping[ComputeType, TypeName] = {"float16": "fp16", "float32": "fp32"}
UNCOMPRESSED: Mapping[TypeName, str] = {"fp16": "float16", "fp32": "float32"}
"""The codec of a small weight, by the type in which it is wanted."""
FLOATS = frozenset(UNCOMPRESSED)
INTEGERS: Mapping[DType, TypeName] = {"int64": "int32", "int32": "int32", "bool": "bool"}
"""Core ML has no arithmetic of int64."""

MOST_AXES = 5
_UNCHECKED_FROM = 17


class GraphWriter:
    """A program under construction. `layer` is the module path of the node in hand.

    With `split_attention` sequences lie as the Neural Engine wants them, and attention is computed
    head by head.
    """

    title = "Core ML"
    value_type: type = Value

    def __init__(
        self,
        component: str,
        recipe: ComponentRecipe,
        *,
        minimum_os: int,
        split_attention: bool,
        upcast_attention: bool,
        natives: Mapping[str, NativeTensor],
    ) -> None:
        self.component = component
        self.recipe = recipe
        self.layer = ""
        self.minimum_os = minimum_os
        self.split_attention = split_attention
        self.upcast_attention = upcast_attention
        self._natives = natives
        self._operations: list[Operation] = []
        self._names: dict[str, int] = {}
        self._constants: dict[tuple[str, tuple[int, ...], bytes], Value] = {}
        self._weights: dict[tuple[str, tuple[int, ...], str], Value] = {}
        self._converted: dict[tuple[str, Layout, str], Value] = {}
        self._inputs: list[Value] = []
        self._with_few_axes: dict[str, Value] = {}

    @property
    def compute(self) -> TypeName:
        """Return the type in which the layer in hand computes."""
        return COMPUTE_TYPES[self.recipe.compute_of(self.layer)]

    def enter(self, layer: str) -> None:
        """Say which layer the next nodes belong to."""
        self.layer = layer

    def remember(self, value: Any, shapes: tuple[Shape, ...]) -> None:
        """All axes are fixed: there is nothing to remember."""

    def op(
        self,
        op_type: str,
        *,
        result: Sequence[int],
        kind: TypeName | None = None,
        layout: Layout = "plain",
        **inputs: Any,
    ) -> Value:
        """Append an operation with one result, which torch would give the shape `result`.

        `kind` defaults to that of the first value among the inputs. What is no value is made a
        constant: a truth value, a text, whole numbers as int32, and fractions in the type of the
        first value.
        """
        return self.op_many(op_type, results=[result], kind=kind, layout=layout, **inputs)[0]

    def op_many(
        self,
        op_type: str,
        *,
        results: Sequence[Sequence[int]],
        kind: TypeName | None = None,
        layout: Layout = "plain",
        **inputs: Any,
    ) -> tuple[Value, ...]:
        """Append an operation with a result for each of the shapes `results`, all of one type."""
        typed = _typed(inputs)
        of_result = kind or typed.kind
        values = {
            name: self._argument(item, typed.kind)
            for name, item in inputs.items()
            if item is not None
        }
        base = self._base(op_type)
        outputs = tuple(
            Value(name=self._unique(base), kind=of_result, shape=tuple(shape), layout=layout)
            for shape in results
        )
        self._operations.append(Operation(type=op_type, inputs=values, outputs=outputs))
        return outputs

    def constant(self, array: NDArray[Any]) -> Value:
        """Return a constant with an array's values; equal arrays are one constant."""
        array = np.asarray(array)
        array = np.ascontiguousarray(array).reshape(array.shape)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = self._const(
                f"constant_{len(self._constants)}", BY_DTYPE[array.dtype], array.shape, array
            )
        return self._constants[key]

    def number(self, number: float, kind: TypeName) -> Value:
        """Return a constant number of a type."""
        return self.constant(np.array(number, TYPES[kind].numpy))

    def cast(self, value: Value, kind: TypeName) -> Value:
        """Return `value` in another type; converted once, however many nodes want it so."""
        if value.kind == kind:
            return value
        key = (value.name, value.layout, kind)
        if key not in self._converted:
            self._converted[key] = self.op(
                "cast", x=value, dtype=kind, result=value.shape, kind=kind, layout=value.layout
            )
        return self._converted[key]

    def floating(self, argument: Any, kind: TypeName | None = None) -> Value:
        """Return an argument in the layer's floating-point type, lying as torch has it."""
        return self.plain(self.floating_as_it_lies(argument, kind))

    def floating_as_it_lies(self, argument: Any, kind: TypeName | None = None) -> Value:
        """Return an argument in the layer's floating-point type."""
        wanted = kind or self.compute
        if isinstance(argument, Parameter):
            return self.weight(argument, kind=wanted)
        if isinstance(argument, Value):
            return self.cast(argument, wanted)
        return self.constant(narrowed(argument, np.dtype(TYPES[wanted].numpy)))

    def relabelled(self, value: Value, shape: Sequence[int], layout: Layout) -> Value:
        """Return the same numbers, lying the same way, under another of torch's shapes.

        Raises ValueError where they would lie another way.
        """
        result = replace(value, shape=tuple(shape), layout=layout)
        if result.stored_shape != value.stored_shape:
            raise ValueError(f"{value.stored_shape} is not {result.stored_shape}")
        return result

    def value(self, argument: Any) -> Value:
        """Return an argument in the type that it has, lying as torch has it."""
        if isinstance(argument, Parameter):
            return self.weight(argument)
        if isinstance(argument, Value):
            return self.plain(argument)
        array = np.asarray(argument)
        if array.dtype.kind == "f":
            return self.floating(array)
        return self.constant(array.astype(np.int32) if array.dtype.kind == "i" else array)

    def plain(self, value: Value) -> Value:
        """Return a value that lies as torch has it."""
        if value.layout == "plain":
            return value
        key = (value.name, value.layout, "plain")
        if key not in self._converted:
            self._converted[key] = self._as_plain(value)
        return self._converted[key]

    def stored(self, value: Value) -> Value:
        """Return a value under the shape in which it is stored."""
        return self.relabelled(value, value.stored_shape, "plain")

    def reshaped(self, value: Value, shape: tuple[int, ...]) -> Value:
        """Return a plain value in another shape.

        One of more axes than Core ML holds is read as it was before it was reshaped to them; it
        may stand in between, and is dropped where nothing else takes it.
        """
        source = self._with_few_axes.get(value.name, value)
        result = self._reshaped(source, shape)
        if len(shape) > MOST_AXES:
            self._with_few_axes[result.name] = source
        return result

    def of_rank(self, value: Value, rank: int) -> Value:
        """Return a value with axes of size 1 in front, as broadcasting adds them."""
        missing = rank - len(value.shape)
        if not missing:
            return value
        shape = (*[1] * missing, *value.shape)
        return self.op("expand_dims", x=value, axes=list(range(missing)), result=shape)

    def spread(self, value: Value, shape: tuple[int, ...]) -> Value:
        """Return a value repeated to a whole shape, to which it broadcasts."""
        if value.shape == shape:
            return value
        wide = self.of_rank(value, len(shape))
        times = [size // old for size, old in zip(shape, wide.shape, strict=True)]
        return self.op("tile", x=wide, reps=times, result=shape)

    def gather(
        self, op_type: str, value: Value, indices: Value, result: Sequence[int], **options: int
    ) -> Value:
        """Return entries of a value; from iOS 17 on a program says that none is out of bounds."""
        inputs: dict[str, Any] = {"x": value, "indices": indices, **options}
        if self.minimum_os >= _UNCHECKED_FROM:
            inputs["validate_indices"] = False
        return self.op(op_type, result=result, **inputs)

    def weight(
        self,
        parameter: Parameter,
        *,
        kind: TypeName | None = None,
        shape: tuple[int, ...] | None = None,
    ) -> Value:
        """Return a weight in the layer's type, in another `shape` of as many numbers if given."""
        shape = shape or parameter.shape
        wanted = kind or self.compute
        small = len(parameter.shape) < 2 or math.prod(shape) <= SMALL_WEIGHT_ELEMENTS
        storage = UNCOMPRESSED[wanted] if small else self.recipe.storage_of(self.layer)
        key = (parameter.name, shape, storage)
        if key not in self._weights:
            name = parameter.name
            if shape != parameter.shape:
                name += f".{'x'.join(map(str, shape))}"
            form = WeightForm(parameter=parameter.name, axes=None, shape=shape)
            self._weights[key] = self._const(
                name, STORED[storage].result, shape, StreamedWeight(form=form, storage=storage)
            )
        return self.cast(self._weights[key], wanted)

    def input(self, tensor: TensorSpec) -> Value:
        """Return a program's input, under the name and in the layout that Apple's pipeline feeds.

        Raises ValueError for an open axis: the plan has fixed them all.
        """
        native = self._natives[tensor.name]
        shape = tuple(int(axis) for axis in tensor.shape)
        value = Value(
            name=self._unique(native.name), kind="fp32", shape=shape, layout=native.layout
        )
        self._inputs.append(value)
        if tensor.dtype in INTEGERS:
            return self.cast(value, INTEGERS[tensor.dtype])
        return value

    def finish(self, outputs: Sequence[tuple[TensorSpec, Value]]) -> Graph:
        """Close the program: outputs are float32, under the names that Apple's pipeline reads."""
        results = []
        for tensor, value in outputs:
            native = self._natives[tensor.name]
            plain = self.plain(value)
            result = Value(name=self._unique(native.name), kind="fp32", shape=plain.shape)
            # `identity` where the type is right already: what goes out has a name of its own.
            op_type = "identity" if plain.kind == "fp32" else "cast"
            inputs: dict[str, Argument] = {"x": plain}
            if op_type == "cast":
                inputs["dtype"] = self._text("fp32")
            self._operations.append(Operation(type=op_type, inputs=inputs, outputs=(result,)))
            results.append(result)
        operations = _reachable(self._operations, results)
        self._refuse_many_axes(operations)
        return Graph(inputs=tuple(self._inputs), outputs=tuple(results), operations=operations)

    def _refuse_many_axes(self, operations: Sequence[Operation]) -> None:
        for operation in operations:
            for value in operation.outputs:
                if len(value.stored_shape) > MOST_AXES:
                    raise ExportError(
                        f"{self.component}: '{value.name}' has {len(value.stored_shape)} axes, and "
                        f"Core ML holds {MOST_AXES}.",
                        hint="Please report the model's config.",
                    )

    def _as_plain(self, value: Value) -> Value:
        if value.layout == "channels-first" and len(value.shape) == 4:
            return self._transposed(value, (0, 2, 3, 1), value.shape)
        batch, channels, _, sequence = value.stored_shape
        flat = self._transposed(value, (0, 3, 2, 1), (batch, sequence, 1, channels))
        if value.layout == "heads-first":
            _, heads, _, width = value.shape
            split = self._reshaped(flat, (batch, sequence, heads, width))
            return self._transposed(split, (0, 2, 1, 3), value.shape)
        return self._reshaped(flat, value.shape)

    def _transposed(self, value: Value, axes: Sequence[int], shape: Sequence[int]) -> Value:
        return self.op("transpose", x=value, perm=list(axes), result=shape)

    def _reshaped(self, value: Value, shape: Sequence[int]) -> Value:
        return self.op("reshape", x=value, shape=list(shape), result=shape)

    def _argument(self, item: Any, kind: TypeName) -> Argument:
        if isinstance(item, Value):
            return item
        if isinstance(item, str):
            return self._text(item)
        if isinstance(item, list | tuple) and item and isinstance(item[0], Value):
            return tuple(item)
        array = np.asarray(item)
        if array.dtype.kind == "f" and kind in FLOATS:
            array = array.astype(TYPES[kind].numpy)
        elif array.dtype.kind == "i":
            array = array.astype(np.int32)
        return self.constant(array)

    def _text(self, text: str) -> Value:
        key = ("text", (), text.encode())
        if key not in self._constants:
            name = f"constant_{len(self._constants)}"
            self._constants[key] = self._const(name, "string", (), text)
        return self._constants[key]

    def _const(
        self,
        name: str,
        kind: TypeName,
        shape: tuple[int, ...],
        data: NDArray[Any] | str | StreamedWeight,
    ) -> Value:
        value = Value(name=self._unique(_identifier(name)), kind=kind, shape=shape)
        self._operations.append(Operation(type="const", inputs={}, outputs=(value,), data=data))
        return value

    def _base(self, op_type: str) -> str:
        return _identifier(f"{self.layer or self.component}_{op_type}")

    def _unique(self, name: str) -> str:
        """Return a name that no other value has; MIL's are identifiers."""
        count = self._names.get(name, 0)
        self._names[name] = count + 1
        return name if count == 0 else self._unique(f"{name}_{count}")


def _typed(inputs: Mapping[str, Any]) -> Value:
    """Return the first value among an operation's inputs."""
    for item in inputs.values():
        if isinstance(item, Value):
            return item
        if isinstance(item, list | tuple) and item and isinstance(item[0], Value):
            return item[0]
    raise TypeError("an operation takes a value")


def _identifier(name: str) -> str:
    """Return a name of letters, digits and underscores, which does not begin with a digit."""
    plain = re.sub(r"\W", "_", name, flags=re.ASCII)
    return plain if not plain[:1].isdigit() else f"_{plain}"


def _reachable(operations: Sequence[Operation], results: Sequence[Value]) -> tuple[Operation, ...]:
    """Return the operations that the results depend on, in their order."""
    wanted = {value.name for value in results}
    kept = []
    for operation in reversed(operations):
        if any(value.name in wanted for value in operation.outputs):
            kept.append(operation)
            wanted.update(value.name for value in arguments(operation))
    return tuple(kept[::-1])


Context = lowering.Context[GraphWriter]
