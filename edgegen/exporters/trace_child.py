"""The process that traces components for a prediction, so that torch is gone when it ends.

Its event is `traced` (`name`, `trace`) for each component.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from edgegen.core.codec import encode
from edgegen.core.trace import ComponentTrace, Operator
from edgegen.core.worker import Emit, Event, serve
from edgegen.exporters.traces import TraceJob
from edgegen.models.pipeline_source import open_source

if TYPE_CHECKING:
    import torch

    from edgegen.exporters.capture import Capture


def trace_component(capture: Capture) -> ComponentTrace:
    """Return the operators of a capture whose sizes are all fixed."""
    from edgegen.exporters.capture import layer_of

    positions: dict[torch.fx.Node, int] = {}
    operators: list[Operator] = []
    outputs: tuple[int, ...] = ()
    for node in capture.graph.nodes:
        if node.op == "output":
            results = [it for it in node.args[0] if it in positions]
            outputs = tuple(positions[it] for it in results)
            continue
        takes = tuple(positions[it] for it in node.all_input_nodes if it in positions)
        is_input = node.op == "placeholder" and node.name in capture.inputs
        if not is_input and not (node.op == "call_function" and takes):
            continue
        value = node.meta["val"]
        many = isinstance(value, list | tuple)
        tensors = list(value) if many else [value]
        if not tensors or not hasattr(tensors[0], "dtype"):
            continue  # a condition that the trace has settled
        elements = sum(math.prod(it.shape) for it in tensors)
        positions[node] = len(operators)
        operators.append(
            Operator(
                kind="input" if is_input else _kind(node),
                layer=layer_of(node),
                shape=(elements,) if many else tuple(int(axis) for axis in value.shape),
                dtype=str(tensors[0].dtype).removeprefix("torch."),  # type: ignore[arg-type]
                takes=takes,
                weights=tuple(_weights(node, capture)),
            )
        )
    return ComponentTrace(operators=tuple(operators), outputs=outputs)


def _kind(node: torch.fx.Node) -> str:
    name = str(getattr(node.target, "__name__", node.target))
    return name.partition(".")[0]


def _weights(node: torch.fx.Node, capture: Capture) -> Iterator[tuple[int, ...]]:
    for argument in node.all_input_nodes:
        if argument.name in capture.parameters:
            yield capture.parameter_shapes[capture.parameters[argument.name]]


def _work(job: TraceJob, emit: Emit) -> Event:
    from edgegen.exporters.capture import capture
    from edgegen.exporters.opened import import_toolkits

    import_toolkits()
    source = open_source(job.source)
    for component in job.components:
        captured = capture(component, source.configs / component.folder, shapes="fixed")
        emit("traced", name=component.name, trace=encode(trace_component(captured)))
    return {}


if __name__ == "__main__":
    sys.exit(serve(TraceJob, _work, extra="onnx"))
