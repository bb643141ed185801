"""How much of a traced component's results is alive at once."""

from __future__ import annotations

from edgegen.core.trace import ComponentTrace

VIEWS = frozenset(
    {"view", "reshape", "unsqueeze", "squeeze", "flatten", "alias", "to", "expand", "contiguous"}
)
"""Operators whose result is the memory of their argument, in each runtime."""


def peak_bytes(trace: ComponentTrace) -> int:
    """Return the highest sum of the results that are alive while an operator runs."""
    operators = trace.operators
    origin = list(range(len(operators)))
    for position, operator in enumerate(operators):
        if operator.kind in VIEWS and operator.takes:
            origin[position] = origin[operator.takes[0]]
    ends = {position: position for position in origin}
    for position, operator in enumerate(operators):
        for taken in operator.takes:
            ends[origin[taken]] = max(ends[origin[taken]], position)
    for position in trace.outputs:
        ends[origin[position]] = len(operators)
    freed: dict[int, int] = {}
    alive = highest = 0
    for position, operator in enumerate(operators):
        if origin[position] == position:
            alive += operator.size_bytes
            freed[ends[position]] = freed.get(ends[position], 0) + operator.size_bytes
        highest = max(highest, alive)
        alive -= freed.pop(position, 0)
    return highest
