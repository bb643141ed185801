"""Which processors packages reach, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgegen.cli.console import Console

if TYPE_CHECKING:
    from edgegen.devices.roads import Road


def show_roads(console: Console, roads: Sequence[Road]) -> None:
    """Show roads, those of several profiles that are the same in one row."""
    profiles: dict[tuple[str, ...], list[str]] = {}
    for road in roads:
        key = (road.processor, road.target or "", road.by, road.shown)
        profiles.setdefault(key, []).append(road.profile)
    rows = [
        (processor, target or None, by, shown, ", ".join(names))
        for (processor, target, by, shown), names in profiles.items()
    ]
    columns = ("computes", "target", "by", "what was shown", "profiles")
    console.table("Where packages compute", columns, rows)
