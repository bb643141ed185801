"""A scene: which things stand where, how large, and on what colour, with what one calls it.

Every thing stands on a grid of 8 pixels in a picture of 64, so that an autoencoder that reduces by
8 sees it in one way only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

PICTURE_PX = 64
BIG_PX, NORMAL_PX, SMALL_PX = 64, 48, 32
"""The sizes of a thing: filling the picture, alone with a margin, and one of several."""
GRID_PX = 8
"""What every thing's corner is a multiple of."""
NORMAL_CORNER_PX = (PICTURE_PX - NORMAL_PX) // 2
"""From the left and from above: where a thing of the normal size begins, which is centered."""
SMALL_CORNERS_PX = (0, (PICTURE_PX - SMALL_PX) // 2, PICTURE_PX - SMALL_PX)
"""From the left or from above: where a small thing can begin; the second is the middle."""

Rgb = tuple[int, int, int]

WHITE = "white"
COLOURS: Mapping[str, Rgb] = {
    WHITE: (255, 255, 255),
    "red": (229, 57, 53),
    "orange": (251, 140, 0),
    "yellow": (253, 216, 53),
    "green": (67, 160, 71),
    "blue": (30, 136, 229),
    "purple": (142, 36, 170),
    "pink": (244, 143, 177),
    "gray": (158, 158, 158),
}
"""Backgrounds. White is that of a caption that names none."""


class Kind(StrEnum):
    """What a caption says beside the thing's name, the background apart."""

    SINGLE = "single"
    SIZE = "size"
    PLACE = "place"
    COUNT = "count"
    PAIR = "pair"


@dataclass(frozen=True, slots=True)
class Placement:
    """A thing (its index) in a picture: its upper left corner and its size, in pixels."""

    thing: int
    x: int
    y: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A picture's contents and its captions, the plainest first.

    `unplaced` says that the captions leave open where the things stand, and so this scene's places
    are one choice of several.
    """

    kind: Kind
    background: str
    placements: tuple[Placement, ...]
    captions: tuple[str, ...]
    unplaced: bool = False

    @property
    def things(self) -> tuple[int, ...]:
        """Return the indices of what stands in it, each once, in the caption's order."""
        return tuple(dict.fromkeys(placement.thing for placement in self.placements))
