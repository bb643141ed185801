"""Blocks of a weight, each rounded to integers with the scale that has the least squared error.

A block is a run of numbers along the second axis that share a scale and, where a codec has them, a
zero point. What a codec tries for a block is its own: grids of integers, as scales and zero points.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BLOCK = 32
SHORTEST = 8
_RUN = 1 << 20
"""So many numbers are rounded at once, or those of one row."""

Grid = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Scales and zero points of blocks, each (rows, blocks)."""
Grids = Callable[[NDArray[np.float32]], Iterator[Grid]]
"""Blocks (rows, blocks, numbers) -> what is tried for them, the first of equals first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounded:
    """What was found for blocks: the integers' scales and zero points, each (rows, blocks)."""

    scales: NDArray[np.float32]
    zero_points: NDArray[np.uint8]


def block_size(columns: int, block: int) -> int:
    """Return how long the blocks of an axis are: its largest divisor up to `block`.

    Divisors below `SHORTEST` would store more scales than they gain: then the axis is one block.

    >>> block_size(320, 32), block_size(100, 32), block_size(74, 32)
    (32, 25, 74)
    """
    fitting = (size for size in range(min(block, columns), SHORTEST - 1, -1) if columns % size == 0)
    return next(fitting, columns)


def block_count(shape: tuple[int, ...], block: int | None) -> int:
    """Return how many blocks a row of a weight has; None is blocks of `BLOCK` numbers."""
    return shape[1] // block_size(shape[1], block or BLOCK)


def round_blocks(
    weight: NDArray[np.floating],
    values: NDArray[np.integer],
    *,
    blocks: int,
    levels: tuple[int, int],
    grids: Grids,
) -> Rounded:
    """Round a weight into `values`, an array of its shape; each of its rows is `blocks` blocks.

    `levels` are the lowest and the highest integer. The first axis is taken in runs, so that little
    more than the weight and its result is in memory.
    """
    rows = len(weight)
    scales = np.empty((rows, blocks), np.float32)
    zeros = np.empty((rows, blocks), np.uint8)
    run = max(1, _RUN // max(1, weight[:1].size))
    for start in range(0, rows, run):
        here = slice(start, start + run)
        part = weight[here].astype(np.float32)
        split = part.reshape(len(part), blocks, -1)
        found = least_errors(split, values.dtype, levels=levels, grids=grids)
        rounded, scales[here], zeros[here] = found
        values[here] = rounded.reshape(part.shape)
    return Rounded(scales=scales, zero_points=zeros)


def least_errors(
    blocks: NDArray[np.float32],
    kind: np.dtype[np.integer],
    *,
    levels: tuple[int, int],
    grids: Grids,
) -> tuple[NDArray[np.integer], NDArray[np.float32], NDArray[np.uint8]]:
    """Return the integers, scales and zero points of (rows, blocks, numbers).

    Each block takes that of the grids which has the smallest sum of squared errors.
    """
    best_error = np.full(blocks.shape[:2], np.inf, np.float32)
    best_scale = np.empty(blocks.shape[:2], np.float32)
    best_zero = np.empty(blocks.shape[:2], np.uint8)
    best = np.empty(blocks.shape, kind)
    for scale, zero in grids(blocks):
        rounded = blocks / scale[..., None]
        np.rint(rounded, out=rounded)
        rounded += zero[..., None]
        np.clip(rounded, *levels, out=rounded)
        restored = rounded - zero[..., None]
        restored *= scale[..., None]
        restored -= blocks
        error = np.square(restored, out=restored).sum(axis=2)
        better = error < best_error
        best_error = np.where(better, error, best_error)
        best_scale = np.where(better, scale, best_scale)
        best_zero = np.where(better, zero.astype(np.uint8), best_zero)
        best[better] = rounded[better].astype(kind)
    return best, best_scale, best_zero
