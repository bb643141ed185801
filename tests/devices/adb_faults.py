"""What a test may do to the stand-in device and its cable."""

from __future__ import annotations

import errno
import os
import threading
import time

from tests.devices.adb_wire import Disconnected


class Faults:
    """What is wrong with the device and its cable. A test may set it at any moment."""

    def __init__(self) -> None:
        self.silent = False
        """Connections are accepted, and nothing is ever answered: adb says "offline"."""
        self.bytes_per_s: float | None = None
        """The cable's speed, both ways together; None is as fast as it goes."""
        self.free_bytes: int | None = None
        """Room for pushed files; a command's own writes are not counted. None is all there is."""
        self._lock = threading.Lock()
        self._until_cut: dict[str, int] = {}
        self._free_at = 0.0

    def cut_after(
        self, *, received_bytes: int | None = None, sent_bytes: int | None = None
    ) -> None:
        """Drop the connection once, when the device has got or sent so many bytes from now on."""
        with self._lock:
            self._until_cut = {}
            if received_bytes is not None:
                self._until_cut["received"] = received_bytes
            if sent_bytes is not None:
                self._until_cut["sent"] = sent_bytes

    def received(self, size_bytes: int) -> None:
        """Pass a chunk from the host. Raises Disconnected where the cable is cut."""
        self._pass("received", size_bytes)

    def sent(self, size_bytes: int) -> None:
        """Pass a chunk to the host. Raises Disconnected where the cable is cut."""
        self._pass("sent", size_bytes)

    def take(self, size_bytes: int) -> None:
        """Take room for a pushed file. Raises OSError (ENOSPC) where there is none."""
        with self._lock:
            if self.free_bytes is None:
                return
            if size_bytes > self.free_bytes:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self.free_bytes -= size_bytes

    def _pass(self, direction: str, size_bytes: int) -> None:
        wait_s = 0.0
        with self._lock:
            left = self._until_cut.get(direction)
            if left is not None:
                self._until_cut[direction] = left - size_bytes
                if left < size_bytes:
                    self._until_cut = {}
                    raise Disconnected
            if self.bytes_per_s is not None:
                now = time.monotonic()
                self._free_at = max(now, self._free_at) + size_bytes / self.bytes_per_s
                wait_s = self._free_at - now
        if wait_s > 0:
            time.sleep(wait_s)
