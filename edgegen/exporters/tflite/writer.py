"""Builds a TFLite graph operator by operator, in the layouts that its kernels want.

A value knows in which order its axes are stored, and is moved only where an operator has to have
another. What an operator becomes is the business of `operators/`. The writer never sees a weight's
numbers, but for biases and scales that a static recipe has to know: `weights.py` streams them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegen.compress.blocks import BLOCK
from edgegen.compress.codec import Granularity
from edgegen.core.calibration import Calibration
from edgegen.core.errors import ExportError
from edgegen.core.model import TensorSpec
from edgegen.core.recipe import ActivationType, ComponentRecipe
from edgegen.exporters import lowering
from edgegen.exporters.capture import Shape
from edgegen.exporters.lowering import Parameter
from edgegen.exporters.stored_weights import WeightForm
from edgegen.exporters.tflite import layout
from edgegen.exporters.tflite.graph import (
    BlockScales,
    Graph,
    Operator,
    Quantization,
    Tensor,
    TensorType,
    Weight,
)
from edgegen.exporters.tflite.storage import STORED, has_kernel

SMALL_WEIGHT_ELEMENTS = 4096
"""Vectors (biases, scales of norms) and tensors up to this size are stored in float32."""

NO_ACTIVATION = 0  # ActivationFunctionType.NONE
TYPE_NUMBERS: Mapping[str, int] = {"float32": 0, "float16": 1, "int32": 2, "int64": 4, "bool": 6}
"""What `CastOptions` calls the types (TensorType of the schema)."""

ReadWeight = Callable[[WeightForm], NDArray[np.float32]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Value:
    """A tensor, and which logical axis each of its stored axes is."""

    tensor: Tensor
    order: layout.Order

    @property
    def shape(self) -> layout.Sizes:
        """The shape as torch sees it."""
        return layout.logical(self.tensor.shape, self.order)

    @property
    def dtype(self) -> TensorType:
        """The type of its numbers."""
        return self.tensor.dtype


def as_torch(tensor: Tensor) -> Value:
    """Return a tensor whose axes are stored as torch counts them."""
    return Value(tensor=tensor, order=layout.plain(len(tensor.shape)))


class GraphWriter:
    """A TFLite graph under construction; `layer` is the module path of the node being lowered.

    `read` returns a weight's numbers and `calibration` has the ranges of activations: recipes with
    static activations want both.
    """

    title = "TFLite"
    value_type: type = Value

    def __init__(
        self,
        component: str,
        recipe: ComponentRecipe,
        *,
        read: ReadWeight,
        calibration: Calibration | None = None,
    ) -> None:
        self.component = component
        self.recipe = recipe
        self.read = read
        self.calibration = calibration
        self.layer = ""
        self.operators: list[Operator] = []
        self._makers: dict[Tensor, Operator] = {}
        self._names: dict[str, int] = {}
        self._constants: dict[tuple[str, tuple[int, ...], bytes], Tensor] = {}
        self._weights: dict[Weight, Tensor] = {}
        self._arranged: dict[tuple[Tensor, tuple[int, ...], layout.Order], Tensor] = {}
        self._retyped: dict[tuple[Tensor, str], Tensor] = {}

    def enter(self, layer: str) -> None:
        """Say which layer the next nodes belong to."""
        self.layer = layer
        if self.recipe.compute_of(layer) != "float32":
            raise ExportError(
                f"The recipe '{self.recipe.name}' wants {self.component} computed in float16, and "
                "TFLite has no operators for that.",
                hint='Take `compute = "float32"`: GPU delegates choose 16 bits on their own.',
            )

    def remember(self, value: Any, shapes: tuple[Shape, ...]) -> None:
        """Learn nothing: all sizes are known."""

    def op(
        self,
        code: str,
        inputs: Sequence[Tensor | None],
        shape: Sequence[int],
        *,
        dtype: TensorType = "float32",
        quantization: Quantization | None = None,
        options_type: str = "",
        version: int = 1,
        **options: Any,
    ) -> Tensor:
        """Append an operator with one output of a stored `shape`, and return that."""
        output = Tensor(
            name=self._name(f"{self.layer or self.component}/{code.lower()}"),
            shape=tuple(shape),
            dtype=dtype,
            quantization=quantization,
        )
        self._append(code, inputs, (output,), options_type, options, version)
        return output

    def op_many(
        self,
        code: str,
        inputs: Sequence[Tensor | None],
        shapes: Sequence[Sequence[int]],
        *,
        dtype: TensorType = "float32",
        options_type: str = "",
        **options: Any,
    ) -> tuple[Tensor, ...]:
        """Append an operator with several outputs of one type."""
        name = f"{self.layer or self.component}/{code.lower()}"
        outputs = tuple(
            Tensor(name=self._name(name), shape=tuple(shape), dtype=dtype) for shape in shapes
        )
        self._append(code, inputs, outputs, options_type, options, 1)
        return outputs

    def _append(
        self,
        code: str,
        inputs: Sequence[Tensor | None],
        outputs: tuple[Tensor, ...],
        options_type: str,
        options: Mapping[str, Any],
        version: int,
    ) -> None:
        operator = Operator(
            code=code,
            inputs=tuple(inputs),
            outputs=outputs,
            options_type=options_type,
            options=options,
            version=version,
        )
        self.operators.append(operator)
        self._makers |= dict.fromkeys(outputs, operator)

    def _name(self, name: str) -> str:
        count = self._names.get(name, 0)
        self._names[name] = count + 1
        return f"{name}_{count}" if count else name

    def constant(self, array: Any, dtype: TensorType = "float32") -> Tensor:
        """Return a constant with an array's numbers; equal arrays are one."""
        array = np.ascontiguousarray(array, dtype=dtype).reshape(np.shape(array))
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            name = f"constant_{len(self._constants)}"
            self._constants[key] = Tensor(name=name, shape=array.shape, dtype=dtype, data=array)
        return self._constants[key]

    def integers(self, *numbers: int) -> Tensor:
        """Return a constant vector of int32: what TFLite takes as axes, shapes and widths."""
        return self.constant(np.array(numbers, dtype=np.int32), "int32")

    def reshape(self, tensor: Tensor, shape: Sequence[int]) -> Tensor:
        """Return a tensor in another shape; what was reshaped before is not once more."""
        maker = self._makers.get(tensor)
        while maker is not None and maker.code == "RESHAPE" and maker.inputs[0] is not None:
            tensor = maker.inputs[0]
            maker = self._makers.get(tensor)
        if tensor.shape == tuple(shape):
            return tensor
        return self.op(
            "RESHAPE",
            [tensor, self.integers(*shape)],
            shape,
            dtype=tensor.dtype,
            options_type="ReshapeOptions",
            newShape=list(shape),
        )

    def arrange(self, value: Value, order: layout.Order) -> Tensor:
        """Return a value's tensor with its axes stored in another order.

        An order of more axes than the value has adds axes of size 1 in front, as broadcasting does.
        """
        old = layout.widened(value.order, len(order))
        shape = (*[1] * (len(order) - len(value.order)), *value.shape)
        key = (value.tensor, shape, tuple(old.index(axis) for axis in order))
        if key not in self._arranged:
            self._arranged[key] = self._rearranged(value.tensor, shape, old, order)
        return self._arranged[key]

    def _rearranged(
        self, tensor: Tensor, shape: layout.Sizes, old: layout.Order, order: layout.Order
    ) -> Tensor:
        target = layout.stored(shape, order)
        if layout.moves_nothing(shape, old, order):
            return self.reshape(tensor, target)
        permutation = self.integers(*(old.index(axis) for axis in order))
        source = self.reshape(tensor, layout.stored(shape, old))
        return self.op(
            "TRANSPOSE",
            [source, permutation],
            target,
            dtype=tensor.dtype,
            options_type="TransposeOptions",
        )

    def plain(self, value: Value) -> Tensor:
        """Return a value's tensor as torch counts its axes."""
        return self.arrange(value, layout.plain(len(value.order)))

    def cast(self, value: Value, dtype: TensorType) -> Value:
        """Return a value in another type; it is cast once, however many nodes want it so."""
        if value.dtype == dtype:
            return value
        key = (value.tensor, dtype)
        if key not in self._retyped:
            self._retyped[key] = self.op(
                "CAST",
                [value.tensor],
                value.tensor.shape,
                dtype=dtype,
                options_type="CastOptions",
                inDataType=TYPE_NUMBERS[value.dtype],
                outDataType=TYPE_NUMBERS[dtype],
            )
        return Value(tensor=self._retyped[key], order=value.order)

    def floating(self, argument: Any) -> Value:
        """Return a value, a weight, an array or a number in float32."""
        if isinstance(argument, Value):
            return self.cast(argument, "float32")
        if isinstance(argument, Parameter):
            tensor = self.weight(argument)
        else:
            tensor = self.constant(np.asarray(argument, dtype=np.float32))
        return as_torch(tensor)

    def integer(self, argument: Any) -> Value:
        """Return a value, an array or a number as int32."""
        if isinstance(argument, Value):
            return self.cast(argument, "int32")
        return as_torch(self.constant(np.asarray(argument), "int32"))

    def truth(self, argument: Any) -> Value:
        """Return a value, an array or a number as truth values."""
        if isinstance(argument, Value):
            return self.cast(argument, "bool")
        return as_torch(self.constant(np.asarray(argument), "bool"))

    def value(self, argument: Any) -> Value:
        """Return an argument in the type that it has."""
        if isinstance(argument, Value):
            return argument
        if isinstance(argument, Parameter) or np.asarray(argument).dtype.kind == "f":
            return self.floating(argument)
        return self.integer(argument)

    def activations_for(self, parameter: Parameter) -> ActivationType | None:
        """Return what a weight of integers is multiplied with; None for any other."""
        if not STORED[self.storage_for(parameter)].is_scaled:
            return None
        return self.recipe.activations_of(self.layer)

    def held_for(self, parameter: Parameter, code: str, shape: tuple[int, ...]) -> str:
        """Return the codec of a weight of a stored `shape` that an operator takes as it is.

        Where the operator has no kernel for what the recipe asks for it is a wider one.
        """
        storage = self.storage_for(parameter)
        otherwise = STORED[storage].otherwise
        if otherwise is None or has_kernel(storage, code, shape, self.recipe.block):
            return storage
        return otherwise

    def storage_for(self, parameter: Parameter) -> str:
        """Return the codec with which a weight of the layer is stored."""
        if len(parameter.shape) < 2 or math.prod(parameter.shape) <= SMALL_WEIGHT_ELEMENTS:
            return "float32"
        return self.recipe.storage_of(self.layer)

    def weight(
        self,
        parameter: Parameter,
        *,
        axes: tuple[int, ...] | None = None,
        shape: tuple[int, ...] | None = None,
        channel_axis: int = 0,
    ) -> Tensor:
        """Return a weight in float32, permuted by `axes` and in a `shape` of as many numbers.

        What is stored in fewer bits is widened by an operator, which runtimes run once.
        """
        asked = self.storage_for(parameter)
        storage = STORED[asked].otherwise or asked  # of what has one, nothing is ever widened
        stored = self.stored_weight(
            parameter, axes=axes, shape=shape, channel_axis=channel_axis, storage=storage
        )
        version = STORED[storage].dequantize_version
        if version is None:
            return stored
        key = (stored, "float32")
        if key not in self._retyped:
            self._retyped[key] = self.op(
                "DEQUANTIZE",
                [stored],
                stored.shape,
                options_type="DequantizeOptions",
                version=version,
            )
        return self._retyped[key]

    def stored_weight(
        self,
        parameter: Parameter,
        *,
        axes: tuple[int, ...] | None = None,
        shape: tuple[int, ...] | None = None,
        channel_axis: int = 0,
        storage: str | None = None,
    ) -> Tensor:
        """Return a weight as the file holds it; scales are those of the `channel_axis`.

        `storage` is its codec, None the one that the recipe asks for.
        """
        permuted = parameter.shape if axes is None else layout.stored(parameter.shape, axes)
        form = WeightForm(parameter=parameter.name, axes=axes, shape=shape or permuted)
        storage = storage or self.storage_for(parameter)
        kind = STORED[storage]
        weight = Weight(
            form=form,
            storage=storage,
            granularity=Granularity(
                axis=channel_axis if kind.is_scaled else 0,
                block=self.recipe.block if kind.in_blocks else None,
            ),
        )
        if weight not in self._weights:
            self._weights[weight] = Tensor(
                name=self._name(parameter.name),
                shape=form.shape,
                dtype=kind.dtype,
                data=weight,
                block_scales=self._block_scales(weight) if kind.in_blocks else None,
            )
        return self._weights[weight]

    def _block_scales(self, weight: Weight) -> Tensor:
        rows, columns = weight.form.shape
        return Tensor(
            name=self._name(f"{weight.form.parameter}.scales"),
            shape=(rows, columns // (weight.granularity.block or BLOCK)),
            dtype="float16",
            data=BlockScales(of=weight),
        )

    def quantized(self, tensor: Tensor, dtype: TensorType, quantization: Quantization) -> Tensor:
        """Return a tensor of float32 in integers; it is quantized once, however many want it so."""
        key = (tensor, f"{dtype} {quantization}")
        if key not in self._retyped:
            self._retyped[key] = self.op(
                "QUANTIZE",
                [tensor],
                tensor.shape,
                dtype=dtype,
                quantization=quantization,
                options_type="QuantizeOptions",
                version=1 if dtype == "int8" else 2,
            )
        return self._retyped[key]

    def input(self, tensor: TensorSpec) -> Value:
        """Return a graph input."""
        shape = tuple(axis for axis in tensor.shape if isinstance(axis, int))
        if len(shape) < len(tensor.shape) or tensor.dtype not in TYPE_NUMBERS:
            raise ExportError(
                f"{self.component}: the input '{tensor.name}' is {tensor.dtype} of "
                f"{tensor.shape}, and TFLite packages have fixed shapes.",
                hint="Export with fixed shapes.",
            )
        dtype: TensorType = "int64" if tensor.dtype == "int64" else "float32"
        made = Tensor(name=self._name(tensor.name), shape=shape, dtype=dtype)
        return as_torch(made)

    def finish(self, inputs: Mapping[str, Value], outputs: Mapping[str, Value]) -> Graph:
        """Close the graph: outputs are stored as torch counts their axes, each a tensor of its own.

        Operators on which no output depends are left out.
        """
        self.layer = ""
        results: dict[str, Tensor] = {}
        for name, value in outputs.items():
            tensor = self.plain(self.floating(value))
            if tensor not in self._makers or tensor in results.values():
                tensor = self.op(  # an operator that copies
                    "RESHAPE",
                    [tensor, self.integers(*tensor.shape)],
                    tensor.shape,
                    options_type="ReshapeOptions",
                    newShape=list(tensor.shape),
                )
            results[name] = tensor
        return Graph(
            name=self.component,
            operators=_reachable(self.operators, results.values()),
            inputs={name: value.tensor for name, value in inputs.items()},
            outputs=results,
        )


def _reachable(operators: Sequence[Operator], results: Any) -> tuple[Operator, ...]:
    """Return the operators that the results depend on, in their order."""
    wanted = set(results)
    kept = []
    for operator in reversed(operators):
        if not wanted.isdisjoint(operator.outputs):
            kept.append(operator)
            wanted.update(tensor for tensor in operator.inputs if tensor is not None)
    return tuple(kept[::-1])


Context = lowering.Context[GraphWriter]
