"""Devices of a farm that share a name, as the one place where packages are to run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from edgegen.choose.jobs import DeviceRef
from edgegen.choose.prepare import Place
from edgegen.core.errors import ConfigError

EXACT = ("model", "machine", "processor", "cores", "cpu_quota", "packages")
"""What devices that share a name must agree in, besides their memory."""

_MEMORY = "memory_bytes"
_MEMORY_SHARE = 0.05
"""By how much the memory of alike devices may differ: systems keep different amounts of it."""


def place_of_farm(name: str, root: str | None, places: Sequence[tuple[str, Place]]) -> Place:
    """Return what the devices called `name` are; `places` are all of them, with what names each.

    What is measured on one of them holds for all, so their addresses don't count. Raises
    ConfigError where they aren't alike.
    """
    (first_name, first), *others = places
    for other_name, other in others:
        how = difference(first, other)
        if how:
            raise ConfigError(
                f"The devices called '{name}' are not alike: {how}, {first_name} and {other_name}.",
                hint="Give devices that differ different names where their machines join: "
                """ray start … --resources '{"edgegen": 1, "device:NAME=ADDRESS": 1}'""",
            )
    known = _identity(first)
    identity = {"name": name, **{it: known.get(it) for it in (*EXACT, _MEMORY)}}
    title = first.title if known.get("model") else name
    return replace(first, title=title, device=DeviceRef(address=name, root=root, identity=identity))


def difference(one: Place, other: Place) -> str:
    """Return in what two devices differ; empty where they are alike."""
    mine, theirs = _identity(one), _identity(other)
    for name in EXACT:
        if mine.get(name) != theirs.get(name):
            return f"{name} is {mine.get(name)} and {theirs.get(name)}"
    sizes = [it for it in (mine.get(_MEMORY), theirs.get(_MEMORY)) if it is not None]
    if len(sizes) == 1 or (sizes and min(sizes) < max(sizes) * (1 - _MEMORY_SHARE)):
        return f"{_MEMORY} is {mine.get(_MEMORY)} and {theirs.get(_MEMORY)}"
    if one.targets != other.targets:
        return f"they run {', '.join(one.targets)} and {', '.join(other.targets)}"
    return ""


def _identity(place: Place) -> Mapping[str, Any]:
    return {} if place.device is None else place.device.identity
