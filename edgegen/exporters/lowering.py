"""Walks a captured graph, node by node, for any target.

What does not depend on the inputs is folded; every other operator is looked up in the target's own
table. A lowering takes the context of its node and the node's arguments, in which every traced
tensor is a value of the target's writer, a `Parameter` (a weight) or, where it does not depend on
the inputs, a torch tensor. It returns a value, or a tuple of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import torch

from edgegen.core.errors import ExportError
from edgegen.core.model import TensorSpec
from edgegen.exporters.capture import Capture, Shape, Size, layer_of

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


@dataclass(frozen=True, kw_only=True)
class Context(Generic[W_co]):
    """What a lowering may know: the writer, the traced node, and the values of those before it."""

    writer: W_co
    capture: Capture
    node: torch.fx.Node
    values: Mapping[torch.fx.Node, Any]

    @property
    def result_shape(self) -> Shape:
        """The traced shape of the node's result, with a `Size` where an axis is open."""
        return self.capture.shapes[self.node][0]

    @property
    def is_floating(self) -> bool:
        """Whether the node's result is a floating-point tensor."""
        return bool(self.node.meta["val"].is_floating_point())

    def shape_of(self, position: int) -> Shape:
        """Return the traced shape of an argument."""
        argument = self.node.args[position]
        if not isinstance(argument, torch.fx.Node):
            raise self.refuse("an argument that is not a tensor")
        return self.capture.shapes[argument][0]

    def refuse(self, what: str) -> ExportError:
        """Return the error that says that this use of the operator is not known."""
        return ExportError(
            f"{self.writer.component}: {self.node.target} in {self.writer.layer or 'the top'} "
            f"has {what}, which the {self.writer.title} exporter does not write.",
            hint="Please report the model's config.",
        )


def walk(
    capture: Capture, writer: Writer, operators: Mapping[str, Callable[..., Any]]
) -> tuple[list[Any], list[Any]]:
    """Lower every node of a capture; return the values of its inputs and outputs.

    Raises ExportError that names every operator which the table lacks, and a layer that uses it.
    """
    _refuse_unknown(capture, writer, operators)
    inputs = [writer.input(tensor) for tensor in capture.component.inputs]
    by_placeholder = dict(zip(capture.inputs, inputs, strict=True))
    values: dict[torch.fx.Node, Any] = {}
    outputs: list[Any] = []
    for node in capture.graph.nodes:
        if node.op == "placeholder":
            values[node] = _placeholder(node.name, capture, by_placeholder)
        elif node.op == "call_function":
            writer.enter(layer_of(node))
            context = Context(writer=writer, capture=capture, node=node, values=values)
            values[node] = _call(context, operators)
        elif node.op == "output":
            outputs = [writer.value(values[result]) for result in node.args[0]]
        writer.remember(values.get(node), capture.shapes[node])
    return inputs, outputs


def _placeholder(name: str, capture: Capture, inputs: Mapping[str, Any]) -> Any:
    if name in capture.parameters:
        parameter = capture.parameters[name]
        return Parameter(name=parameter, shape=capture.parameter_shapes[parameter])
    if name in capture.constants:
        return capture.constants[name]
    return inputs[name]


def _call(context: Context[Writer], operators: Mapping[str, Callable[..., Any]]) -> Any:
    args, kwargs = (_look_up(item, context) for item in context.capture.arguments[context.node])
    value_type = context.writer.value_type
    if (
        _is_constant(args, value_type)
        and _is_constant(kwargs, value_type)
        and _is_small(context.capture, context.node)
    ):
        with torch.no_grad():
            return context.node.target(*_as_lists(args), **_as_lists(kwargs))
    return operators[_name(context.node)](context, *args, **kwargs)


def _look_up(argument: Any, context: Context[Writer]) -> Any:
    """Replace the nodes in an argument by their values."""
    if isinstance(argument, torch.fx.Node):
        return context.values[argument]
    if isinstance(argument, tuple):
        return tuple(_look_up(item, context) for item in argument)
    if isinstance(argument, dict):
        return {key: _look_up(item, context) for key, item in argument.items()}
    return argument


def _is_constant(argument: Any, value_type: type) -> bool:
    if isinstance(argument, tuple):
        return all(_is_constant(item, value_type) for item in argument)
    if isinstance(argument, dict):
        return all(_is_constant(item, value_type) for item in argument.values())
    return not isinstance(argument, (value_type, Parameter, Size))


def _as_lists(argument: Any) -> Any:
    """Undo the merging's tuples: torch's schemas want lists of numbers inside the arguments."""
    if isinstance(argument, dict):
        return {
            key: list(item) if isinstance(item, tuple) else item for key, item in argument.items()
        }
    return [list(item) if isinstance(item, tuple) else item for item in argument]


def _is_folded(node: torch.fx.Node, capture: Capture, folded: Mapping[torch.fx.Node, bool]) -> bool:
    """Return whether a node is computed here and now: nothing that it takes is an input."""
    if node.op != "call_function":
        return node.name in capture.constants
    numbers = capture.arguments[node]
    return (
        all(folded[argument] for argument in node.all_input_nodes)
        and not any(isinstance(item, Size) for item in _flattened(numbers))
        and _is_small(capture, node)
    )


def _flattened(argument: Any) -> Iterator[Any]:
    items = argument.values() if isinstance(argument, Mapping) else argument
    for item in items:
        if isinstance(item, tuple | Mapping):
            yield from _flattened(item)
        else:
            yield item


def _is_small(capture: Capture, node: torch.fx.Node) -> bool:
    for shape in capture.shapes[node]:
        fixed = [axis for axis in shape if isinstance(axis, int)]
        if len(fixed) < len(shape) or math.prod(fixed) > FOLDED_ELEMENTS:
            return False
    return True


def _name(node: torch.fx.Node) -> str:
    target = node.target
    if isinstance(target, torch._ops.OpOverload):
        return str(target)
    return f"{target.__module__.lstrip('_')}.{target.__name__}"


def _refuse_unknown(
    capture: Capture, writer: Writer, operators: Mapping[str, Callable[..., Any]]
) -> None:
    unknown: dict[str, str] = {}
    folded: dict[torch.fx.Node, bool] = {}
    for node in capture.graph.nodes:
        folded[node] = _is_folded(node, capture, folded)
        if node.op == "call_function" and not folded[node] and _name(node) not in operators:
            unknown.setdefault(_name(node), layer_of(node))
    if unknown:
        listed: Sequence[str] = [
            f"{name} (in {layer or 'the top'})" for name, layer in unknown.items()
        ]
        raise ExportError(
            f"{capture.component.name} uses operators that the {writer.title} exporter lacks: "
            f"{', '.join(listed)}.",
            hint="Add them to the target's table of operators, or report the model's config.",
        )
