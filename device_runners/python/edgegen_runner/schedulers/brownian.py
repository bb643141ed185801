"""A path of Brownian motion that a seed says whole, wherever it is asked (torchsde's tree).

Each interval is halved again and again; a normal of the interval's own seed says how its increment
is shared by the halves. So the same seed gives the same increments, in whatever order, and those of
adjoining intervals add up. Times are rounded to a millionth, where the halving ends.

Source: https://github.com/google-research/torchsde, ``BrownianInterval`` with ``halfway_tree``;
arXiv 2001.01328.
"""

from __future__ import annotations

import math
from collections import OrderedDict

import numpy as np

from ..torch_random import TorchGenerator
from .base import Array

_DIGITS = 6
_POOL_SIZE = 24
"""Of numpy's seed sequences: diffusers' choice."""
_KEPT = 48
"""Increments that are kept: two ways from the whole down to a millionth of it."""

_Node = tuple[int, int]
"""An interval's depth below the whole, and its place among those of that depth, from 0."""


class BrownianPath:
    """Say by how much a Brownian motion moves between two times, in float32.

    Args:
        start: The first time.
        end: The last time.
        shape: Shape of the increments.
        seed: Says all of them; not negative.
    """

    def __init__(self, start: float, end: float, shape: tuple[int, ...], seed: int) -> None:
        self._start, self._end = round(start, _DIGITS), round(end, _DIGITS)
        self._shape = shape
        self._seed = seed
        (whole, *_) = np.random.SeedSequence(seed, pool_size=_POOL_SIZE).generate_state(3)
        self._whole: Array = self._normals(int(whole)) * np.float32(math.sqrt(end - start))
        self._kept: OrderedDict[_Node, Array] = OrderedDict()

    def increment(self, start: float, end: float) -> Array:
        """Return by how much it moves from ``start`` to a later ``end``; both are on the path."""
        first, last = (
            round(min(max(time, self._start), self._end), _DIGITS) for time in (start, end)
        )
        if first == last:
            return np.zeros(self._shape, dtype=np.float32)
        return self._within(first, last, (0, 0), (self._start, self._end), self._whole)

    def _within(
        self, first: float, last: float, node: _Node, ends: tuple[float, float], moved: Array
    ) -> Array:
        """Return the increment of a part of a node's interval, which moves by ``moved``."""
        if (first, last) == ends:
            return moved
        middle = round(0.5 * (ends[1] + ends[0]), _DIGITS)
        left = self._left_half(node, ends, middle, moved)
        depth, place = node
        halves = (
            ((depth + 1, 2 * place), (ends[0], middle), left),
            ((depth + 1, 2 * place + 1), (middle, ends[1]), moved - left),
        )
        if last <= middle:
            return self._within(first, last, *halves[0])
        if first >= middle:
            return self._within(first, last, *halves[1])
        begun = self._within(first, middle, *halves[0])
        return begun + self._within(middle, last, *halves[1])

    def _left_half(
        self, node: _Node, ends: tuple[float, float], middle: float, moved: Array
    ) -> Array:
        """Return the increment of the half before ``middle``."""
        if node in self._kept:
            self._kept.move_to_end(node)
            return self._kept[node]
        depth, place = node
        before, after, share = middle - ends[0], ends[1] - middle, 1 / (ends[1] - ends[0])
        sequence = np.random.SeedSequence(
            self._seed, spawn_key=(place, depth), pool_size=_POOL_SIZE
        )
        normals = self._normals(int(sequence.generate_state(4)[0]))
        left: Array = moved * np.float32(before) * np.float32(share)
        left += np.float32(math.sqrt(before * after * share)) * normals
        self._kept[node] = left
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return left

    def _normals(self, seed: int) -> Array:
        return TorchGenerator(seed).randn(self._shape)
