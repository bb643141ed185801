"""The kinds of sensors that a profile may name, and which of them this machine has."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorKind:
    """Where a sensor's readings come from.

    `files` are patterns below the root of the file system: the sensor is there where one of them
    is a readable file. `program` is looked for on PATH. A kind with neither is read on the device
    by other means (an app, a debugging bridge).
    """

    description: str
    files: tuple[str, ...] = ()
    program: str | None = None


MEASURES: Mapping[str, frozenset[str]] = {
    "temperature": frozenset(
        {"thermal_zone", "hwmon", "vcgencmd", "thermalservice", "powermetrics", "thermal_state"}
    ),
    "clock rate": frozenset({"cpufreq", "vcgencmd", "powermetrics"}),
    "throttling": frozenset(
        {"throttle_count", "vcgencmd", "soctherm_oc", "thermalservice", "pmset", "thermal_state"}
    ),
    "energy": frozenset({"rapl", "ina3221", "pmic", "powermetrics"}),
}
"""What a measurement should know, and the kinds of sensors that tell it."""

SENSOR_KINDS: Mapping[str, SensorKind] = {
    "thermal_zone": SensorKind(
        description="temperatures of the kernel's thermal zones",
        files=("sys/class/thermal/thermal_zone*/temp",),
    ),
    "hwmon": SensorKind(
        description="temperatures of the kernel's hardware monitors",
        files=("sys/class/hwmon/hwmon*/temp*_input",),
    ),
    "cpufreq": SensorKind(
        description="clock rates of the processor's clusters",
        files=("sys/devices/system/cpu/cpufreq/policy*/scaling_cur_freq",),
    ),
    "throttle_count": SensorKind(
        description="how often the processor slowed itself down (x86)",
        files=("sys/devices/system/cpu/cpu*/thermal_throttle/*_throttle_count",),
    ),
    "rapl": SensorKind(
        description="energy counters of the processor package (x86; root alone reads them)",
        files=("sys/class/powercap/intel-rapl:*/energy_uj",),
    ),
    "pressure": SensorKind(
        description="how long work waited for the processor, memory and storage",
        files=("proc/pressure/*",),
    ),
    "cgroup_memory": SensorKind(description="memory of the control group (read by the runner)"),
    "available_memory": SensorKind(
        description="memory that the system could still give", files=("proc/meminfo",)
    ),
    "ina3221": SensorKind(
        description="power rails of a Jetson",
        files=("sys/bus/i2c/drivers/ina3221/*/hwmon/hwmon*/in1_input",),
    ),
    "soctherm_oc": SensorKind(
        description="over-current events of a Jetson",
        files=("sys/class/hwmon/hwmon*/oc*_event_cnt",),
    ),
    "vcgencmd": SensorKind(
        description="temperature, clock and throttling flags of a Raspberry Pi", program="vcgencmd"
    ),
    "pmic": SensorKind(description="power rails of a Raspberry Pi 5 (vcgencmd pmic_read_adc)"),
    "thermalservice": SensorKind(description="Android's temperatures and throttling status"),
    "thermal_state": SensorKind(description="iOS's thermal state, read in an app"),
    "phys_footprint": SensorKind(description="an app's memory on iOS, read in the app"),
    "powermetrics": SensorKind(
        description="power and temperatures on macOS (root)", program="powermetrics"
    ),
    "pmset": SensorKind(description="speed limits on macOS", program="pmset"),
}


def sensors_here(root: Path = Path("/")) -> tuple[str, ...]:
    """Return the kinds that this machine has and this user may read, in the table's order."""
    return tuple(name for name, kind in SENSOR_KINDS.items() if _is_here(kind, root))


def _is_here(kind: SensorKind, root: Path) -> bool:
    if kind.program is not None:
        return shutil.which(kind.program) is not None
    return any(
        os.access(path, os.R_OK) for pattern in kind.files for path in sorted(root.glob(pattern))
    )
