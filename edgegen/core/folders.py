"""Where edgegen keeps what it can make again (the cache) and what it writes down (its state)."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """Return the folder of what can be made again: `$EDGEGEN_CACHE_DIR`, else the system's own.

    The folder is not created.
    """
    return _folder("EDGEGEN_CACHE_DIR", "XDG_CACHE_HOME", ".cache", "Library/Caches")


def state_folder() -> Path:
    """Return the folder of logs: `$EDGEGEN_STATE_DIR`, else the system's own.

    The folder is not created.
    """
    return _folder("EDGEGEN_STATE_DIR", "XDG_STATE_HOME", ".local/state", "Library/Logs")


def _folder(own: str, xdg: str, linux: str, macos: str) -> Path:
    if chosen := os.environ.get(own):
        return Path(chosen).expanduser()
    base = os.environ.get(xdg, "")
    if Path(base).is_absolute():  # the XDG specification: a relative path is to be ignored
        return Path(base) / "edgegen"
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else Path.home() / "AppData" / "Local") / "edgegen"
    return Path.home() / (macos if sys.platform == "darwin" else linux) / "edgegen"
