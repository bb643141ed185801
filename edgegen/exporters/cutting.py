"""Chooses where a graph is cut into parts, whatever format it is in.

The parts are runs of steps that follow each other. As few are made as the limit allows, cut where
the fewest bytes of activations cross from part to part; where that is the same, so that the parts
are alike in size.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from edgegen.core.errors import ExportError

T = TypeVar("T", bound=Hashable)

_EVENNESS = 1.15


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Step(Generic[T]):
    """What can't be cut: the values that it makes, those that it takes, and its stored data.

    `place` is where it stands in the graph. `takes` are computed values and inputs, without what is
    prepared from constants alone. `stored` are the bytes of each piece of data that it wants.
    """

    place: int
    makes: tuple[T, ...]
    takes: tuple[T, ...]
    stored: Mapping[Hashable, int]

    @property
    def size_bytes(self) -> int:
        """Return the bytes of all its data."""
        return sum(self.stored.values())


@dataclass(frozen=True, slots=True)
class Life:
    """The step that makes a value, and the last that takes it."""

    made: int
    last: int


def choose_cuts(
    steps: Sequence[Step[T]],
    lives: Mapping[T, Life],
    limit_bytes: int,
    *,
    size_of: Callable[[T], int],
    refuse: Callable[[Step[T]], ExportError],
) -> list[tuple[int, int]]:
    """Return the parts, as the first step and the one behind the last.

    Data that steps of one part share counts once. No part has more than `_EVENNESS` times its even
    share of the data, where such cuts exist. A graph that fits is one part. Raises what `refuse`
    makes of a step that alone is beyond the limit.
    """
    if not steps:
        return [(0, 0)]
    reach = _reach(steps, limit_bytes, refuse)
    count = _count(reach)
    if count == 1:
        return [(0, len(steps))]
    whole = sum({key: size for it in steps for key, size in it.stored.items()}.values())
    even = max(int(whole / count * _EVENNESS), max(it.size_bytes for it in steps))
    if even < limit_bytes:
        nearer = _reach(steps, even, refuse)
        if _count(nearer) == count:
            reach = nearer
    crossing = _crossing(lives, len(steps), size_of)
    return _cut(reach, count, crossing, [step.size_bytes for step in steps])


def lives_of(steps: Sequence[Step[T]]) -> dict[T, Life]:
    """Return when each computed value is made and last used, by the numbers of the steps.

    A value that two steps make lives from the second on; an input of the graph is at hand
    everywhere, and has no life.
    """
    lives: dict[T, Life] = {}
    for number, step in enumerate(steps):
        for value in step.takes:
            if value in lives:
                lives[value] = Life(lives[value].made, number)
        lives |= {value: Life(number, number) for value in step.makes}
    return lives


def _reach(
    steps: Sequence[Step[T]], limit_bytes: int, refuse: Callable[[Step[T]], ExportError]
) -> NDArray[np.int64]:
    """Return for each step the end of the longest part that begins there."""
    reach = np.zeros(len(steps), np.int64)
    uses: Counter[Hashable] = Counter()
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
            raise refuse(first)
        reach[start] = end
        uses.subtract(first.stored.keys())
        held -= sum(size for key, size in first.stored.items() if not uses[key])
    return reach


def _count(reach: NDArray[np.int64]) -> int:
    """Return how many parts taking all that fits makes, which are the fewest."""
    parts = end = 0
    while end < len(reach):
        end = int(reach[end])
        parts += 1
    return parts


def _crossing(
    lives: Mapping[T, Life], count: int, size_of: Callable[[T], int]
) -> NDArray[np.int64]:
    """Return how many bytes would cross a cut before each step."""
    changes = np.zeros(count + 1, np.int64)
    for value, life in lives.items():
        size_bytes = size_of(value)
        changes[life.made + 1] += size_bytes
        changes[life.last + 1] -= size_bytes
    return np.cumsum(changes)


def _cut(
    reach: NDArray[np.int64], parts: int, crossing: NDArray[np.int64], sizes: Sequence[int]
) -> list[tuple[int, int]]:
    """Choose the parts, as begin and end, by dynamic programming over their number and end."""
    count = len(reach)
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
