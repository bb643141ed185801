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
    is a readable file. `program` is looked for on PATH. A kind with neither is found on the device
    alone (a service, a tool that has to be asked, an app). `silence` says why a device that has
    the sensor may not tell it.
    """

    description: str
    files: tuple[str, ...] = ()
    program: str | None = None
    silence: str = ""


MEASURES: Mapping[str, frozenset[str]] = {
    "temperature": frozenset(
        {"thermal_zone", "hwmon", "vcgencmd", "thermalservice", "powermetrics", "thermal_state"}
    ),
    "clock rate": frozenset({"cpufreq", "vcgencmd", "powermetrics"}),
    "throttling": frozenset(
        {
            *("throttle_count", "cooling", "clock_limit", "vcgencmd", "rpi_volt", "soctherm_oc"),
            *("thermalservice", "pmset", "powermetrics", "thermal_pressure", "thermal_state"),
        }
    ),
    "energy": frozenset(
        {
            *("rapl", "hwmon_power", "ina3221", "pmic", "powermetrics"),
            *("battery", "android_battery"),
        }
    ),
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
    "hwmon_power": SensorKind(
        description="power and energy of the kernel's hardware monitors",
        files=(
            "sys/class/hwmon/hwmon*/power*_average",
            "sys/class/hwmon/hwmon*/power*_input",
            "sys/class/hwmon/hwmon*/energy*_input",
        ),
    ),
    "cpufreq": SensorKind(
        description="clock rates of the processor's clusters",
        files=("sys/devices/system/cpu/cpufreq/policy*/scaling_cur_freq",),
    ),
    "clock_limit": SensorKind(
        description="how much of its highest clock the processor may use",
        files=("sys/devices/system/cpu/cpufreq/policy*/cpuinfo_max_freq",),
    ),
    "cgroup_cpu": SensorKind(description="periods in which a CPU quota was used up"),
    "devfreq": SensorKind(
        description="clock rate of a GPU in the chip",
        files=tuple(
            f"sys/class/devfreq/{name}/cur_freq"
            for name in ("*gpu*", "*ga10b*", "*gv11b*", "*gp10b*", "*mali*", "*kgsl*", "*v3d*")
        ),
    ),
    "throttle_count": SensorKind(
        description="how often the processor slowed itself down (x86)",
        files=("sys/devices/system/cpu/cpu*/thermal_throttle/*_throttle_count",),
    ),
    "cooling": SensorKind(
        description="states of the kernel's cooling devices",
        files=("sys/class/thermal/cooling_device*/cur_state",),
    ),
    "rapl": SensorKind(
        description="energy counters of the processor package (x86; root alone reads them)",
        files=("sys/class/powercap/intel-rapl:*/energy_uj",),
        silence="root alone reads the energy counters: "
        "sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj",
    ),
    "battery": SensorKind(
        description="charge, voltage and power of the battery",
        files=("sys/class/power_supply/*/capacity",),
        silence="a battery tells the device's power while nothing charges it",
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
        files=(
            "sys/bus/i2c/drivers/ina3221/*/hwmon/hwmon*/in1_input",
            "sys/bus/i2c/drivers/ina3221x/*/iio:device*/in_power0_input",
        ),
    ),
    "soctherm_oc": SensorKind(
        description="over-current events of a Jetson",
        files=("sys/class/hwmon/hwmon*/oc*_event_cnt",),
    ),
    "nvpmodel": SensorKind(
        description="power mode of a Jetson", files=("var/lib/nvpmodel/status",)
    ),
    "nvmap": SensorKind(
        description="a process's memory for the GPU of a Jetson (root)",
        files=("sys/kernel/debug/nvmap/iovmm/clients",),
        silence="root alone reads nvmap's table",
    ),
    "vcgencmd": SensorKind(
        description="temperature, clock and throttling flags of a Raspberry Pi",
        program="vcgencmd",
        silence="vcgencmd needs the group video: sudo usermod -aG video $USER, then log in again",
    ),
    "pmic": SensorKind(
        description="power rails of a Raspberry Pi 5 (vcgencmd pmic_read_adc)",
        silence="vcgencmd needs the group video, and a Raspberry Pi 5",
    ),
    "rpi_volt": SensorKind(
        description="under-voltage of a Raspberry Pi, as its kernel sees it",
        files=("sys/class/hwmon/hwmon*/in0_lcrit_alarm",),
    ),
    "thermalservice": SensorKind(
        description="Android's temperatures and throttling status",
        silence="the device's thermal service has no driver, or this user may not ask it",
    ),
    "android_battery": SensorKind(
        description="charge, temperature and power of Android's battery",
        silence="the battery tells the device's power while nothing charges it, USB included, "
        "and where the adb shell may read its current",
    ),
    "battery_saver": SensorKind(description="Android's battery saver"),
    "thermal_state": SensorKind(description="iOS's thermal state, read in an app"),
    "phys_footprint": SensorKind(description="an app's memory on iOS, read in the app"),
    "powermetrics": SensorKind(
        description="power and clock rates on macOS (root)",
        program="powermetrics",
        silence="root alone may start powermetrics",
    ),
    "thermal_pressure": SensorKind(
        description="thermal pressure on macOS, for every user", program="notifyutil"
    ),
    "pmset": SensorKind(
        description="speed limits on macOS",
        program="pmset",
        silence="newer Macs do not tell a speed limit",
    ),
    "low_power_mode": SensorKind(description="macOS's Low Power Mode", program="pmset"),
    "memory_level": SensorKind(description="share of memory that macOS could still give"),
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
