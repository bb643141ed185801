"""What the machine says of itself while it works; every sensor is optional.

A reader is a function that finds its sensors and returns, for each, a function that reads it. Units
are in the names. A sensor that does not exist has no key; one that does not answer is None.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Callable, Optional

from .residency import Emit

Read = Callable[[], Optional[float]]
Sensors = dict[str, Read]

_ROOT = Path("/")


def thermal_zones(root: Path) -> Sensors:
    """Temperatures of the kernel's thermal zones: ``temperature_c.<zone's type>``."""
    sensors: Sensors = {}
    for zone in _sorted(root / "sys/class/thermal", "thermal_zone*"):
        kind = _text(zone / "type") or zone.name
        name = f"temperature_c.{kind}"
        if name in sensors:  # several zones of one type
            name = f"{name}.{zone.name[len('thermal_zone') :]}"
        sensors[name] = _scaled(zone / "temp", 1e-3)
    return sensors


def hardware_monitors(root: Path) -> Sensors:
    """Temperatures of the kernel's hardware monitors: ``temperature_c.<chip>.<label>``."""
    sensors: Sensors = {}
    for monitor in _sorted(root / "sys/class/hwmon", "hwmon*"):
        chip = _text(monitor / "name") or monitor.name
        for path in _sorted(monitor, "temp*_input"):
            number = path.name[len("temp") : -len("_input")]
            label = _text(monitor / f"temp{number}_label") or number
            name = f"temperature_c.{chip}.{label}"
            if name in sensors:  # several chips of one kind
                name = f"temperature_c.{chip}-{monitor.name}.{label}"
            sensors[name] = _scaled(path, 1e-3)
    return sensors


def cpufreq(root: Path) -> Sensors:
    """Present frequencies of the processor's clusters: ``frequency_mhz.<policy>``."""
    folder = root / "sys/devices/system/cpu/cpufreq"
    return {
        f"frequency_mhz.{policy.name}": _scaled(policy / "scaling_cur_freq", 1e-3)
        for policy in _sorted(folder, "policy*")
    }


def thermal_throttle(root: Path) -> Sensors:
    """How often x86 cores were throttled since the start: the sum over cores, and packages."""
    folder = root / "sys/devices/system/cpu"
    sensors: Sensors = {}
    for kind in ("core", "package"):
        files = _sorted(folder, f"cpu[0-9]*/thermal_throttle/{kind}_throttle_count")
        if files:
            sensors[f"throttle_count.{kind}"] = _total(files)
    return sensors


def rapl(root: Path) -> Sensors:
    """Energy that Intel's and AMD's counters saw, since the first reading: ``energy_j.<domain>``.

    They wrap around, at a value that they tell; only root may read them on most systems.
    """
    sensors: Sensors = {}
    for domain in _sorted(root / "sys/class/powercap", "intel-rapl:*"):
        if domain.name.count(":") == 1 and os.access(domain / "energy_uj", os.R_OK):
            sensors[f"energy_j.{_text(domain / 'name') or domain.name}"] = _counter(domain)
    return sensors


def pressure(root: Path) -> Sensors:
    """Share of the last 10 s in which something waited for a resource (Linux PSI)."""
    sensors: Sensors = {}
    for resource in ("cpu", "io", "memory"):
        path = root / "proc/pressure" / resource
        if _text(path):
            sensors[f"pressure_percent.{resource}"] = _pressure(path)
    return sensors


def cgroup_memory(root: Path) -> Sensors:
    """Memory of this process's control group, page cache included (cgroup v2)."""
    for line in (_text(root / "proc/self/cgroup") or "").splitlines():
        if line.startswith("0::"):
            folder = root / "sys/fs/cgroup" / line[3:].lstrip("/")
            path = folder / "memory.current"
            return {"cgroup_memory_bytes": _scaled(path, 1.0)} if _text(path) else {}
    return {}


def available_memory(root: Path) -> Sensors:
    """Memory that the system could still give, by its own estimate."""
    path = root / "proc/meminfo"
    return {"available_memory_bytes": _available(path)} if _text(path) else {}


READERS: dict[str, Callable[[Path], Sensors]] = {
    "thermal_zone": thermal_zones,
    "hwmon": hardware_monitors,
    "cpufreq": cpufreq,
    "throttle_count": thermal_throttle,
    "rapl": rapl,
    "pressure": pressure,
    "cgroup_memory": cgroup_memory,
    "available_memory": available_memory,
}
"""Name of a reader, as profiles list them -> the function that finds its sensors."""


def find_sensors(root: Path = _ROOT) -> Sensors:
    """Return the sensors of this machine that answer now."""
    found: Sensors = {}
    for reader in READERS.values():
        found.update(reader(root))
    return {name: read for name, read in found.items() if read() is not None}


def read_all(sensors: Mapping[str, Read]) -> dict[str, Optional[float]]:
    """Return each sensor's value now."""
    return {name: read() for name, read in sensors.items()}


class SensorThread:
    """Emit a ``sample`` event at an interval, the first at once."""

    def __init__(self, interval_s: float, emit: Emit) -> None:
        self._interval_s = interval_s
        self._emit = emit
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sensors", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Emit a last sample and end."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        sensors = find_sensors()
        while True:
            self._emit("sample", values=read_all(sensors))
            if self._stop.wait(self._interval_s):
                self._emit("sample", values=read_all(sensors))
                return


def _sorted(folder: Path, pattern: str) -> list[Path]:
    return sorted(folder.glob(pattern), key=lambda path: (len(path.name), path.as_posix()))


def _text(path: Path) -> Optional[str]:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return None


def _number(path: Path) -> Optional[float]:
    try:
        return float(_text(path) or "")
    except ValueError:
        return None


def _scaled(path: Path, factor: float) -> Read:
    def read() -> Optional[float]:
        value = _number(path)
        return None if value is None else value * factor

    return read


def _total(files: list[Path]) -> Read:
    def read() -> Optional[float]:
        values = [value for value in map(_number, files) if value is not None]
        return sum(values) if values else None

    return read


def _counter(domain: Path) -> Read:
    wrap_uj = _number(domain / "max_energy_range_uj") or 0.0
    state: dict[str, float] = {"total": 0.0}

    def read() -> Optional[float]:
        now_uj = _number(domain / "energy_uj")
        if now_uj is None:
            return None
        step_uj = now_uj - state.get("last", now_uj)
        state["total"] += step_uj + (wrap_uj if step_uj < 0 else 0.0)
        state["last"] = now_uj
        return state["total"] * 1e-6

    return read


def _pressure(path: Path) -> Read:
    def read() -> Optional[float]:
        for part in (_text(path) or "").split():
            if part.startswith("avg10="):
                return float(part[len("avg10=") :])
        return None

    return read


def _available(path: Path) -> Read:
    def read() -> Optional[float]:
        for line in (_text(path) or "").splitlines():
            if line.startswith("MemAvailable:"):
                return float(line.split()[1]) * 1024
        return None

    return read
