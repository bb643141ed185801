"""Which folder edgegen uses on a device: the user may choose one, and it is remembered."""

from __future__ import annotations

import os
import posixpath
import shlex
from collections.abc import Mapping

from edgegen.core.errors import ConfigError, DeviceError
from edgegen.devices.known import remembered_root

ROOT_VARIABLE = "EDGEGEN_ROOT"
"""The environment variable with the folder for all devices but this machine."""

LOCAL = "local"

UNFIT: Mapping[str, str] = {
    "noexec": "that is mounted noexec: no program and no library in it may be used",
    "nolinks": "without links (exFAT, FAT): versions of packages and environments are made of them",
}
"""What a device says of its folder's file system, and what that means."""


def root_for(address: str, chosen: str | None = None) -> str | None:
    """Return the folder that the user wants on a device; None where its transport's own will do.

    What is `chosen` for this command goes first, then EDGEGEN_ROOT, then what was used there
    before. Raises ConfigError for what is no folder's place.
    """
    if chosen is None and address != LOCAL:
        chosen = os.environ.get(ROOT_VARIABLE) or remembered_root(address)
    return None if chosen is None else _checked(chosen)


def unfit(address: str, root: str, why: str) -> DeviceError:
    """Return the error for a folder that cannot hold what edgegen puts there; see `UNFIT`."""
    return DeviceError(
        f"{address}: {root} is on a file system {UNFIT[why]}.",
        hint="Choose a folder elsewhere, which is remembered: edgegen devices setup "
        f"{shlex.quote(address)} --root /var/tmp/edgegen",
    )


def _checked(root: str) -> str:
    path = posixpath.normpath(root) if root else root
    inside = path.removeprefix("~/") if path.startswith("~/") else path.lstrip("/")
    if not path.startswith(("/", "~/")) or not inside or not path.isprintable():
        raise ConfigError(
            f"{root!r} is no folder for edgegen on a device.",
            hint="Give an absolute path there, or one below the home: /mnt/ssd/edgegen, ~/edgegen.",
        )
    return path
