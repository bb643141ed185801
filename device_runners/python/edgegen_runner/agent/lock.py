"""One host at a time: a lock of the system's, which ends with the process that holds it."""

from __future__ import annotations

import fcntl
import json
import os
from typing import Any, Optional

from .failure import AgentFailure
from .paths import Folders


class DeviceLock:
    """The lock of a device's folder. A dead owner does not hold it: the kernel let go of it."""

    def __init__(self, folders: Folders) -> None:
        self._folders = folders
        self._descriptor: Optional[int] = None

    def take(self, owner: dict[str, Any]) -> dict[str, Any]:
        """Take the lock for an owner, who is written into it.

        Raises AgentFailure (busy) that names the owner who has it.
        """
        if self._descriptor is not None:
            return {}
        self._folders.root.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._folders.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            other = _read(descriptor)
            os.close(descriptor)
            raise AgentFailure("busy", other or "an owner that has not written its name") from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(owner).encode("utf-8"), 0)
        self._descriptor = descriptor
        return {}

    def release(self) -> None:
        """Let go of the lock, if it is held."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None


def _read(descriptor: int) -> str:
    try:
        owner = json.loads(os.pread(descriptor, 1 << 12, 0).decode("utf-8"))
        return f"{owner['user']} on {owner['host']}, since {owner['since']}, for: {owner['for']}"
    except (ValueError, KeyError, TypeError, OSError):
        return ""
