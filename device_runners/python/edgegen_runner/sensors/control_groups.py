"""What the control groups of this process allow: processor time and memory.

A container's limits. A group's limit holds for all groups below it, so the lowest one counts. Both
versions are read: one hierarchy (2), or one for each controller (1), or both side by side.
Source: Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst, and
Documentation/scheduler/sched-bwc.rst in the Linux kernel.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, inf
from pathlib import Path
from typing import Optional

from .reading import number, parse_number, text

_ROOT = Path("/")
_MOST_LEVELS = 64
_LEAST_CORES, _MOST_CORES = 1e-3, 1e5  # the kernel's least is 1 ms a second


@dataclass(frozen=True)
class Group:
    """A control group that this process is in, for one controller."""

    folder: Path
    version: int


@dataclass(frozen=True)
class MemoryLimit:
    """The lowest limit, and the least that is left of any; both in bytes."""

    limit_bytes: int
    left_bytes: int


@dataclass(frozen=True)
class Throttling:
    """What the scheduler did to keep groups to their quotas, since they were made."""

    periods: float
    throttled_periods: float
    throttled_s: float


def groups(root: Path, controller: str) -> list[Group]:
    """Return the groups of this process for a controller (``cpu``, ``memory``), its own first.

    In a container the path may be that of the outside: then the top is its own group.
    """
    found: list[Group] = []
    for line in (text(root / "proc/self/cgroup") or "").splitlines():
        controllers, colon, path = line.partition(":")[2].partition(":")
        if not colon or (controllers and controller not in controllers.split(",")):
            continue
        version = 1 if controllers else 2
        places = (controller, controllers) if controllers else ("", "unified")
        for place in dict.fromkeys(places):
            found += [Group(folder, version) for folder in _upwards(root, place, path)]
    return list({group.folder: group for group in found}.values())


def cpu_quota(root: Path = _ROOT) -> Optional[float]:
    """Return how many cores' time the groups allow, 1.5 for instance; None without a limit."""
    quotas = [quota for group in groups(root, "cpu") if (quota := _quota(group)) is not None]
    return min(quotas) if quotas else None


def threads_within_quota(root: Path = _ROOT) -> Optional[int]:
    """Return how many threads a quota feeds, rounded up; None where it limits none."""
    quota = cpu_quota(root)
    if quota is None:
        return None
    threads = max(1, ceil(quota))
    return threads if threads < usable_cores() else None


def usable_cores() -> int:
    """Return how many cores this process may use (its affinity, a cpuset among the reasons)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def throttling(root: Path = _ROOT) -> Optional[Throttling]:
    """Return what keeping to the quotas took, all limited groups together; None without any."""
    limited = [group for group in groups(root, "cpu") if _quota(group) is not None]
    told = [_statistics(group.folder / "cpu.stat") for group in limited]
    told = [each for each in told if "nr_periods" in each]
    if not told:
        return None
    return Throttling(
        periods=sum(each["nr_periods"] for each in told),
        throttled_periods=sum(each.get("nr_throttled", 0.0) for each in told),
        throttled_s=sum(
            each.get("throttled_usec", 0.0) * 1e-6 + each.get("throttled_time", 0.0) * 1e-9
            for each in told
        ),
    )


def memory_limit(root: Path = _ROOT) -> Optional[MemoryLimit]:
    """Return the limit of memory; None where there is none below what the machine has.

    What is used is counted without the page cache that can be given back at once.
    """
    total = _memory_bytes(root)
    limits: list[tuple[int, int]] = []
    for group in groups(root, "memory"):
        statistics = _statistics(group.folder / "memory.stat")
        if group.version == 2:
            names, used_name = ("memory.max", "memory.high"), "memory.current"
            told = [number(group.folder / name) for name in names]
            cache = statistics.get("inactive_file", 0.0)
        else:
            used_name = "memory.usage_in_bytes"
            told = [
                number(group.folder / "memory.limit_in_bytes"),
                statistics.get("hierarchical_memory_limit"),  # of the groups that are not seen here
            ]
            cache = statistics.get("total_inactive_file", 0.0)
        # Version 1 writes "no limit" as a number near 2**63.
        known = [value for value in told if value is not None and 0 <= value < total]
        if known:
            used = max((number(group.folder / used_name) or 0.0) - cache, 0.0)
            limits.append((int(min(known)), int(max(min(known) - used, 0.0))))
    if not limits:
        return None
    return MemoryLimit(
        limit_bytes=min(limit for limit, _ in limits), left_bytes=min(left for _, left in limits)
    )


def _upwards(root: Path, place: str, path: str) -> Iterator[Path]:
    """Yield the folders of a group and of those above it, up to the top of its hierarchy."""
    top = root / "sys/fs/cgroup" / place
    inside = posixpath.normpath("/" + path.lstrip("/"))  # "/../x" is outside, and not seen
    if inside.count("/") > _MOST_LEVELS:
        inside = "/"
    while inside != "/":
        yield top / inside.lstrip("/")
        inside = posixpath.dirname(inside)
    yield top


def _quota(group: Group) -> Optional[float]:
    if group.version == 2:
        words = (text(group.folder / "cpu.max") or "").split()
        allowed, period = (parse_number(word) for word in [*words, "", ""][:2])
    else:
        allowed = number(group.folder / "cpu.cfs_quota_us")  # -1 is none
        period = number(group.folder / "cpu.cfs_period_us")
    if allowed is None or period is None or period <= 0:
        return None
    cores = allowed / period
    return cores if _LEAST_CORES <= cores <= _MOST_CORES else None


def _memory_bytes(root: Path) -> float:
    """Return the machine's memory; infinity where it is not told."""
    for line in (text(root / "proc/meminfo") or "").splitlines():
        name, _, size = line.partition(":")
        kib = parse_number(size.replace("kB", ""))
        if name == "MemTotal" and kib is not None:
            return kib * 1024
    return inf


def _statistics(path: Path) -> dict[str, float]:
    """Return the lines ``name number`` of a file; empty where it does not answer."""
    found: dict[str, float] = {}
    for line in (text(path) or "").splitlines():
        name, _, word = line.partition(" ")
        value = parse_number(word)
        if value is not None:
            found[name] = value
    return found
