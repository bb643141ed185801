"""What this process's control groups allow: a container's limits, read for the host's own profile.

The lowest limit from the own group up to the top counts. The runner reads a device's in the same
way (`edgegen_runner/sensors/control_groups.py`), and the same trees test both.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from pathlib import Path

_MOST_LEVELS = 64


def cpu_quota(root: Path = Path("/")) -> float | None:
    """Return how many cores' time the groups allow, 1.5 for instance; None without a limit."""
    quotas = []
    for folder, version in _groups(root, "cpu"):
        if version == 2:
            allowed, _, period = _read(folder / "cpu.max").partition(" ")
        else:
            allowed = _read(folder / "cpu.cfs_quota_us")  # -1 is none
            period = _read(folder / "cpu.cfs_period_us")
        quota, whole = whole_number(allowed), whole_number(period)
        if quota and whole:
            quotas.append(quota / whole)
    return min(quotas, default=None)


def memory_limits(root: Path, total_bytes: int) -> list[tuple[int, int]]:
    """Return (limit, used) of each group that is limited below the machine's memory, in bytes.

    What is used is counted without the page cache that can be given back at once.
    """
    found = []
    for folder, version in _groups(root, "memory"):
        statistics = _statistics(folder / "memory.stat")
        if version == 2:
            told = [whole_number(_read(folder / name)) for name in ("memory.max", "memory.high")]
            used = whole_number(_read(folder / "memory.current"))
            cache = statistics.get("inactive_file", 0)
        else:
            told = [
                whole_number(_read(folder / "memory.limit_in_bytes")),
                statistics.get("hierarchical_memory_limit"),
            ]
            used = whole_number(_read(folder / "memory.usage_in_bytes"))
            cache = statistics.get("total_inactive_file", 0)
        # Version 1 writes "no limit" as a number near 2**63, version 2 as "max".
        limits = [limit for limit in told if limit is not None and limit < total_bytes]
        if limits:
            found.append((min(limits), max(0, (used or 0) - cache)))
    return found


def _groups(root: Path, controller: str) -> Iterator[tuple[Path, int]]:
    """Yield the folders of this process's groups with their version (1 or 2).

    In a container the path may be that of the outside: then only the top is there.
    """
    for line in _read(root / "proc/self/cgroup").splitlines():
        controllers, colon, path = line.partition(":")[2].partition(":")
        if not colon or (controllers and controller not in controllers.split(",")):
            continue
        places = (controller, controllers) if controllers else ("", "unified")
        for place in dict.fromkeys(places):
            top = root / "sys/fs/cgroup" / place
            inside = posixpath.normpath("/" + path.lstrip("/"))
            if inside.count("/") > _MOST_LEVELS:
                inside = "/"
            while inside != "/":
                yield top / inside.lstrip("/"), 1 if controllers else 2
                inside = posixpath.dirname(inside)
            yield top, 1 if controllers else 2


def _statistics(path: Path) -> Mapping[str, int]:
    pairs = (line.partition(" ") for line in _read(path).splitlines())
    return {name: value for name, _, word in pairs if (value := whole_number(word)) is not None}


def whole_number(word: str) -> int | None:
    """Return a whole number of at most 64 bits; None for anything else."""
    return int(word) if word.isdecimal() and len(word) <= 20 else None


def _read(path: Path) -> str:
    """Return a small file's text; empty where it is not there, or not for us."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except (OSError, ValueError):  # a name with NUL
        return ""
