"""Cuts a program in two, so that neither file passes a device's limit.

Apple's Swift package runs `UnetChunk1` and hands what it gives out, with the inputs, to
`UnetChunk2`. Values cross the cut in the type that they have, so that both compute what the whole
computes. The cut is where the weights before and behind weigh about the same and, near there, where
the fewest bytes cross.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from edgegen.compress.codecs import CODECS
from edgegen.core.errors import ExportError
from edgegen.core.units import format_bytes
from edgegen.exporters.coreml.graph import (
    Graph,
    Operation,
    StreamedWeight,
    Value,
    arguments,
)
from edgegen.mil.types import FEATURE_TYPES, TYPES

_NEAR_THE_MIDDLE = 0.05
"""How far from the middle a cut may be, as a part of all weights, to let fewer bytes cross."""


def split(
    graph: Graph, component: str, limit_bytes: int | None, *, can_be_cut: bool
) -> list[Graph]:
    """Return the graph, or two whose weights each take at most `limit_bytes`.

    Raises ExportError where the graph cannot be cut so: only a component of which
    `can_be_cut` is true can, and only in two.
    """
    sizes = _sizes(graph)
    total = sum(sizes.values())
    if limit_bytes is None or total <= limit_bytes:
        return [graph]
    if not can_be_cut:
        raise ExportError(
            f"{component} takes {format_bytes(total)}, and the profile's limit of a file is "
            f"{format_bytes(limit_bytes)}; Apple's pipeline can't load it in parts.",
            hint="Take a recipe with smaller weights.",
        )
    steps = [item for item in graph.operations if item.type != "const"]
    before = _weights_before(steps, sizes)
    place = _place(steps, before, graph)
    largest = max(before[place], total - before[place])
    if largest > limit_bytes:
        raise ExportError(
            f"{component} takes {format_bytes(total)}; cut in two its larger half takes "
            f"{format_bytes(largest)}, and the profile's limit of a file is "
            f"{format_bytes(limit_bytes)}.",
            hint="Take a recipe with smaller weights: Apple's pipeline knows two chunks, no more.",
        )
    return _cut(graph, steps, place)


def _sizes(graph: Graph) -> dict[str, int]:
    """Return the bytes of each weight, by its value's name."""
    return {
        item.outputs[0].name: math.prod(item.outputs[0].shape) * CODECS[item.data.storage].bits // 8
        for item in graph.operations
        if isinstance(item.data, StreamedWeight)
    }


def _weights_before(steps: Sequence[Operation], sizes: Mapping[str, int]) -> list[int]:
    """Return for each place between operations the bytes of the weights used before it."""
    total, seen, before = 0, set[str](), [0]
    for step in steps:
        for value in arguments(step):
            if value.name in sizes and value.name not in seen:
                seen.add(value.name)
                total += sizes[value.name]
        before.append(total)
    return before


def _place(steps: Sequence[Operation], before: Sequence[int], graph: Graph) -> int:
    total = before[-1]
    near = [
        place
        for place in range(1, len(steps))
        if abs(before[place] - total / 2) <= _NEAR_THE_MIDDLE * total
    ] or [min(range(1, len(steps)), key=lambda place: abs(before[place] - total / 2))]

    def cost(place: int) -> tuple[bool, int, float]:
        crossing = _crossing(graph, steps, place)
        size_bytes = sum(
            math.prod(value.stored_shape) * TYPES[value.kind].bits // 8 for value in crossing
        )
        holds = all(value.kind in FEATURE_TYPES for value in crossing)
        return not holds, size_bytes, abs(before[place] - total / 2)

    return min(near, key=cost)


def _crossing(graph: Graph, steps: Sequence[Operation], place: int) -> list[Value]:
    """Return what operations before a place compute and those behind it take, in order."""
    made = {value.name: value for step in steps[:place] for value in step.outputs}
    wanted = {value.name for step in steps[place:] for value in arguments(step)}
    return [value for name, value in made.items() if name in wanted]


def _cut(graph: Graph, steps: Sequence[Operation], place: int) -> list[Graph]:
    crossing = _crossing(graph, steps, place)
    early = {value.name for step in steps[:place] for value in step.outputs}
    handed = [value for value in graph.outputs if value.name in early]
    first = _part(graph, steps[:place], (), [*handed, *crossing])
    last = [value for value in graph.outputs if value.name not in early]
    return [first, _part(graph, steps[place:], crossing, last)]


def _part(
    graph: Graph,
    steps: Sequence[Operation],
    crossing: Sequence[Value],
    outputs: Sequence[Value],
) -> Graph:
    wanted = {value.name for step in steps for value in arguments(step)}
    constants = [
        item for item in graph.operations if item.type == "const" and item.outputs[0].name in wanted
    ]
    return Graph(
        inputs=(*(value for value in graph.inputs if value.name in wanted), *crossing),
        outputs=tuple(outputs),
        operations=(*constants, *steps),
    )
