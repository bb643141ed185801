"""Lowers a captured graph to ONNX: constants are folded, operators looked up in a table."""

from __future__ import annotations

import math
from typing import Any

import onnx_ir as ir
import torch

from edgegen.core.errors import ExportError
from edgegen.core.profile import OperatorSet
from edgegen.core.recipe import Recipe
from edgegen.exporters.capture import Capture, Shape, Size, layer_of
from edgegen.exporters.onnx.operators import OPERATORS
from edgegen.exporters.onnx.operators.context import Context
from edgegen.exporters.onnx.writer import GraphWriter, Parameter, WeightUse

FOLDED_ELEMENTS = 1 << 20
"""Constants are folded up to this size; a causal mask of 77 × 77 is far below it."""


def lower(
    capture: Capture, recipe: Recipe, operators: OperatorSet
) -> tuple[ir.Model, tuple[WeightUse, ...]]:
    """Return the ONNX model, its weights still empty, and which weights it wants.

    Raises ExportError that names every operator which the table lacks, and a layer that uses it.
    """
    _refuse_unknown(capture)
    writer = GraphWriter(
        capture.component.name, recipe, operators, upcast_attention=capture.upcast_attention
    )
    inputs = [writer.input(tensor) for tensor in capture.component.inputs]
    by_placeholder = dict(zip(capture.inputs, inputs, strict=True))
    values: dict[torch.fx.Node, Any] = {}
    outputs: list[ir.Value] = []
    for node in capture.graph.nodes:
        if node.op == "placeholder":
            values[node] = _placeholder(node.name, capture, by_placeholder)
        elif node.op == "call_function":
            writer.enter(layer_of(node))
            values[node] = _call(Context(writer=writer, capture=capture, node=node, values=values))
        elif node.op == "output":
            outputs = [writer.value(values[result]) for result in node.args[0]]
        _remember_sizes(writer, values.get(node), capture.shapes[node])
    model = writer.finish(inputs, list(zip(capture.component.outputs, outputs, strict=True)))
    reachable = {id(value) for value in model.graph.initializers.values()}
    uses = tuple(use for use in writer.weights.values() if id(use.value) in reachable)
    return model, uses


def _placeholder(name: str, capture: Capture, inputs: dict[str, ir.Value]) -> Any:
    if name in capture.parameters:
        parameter = capture.parameters[name]
        return Parameter(name=parameter, shape=capture.parameter_shapes[parameter])
    if name in capture.constants:
        return capture.constants[name]
    return inputs[name]


def _call(context: Context) -> Any:
    args, kwargs = (_look_up(item, context) for item in context.capture.arguments[context.node])
    if _is_constant(args) and _is_constant(kwargs) and _is_small(context):
        with torch.no_grad():
            return context.node.target(*_as_lists(args), **_as_lists(kwargs))
    return OPERATORS[_name(context.node)](context, *args, **kwargs)


def _look_up(argument: Any, context: Context) -> Any:
    """Replace the nodes in an argument by their values."""
    if isinstance(argument, torch.fx.Node):
        return context.values[argument]
    if isinstance(argument, tuple):
        return tuple(_look_up(item, context) for item in argument)
    if isinstance(argument, dict):
        return {key: _look_up(item, context) for key, item in argument.items()}
    return argument


def _is_constant(argument: Any) -> bool:
    if isinstance(argument, tuple):
        return all(map(_is_constant, argument))
    if isinstance(argument, dict):
        return all(map(_is_constant, argument.values()))
    return not isinstance(argument, ir.Value | Parameter | Size)


def _as_lists(argument: Any) -> Any:
    """Undo the merging's tuples: torch's schemas want lists of numbers inside the arguments."""
    if isinstance(argument, dict):
        return {
            key: list(item) if isinstance(item, tuple) else item for key, item in argument.items()
        }
    return [list(item) if isinstance(item, tuple) else item for item in argument]


def _is_small(context: Context) -> bool:
    for shape in context.capture.shapes[context.node]:
        fixed = [axis for axis in shape if isinstance(axis, int)]
        if len(fixed) < len(shape) or math.prod(fixed) > FOLDED_ELEMENTS:
            return False
    return True


def _remember_sizes(writer: GraphWriter, value: Any, shapes: tuple[Shape, ...]) -> None:
    """Let later nodes find a size as an axis of this value."""
    if isinstance(value, ir.Value) and id(value) not in writer.packed and len(shapes) == 1:
        for axis, size in enumerate(shapes[0]):
            if isinstance(size, Size):
                writer.sizes.setdefault(size, (value, axis))


def _name(node: torch.fx.Node) -> str:
    target = node.target
    if isinstance(target, torch._ops.OpOverload):
        return str(target)
    return f"{target.__module__.lstrip('_')}.{target.__name__}"


def _refuse_unknown(capture: Capture) -> None:
    unknown: dict[str, str] = {}
    for node in capture.graph.nodes:
        if node.op == "call_function" and _name(node) not in OPERATORS:
            unknown.setdefault(_name(node), layer_of(node))
    if unknown:
        listed = ", ".join(f"{name} (in {layer or 'the top'})" for name, layer in unknown.items())
        raise ExportError(
            f"{capture.component.name} uses operators that the ONNX exporter lacks: {listed}.",
            hint="Add them to edgegen/exporters/onnx/operators, or report the model's config.",
        )
