"""What the runner says of itself and of the machine in its first event."""

from __future__ import annotations

import os
import platform
import time
from typing import Any, Optional

import numpy as np

from . import __version__
from .arithmetic import ARITHMETICS
from .backends import Backend
from .protocol import SCHEMA
from .sensors.control_groups import usable_cores
from .sensors.reading import parse_number


def hello(backend: Backend, started: float) -> dict[str, Any]:
    """Return the fields of the ``hello`` event.

    ``started`` is when the runner's code began, the interpreter's own start left out; ``process``
    is when the process began, where the system tells it.
    """
    return {
        "schema": SCHEMA,
        "runner_version": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "runtime": {
            "name": backend.name,
            "version": backend.version,
            "providers": list(backend.available_providers),
            "arithmetics": [name for name in ARITHMETICS if name not in backend.arithmetic_gaps],
        },
        "platform": {
            "system": platform.system(),
            "release": platform.release(),
            "machine": platform.machine(),
            "cpu": _cpu(),
            "cores": usable_cores(),
            "memory_bytes": _memory_bytes(),
        },
        "pid": os.getpid(),
        "started": started,
        "process": _process_start(),
    }


def _process_start() -> Optional[float]:
    """Return when this process began, on the clock of the events; to 10 ms, as Linux tells it.

    Source: proc_pid_stat(5), field 22, in clock ticks since the system's start.
    """
    try:
        with open("/proc/self/stat", encoding="ascii", errors="replace") as file:
            ticks = int(file.read().rpartition(")")[2].split()[19])
        age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return None
    return time.perf_counter() - age_s if 0 <= age_s < 3600 else None


def _cpu() -> Optional[str]:
    """Return the processor's name, or the board's where the processor has none (Arm)."""
    for path, key in (("/proc/cpuinfo", "model name"), ("/proc/cpuinfo", "Model")):
        value = _line(path, key)
        if value is not None:
            return value
    try:
        with open("/proc/device-tree/model", encoding="utf-8", errors="replace") as file:
            return file.read().strip("\0\n ") or None
    except OSError:
        return platform.processor() or None


def _memory_bytes() -> Optional[int]:
    kib = parse_number((_line("/proc/meminfo", "MemTotal") or "").replace("kB", ""))
    if kib is not None:
        return int(kib) << 10
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return None


def _line(path: str, key: str) -> Optional[str]:
    """Return the value of the first ``key: value`` line of a file."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                name, _, value = line.partition(":")
                if name.strip() == key and value.strip():
                    return value.strip()
    except OSError:
        pass
    return None
