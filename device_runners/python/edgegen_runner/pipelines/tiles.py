"""A picture is decoded in tiles, so that the decoder's results are those of a tile.

Tiles overlap by a third and more, and where they do one fades into the other.
Source: diffusers' AutoencoderKL.tiled_decode, with a wider overlap.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def decode_in_tiles(decode: Callable[[Array], Array], latents: Array, side: int) -> Array:
    """Return what ``decode`` makes of latents, (1, channels, height, width), from square tiles.

    ``side`` is that of a tile, in latents. All tiles have one size, as a runtime plans for it.
    """
    height, width = latents.shape[2:]
    rows, columns = min(side, height), min(side, width)
    picture = weights = np.zeros(0, np.float32)
    for top in starts(height, rows):
        for left in starts(width, columns):
            tile = decode(
                np.ascontiguousarray(latents[:, :, top : top + rows, left : left + columns])
            )
            factor = tile.shape[2] // rows
            if not picture.size:
                size = (height * factor, width * factor)
                picture = np.zeros((*tile.shape[:2], *size), np.float32)
                weights = np.zeros(size, np.float32)
            fade = np.outer(
                _fade(top, rows, height, factor), _fade(left, columns, width, factor)
            ).astype(np.float32)
            place = (
                slice(top * factor, (top + rows) * factor),
                slice(left * factor, (left + columns) * factor),
            )
            picture[(..., *place)] += tile * fade
            weights[place] += fade
    picture /= weights
    return picture


def starts(length: int, side: int) -> list[int]:
    """Return where tiles begin that cover a length evenly and overlap by at least a third.

    >>> starts(64, 32)
    [0, 16, 32]
    >>> starts(64, 40)
    [0, 24]
    >>> starts(20, 32)
    [0]
    """
    room = length - side
    if room <= 0:
        return [0]
    steps = math.ceil(room / max(1, side - math.ceil(side / 3)))
    return [round(room * number / steps) for number in range(steps + 1)]


def _fade(start: int, side: int, length: int, factor: int) -> Array:
    """Return how much a tile counts along an axis: all at the picture's edges, less at its own."""
    ramp = np.arange(1, side * factor // 2 + 1) / (side * factor // 2 + 1)
    weights = np.ones(side * factor)
    if start > 0:
        weights[: len(ramp)] = ramp
    if start + side < length:
        weights[-len(ramp) :] = ramp[::-1]
    return weights
