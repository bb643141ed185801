"""Which combinations a model is trained on, and which are held out to test it.

The rules look at indices only, so everyone computes the same split. A scene is held out where its
caption names a combination that is: a thing with a colour, with a count, with a place, or with
another thing. A place is held out only where a caption names it: counts and pairs that are trained
on may show a thing just where it is held out alone. What is neither trained on nor held out is left
alone: of the pairs of things, three in four.
"""

from __future__ import annotations

import zlib
from enum import StrEnum

from edgegen.scenes.scene import COLOURS, WHITE

_HELD_OUT_COLOURS = 8
_HELD_OUT_COUNTS = 6
_HELD_OUT_PLACES = 9
_PAIR_BUCKETS, _HELD_OUT_PAIRS, _TRAINED_PAIRS = 8, 1, 1

_COLOUR_ORDER = tuple(name for name in COLOURS if name != WHITE)


class Split(StrEnum):
    """What a combination is for."""

    TRAINED = "trained"
    HELD_OUT = "held-out"
    LEFT_ALONE = "left alone"


def colour_split(thing: int, colour: str) -> Split:
    """Hold out one of eight colours of each thing; white is never held out."""
    if colour == WHITE:
        return Split.TRAINED
    return _every(_HELD_OUT_COLOURS, thing + _COLOUR_ORDER.index(colour))


def count_split(thing: int, count: int) -> Split:
    """Hold out one of two, three and four for every second thing."""
    return _every(_HELD_OUT_COUNTS, thing + count)


def place_split(thing: int, place: int) -> Split:
    """Hold out one of the nine places of each thing."""
    return _every(_HELD_OUT_PLACES, thing + place)


def pair_split(first: int, second: int) -> Split:
    """Hold out an eighth of all pairs in every arrangement, and train on an eighth."""
    low, high = sorted((first, second))
    bucket = zlib.crc32(f"{low} {high}".encode()) % _PAIR_BUCKETS
    if bucket < _HELD_OUT_PAIRS:
        return Split.HELD_OUT
    return Split.TRAINED if bucket < _HELD_OUT_PAIRS + _TRAINED_PAIRS else Split.LEFT_ALONE


def _every(cycle: int, number: int) -> Split:
    return Split.HELD_OUT if number % cycle == 0 else Split.TRAINED
