"""Sensors of any Linux, from /sys and /proc."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Optional

from .control_groups import groups
from .reading import (
    Read,
    ReadOne,
    Values,
    celsius,
    highest,
    number,
    parse_number,
    scaled,
    sorted_paths,
    text,
    together,
    total,
)

_GPU_CLOCKS = ("*gpu*", "*ga10b*", "*gv11b*", "*gp10b*", "*mali*", "*kgsl*", "*v3d*")
_SUPPLIES = ("Battery", "Mains", "USB", "UPS", "Wireless")


def is_android(root: Path) -> bool:
    """Say whether this is Android, whose services are asked instead of its kernel."""
    return (root / "system/bin/dumpsys").exists()


def thermal_zones(root: Path) -> Optional[Read]:
    """Temperatures of the kernel's thermal zones: ``temperature_c.<zone's type>``.

    Not those of Android: there, zones of one phone differ in their units, and some are voltages.
    """
    sensors: dict[str, ReadOne] = {}
    if is_android(root):
        return None
    for zone in sorted_paths(root / "sys/class/thermal", "thermal_zone*"):
        kind = text(zone / "type") or zone.name
        name = f"temperature_c.{kind}"
        if name in sensors:  # several zones of one type
            name = f"{name}.{zone.name[len('thermal_zone') :]}"
        sensors[name] = celsius(zone / "temp")
    return together(sensors)


def hardware_monitors(root: Path) -> Optional[Read]:
    """Temperatures of the kernel's hardware monitors: ``temperature_c.<chip>.<label>``."""
    sensors: dict[str, ReadOne] = {}
    if is_android(root):
        return None
    for monitor in sorted_paths(root / "sys/class/hwmon", "hwmon*"):
        chip = text(monitor / "name") or monitor.name
        for path in sorted_paths(monitor, "temp*_input"):
            index = path.name[len("temp") : -len("_input")]
            label = text(monitor / f"temp{index}_label") or index
            name = f"temperature_c.{chip}.{label}"
            if name in sensors:  # several chips of one kind
                name = f"temperature_c.{chip}-{monitor.name}.{label}"
            sensors[name] = celsius(path)
    return together(sensors)


def power_monitors(root: Path) -> Optional[Read]:
    """Power and energy of hardware monitors: ``power_w.<chip>.<label>``, ``energy_j.…``.

    A GPU's (amdgpu), a power monitor's (ina238), AMD's energy counters where RAPL has none; not
    those of batteries and supplies, which are power_supply's.
    """
    sensors: dict[str, ReadOne] = {}
    for monitor in sorted_paths(root / "sys/class/hwmon", "hwmon*"):
        chip = text(monitor / "name") or monitor.name
        if text(monitor / "device/type") in _SUPPLIES:
            continue
        for pattern in ("power*_average", "power*_input", "energy*_input"):
            for path in sorted_paths(monitor, pattern):
                kind = path.name.partition("_")[0]
                quantity = "power_w" if kind.startswith("power") else "energy_j"
                name = f"{quantity}.{chip}.{text(monitor / f'{kind}_label') or kind}"
                if quantity == "power_w":
                    sensors.setdefault(name, scaled(path, 1e-6))
                else:
                    sensors.setdefault(name, EnergyCounter(path, None))
    return together(sensors)


def cpufreq(root: Path) -> Optional[Read]:
    """Present frequencies of the processor's clusters: ``frequency_mhz.<policy>``."""
    folder = root / "sys/devices/system/cpu/cpufreq"
    return together(
        {
            f"frequency_mhz.{policy.name}": scaled(policy / "scaling_cur_freq", 1e-3)
            for policy in sorted_paths(folder, "policy*")
        }
    )


def devfreq(root: Path) -> Optional[Read]:
    """Present frequency of a GPU in the chip: ``frequency_mhz.<device>``."""
    found = {
        device
        for pattern in _GPU_CLOCKS
        for device in sorted_paths(root / "sys/class/devfreq", pattern)
    }
    return together(
        {
            f"frequency_mhz.{device.name}": scaled(device / "cur_freq", 1e-6)
            for device in sorted(found)
        }
    )


def thermal_throttle(root: Path) -> Optional[Read]:
    """How often x86 cores were throttled since the start: the sum over cores, and packages."""
    folder = root / "sys/devices/system/cpu"
    sensors: dict[str, ReadOne] = {}
    for kind in ("core", "package"):
        files = sorted_paths(folder, f"cpu[0-9]*/thermal_throttle/{kind}_throttle_count")
        if files:
            sensors[f"throttle_count.{kind}"] = total(files)
    return together(sensors)


def cooling_devices(root: Path) -> Optional[Read]:
    """States of the kernel's cooling devices, 0 is at rest: ``cooling_state.<type>``.

    Of several devices of one type, as x86 has one for each core, the highest. Fans are among them.
    """
    files: dict[str, list[Path]] = {}
    for device in sorted_paths(root / "sys/class/thermal", "cooling_device*"):
        kind = text(device / "type") or device.name
        files.setdefault(kind, []).append(device / "cur_state")
    return together({f"cooling_state.{kind}": highest(paths) for kind, paths in files.items()})


def rapl(root: Path) -> Optional[Read]:
    """Energy that Intel's and AMD's counters saw, since the first reading: ``energy_j.<domain>``.

    Parts of a domain are named after it (``package-0.core``). The counters wrap around, at a value
    that they tell; only root may read them on most systems. AMD's are called intel-rapl too.
    """
    sensors: dict[str, ReadOne] = {}
    folder = root / "sys/class/powercap"
    for domain in sorted_paths(folder, "intel-rapl:*"):
        if os.access(domain / "energy_uj", os.R_OK):
            name = text(domain / "name") or domain.name
            parent = domain.name.rpartition(":")[0]
            if parent.count(":") == 1:
                name = f"{text(folder / parent / 'name') or parent}.{name}"
            limit_uj = number(domain / "max_energy_range_uj")
            sensors[f"energy_j.{name}"] = EnergyCounter(domain / "energy_uj", limit_uj)
    return together(sensors)


def battery(root: Path) -> Optional[Read]:
    """The battery: ``battery_percent``, ``battery_charging``, ``voltage_v.battery`` and others.

    ``power_w.battery`` is what it gives, which is what the device takes, while it discharges; None
    at other times.
    """
    if is_android(root):
        return None
    for supply in sorted_paths(root / "sys/class/power_supply", "*"):
        if text(supply / "type") == "Battery" and text(supply / "scope") != "Device":
            return lambda supply=supply: read_battery(supply)  # type: ignore[misc]
    return None


def read_battery(supply: Path) -> Values:
    """Read a battery of /sys/class/power_supply; its units are millionths."""
    state = text(supply / "status") or ""
    charging = {"Charging": 1.0, "Discharging": 0.0, "Not charging": 0.0, "Full": 0.0}.get(state)
    voltage_v = scaled(supply / "voltage_now", 1e-6)()
    current_a = scaled(supply / "current_now", 1e-6)()
    power_w = scaled(supply / "power_now", 1e-6)()
    if power_w is None and voltage_v is not None and current_a is not None:
        power_w = voltage_v * current_a
    return {
        "battery_percent": number(supply / "capacity"),
        "battery_charging": charging,
        "voltage_v.battery": voltage_v,
        "current_a.battery": current_a,
        # Drivers differ in the sign of what flows out.
        "power_w.battery": None if power_w is None or state != "Discharging" else abs(power_w),
    }


def pressure(root: Path) -> Optional[Read]:
    """Share of the last 10 s in which something waited for a resource (Linux PSI)."""
    folder = root / "proc/pressure"
    return together(
        {
            f"pressure_percent.{resource}": _Pressure(folder / resource)
            for resource in ("cpu", "io", "memory")
            if text(folder / resource)
        }
    )


def cgroup_memory(root: Path) -> Optional[Read]:
    """Memory of this process's control group, page cache included, and its highest so far."""
    for group in groups(root, "memory"):
        if group.version == 2:
            now, peak = group.folder / "memory.current", group.folder / "memory.peak"
        else:
            now = group.folder / "memory.usage_in_bytes"
            peak = group.folder / "memory.max_usage_in_bytes"
        if number(now) is not None:
            return together(
                {
                    "cgroup_memory_bytes": scaled(now, 1.0),
                    "cgroup_memory_peak_bytes": scaled(peak, 1.0),
                }
            )
    return None


def available_memory(root: Path) -> Optional[Read]:
    """Memory that the system could still give, by its own estimate."""
    path = root / "proc/meminfo"

    def read() -> Optional[float]:
        for line in (text(path) or "").splitlines():
            name, _, value = line.partition(":")
            if name == "MemAvailable":
                kib = parse_number(value.replace("kB", ""))
                return None if kib is None else kib * 1024
        return None

    return together({"available_memory_bytes": read}) if text(path) else None


class EnergyCounter:
    """Joules since the first reading, of a counter in microjoules that wraps around at a limit."""

    def __init__(self, path: Path, limit_uj: Optional[float]) -> None:
        self._path = path
        self._limit_uj = limit_uj
        self._last_uj: Optional[float] = None
        self._total_uj = 0.0
        self._lost = False

    def __call__(self) -> Optional[float]:
        """Read it; None from a step back on, where the limit is not known."""
        now_uj = number(self._path)
        if now_uj is None or self._lost:
            return None
        step_uj = now_uj - (now_uj if self._last_uj is None else self._last_uj)
        if step_uj < 0:
            self._lost = not self._limit_uj
            step_uj += self._limit_uj or 0.0
        self._last_uj = now_uj
        self._total_uj += step_uj
        return None if self._lost else self._total_uj * 1e-6


class _Pressure:
    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self) -> Optional[float]:
        for part in (text(self._path) or "").split():
            if part.startswith("avg10="):
                return parse_number(part[len("avg10=") :])
        return None
