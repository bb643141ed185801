"""Cuts a graph into parts, whose files stay small enough for every runtime.

Where, `edgegen/exporters/cutting.py` chooses. What is computed from constants alone (a dequantized
weight) belongs to the operators that use it, and is repeated in each part that does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgegen.core.errors import ExportError
from edgegen.exporters.cutting import Life, Step, choose_cuts, lives_of
from edgegen.exporters.tflite.graph import Graph, Operator, Tensor
from edgegen.exporters.tflite.walk import check_graph, tensors_of, used_by
from edgegen.exporters.tflite.weights import Buffer, buffer_of


def file_name(number: int) -> str:
    """Return the name of a part's file; parts are numbered from 1.

    >>> file_name(1), file_name(2)
    ('model.tflite', 'model.2.tflite')
    """
    return "model.tflite" if number == 1 else f"model.{number}.tflite"


def split(graph: Graph, limit_bytes: int) -> list[Graph]:
    """Cut a graph into parts whose data takes at most `limit_bytes`, in the order to run them in.

    A part's inputs are those of the whole, by their names, and what earlier parts give out; whoever
    runs them hands both on by name. A graph that fits stays whole. Raises ExportError where one
    operator alone is beyond the limit.
    """
    check_graph(graph)
    steps = _steps(graph)
    lives = lives_of(steps)
    cuts = choose_cuts(
        steps,
        lives,
        limit_bytes,
        size_of=lambda tensor: tensor.size_bytes,
        refuse=lambda step: _too_large(graph.operators[step.place], step.size_bytes, limit_bytes),
    )
    return [graph] if len(cuts) == 1 else _parts(graph, steps, lives, cuts)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Step(Step[Tensor]):
    """An operator that computes from the inputs, and those that prepare its constants."""

    prepared_by: frozenset[int]


def _steps(graph: Graph) -> list[_Step]:
    results = set(graph.outputs.values())
    buffers = {tensor: buffer_of(tensor) for tensor in tensors_of(graph)}
    prepared: dict[Tensor, frozenset[int]] = {}  # by which operators, one after the other
    steps = []
    for place, operator in enumerate(graph.operators):
        inputs = tuple(used_by(operator))
        before = frozenset().union(*(prepared.get(tensor, frozenset()) for tensor in inputs))
        constant = all(tensor in prepared or tensor.data is not None for tensor in inputs)
        if constant and inputs and results.isdisjoint(operator.outputs):
            prepared |= dict.fromkeys(operator.outputs, before | {place})
            continue
        used = [
            buffer
            for number in (*before, place)
            for tensor in used_by(graph.operators[number])
            if (buffer := buffers[tensor]) is not None
        ]
        steps.append(
            _Step(
                place=place,
                prepared_by=before,
                makes=operator.outputs,
                takes=tuple(
                    tensor for tensor in inputs if tensor not in prepared and tensor.data is None
                ),
                stored={buffer.key: _room(buffer) for buffer in used},
            )
        )
    return steps


def _room(buffer: Buffer) -> int:
    return math.ceil(buffer.size_bytes / buffer.alignment_bytes) * buffer.alignment_bytes


def _too_large(operator: Operator, size_bytes: int, limit_bytes: int) -> ExportError:
    names = ", ".join(f"'{tensor.name}'" for tensor in used_by(operator))
    return ExportError(
        f"{operator.code} with {names} needs {size_bytes:,} bytes of data alone, and a part "
        f"holds {limit_bytes:,}.",
        hint="Take a recipe with smaller weights (fp16 or int8): an operator cannot be cut.",
    )


def _parts(
    graph: Graph,
    steps: Sequence[_Step],
    lives: Mapping[Tensor, Life],
    cuts: Sequence[tuple[int, int]],
) -> list[Graph]:
    ends = [end for _, end in cuts]
    part_of = np.searchsorted(ends, np.arange(len(steps)), side="right")
    crossing = [tensor for tensor, life in lives.items() if part_of[life.made] < part_of[life.last]]
    names = _names(graph, crossing)
    unused = set(graph.inputs.values()).difference(*(step.takes for step in steps))
    parts = []
    for number, (start, end) in enumerate(cuts):
        run = steps[start:end]
        places = {step.place for step in run}.union(*(step.prepared_by for step in run))
        made = {tensor for step in run for tensor in step.makes}
        taken = {tensor for step in run for tensor in step.takes} - made
        handed = [tensor for tensor in crossing if tensor in made and lives[tensor].last >= end]
        outputs = {name: tensor for name, tensor in graph.outputs.items() if tensor in made}
        if number + 1 == len(cuts):  # with those outputs that no operator makes
            outputs = {name: t for name, t in graph.outputs.items() if t in made or t not in lives}
        # The first part takes also those inputs that nothing uses, as the whole does.
        wanted = taken | set(outputs.values()) | (unused if number == 0 else set())
        parts.append(
            Graph(
                name=f"{graph.name}.{number + 1}",
                operators=tuple(graph.operators[place] for place in sorted(places)),
                inputs={name: tensor for name, tensor in graph.inputs.items() if tensor in wanted}
                | {names[tensor]: tensor for tensor in crossing if tensor in taken},
                outputs=outputs | {names[tensor]: tensor for tensor in handed},
            )
        )
    return parts


def _names(graph: Graph, crossing: Sequence[Tensor]) -> dict[Tensor, str]:
    """Name what crosses: as the graph's output that it is, or as its tensor, made unique."""
    outputs = {tensor: name for name, tensor in graph.outputs.items() if name not in graph.inputs}
    taken = {*graph.inputs, *graph.outputs}
    names = {}
    for tensor in crossing:
        if tensor in outputs:
            names[tensor] = outputs[tensor]
            continue
        name, copy = tensor.name, 1
        while not name or name in taken:
            copy += 1
            name = f"{tensor.name or 'activation'}.{copy}"
        taken.add(name)
        names[tensor] = name
    return names
