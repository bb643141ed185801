"""The highest memory of this process and its children, sampled in a thread.

PSS counts pages of mapped files, and what processes share once. Reading it makes the kernel walk
the page tables, so the resident size, which costs next to nothing, is read all the time, and PSS
where that has grown, and now and then besides: all of it for less than a tenth of the time, in a
run of which nothing is timed. What a runtime keeps is seen for sure: the runner asks for a sample
after each load, step and phase.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path
from typing import Any, Optional

from .process_tree import TreeMemory, members, memory_of, read, resident_pages
from .sensors.jetson import NVMAP_CLIENTS, read_gpu_bytes
from .sensors.reading import parse_number

_SHORTEST_INTERVAL_S = 0.02
_PSS_SHARE = 0.06  # of the time
_LOOKING_SHARE = 0.02  # of the time, for looking for children
_STEADY_INTERVAL_S = 0.5
_GROWTH = 1.005


class MemorySampler:
    """Sample memory from `start` to `stop`; each peak is by itself, None where nobody tells it.

    ``phase`` is what is done meanwhile, as its owner says; the one of the highest PSS is told.
    """

    def __init__(self) -> None:
        self.phase: Optional[str] = None
        self.peak_phase: Optional[str] = None
        self.peak_pss_bytes: Optional[int] = None
        self.peak_anonymous_bytes: Optional[int] = None
        self.peak_file_bytes: Optional[int] = None
        self.peak_gpu_bytes: Optional[int] = None
        self.processes: Optional[int] = None
        self._clients = Path("/", NVMAP_CLIENTS)
        self._has_clients = os.access(self._clients, os.R_OK)
        self._tree = [os.getpid()]
        self._taking = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory", daemon=True)

    def start(self) -> None:
        """Begin to sample."""
        self._thread.start()

    def sample(self) -> None:
        """Take a sample now."""
        self._take(self._tree)

    def stop(self) -> dict[str, Any]:
        """End sampling and return the fields of the ``memory`` event."""
        self._stop.set()
        self._thread.join()
        return {
            "peak_pss_bytes": self.peak_pss_bytes,
            "peak_anonymous_bytes": self.peak_anonymous_bytes,
            "peak_file_bytes": self.peak_file_bytes,
            "peak_resident_bytes": _kib("/proc/self/status", "VmHWM") or _resource_peak_bytes(),
            "read_bytes": _field("/proc/self/io", "read_bytes"),
            "peak_gpu_bytes": self.peak_gpu_bytes,
            "processes": self.processes,
            "peak_phase": self.peak_phase,
        }

    def _run(self) -> None:
        tree: list[int] = []
        highest, taken, looked = 0, _Budget(_PSS_SHARE), _Budget(_LOOKING_SHARE)
        while True:
            stopping = self._stop.wait(_SHORTEST_INTERVAL_S)
            if stopping or looked.is_due():
                began_s = time.perf_counter()
                self._tree = tree = members(os.getpid())
                looked.spent(began_s)
            resident = resident_pages(tree)
            grown = resident is not None and resident > highest * _GROWTH
            steady = taken.idle_s() >= _STEADY_INTERVAL_S
            if stopping or (taken.is_due() and (grown or steady)):
                began_s = time.perf_counter()
                self._take(tree)
                taken.spent(began_s)
                highest = max(highest, resident or 0)
            if stopping:
                return

    def _take(self, tree: list[int]) -> None:
        sample = memory_of(tree)
        gpu_bytes = read_gpu_bytes(self._clients, tree) if self._has_clients else None
        with self._taking:
            if sample is not None:
                self._keep(sample)
                self.processes = max(self.processes or 0, len(tree))
            if gpu_bytes is not None:
                self.peak_gpu_bytes = _higher(self.peak_gpu_bytes, gpu_bytes)

    def _keep(self, sample: TreeMemory) -> None:
        if sample.pss_bytes > (self.peak_pss_bytes or 0):
            self.peak_phase = self.phase
        self.peak_pss_bytes = _higher(self.peak_pss_bytes, sample.pss_bytes)
        self.peak_anonymous_bytes = _higher(self.peak_anonymous_bytes, sample.anonymous_bytes)
        self.peak_file_bytes = _higher(self.peak_file_bytes, sample.file_bytes)


class _Budget:
    """Lets something that costs time happen for a share of it."""

    def __init__(self, share: float) -> None:
        self._share = share
        self._last_s = 0.0
        self._cost_s = 0.0

    def idle_s(self) -> float:
        """Return the seconds since it last happened."""
        return time.perf_counter() - self._last_s

    def is_due(self) -> bool:
        """Say whether it may happen again."""
        return self.idle_s() >= self._cost_s / self._share

    def spent(self, began_s: float) -> None:
        """Note that it happened, from ``began_s`` until now."""
        self._last_s = time.perf_counter()
        self._cost_s = self._last_s - began_s


def _higher(known: Optional[int], value: Optional[int]) -> Optional[int]:
    return known if value is None else max(known or 0, value)


def _kib(path: str, key: str) -> Optional[int]:
    value = _field(path, key)
    return None if value is None else value << 10


def _field(path: str, key: str) -> Optional[int]:
    for line in (read(path) or "").splitlines():
        name, _, value = line.partition(":")
        if name == key:
            number = parse_number(value.replace("kB", ""))
            return None if number is None else int(number)
    return None


def _resource_peak_bytes() -> Optional[int]:
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak << 10
