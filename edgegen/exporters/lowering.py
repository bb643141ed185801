"""Walks a captured graph, node by node, for any target.

What does not depend on the inputs is folded. Every other node is decoded into a call
(`exporters/calls.py`) and lowered by the target's own table; where the table lacks it, it is
written in simpler calls (`exporters/decompositions.py`). A lowering takes the context of its node
and the call, in which every traced tensor is a value of the target's writer, a `Parameter` (a
weight) or, where it does not depend on the inputs, a torch tensor. It returns a value, or a tuple
of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from edgegen.core.errors import ExportError
from edgegen.core.model import TensorSpec
from edgegen.exporters.calls import (
    Call,
    Item,
    RefusedError,
    arguments_of,
    decode,
    decoder_of,
    mapped,
    name_of,
)
from edgegen.exporters.capture import Capture, Shape, Size, layer_of, merged_shape
from edgegen.exporters.decompositions import DECOMPOSITIONS, SIMPLIFICATIONS, WRITTEN

FOLDED_ELEMENTS = 1 << 20
"""Constants are folded up to this size; a causal mask of 77 × 77 is far below it."""


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A weight that an operator takes as an argument, before it is known how it is used."""

    name: str
    shape: tuple[int, ...]


class Writer(Protocol):
    """What the walk asks of a target's writer; lowerings ask more of it."""

    component: str
    layer: str
    title: str
    """What the target is called in an error: `ONNX`."""
    value_type: type
    """The class of its values: what is of another class does not depend on the inputs."""

    def input(self, tensor: TensorSpec) -> Any:
        """Return the value of an input."""

    def enter(self, layer: str) -> None:
        """Say which layer the next nodes belong to."""

    def value(self, argument: Any) -> Any:
        """Return an argument of a node as a value."""

    def remember(self, value: Any, shapes: tuple[Shape, ...]) -> None:
        """Hear what shapes a node's results had in the traces."""


W_co = TypeVar("W_co", bound=Writer, covariant=True)
Lowering = Callable[..., Any]
"""Takes a context and a call; each target has a table of them by the calls' classes."""


@dataclass(eq=False)
class Step:
    """An operator that stands for a part of a traced node, as if torch had traced it."""

    target: Any
    meta: dict[str, Any]
    op: str = "call_function"


Node: TypeAlias = torch.fx.Node | Step


@dataclass(frozen=True, kw_only=True)
class Context(Generic[W_co]):
    """What a lowering may know: the writer, the node, its call as traced, and the walk so far."""

    writer: W_co
    node: Node
    traced: Call
    walk: _Walk

    @property
    def result_shape(self) -> Shape:
        """The traced shape of the node's result, with a `Size` where an axis is open."""
        return self.result_shapes[0]

    @property
    def result_shapes(self) -> tuple[Shape, ...]:
        """The traced shapes of all of the node's results."""
        return self.walk.shapes[self.node]

    @property
    def sizes(self) -> tuple[int, ...]:
        """The shape of the node's result as numbers. Raises RefusedError where an axis is open."""
        return sizes_of(self.result_shape)

    @property
    def dtype(self) -> torch.dtype:
        """The traced type of the node's result."""
        dtype: torch.dtype = self.node.meta["val"].dtype
        return dtype

    @property
    def is_floating(self) -> bool:
        """Whether the node's result is a floating-point tensor."""
        return bool(self.node.meta["val"].is_floating_point())

    def shape_of(self, name: str) -> Shape:
        """Return the traced shape of a field of the call."""
        argument = getattr(self.traced, name)
        if not isinstance(argument, Node):
            raise RefusedError("an argument that is not a tensor")
        return self.walk.shapes[argument][0]


def sizes_of(shape: Shape) -> tuple[int, ...]:
    """Return a traced shape as numbers. Raises RefusedError where an axis is open."""
    numbers = tuple(size for size in shape if isinstance(size, int))
    if len(numbers) < len(shape):
        raise RefusedError("an axis that is open")
    return numbers


def narrowed(numbers: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return numbers in a floating-point type; its largest stand for those beyond its range.

    Masks hide a key with the lowest number of float32, which float16 would make an infinity.
    """
    array, limits = np.asarray(numbers), np.finfo(dtype)
    return array.clip(limits.min, limits.max).astype(dtype)


def walk(
    capture: Capture, writer: Writer, lowerings: Mapping[type[Call], Lowering]
) -> tuple[list[Any], list[Any]]:
    """Lower every node of a capture; return the values of its inputs and outputs.

    Raises ExportError that names every operator which is neither in the table nor decomposed, and
    a layer that uses it; and for a use of an operator that cannot be written.
    """
    _refuse_unknown(capture, writer, lowerings)
    return _Walk(capture, writer, lowerings).run()


class _Walk:
    """The state of one walk: shapes, arguments and values of nodes, and of steps of nodes.

    It is also what decompositions write with: calling it appends an operator.
    """

    def __init__(
        self, capture: Capture, writer: Writer, lowerings: Mapping[type[Call], Lowering]
    ) -> None:
        self.shapes: dict[Any, tuple[Shape, ...]] = dict(capture.shapes)
        self.values: dict[Any, Any] = {}
        self._arguments: dict[Any, Any] = dict(capture.arguments)
        self._capture = capture
        self._writer = writer
        self._lowerings = lowerings
        self._node: Node | None = None

    def run(self) -> tuple[list[Any], list[Any]]:
        capture, writer = self._capture, self._writer
        inputs = [writer.input(tensor) for tensor in capture.component.inputs]
        by_placeholder = dict(zip(capture.inputs, inputs, strict=True))
        outputs: list[Any] = []
        for node in capture.graph.nodes:
            if node.op == "placeholder":
                self.values[node] = _placeholder(node.name, capture, by_placeholder)
            elif node.op == "call_function":
                writer.enter(layer_of(node))
                self._node = node
                self.values[node] = self._lowered(node)
            elif node.op == "output":
                outputs = [writer.value(self.values[result]) for result in node.args[0]]
            writer.remember(self.values.get(node), self.shapes[node])
        return inputs, outputs

    def __call__(self, operator: Any, *args: Any, **kwargs: Any) -> Step:
        """Append an operator as a part of the node in hand, and return its step."""
        first = _results(operator, *self._imagined((args, kwargs), "first"))
        second = first
        if self._is_open((args, kwargs)):
            second = _results(operator, *self._imagined((args, kwargs), "second"))
        step = Step(target=operator, meta={"val": first[0] if len(first) == 1 else first})
        self.shapes[step] = tuple(
            merged_shape(left.shape, right.shape) for left, right in zip(first, second, strict=True)
        )
        self._arguments[step] = _as_tuples(args), kwargs
        self.values[step] = self._lowered(step)
        self._writer.remember(self.values[step], self.shapes[step])
        return step

    def shape(self, node: Any) -> Shape:
        """Return the traced shape of a node's result."""
        return self.shapes[node][0]

    def dtype(self, node: Any) -> torch.dtype:
        """Return the traced type of a node's result."""
        dtype: torch.dtype = (
            node.dtype if isinstance(node, torch.Tensor) else node.meta["val"].dtype
        )
        return dtype

    @property
    def results(self) -> tuple[Shape, ...]:
        """The traced shapes of the results of the node in hand."""
        assert self._node is not None
        return self.shapes[self._node]

    @property
    def result_dtype(self) -> torch.dtype:
        """The traced type of the result of the node in hand."""
        return self.dtype(self._node)

    def constant(self, node: Any) -> torch.Tensor | None:
        """Return the numbers of what doesn't depend on the inputs, else None."""
        if isinstance(node, bool | int | float | torch.Tensor):
            return torch.as_tensor(node)
        value = self.values.get(node) if isinstance(node, Node) else None
        return value if isinstance(value, torch.Tensor) else None

    def operator_of(self, node: Any) -> tuple[str, Sequence[Any]]:
        """Return torch's name of a node's operator and its positional arguments."""
        if not isinstance(node, Node) or node.op != "call_function":
            return "", ()
        return name_of(node.target), self._arguments[node][0]

    def _lowered(self, node: Any) -> Any:
        outer, self._node = self._node, node
        try:
            return self._lower(node)
        except RefusedError as refused:
            raise _refusal(self._writer, node, self._writer.layer, str(refused)) from refused
        finally:
            self._node = outer

    def _lower(self, node: Any) -> Any:
        args, kwargs = self._arguments[node]
        values = self._value(args), self._value(kwargs)
        if _is_constant(values, self._writer.value_type) and _is_small(self.shapes[node]):
            with torch.no_grad():
                return node.target(*_as_lists(values[0]), **_as_lists(values[1]))
        written = WRITTEN.get(name_of(node.target))
        if written is not None:
            return self._value(written(self, *arguments_of(node.target, args, kwargs)))
        call = decode(node.target, args, kwargs)
        if isinstance(call, Item):
            return self.values[call.values][call.position]
        if type(call) in SIMPLIFICATIONS:
            simpler = SIMPLIFICATIONS[type(call)](self, call)
            if isinstance(simpler, Call):
                call = simpler
            elif simpler is not None:
                return self._value(simpler)
        lowering = self._lowerings.get(type(call))
        if lowering is None:
            decompose = DECOMPOSITIONS.get(type(call))
            if decompose is None:
                raise _unknown(self._writer, {name_of(node.target): self._writer.layer})
            return self._value(decompose(self, call))
        context = Context(writer=self._writer, node=node, traced=call, walk=self)
        return lowering(context, mapped(call, self._value))

    def _value(self, argument: Any) -> Any:
        """Replace the nodes in an argument by their values."""
        if isinstance(argument, Node):
            return self.values[argument]
        if isinstance(argument, tuple | list):
            return tuple(self._value(item) for item in argument)
        if isinstance(argument, dict):
            return {key: self._value(item) for key, item in argument.items()}
        return argument

    def _imagined(self, argument: Any, trace: str) -> Any:
        """Replace nodes by tensors without numbers, and open sizes by those of one trace."""
        if isinstance(argument, Node):
            made = [
                torch.empty(self._imagined(shape, trace), dtype=value.dtype, device="meta")
                for shape, value in zip(
                    self.shapes[argument], _listed(argument.meta["val"]), strict=True
                )
            ]
            return made if isinstance(argument.meta["val"], list | tuple) else made[0]
        if isinstance(argument, Size):
            return getattr(argument, trace)
        if isinstance(argument, tuple | list):
            return [self._imagined(item, trace) for item in argument]
        if isinstance(argument, dict):
            return {key: self._imagined(item, trace) for key, item in argument.items()}
        return argument

    def _is_open(self, argument: Any) -> bool:
        return any(
            isinstance(item, Size) or (isinstance(item, Node) and self._is_open(self.shapes[item]))
            for item in _flattened(argument)
        )


def _results(operator: Any, args: Any, kwargs: Any) -> list[torch.Tensor]:
    with torch.no_grad():
        return _listed(operator(*args, **kwargs))


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _placeholder(name: str, capture: Capture, inputs: Mapping[str, Any]) -> Any:
    if name in capture.parameters:
        parameter = capture.parameters[name]
        return Parameter(name=parameter, shape=capture.parameter_shapes[parameter])
    if name in capture.constants:
        return capture.constants[name]
    return inputs[name]


def _is_constant(argument: Any, value_type: type) -> bool:
    return not any(isinstance(item, (value_type, Parameter, Size)) for item in _flattened(argument))


def _as_lists(argument: Any) -> Any:
    """Undo the merging's tuples: torch's schemas want lists of numbers inside the arguments."""
    if isinstance(argument, dict):
        return {
            key: list(item) if isinstance(item, tuple) else item for key, item in argument.items()
        }
    return [list(item) if isinstance(item, tuple) else item for item in argument]


def _as_tuples(argument: Any) -> Any:
    if isinstance(argument, list | tuple):
        return tuple(_as_tuples(item) for item in argument)
    return argument


def _is_folded(node: torch.fx.Node, capture: Capture, folded: Mapping[torch.fx.Node, bool]) -> bool:
    """Return whether a node is computed here and now: nothing that it takes is an input."""
    if node.op != "call_function":
        return node.name in capture.constants
    numbers = capture.arguments[node]
    return (
        all(folded[argument] for argument in node.all_input_nodes)
        and not any(isinstance(item, Size) for item in _flattened(numbers))
        and _is_small(capture.shapes[node])
    )


def _flattened(argument: Any) -> Iterator[Any]:
    if isinstance(argument, Mapping):
        argument = tuple(argument.values())
    if isinstance(argument, tuple | list):
        for item in argument:
            yield from _flattened(item)
    else:
        yield argument


def _is_small(shapes: Sequence[Shape]) -> bool:
    for shape in shapes:
        fixed = [axis for axis in shape if isinstance(axis, int)]
        if len(fixed) < len(shape) or math.prod(fixed) > FOLDED_ELEMENTS:
            return False
    return True


def _refuse_unknown(
    capture: Capture, writer: Writer, lowerings: Mapping[type[Call], Lowering]
) -> None:
    unknown: dict[str, str] = {}
    folded: dict[torch.fx.Node, bool] = {}
    for node in capture.graph.nodes:
        folded[node] = _is_folded(node, capture, folded)
        if node.op != "call_function" or folded[node] or name_of(node.target) in WRITTEN:
            continue
        if decoder_of(node.target) is None:
            unknown.setdefault(name_of(node.target), layer_of(node))
            continue
        try:
            call = decode(node.target, *capture.arguments[node])
        except RefusedError as refused:
            raise _refusal(writer, node, layer_of(node), str(refused)) from refused
        if type(call) not in lowerings and type(call) not in (*DECOMPOSITIONS, Item):
            unknown.setdefault(name_of(node.target), layer_of(node))
        if _is_read_again(node):
            raise _refusal(writer, node, layer_of(node), "an argument that is read again")
    if unknown:
        raise _unknown(writer, unknown)


def _is_read_again(node: torch.fx.Node) -> bool:
    """Return whether a node changes its argument, and what it was is wanted afterwards."""
    schema = getattr(node.target, "_schema", None)
    if schema is None or not schema.is_mutable or not isinstance(node.args[0], torch.fx.Node):
        return False
    return any(user is not node and node < user for user in node.args[0].users)


def _refusal(writer: Writer, node: Any, layer: str, what: str) -> ExportError:
    return ExportError(
        f"{writer.component}: {name_of(node.target)} in {layer or 'the top'} "
        f"has {what}, which the {writer.title} exporter does not write.",
        hint="Please report the model's config.",
    )


def _unknown(writer: Writer, layers: Mapping[str, str]) -> ExportError:
    listed = ", ".join(f"{name} (in {layer or 'the top'})" for name, layer in layers.items())
    return ExportError(
        f"{writer.component} uses operators that the {writer.title} exporter lacks: {listed}.",
        hint="Add them to the target's table of operators, or report the model's config.",
    )
