"""Reads device profiles: those that ship, files of the user's own, and this machine's."""

from __future__ import annotations

from edgegen.core.named import load_named, names_in
from edgegen.core.profile import DeviceProfile
from edgegen.core.shipped import shipped
from edgegen.devices.host import HOST, host_profile


def load_profile(name_or_path: str) -> DeviceProfile:
    """Read a profile by its name or its file's path; `host` is this machine, as it is now.

    Raises ConfigError, with the nearest name, where there is no such profile.
    """
    if name_or_path == HOST:
        return host_profile()
    return load_named(
        DeviceProfile, name_or_path, shipped("profiles"), kind="profile", known=profile_names()
    )


def profile_names() -> tuple[str, ...]:
    """Return the names of all profiles: `host`, then those that ship, sorted."""
    return (HOST, *names_in(shipped("profiles")))


def list_profiles() -> tuple[DeviceProfile, ...]:
    """Read all profiles that ship; this machine's is not among them."""
    return tuple(load_profile(name) for name in names_in(shipped("profiles")))
