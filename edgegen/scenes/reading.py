"""Reads a picture: its background, and which things stand where, by matching every thing's picture.

There is nothing trained in it. A hypothesis (a background and things at places) explains a picture
as far as the picture drawn from it is near, in squared error; the nearest hypothesis wins. Things
are tried alone, big and normal, and as small ones, the best first, on the grid that scenes use.
`tests/scenes/test_reading.py` states how often it is right on pictures that are known.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from edgegen.scenes.render import Floats, sprites
from edgegen.scenes.scene import (
    BIG_PX,
    COLOURS,
    GRID_PX,
    NORMAL_CORNER_PX,
    NORMAL_PX,
    PICTURE_PX,
    SMALL_PX,
    Placement,
)

MOST_THINGS = 4

_BACKGROUNDS_TRIED = 3
_RING_PX = 4
_LEAST_EXPLAINED = 0.35
"""A thing is there where it takes away at least so much of the energy that its picture has."""
_MOST_LEFT = 3 * 55.0**2
"""In squared levels per pixel: what a thing may leave unexplained there, lest mush be read."""
_COST_OF_A_THING = SMALL_PX * SMALL_PX * 3 * 6.0**2
"""In squared levels: what one thing more must explain, lest noise be read as things."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read: the background's name, and what stands where; nothing where all is mush."""

    background: str
    placements: tuple[Placement, ...]


def read_picture(pixels: NDArray[np.uint8]) -> Reading:
    """Read a picture of (64, 64, 3)."""
    picture = pixels.astype(np.float32)
    hypotheses = [_explain(picture, background) for background in _likely_backgrounds(picture)]
    _, reading = min(hypotheses, key=lambda pair: pair[0])
    return reading


def _likely_backgrounds(picture: Floats) -> list[str]:
    """Return the colours that most of the border's pixels are nearest to."""
    inner = slice(_RING_PX, -_RING_PX)
    is_ring = np.ones((PICTURE_PX, PICTURE_PX), bool)
    is_ring[inner, inner] = False
    colours = np.array(list(COLOURS.values()), np.float32)
    distances = np.square(picture[is_ring][:, None] - colours).sum(-1)
    votes = np.bincount(distances.argmin(1), minlength=len(colours))
    order = np.argsort(-votes, kind="stable")[:_BACKGROUNDS_TRIED]
    names = list(COLOURS)
    return [names[index] for index in order if votes[index]]


def _explain(picture: Floats, background: str) -> tuple[float, Reading]:
    """Return what the best hypothesis on a background leaves unexplained, and that hypothesis."""
    rest = picture - _colour(background)
    everything = float(np.square(rest).sum())
    found = [
        _alone(rest, background, BIG_PX, 0),
        _alone(rest, background, NORMAL_PX, NORMAL_CORNER_PX),
        _small_ones(rest, background),
    ]
    gain, placements = max(found, key=lambda pair: pair[0])
    return everything - gain, Reading(background, placements)


def _alone(
    rest: Floats, background: str, size: int, corner: int
) -> tuple[float, tuple[Placement, ...]]:
    gains, is_there = _gains(rest, background, size, [(corner, corner)])
    thing = int(gains[0].argmax())
    if not is_there[0, thing]:
        return 0.0, ()
    return float(gains[0, thing]) - _COST_OF_A_THING, (Placement(thing, corner, corner, size),)


def _small_ones(rest: Floats, background: str) -> tuple[float, tuple[Placement, ...]]:
    """Take the small thing that explains most, and look on beside it."""
    steps = range(0, PICTURE_PX - SMALL_PX + 1, GRID_PX)
    corners = [(x, y) for y in steps for x in steps]
    gains, is_there = _gains(rest, background, SMALL_PX, corners)
    gains = np.where(is_there, gains - _COST_OF_A_THING, -np.inf)
    total = 0.0
    placements: list[Placement] = []
    while len(placements) < MOST_THINGS:
        corner, thing = np.unravel_index(int(gains.argmax()), gains.shape)
        if not gains[corner, thing] > 0:
            break
        x, y = corners[corner]
        total += float(gains[corner, thing])
        placements.append(Placement(int(thing), x, y, SMALL_PX))
        overlaps = [abs(x - a) < SMALL_PX and abs(y - b) < SMALL_PX for a, b in corners]
        gains[overlaps] = -np.inf
    return total, tuple(placements)


def _gains(
    rest: Floats, background: str, size: int, corners: list[tuple[int, int]]
) -> tuple[Floats, NDArray[np.bool_]]:
    """Return how much squared error each thing takes away at each corner, and where it is there.

    `rest` is the picture less its background. The shapes are (corners, things).
    """
    templates, energies = _templates(background, size)
    regions = np.stack([rest[y : y + size, x : x + size].reshape(-1) for x, y in corners])
    gains = 2 * regions @ templates.T - energies
    left = np.square(regions).sum(1)[:, None] - gains
    is_there = (gains >= _LEAST_EXPLAINED * energies) & (left <= _MOST_LEFT * size * size)
    return gains, is_there


@cache
def _templates(background: str, size: int) -> tuple[Floats, Floats]:
    colour, alpha = sprites(size)
    templates = (colour - alpha * _colour(background)).reshape(len(colour), -1)
    return templates, np.square(templates).sum(1)


def _colour(background: str) -> Floats:
    return np.array(COLOURS[background], np.float32)
