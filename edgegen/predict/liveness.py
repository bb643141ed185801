"""How much of a traced component's results is alive at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgegen.core.trace import ComponentTrace, Operator

VIEWS = frozenset(
    {
        *("view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "expand", "alias"),
        *("contiguous", "clone", "dropout", "to", "_to_copy"),
    }
)
"""Operators whose result is their argument's memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """The highest sums in bytes: of all that is alive, and of small and of large blocks apart."""

    together: int
    small: int
    large: int


def peak_of(
    trace: ComponentTrace,
    temporary: Callable[[Operator], int] = lambda operator: 0,
    *,
    large_bytes: int = 0,
) -> Live:
    """Return the highest sums of the results that are alive while an operator runs.

    `temporary` is what an operator needs besides while it runs, in one block. A block is large from
    `large_bytes` on.
    """
    places = _places(trace)
    ends = _ends(trace, places)
    freed: dict[int, list[int]] = {}
    alive = {False: 0, True: 0}
    highest = {False: 0, True: 0}
    together = 0
    for position, operator in enumerate(trace.operators):
        if places[position] == position:
            size = operator.size_bytes
            alive[size >= large_bytes] += size
            freed.setdefault(ends[position], []).append(size)
        block = temporary(operator)
        together = max(together, sum(alive.values()) + block)
        for large in alive:
            its = block if (block >= large_bytes) == large else 0
            highest[large] = max(highest[large], alive[large] + its)
        for size in freed.pop(position, ()):
            alive[size >= large_bytes] -= size
    return Live(together=together, small=highest[False], large=highest[True])


def _places(trace: ComponentTrace) -> list[int]:
    """Return for each result the operator in whose memory it lies."""
    places = list(range(len(trace.operators)))
    for position, operator in enumerate(trace.operators):
        if operator.kind in VIEWS and operator.takes:
            places[position] = places[operator.takes[0]]
    return places


def _ends(trace: ComponentTrace, places: Sequence[int]) -> dict[int, int]:
    """Return for each place the last operator that reads what lies in it."""
    ends = {place: place for place in places}
    for position, operator in enumerate(trace.operators):
        for taken in operator.takes:
            ends[places[taken]] = position
    for position in trace.outputs:
        ends[places[position]] = len(trace.operators)
    return ends
