"""Compares what was read in a picture with the scene that was asked for."""

from __future__ import annotations

from dataclasses import dataclass

from edgegen.scenes.reading import Reading
from edgegen.scenes.scene import GRID_PX, Kind, Placement, Scene

_PLACED = (Kind.PLACE, Kind.PAIR)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What of a scene is right.

    `placement` is None where the caption says nothing of places; `size` is whether each thing is as
    large as in the scene, the normal size included.
    """

    things: bool
    count: bool
    colour: bool
    size: bool
    placement: bool | None

    @property
    def all_right(self) -> bool:
        """Return whether nothing is wrong."""
        right = self.things and self.count and self.colour and self.size
        return right and self.placement is not False


def judge(scene: Scene, reading: Reading) -> Verdict:
    """Say what of a scene was found in its picture."""
    found = {placement.thing for placement in reading.placements}
    return Verdict(
        things=found == set(scene.things),
        count=len(reading.placements) == len(scene.placements),
        colour=reading.background == scene.background,
        size={item.size for item in reading.placements} == {item.size for item in scene.placements},
        placement=_in_place(scene, reading) if scene.kind in _PLACED else None,
    )


def _in_place(scene: Scene, reading: Reading) -> bool:
    """Look for each thing of a pair where it should be, and for anything where one should be."""
    return len(reading.placements) == len(scene.placements) and all(
        any(
            _near(asked, seen) and (scene.kind is Kind.PLACE or asked.thing == seen.thing)
            for seen in reading.placements
        )
        for asked in scene.placements
    )


def _near(asked: Placement, seen: Placement) -> bool:
    return max(abs(asked.x - seen.x), abs(asked.y - seen.y)) <= GRID_PX
