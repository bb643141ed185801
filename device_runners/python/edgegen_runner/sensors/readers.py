"""What the machine says of itself while it works; every sensor is optional.

A reader finds its sensors below a root and returns one function that reads them all, so that one
command or one file serves many values. Names are ``<quantity_unit>.<name>``. A sensor that does not
exist has no name; one that does not answer is None. Nothing here needs numpy.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

from ..events import Emit
from . import android, jetson, limits, linux, macos, raspberry_pi
from .reading import Find, Read, Values

_ROOT = Path("/")
_LONGEST_STOP_S = 5.0

READERS: dict[str, Find] = {
    "thermalservice": android.thermal_service,
    "android_battery": android.battery,
    "battery_saver": android.battery_saver,
    "vcgencmd": raspberry_pi.firmware,
    "pmic": raspberry_pi.power_rails,
    "rpi_volt": raspberry_pi.under_voltage,
    "ina3221": jetson.power_rails,
    "soctherm_oc": jetson.over_current,
    "nvpmodel": jetson.power_mode,
    "nvmap": jetson.gpu_memory,
    "thermal_zone": linux.thermal_zones,
    "hwmon": linux.hardware_monitors,
    "hwmon_power": linux.power_monitors,
    "cpufreq": linux.cpufreq,
    "clock_limit": limits.clock_limit,
    "cgroup_cpu": limits.control_group,
    "devfreq": linux.devfreq,
    "throttle_count": linux.thermal_throttle,
    "cooling": linux.cooling_devices,
    "rapl": linux.rapl,
    "battery": linux.battery,
    "pressure": linux.pressure,
    "cgroup_memory": linux.cgroup_memory,
    "available_memory": linux.available_memory,
    "pmset": macos.speed_limit,
    "low_power_mode": macos.low_power_mode,
    "powermetrics": macos.power,
    "thermal_pressure": macos.thermal_pressure,
    "memory_level": macos.memory_level,
}
"""Name of a reader, as profiles list them -> the function that finds its sensors.

Where two readers give the same name, the first one counts.
"""


@dataclass(frozen=True)
class Group:
    """Sensors that are read together: those of one reader that answered when they were found."""

    reader: str
    names: tuple[str, ...]
    read: Read


def find_sensors(root: Path = _ROOT, readers: Iterable[str] = tuple(READERS)) -> list[Group]:
    """Return the sensors below ``root`` that answer now, in the order of the readers."""
    groups: list[Group] = []
    taken: set[str] = set()
    for reader in readers:
        read = READERS[reader](root)
        values = {} if read is None else read()
        names = tuple(name for name, value in values.items() if value is not None)
        names = tuple(name for name in names if name not in taken)
        if read is not None and names:
            groups.append(Group(reader, names, read))
            taken.update(names)
    return groups


def read_all(groups: Iterable[Group]) -> Values:
    """Return each sensor's value now."""
    found: Values = {}
    for group in groups:
        values = group.read()
        found.update((name, values.get(name)) for name in group.names)
    return found


def take_sample(groups: Iterable[Group]) -> dict[str, Any]:
    """Return the fields of a ``sample`` event: the values, and the seconds that reading took."""
    began_s = time.perf_counter()
    values = read_all(groups)
    return {"values": values, "cost_s": time.perf_counter() - began_s}


class SensorThread:
    """Emit a ``sample`` event at an interval, the first at once.

    The schedule is fixed: reading does not shift the next sample, and one that comes too late is
    left out, not made up for.
    """

    def __init__(self, interval_s: float, emit: Emit, root: Path = _ROOT) -> None:
        self._interval_s = interval_s
        self._emit = emit
        self._root = root
        self._stop = threading.Event()
        self._is_left_behind = False
        self._thread = threading.Thread(target=self._run, name="sensors", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Emit a last sample and end; a sensor that hangs is left behind after 5 s."""
        self._stop.set()
        self._thread.join(_LONGEST_STOP_S)
        self._is_left_behind = True

    def _run(self) -> None:
        groups = find_sensors(self._root)
        started_s = time.perf_counter()
        number = 0
        while True:
            self._tell(groups)
            passed_s = time.perf_counter() - started_s
            number = max(number + 1, ceil(passed_s / self._interval_s))
            if self._stop.wait(max(0.0, number * self._interval_s - passed_s)):
                self._tell(groups)
                return

    def _tell(self, groups: Iterable[Group]) -> None:
        fields = take_sample(groups)
        if not self._is_left_behind:  # the job may have ended meanwhile
            self._emit("sample", **fields)
