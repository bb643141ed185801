"""What this machine is: its profile, probed from what the system says."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from edgegen_runner.runtimes import of_target

from edgegen.core.errors import DeviceError
from edgegen.core.profile import (
    DeviceKind,
    DeviceProfile,
    Hardware,
    OperatingSystem,
    RuntimeOptions,
    Source,
    Thermal,
)
from edgegen.core.targets import load_targets
from edgegen.core.units import format_bytes
from edgegen.devices.control_groups import cpu_quota, memory_limits, whole_number
from edgegen.devices.sensors import sensors_here

HOST = "host"
"""The name of the profile that is probed rather than read."""

_CPU_ZONES = ("cpu-thermal", "cpu_thermal", "tj-thermal", "soc-thermal")


@dataclass(frozen=True, slots=True, kw_only=True)
class HostMemory:
    """Memory as the system tells it; None is what it does not tell.

    `limit_bytes` is the lowest limit of the control groups that this process is in, and
    `limit_left_bytes` what is left of it.
    """

    total_bytes: int
    available_bytes: int | None
    limit_bytes: int | None = None
    limit_left_bytes: int | None = None

    @property
    def usable_bytes(self) -> int:
        """Return what a new process may take now; all of the memory where nobody says."""
        known = (self.available_bytes, self.limit_left_bytes)
        return min((value for value in known if value is not None), default=self.total_bytes)


def host_profile(root: Path = Path("/")) -> DeviceProfile:
    """Probe this machine. `root` is where its /proc and /sys are.

    Raises DeviceError where the system does not even say how much memory it has.
    """
    memory = read_memory(root)
    cpu = read_cpu_info(root)
    board = _read(root / "proc/device-tree/model").strip("\0\n ")
    chip = cpu.get("model name") or cpu.get("Hardware") or platform.processor() or "unknown"
    cores = usable_cores()
    hypervisor = is_virtual(root, cpu)
    notes = []
    if hypervisor:
        notes.append("A virtual machine: it has no sensors, and its neighbours' load is unseen.")
    if memory.limit_bytes is not None:
        notes.append(f"A control group limits its memory to {format_bytes(memory.limit_bytes)}.")
    quota = cpu_quota(root)
    if quota is not None:
        notes.append(
            f"A control group gives it {quota:g} cores' time: runners take no more threads."
        )
    figures = ("soc", "cpu", "cores", "memory_bytes", "application_memory_bytes", "architecture")
    return DeviceProfile(
        name=HOST,
        title=f"This machine: {board or chip}",
        kind=_kind(root, board),
        os=_operating_system(),
        architecture=platform.machine(),
        hardware=Hardware(
            soc=board or chip,
            cpu=f"{cores} × {chip}",
            cores=cores,
            memory_bytes=memory.total_bytes,
            gpu="NVIDIA" if has_nvidia_driver(root) else None,
        ),
        application_memory_bytes=memory.usable_bytes,
        runtimes=tuple(_runtimes()),
        sensors=sensors_here(root),
        thermal=_thermal(root),
        sources=(Source(figures=figures, title="Read from this machine's system, just now"),),
        notes=" ".join(notes),
    )


def _runtimes() -> Iterator[RuntimeOptions]:
    """Yield the first runtime of each target that this system can have, used as is usual."""
    for target in load_targets().values():
        runtime = next((each for each in of_target(target.name) if each.can_be_here), None)
        if runtime is not None:
            yield RuntimeOptions(
                target=target.name,
                package=runtime.name,
                recipe=target.default_recipe,
                shapes=target.shapes[0],
            )


def usable_cores() -> int:
    """Return how many cores this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def read_memory(root: Path = Path("/")) -> HostMemory:
    """Read the machine's memory and the limit of this process's control groups.

    Raises DeviceError where the system does not say how much memory there is.
    """
    fields = dict(
        line.split(":", 1) for line in _read(root / "proc/meminfo").splitlines() if ":" in line
    )

    def size(name: str) -> int | None:
        kib = whole_number(fields.get(name, "").removesuffix(" kB").strip())
        return None if kib is None else kib * 1024

    total = size("MemTotal")
    if total is None and hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if total is None:
        raise DeviceError(
            "This system does not say how much memory it has.",
            hint="Write a profile for it (docs/guides/adding.md), and pass it with --profile.",
        )
    limits = memory_limits(root, total)
    return HostMemory(
        total_bytes=total,
        available_bytes=size("MemAvailable"),
        limit_bytes=min((limit for limit, _ in limits), default=None),
        limit_left_bytes=min((max(limit - used, 0) for limit, used in limits), default=None),
    )


def read_cpu_info(root: Path = Path("/")) -> Mapping[str, str]:
    """Return the fields of the first processor in /proc/cpuinfo; empty where there is none."""
    fields: dict[str, str] = {}
    for line in _read(root / "proc/cpuinfo").splitlines():
        name, colon, value = line.partition(":")
        if colon:
            fields.setdefault(name.strip(), value.strip())
    return fields


def is_virtual(root: Path, cpu: Mapping[str, str]) -> bool:
    """Say whether this is a virtual machine (or a container in one)."""
    return "hypervisor" in cpu.get("flags", "").split() or (root / "proc/xen").exists()


def has_nvidia_driver(root: Path = Path("/")) -> bool:
    """Say whether NVIDIA's kernel driver is loaded."""
    return (root / "proc/driver/nvidia/version").exists() or (root / "dev/nvhost-gpu").exists()


def _thermal(root: Path) -> Thermal:
    for zone in sorted(root.glob("sys/class/thermal/thermal_zone*")):
        if _read(zone / "type").strip() not in _CPU_ZONES:
            continue
        points: dict[str, float] = {}
        for kind in sorted(zone.glob("trip_point_*_type")):
            value = whole_number(_read(zone / kind.name.replace("_type", "_temp")).strip())
            if value:
                points.setdefault(_read(kind).strip(), value / 1000)
        return Thermal(throttle_c=points.get("passive"), critical_c=points.get("critical"))
    return Thermal()


def _kind(root: Path, board: str) -> DeviceKind:
    if board:
        return "board"
    if any(root.glob("sys/class/power_supply/BAT*")):
        return "laptop"
    return "desktop"


def _operating_system() -> OperatingSystem:
    systems: dict[str, OperatingSystem] = {"darwin": "macos", "win32": "windows"}
    return systems.get(sys.platform, "linux")


def _read(path: Path) -> str:
    """Return a small file's text; empty where it is not there, or not for us."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
