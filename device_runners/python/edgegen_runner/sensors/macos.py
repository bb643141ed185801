"""Sensors of a Mac. The parsers are tested on recorded output; none of this ran on a Mac yet."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any, Optional

from .commands import Command, find_program
from .reading import Read, Values, parse_number, plausible_celsius

THERMAL_PRESSURE = {"Nominal": 0.0, "Moderate": 1.0, "Heavy": 2.0, "Trapping": 3.0, "Sleeping": 4.0}
"""powermetrics' words, as ``thermal_status.macos``; OSThermalNotification.h."""

_WINDOW_MS = 200
_LARGEST = 1e24  # of an integer with thousands of digits Python makes no text
_LOW_POWER_EVERY_S = 30.0
_PRESSURE_NAME = "com.apple.system.thermalpressurelevel"
_PRESSURE = re.compile(rf"^{re.escape(_PRESSURE_NAME)} ([0-4])\s*$", re.M)
_LOW_POWER = re.compile(r"^\s*(?:lowpowermode|powermode)\s+([0-9])\s*$", re.M)
_SPEED_LIMIT = re.compile(r"^\s*CPU_Speed_Limit\s*=\s*([0-9]{1,3})\s*$", re.M)


def speed_limit(root: Path) -> Optional[Read]:
    """The processor's limit, ``speed_limit_percent.cpu``; newer Macs do not tell it."""
    program = find_program("pmset", root, ("usr/bin",))
    if program is None:
        return None
    command = Command([program, "-g", "therm"])
    return lambda: parse_speed_limit(command.text())


def parse_speed_limit(output: Optional[str]) -> Values:
    """Read ``pmset -g therm``: the limit, and ``throttle_flag.speed_limited`` below 100 %."""
    found = _SPEED_LIMIT.search(output or "")
    if found is None:
        return {}
    percent = float(found[1])
    return {"speed_limit_percent.cpu": percent, "throttle_flag.speed_limited": float(percent < 100)}


def low_power_mode(root: Path) -> Optional[Read]:
    """Whether Low Power Mode is on, every 30 s: ``throttle_flag.low_power_mode``."""
    program = find_program("pmset", root, ("usr/bin",))
    if program is None:
        return None
    command = Command([program, "-g"], every_s=_LOW_POWER_EVERY_S)
    return lambda: parse_low_power_mode(command.text())


def parse_low_power_mode(output: Optional[str]) -> Values:
    """Read the settings in use of ``pmset -g``: ``lowpowermode 1``, or ``powermode 1`` of newer
    systems, where 2 is High Power; nothing where this Mac has no such mode.
    """
    found = _LOW_POWER.search(output or "")
    return {} if found is None else {"throttle_flag.low_power_mode": float(found[1] == "1")}


def thermal_pressure(root: Path) -> Optional[Read]:
    """The thermal pressure that every user may ask for: ``thermal_status.macos``."""
    program = find_program("notifyutil", root, ("usr/bin",))
    if program is None:
        return None
    command = Command([program, "-g", _PRESSURE_NAME])
    return lambda: parse_thermal_pressure(command.text())


def parse_thermal_pressure(output: Optional[str]) -> Values:
    """Read ``notifyutil -g``: the notification's name and its state, as `THERMAL_PRESSURE`."""
    found = _PRESSURE.search(output or "")
    return {} if found is None else {"thermal_status.macos": float(found[1])}


def power(root: Path) -> Optional[Read]:
    """Power, clock rates and thermal pressure of powermetrics, which only root may start.

    Each sample is the mean of 0.2 s.
    """
    program = find_program("powermetrics", root, ("usr/bin",))
    if program is None or not hasattr(os, "geteuid") or os.geteuid() != 0:
        return None
    command = Command(
        [
            program,
            *("--format", "plist", "--sample-count", "1", "--sample-rate", str(_WINDOW_MS)),
            *("--samplers", "cpu_power,gpu_power,thermal"),
        ],
        timeout_s=3.0,
    )
    return lambda: parse_powermetrics(command.output())


def parse_powermetrics(output: Optional[bytes]) -> Values:
    """Read one property list: milliwatts, hertz, a word for the thermal pressure."""
    tables = _property_list(output)
    processor, gpu = _table(tables.get("processor")), _table(tables.get("gpu"))
    values: Values = {}
    for name in ("cpu", "gpu", "ane", "combined"):
        milliwatts = _number(processor.get(f"{name}_power"))
        if milliwatts is not None:
            values[f"power_w.{name}"] = milliwatts * 1e-3
    watts = _number(processor.get("package_watts"))  # Intel
    if watts is not None:
        values["power_w.package"] = watts
    clusters = processor.get("clusters")
    for cluster in map(_table, clusters if isinstance(clusters, list) else ()):
        hertz, label = _number(cluster.get("freq_hz")), cluster.get("name")
        if hertz is not None and isinstance(label, str) and label:
            values[f"frequency_mhz.{label}"] = hertz * 1e-6
    clock = _number(gpu.get("freq_hz"))
    if clock is not None:  # called hertz, and told in megahertz by every Mac whose output we saw
        values["frequency_mhz.gpu"] = clock if clock < 1e5 else clock * 1e-6
    pressure = tables.get("thermal_pressure")
    if isinstance(pressure, str) and pressure in THERMAL_PRESSURE:
        values["thermal_status.macos"] = THERMAL_PRESSURE[pressure]
    die = plausible_celsius(_number(_table(tables.get("smc")).get("cpu_die")))  # Intel
    if die is not None:
        values["temperature_c.cpu_die"] = die
    return values


def memory_level(root: Path) -> Optional[Read]:
    """The share of memory that is available, by the system's estimate: ``available_percent``."""
    program = find_program("sysctl", root, ("usr/sbin",)) if sys.platform == "darwin" else None
    if program is None:
        return None
    command = Command([program, "-n", "kern.memorystatus_level"])
    return lambda: {"available_percent.memory": parse_number(command.text())}


def _property_list(output: Optional[bytes]) -> dict[str, Any]:
    """Parse the first property list of an output whose lists NUL separates; {} if it is broken."""
    import plistlib
    from xml.parsers.expat import ExpatError

    data = (output or b"").strip(b"\0 \r\n\t").partition(b"\0")[0]
    if not data:
        return {}
    try:
        return _table(plistlib.loads(data, fmt=plistlib.FMT_XML))
    except (ExpatError, ValueError, TypeError, IndexError, AttributeError, OverflowError):
        return {}  # plistlib raises these for what is XML and no property list


def _table(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(value: object) -> Optional[float]:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return parse_number(repr(value)) if abs(value) < _LARGEST else None
