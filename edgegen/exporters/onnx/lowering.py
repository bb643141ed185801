"""Lowers a captured graph to ONNX: constants are folded, operators looked up in a table."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir
import torch

from edgegen.core.errors import ExportError
from edgegen.core.profile import OperatorSet
from edgegen.core.recipe import Recipe
from edgegen.exporters.capture import Capture, layer_of
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
    graph = capture.program.graph
    _refuse_unknown(capture)
    writer = GraphWriter(
        capture.component.name, recipe, operators, upcast_attention=capture.upcast_attention
    )
    inputs = [writer.input(tensor) for tensor in capture.component.inputs]
    by_placeholder = dict(zip(capture.inputs, inputs, strict=True))
    values: dict[torch.fx.Node, Any] = {}
    outputs: list[ir.Value] = []
    for node in graph.nodes:
        if node.op == "placeholder":
            values[node] = _placeholder(node.name, capture, by_placeholder)
        elif node.op == "call_function":
            writer.enter(layer_of(node))
            values[node] = _call(node, writer, values)
        elif node.op == "output":
            outputs = [writer.value(values[result]) for result in node.args[0]]
    model = writer.finish(inputs, list(zip(capture.component.outputs, outputs, strict=True)))
    reachable = {id(value) for value in model.graph.initializers.values()}
    uses = tuple(use for use in writer.weights.values() if id(use.value) in reachable)
    return model, uses


def _placeholder(name: str, capture: Capture, inputs: dict[str, ir.Value]) -> Any:
    if name in capture.parameters:
        parameter = capture.parameters[name]
        return Parameter(name=parameter, shape=capture.shapes[parameter])
    if name in capture.constants:
        return capture.constants[name]
    return inputs[name]


def _call(node: torch.fx.Node, writer: GraphWriter, values: dict[torch.fx.Node, Any]) -> Any:
    def look_up(item: torch.fx.Node) -> Any:
        return values[item]

    args = torch.fx.map_arg(node.args, look_up)
    kwargs = torch.fx.map_arg(node.kwargs, look_up)
    if _is_constant(args, kwargs) and _small(node):
        with torch.no_grad():
            return node.target(*args, **kwargs)
    context = Context(writer=writer, node=node, values=values)
    return OPERATORS[_name(node)](context, *args, **kwargs)


def _is_constant(*arguments: Any) -> bool:
    found = []
    torch.utils._pytree.tree_map(
        lambda item: found.append(isinstance(item, ir.Value | Parameter)), arguments
    )
    return not any(found)


def _small(node: torch.fx.Node) -> bool:
    value = node.meta.get("val")
    if isinstance(value, torch.Tensor):
        sizes = list(value.shape)
        return all(isinstance(size, int) for size in sizes) and value.numel() <= FOLDED_ELEMENTS
    return True


def _name(node: torch.fx.Node) -> str:
    target = node.target
    if isinstance(target, torch._ops.OpOverload):
        return str(target)
    return f"{target.__module__.lstrip('_')}.{target.__name__}"


def _refuse_unknown(capture: Capture) -> None:
    unknown: dict[str, str] = {}
    for node in capture.program.graph.nodes:
        if node.op == "call_function" and _name(node) not in OPERATORS:
            unknown.setdefault(_name(node), layer_of(node))
    if unknown:
        listed = ", ".join(f"{name} (in {layer or 'the top'})" for name, layer in unknown.items())
        raise ExportError(
            f"{capture.component.name} uses operators that the ONNX exporter lacks: {listed}.",
            hint="Add them to edgegen/exporters/onnx/operators, or report the model's config.",
        )
