"""The best storage of each layer under a size: an integer programme, with a proven bound.

Of each layer's choices one is taken, so that the sum of the sizes stays within a limit and the sum
of the losses is the lowest (the multiple-choice knapsack problem). The relaxation that may split
one choice in two is solved exactly from the convex hulls of the choices (Sinha and Zoltners, "The
Multiple-Choice Knapsack Problem", 1979); its price of a byte gives every choice a reduced cost.
What costs more than is between the relaxation and a greedy solution is in no better solution; over
what is left, partial solutions are enumerated, and those that another one dominates are dropped.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST_STATES = 200_000
"""Partial solutions that are kept; where there are more, the bound is the relaxation's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One way to store a layer: what it takes, and what it costs."""

    name: str
    size_bytes: int
    loss: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """A choice for each layer; no assignment within the limit has a loss below `bound`."""

    chosen: tuple[Choice, ...]
    bound: float

    @property
    def size_bytes(self) -> int:
        """Return what all layers take."""
        return sum(choice.size_bytes for choice in self.chosen)

    @property
    def loss(self) -> float:
        """Return the sum of the losses."""
        return float(sum(choice.loss for choice in self.chosen))

    @property
    def gap(self) -> float:
        """Return by which share of its loss a better assignment could lie below; 0: it is best."""
        return 0.0 if self.loss <= 0 else max(0.0, (self.loss - self.bound) / self.loss)


@dataclass(frozen=True, slots=True)
class _Step:
    """From one choice of a layer's hull to the next larger one."""

    layer: int
    place: int
    size_bytes: int
    gain: float

    @property
    def rate(self) -> float:
        return self.gain / self.size_bytes


def smallest_bytes(layers: Sequence[Sequence[Choice]]) -> int:
    """Return what the layers take at least."""
    return sum(min(choice.size_bytes for choice in choices) for choices in layers)


def assign(layers: Sequence[Sequence[Choice]], limit_bytes: int) -> Assignment:
    """Return the assignment with the lowest loss within a limit; every layer needs choices.

    Raises ValueError where even the smallest choices take more.
    """
    if smallest_bytes(layers) > limit_bytes:
        raise ValueError("no assignment is within the limit")
    useful = [_undominated(choices) for choices in layers]
    greedy, bound, price = _relaxed(useful, limit_bytes)
    slack = sum(choice.loss for choice in greedy) - bound
    better, is_exact = _enumerated(useful, limit_bytes, price, bound, slack)
    chosen = greedy if better is None else better
    loss = float(sum(choice.loss for choice in chosen))
    return Assignment(chosen=tuple(chosen), bound=loss if is_exact else bound)


def _undominated(choices: Sequence[Choice]) -> list[Choice]:
    """Return the choices that no other beats in size and loss, the smallest first."""
    found: list[Choice] = []
    for choice in sorted(choices, key=lambda it: (it.size_bytes, it.loss)):
        if not found or choice.loss < found[-1].loss:
            found.append(choice)
    return found


def _hull(choices: Sequence[Choice]) -> list[int]:
    """Return the places of undominated choices on the lower convex hull of size and loss."""
    kept: list[int] = []
    for place, choice in enumerate(choices):
        while len(kept) > 1:
            first, middle = choices[kept[-2]], choices[kept[-1]]
            before = (first.loss - middle.loss) * (choice.size_bytes - middle.size_bytes)
            after = (middle.loss - choice.loss) * (middle.size_bytes - first.size_bytes)
            if before > after:
                break
            kept.pop()
        kept.append(place)
    return kept


def _relaxed(
    layers: Sequence[Sequence[Choice]], limit_bytes: int
) -> tuple[list[Choice], float, float]:
    """Return a greedy assignment, the relaxation's loss, and its price of a byte."""
    steps = []
    for layer, choices in enumerate(layers):
        hull = _hull(choices)
        for before, place in itertools.pairwise(hull):
            size = choices[place].size_bytes - choices[before].size_bytes
            gain = choices[before].loss - choices[place].loss
            steps.append(_Step(layer, place, size, gain))
    steps.sort(key=lambda step: -step.rate)
    chosen = [choices[0] for choices in layers]
    room = limit_bytes - sum(choice.size_bytes for choice in chosen)
    loss = sum(choice.loss for choice in chosen)
    bound: float | None = None
    price = 0.0
    stopped = set()
    for step in steps:
        if step.size_bytes > room and bound is None:
            bound, price = loss - step.rate * room, step.rate
        if step.size_bytes > room or step.layer in stopped:
            stopped.add(step.layer)
            continue
        chosen[step.layer] = layers[step.layer][step.place]
        room -= step.size_bytes
        loss -= step.gain
    final = float(sum(choice.loss for choice in chosen))
    return chosen, final if bound is None else min(bound, final), price


def _enumerated(
    layers: Sequence[Sequence[Choice]],
    limit_bytes: int,
    price: float,
    bound: float,
    slack: float,
) -> tuple[list[Choice] | None, bool]:
    """Return an assignment that is better than `bound + slack`, if any, and whether it is the best.

    A partial assignment is a sum of sizes and a sum of reduced costs; none above `slack` can lead
    to a better one.
    """
    sizes = np.zeros(1, np.int64)
    costs = np.zeros(1)
    losses = np.zeros(1)
    least = [min(choice.size_bytes for choice in choices) for choices in layers]
    rest_bytes = sum(least)
    back: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
    is_exact = True
    for choices, smallest in zip(layers, least, strict=True):
        rest_bytes -= smallest
        reduced = [choice.loss + price * choice.size_bytes for choice in choices]
        base = min(reduced)
        parts = []
        for place, (choice, cost) in enumerate(zip(choices, reduced, strict=True)):
            own = costs + (cost - base)
            fits = (own <= slack) & (sizes + choice.size_bytes + rest_bytes <= limit_bytes)
            kept = np.flatnonzero(fits)
            parts.append(
                (
                    sizes[kept] + choice.size_bytes,
                    own[kept],
                    losses[kept] + choice.loss,
                    kept,
                    np.full(len(kept), place),
                )
            )
        sizes, costs, losses, origins, places = (
            np.concatenate([part[i] for part in parts]) for i in range(5)
        )
        order = np.lexsort((losses, sizes))
        lowest = np.minimum.accumulate(losses[order])
        before = np.concatenate([[np.inf], lowest[:-1]])
        order = order[losses[order] < before]
        if len(order) > MOST_STATES:
            order, is_exact = order[np.argsort(costs[order])[:MOST_STATES]], False
        sizes, costs, losses = sizes[order], costs[order], losses[order]
        back.append((origins[order], places[order]))
        if not len(order):
            return None, is_exact
    state = int(losses.argmin())
    if losses[state] >= bound + slack:
        return None, is_exact
    chosen = []
    for choices, (origins, places) in zip(reversed(layers), reversed(back), strict=True):
        chosen.append(choices[int(places[state])])
        state = int(origins[state])
    return chosen[::-1], is_exact
