"""The highest memory of a process tree, sampled from /proc.

The figure is the sum of PSS (proportional set size): file pages count, and what processes share
counts once. Reading it makes the kernel walk the page tables, which for a map of gigabytes takes
milliseconds. So the resident size, which costs next to nothing and is never smaller, is read all
the time, and PSS where the resident size is higher than at the last PSS reading, and now and then
besides; never for more than about three percent of the time.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from edgegen_runner.process_tree import TreeMemory, members, memory_of, read

_SHORTEST_INTERVAL_S = 0.02
_LONGEST_INTERVAL_S = 2.0
_STEADY_SHARE = 0.01  # of the time, for PSS where nothing has grown
_BURST_SHARE = 0.02  # of the time, for PSS at a new high of the resident size
_GROWTH = 1.005  # a new high is at least this much above the last one that was measured


def read_tree(pid: int) -> TreeMemory | None:
    """Return the memory of a process and its descendants now; None where /proc does not tell."""
    return memory_of(members(pid))


class PeakSampler:
    """Sample a process tree's memory in a thread until it is stopped; a context manager.

    The peaks are None before the first sample and where the system does not tell. `at_peak` is the
    moment of the highest PSS, which is never above `peak_resident_bytes`: that has no gaps in
    between.
    """

    def __init__(self, pid: int | None = None) -> None:
        self.pid = os.getpid() if pid is None else pid
        self.at_peak: TreeMemory | None = None
        self.peak_resident_bytes: int | None = None
        self.samples = 0
        self.cost_s = 0.0
        """Processor seconds that the sampling itself took."""
        self._stop = threading.Event()
        self._taking = threading.Lock()
        self._last: TreeMemory | None = None
        self._measured_high = _Resident(0, 0)
        self._thread = threading.Thread(target=self._run, name="memory", daemon=True)

    @property
    def peak_pss_bytes(self) -> int | None:
        """Return the highest sum of PSS so far."""
        return None if self.at_peak is None else self.at_peak.pss_bytes

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to sample."""
        self._thread.start()

    def stop(self) -> None:
        """Take a last sample of what is still alive, and end the thread."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    def end_lap(self) -> int | None:
        """Take a sample, and return the highest sum of PSS since the last lap or the start.

        The next lap begins with that sample. It is for stages that follow one another: a sampler
        for each of them and one for all would read the same processes twice.
        """
        with self._taking:
            began = time.thread_time()
            pids = members(self.pid)
            resident = _resident(pids) or _Resident(0, 0)
            self._take(pids, resident)
            peak_bytes = self.peak_pss_bytes
            self.at_peak = self._last
            self.peak_resident_bytes = resident.total or None
            self._measured_high = resident
            self.cost_s += time.thread_time() - began
        return peak_bytes

    def _run(self) -> None:
        started = time.monotonic()
        spent_s, last_s, cost_s = 0.0, 0.0, 0.0
        interval_s = _SHORTEST_INTERVAL_S
        while True:
            stopping = self._stop.wait(interval_s)
            with self._taking:
                began = time.thread_time()
                now_s = time.monotonic() - started
                pids = members(self.pid)
                resident = _resident(pids)
                if resident is not None:
                    self.peak_resident_bytes = max(self.peak_resident_bytes or 0, resident.total)
                    grown = resident.is_above(self._measured_high)
                    burst_is_free = spent_s + cost_s <= _BURST_SHARE * (now_s + 0.2)
                    steady_is_due = now_s - last_s >= max(0.1, cost_s / _STEADY_SHARE)
                    if stopping or (grown and burst_is_free) or steady_is_due:
                        pss_began = time.thread_time()
                        self._take(pids, resident)
                        cost_s = time.thread_time() - pss_began
                        spent_s += cost_s
                        last_s = now_s
                step_s = time.thread_time() - began
                self.cost_s += step_s
            if stopping:
                return
            cheap_s = step_s - (cost_s if last_s == now_s else 0.0)
            interval_s = min(
                max(_SHORTEST_INTERVAL_S, cheap_s / _STEADY_SHARE), _LONGEST_INTERVAL_S
            )

    def _take(self, pids: list[int], resident: _Resident) -> None:
        sample = self._last = memory_of(pids)
        if sample is None:
            return
        self._measured_high = self._measured_high.higher(resident)
        self.samples += 1
        if self.at_peak is None or sample.pss_bytes > self.at_peak.pss_bytes:
            self.at_peak = sample


@dataclass(frozen=True, slots=True)
class _Resident:
    """Resident bytes of a tree: all, and the private part (in statm: without file pages)."""

    total: int
    private: int

    def is_above(self, other: _Resident) -> bool:
        return self.total > other.total * _GROWTH or self.private > other.private * _GROWTH

    def higher(self, other: _Resident) -> _Resident:
        return _Resident(max(self.total, other.total), max(self.private, other.private))


_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def _resident(pids: list[int]) -> _Resident | None:
    total = private = 0
    for pid in pids:
        content = read(f"/proc/{pid}/statm")
        if content is None:
            continue
        fields = content.split()
        total += int(fields[1])
        private += int(fields[1]) - int(fields[2])
    return _Resident(total * _PAGE_BYTES, private * _PAGE_BYTES) if total else None
