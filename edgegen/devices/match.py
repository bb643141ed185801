"""Which device profile fits what a device says of itself."""

from __future__ import annotations

from fnmatch import fnmatchcase

from edgegen.core.profile import DeviceProfile
from edgegen.devices.facts import DeviceFacts
from edgegen.devices.profiles import list_profiles

_MEMORY_SLACK = 0.25
"""Firmware and the kernel keep a part of the memory that the data sheet tells."""


def matching_profile(facts: DeviceFacts) -> DeviceProfile | None:
    """Return the profile of the device; None where no profile names its model and memory."""
    return match(facts.model, facts.memory_bytes)


def match(model: str | None, memory_bytes: int | None) -> DeviceProfile | None:
    """Return the profile whose `models` name a model, and whose memory is nearest.

    None where there is none, or where the memory is another (a board that is sold with less).
    """
    if model is None:
        return None
    found = [
        profile
        for profile in list_profiles()
        if any(fnmatchcase(model, pattern) for pattern in profile.models)
    ]
    if not found or memory_bytes is None:
        return found[0] if found else None
    near = min(found, key=lambda each: abs(each.hardware.memory_bytes - memory_bytes))
    apart = abs(near.hardware.memory_bytes - memory_bytes) / near.hardware.memory_bytes
    return near if apart <= _MEMORY_SLACK else None
