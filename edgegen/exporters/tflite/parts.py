"""Cuts a graph into parts, whose files stay small enough for every runtime.

The parts are runs of operators that follow each other. As few are made as the limit allows, cut
where the fewest bytes of activations cross from part to part; where that is the same, so that the
parts are alike in size. What is computed from constants alone (a dequantized weight) belongs to the
operators that use it, and is repeated in each part that does.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgegen.core.errors import ExportError
from edgegen.exporters.tflite.graph import Graph, Operator, Tensor
from edgegen.exporters.tflite.walk import check_graph, tensors_of, used_by
from edgegen.exporters.tflite.weights import Buffer, DataKey, buffer_of


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
    reach = _reach(graph, steps, limit_bytes)
    if not steps or reach[0] == len(steps):
        return [graph]
    lives = _lives(steps)
    cuts = _cut(reach, _crossing(lives, len(steps)), [step.size_bytes for step in steps])
    return _parts(graph, steps, lives, cuts)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Step:
    """An operator that computes from the inputs, and those that prepare its constants."""

    operator: int  # its place in the graph
    prepared_by: frozenset[int]
    makes: tuple[Tensor, ...]
    takes: tuple[Tensor, ...]  # without what is prepared
    stored: Mapping[DataKey, int]  # the bytes of each buffer, and before it

    @property
    def size_bytes(self) -> int:
        return sum(self.stored.values())


@dataclass(frozen=True, slots=True)
class _Life:
    """The step that makes a tensor, and the last that takes it."""

    made: int
    last: int


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
                operator=place,
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


def _reach(graph: Graph, steps: Sequence[_Step], limit_bytes: int) -> NDArray[np.int64]:
    """Return for each step the end of the longest part that begins there."""
    reach = np.zeros(len(steps), np.int64)
    uses: Counter[DataKey] = Counter()
    held = end = 0
    for start, first in enumerate(steps):
        while end < len(steps):
            new = {key: size for key, size in steps[end].stored.items() if not uses[key]}
            if held + sum(new.values()) > limit_bytes:
                break
            held += sum(new.values())
            uses.update(steps[end].stored.keys())
            end += 1
        if end == start:
            raise _too_large(graph.operators[first.operator], first.size_bytes, limit_bytes)
        reach[start] = end
        uses.subtract(first.stored.keys())
        held -= sum(size for key, size in first.stored.items() if not uses[key])
    return reach


def _too_large(operator: Operator, size_bytes: int, limit_bytes: int) -> ExportError:
    names = ", ".join(f"'{tensor.name}'" for tensor in used_by(operator))
    return ExportError(
        f"{operator.code} with {names} needs {size_bytes:,} bytes of data alone, and a part "
        f"holds {limit_bytes:,}.",
        hint="Take a recipe with smaller weights (fp16 or int8): an operator cannot be cut.",
    )


def _lives(steps: Sequence[_Step]) -> dict[Tensor, _Life]:
    """Return when each computed tensor is made and last used, by the numbers of the steps."""
    lives: dict[Tensor, _Life] = {}
    for number, step in enumerate(steps):
        for tensor in step.takes:
            if tensor in lives:  # an input of the graph is at hand everywhere
                lives[tensor] = _Life(lives[tensor].made, number)
        lives |= {tensor: _Life(number, number) for tensor in step.makes}
    return lives


def _crossing(lives: Mapping[Tensor, _Life], count: int) -> NDArray[np.int64]:
    """Return how many bytes would cross a cut before each step."""
    changes = np.zeros(count + 1, np.int64)
    for tensor, life in lives.items():
        changes[life.made + 1] += tensor.size_bytes
        changes[life.last + 1] -= tensor.size_bytes
    return np.cumsum(changes)


def _cut(
    reach: NDArray[np.int64], crossing: NDArray[np.int64], sizes: Sequence[int]
) -> list[tuple[int, int]]:
    """Choose the parts, as begin and end, by dynamic programming over their number and end."""
    count = len(reach)
    parts = end = 0
    while end < count:  # as many as taking all that fits makes, which are the fewest
        end = int(reach[end])
        parts += 1
    before = np.concatenate(([0.0], np.cumsum(np.array(sizes, np.float64))))
    crossed = np.full(count + 1, np.inf)
    uneven = np.full(count + 1, np.inf)
    crossed[0] = uneven[0] = 0
    origins = []
    first_start = np.searchsorted(reach, np.arange(count + 1))  # of parts that end there
    for _ in range(parts):
        next_crossed = np.full(count + 1, np.inf)
        next_uneven = np.full(count + 1, np.inf)
        origin = np.zeros(count + 1, np.int64)
        for end in range(1, count + 1):
            low = first_start[end]
            total = crossed[low:end] + crossing[low:end]
            squares = uneven[low:end] + (before[end] - before[low:end]) ** 2
            best = int(np.argmin(np.where(total == total.min(), squares, np.inf)))
            next_crossed[end], next_uneven[end] = total[best], squares[best]
            origin[end] = low + best
        crossed, uneven = next_crossed, next_uneven
        origins.append(origin)
    cuts = []
    end = count
    for origin in reversed(origins):
        cuts.append((int(origin[end]), end))
        end = int(origin[end])
    return cuts[::-1]


def _parts(
    graph: Graph,
    steps: Sequence[_Step],
    lives: Mapping[Tensor, _Life],
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
        places = {step.operator for step in run}.union(*(step.prepared_by for step in run))
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
