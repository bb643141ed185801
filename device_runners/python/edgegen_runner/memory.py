"""The highest memory of this process, sampled in a thread; see ``edgegen/core/memory.py``.

PSS where /proc tells it; the resident size, which is never smaller, is the kernel's own record.
"""

from __future__ import annotations

import sys
import threading
import time
from typing import Optional

_SHORTEST_INTERVAL_S = 0.02
_SHARE = 0.02  # of the time, for reading PSS: the kernel walks the page tables for it
_GROWTH = 1.005


class MemorySampler:
    """Sample PSS from `start` to `stop`; peaks are None where the system does not tell."""

    def __init__(self) -> None:
        self.peak_pss_bytes: Optional[int] = None
        self.peak_anonymous_bytes: Optional[int] = None
        self.peak_file_bytes: Optional[int] = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory", daemon=True)

    def start(self) -> None:
        """Begin to sample."""
        self._thread.start()

    def stop(self) -> dict[str, Optional[int]]:
        """End sampling and return the fields of the ``memory`` event."""
        self._stop.set()
        self._thread.join()
        return {
            "peak_pss_bytes": self.peak_pss_bytes,
            "peak_anonymous_bytes": self.peak_anonymous_bytes,
            "peak_file_bytes": self.peak_file_bytes,
            "peak_resident_bytes": _kib("/proc/self/status", "VmHWM") or _resource_peak_bytes(),
            "read_bytes": _field("/proc/self/io", "read_bytes"),
        }

    def _run(self) -> None:
        highest, last_s, cost_s = 0, 0.0, 0.0
        while True:
            stopping = self._stop.wait(_SHORTEST_INTERVAL_S)
            now_s = time.perf_counter()
            resident = _resident_pages()
            due = now_s - last_s >= cost_s / _SHARE
            grown = resident is not None and resident > highest * _GROWTH
            if stopping or (due and (grown or now_s - last_s >= 0.5)):
                self._take()
                last_s, cost_s = now_s, time.perf_counter() - now_s
                highest = max(highest, resident or 0)
            if stopping:
                return

    def _take(self) -> None:
        try:
            with open("/proc/self/smaps_rollup", encoding="ascii") as file:
                lines = file.read().splitlines()[1:]
        except OSError:
            return
        kib = {name: int(rest.split()[0]) for name, _, rest in (x.partition(":") for x in lines)}
        self.peak_pss_bytes = _higher(self.peak_pss_bytes, kib.get("Pss"))
        self.peak_anonymous_bytes = _higher(self.peak_anonymous_bytes, kib.get("Pss_Anon"))
        self.peak_file_bytes = _higher(self.peak_file_bytes, kib.get("Pss_File"))


def _higher(known_bytes: Optional[int], kib: Optional[int]) -> Optional[int]:
    if kib is None:
        return known_bytes
    return max(known_bytes or 0, kib << 10)


def _resident_pages() -> Optional[int]:
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1])
    except OSError:
        return None


def _kib(path: str, key: str) -> Optional[int]:
    value = _field(path, key)
    return None if value is None else value << 10


def _field(path: str, key: str) -> Optional[int]:
    try:
        with open(path, encoding="ascii") as file:
            for line in file:
                name, _, value = line.partition(":")
                if name == key:
                    return int(value.split()[0])
    except OSError:
        pass
    return None


def _resource_peak_bytes() -> Optional[int]:
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak << 10
