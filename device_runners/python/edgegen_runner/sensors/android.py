"""Sensors of an Android device, for a runner that the adb shell started.

The services are asked, because their units are defined; a kernel's thermal zones on a phone mix
degrees, tenths and voltages.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Optional

from .commands import Command, find_program
from .linux import is_android
from .reading import Read, Values, number, parse_number, plausible_celsius

TEMPERATURES = {0: "cpu", 1: "gpu", 2: "battery", 3: "skin", 9: "npu"}
"""Types of temperatures that are °C of parts that matter here; 6, 7 and 8 are mV, mA and %.

android.os.Temperature; hardware/interfaces/thermal/aidl/…/TemperatureType.aidl.
"""

CAPS = {2: "cpu", 3: "gpu", 5: "npu", 7: "tpu"}
"""Types of cooling devices that slow a processor down; CoolingType.aidl."""

_HAL_TEMPERATURES = "Current temperatures from HAL:"
_HAL_COOLING = "Current cooling devices from HAL:"
_STATUS = re.compile(r"^\s*Thermal Status: ([0-6])\s*$", re.M)
_TEMPERATURE = re.compile(
    r"^Temperature\{mValue=(-?[0-9.]{1,20}(?:E-?[0-9]{1,2})?), "
    r"mType=(-?[0-9]{1,3}), mName=([^,}]{1,80}),"
)
_COOLING = re.compile(
    r"^CoolingDevice\{mValue=([0-9]{1,12}), mType=([0-9]{1,3}), mName=([^,}]{1,80})\}"
)
_FIELD = re.compile(r"^\s*([A-Za-z ]{1,40}): (-?[0-9]{1,15}|true|false)\s*$", re.M)

_BATTERY_EVERY_S = 10.0  # it changes slowly, and asking costs a process
_SAVER_EVERY_S = 30.0
_LEAST_CURRENT_UA = 20_000  # below, the driver tells milliamperes: no phone works on less


def thermal_service(root: Path) -> Optional[Read]:
    """Temperatures ``temperature_c.<part>.<name>``, caps, and ``thermal_status.android`` (0-6)."""
    program = find_program("dumpsys", root, ("system/bin",))
    if program is None:
        return None
    command = Command([program, "thermalservice"])
    return lambda: parse_thermal_service(command.text())


def parse_thermal_service(output: Optional[str]) -> Values:
    """Read the current temperatures, never the cached ones, which can be 20 °C off.

    A sensor that tells exactly 0 is not built in. The status of a service without a driver (HAL),
    or one that somebody overrode, says nothing.
    """
    lines = [line.strip() for line in (output or "").splitlines()]
    values: Values = {}
    status = _STATUS.search(output or "")
    if status and "HAL Ready: true" in lines and "IsStatusOverride: true" not in lines:
        values["thermal_status.android"] = float(status[1])
    for line in _section(lines, _HAL_TEMPERATURES):
        found = _TEMPERATURE.match(line)
        part = TEMPERATURES.get(int(found[2])) if found else None
        if found and part is not None:
            value = plausible_celsius(parse_number(found[1]))
            values[f"temperature_c.{part}.{found[3].strip()}"] = value or None
    for line in _section(lines, _HAL_COOLING):
        found = _COOLING.match(line)
        part = CAPS.get(int(found[2])) if found else None
        if found and part is not None:
            values[f"cooling_state.{part}.{found[3].strip()}"] = parse_number(found[1])
    return values


def battery(root: Path) -> Optional[Read]:
    """The battery, every 10 s: percent, charging, ``temperature_c.battery``, volts, power.

    ``power_w.battery`` is what it gives, which is what the device takes, while nothing charges it.
    """
    program = find_program("dumpsys", root, ("system/bin",))
    if program is None:
        return None
    command = Command([program, "battery"], every_s=_BATTERY_EVERY_S)
    current = root / "sys/class/power_supply/battery/current_now"
    return lambda: parse_battery(command.text(), number(current))


def parse_battery(output: Optional[str], current_ua: Optional[float] = None) -> Values:
    """Read ``dumpsys battery`` (millivolts, tenths of °C) and a current in microamperes."""
    fields: dict[str, str] = {}
    for name, word in _FIELD.findall(output or ""):
        fields.setdefault(name.strip(), word)
    level, scale = parse_number(fields.get("level")), parse_number(fields.get("scale"))
    millivolts, tenths = (
        parse_number(fields.get("voltage")),
        parse_number(fields.get("temperature")),
    )
    supplied = [word for name, word in fields.items() if name.endswith(" powered")]
    # 2 charging, 3 discharging, 4 not charging, 5 full; 1 is unknown
    charging = {"2": 1.0, "3": 0.0, "4": 0.0, "5": 0.0}.get(fields.get("status", ""))
    voltage_v = millivolts * 1e-3 if millivolts else None  # an emulator tells 0 V and 0 °C
    current_a = None
    if current_ua is not None and abs(current_ua) >= _LEAST_CURRENT_UA:
        current_a = current_ua * 1e-6
    power_w = None
    if voltage_v is not None and current_a is not None and charging == 0.0:
        # Drivers differ in the sign of what flows out.
        power_w = abs(voltage_v * current_a) if "true" not in supplied else None
    if not fields:
        return {}
    return {
        "battery_percent": None if level is None or not scale else 100 * level / scale,
        "battery_charging": charging,
        "temperature_c.battery": plausible_celsius(tenths / 10 if tenths else None),
        "voltage_v.battery": voltage_v,
        "current_a.battery": current_a,
        "power_w.battery": power_w,
    }


def battery_saver(root: Path) -> Optional[Read]:
    """Whether the battery saver is on, every 30 s: ``throttle_flag.battery_saver``.

    android.provider.Settings.Global.LOW_POWER_MODE; it caps the processor's clock on most devices.
    """
    program = find_program("settings", root, ("system/bin",))
    if program is None or not is_android(root):
        return None
    command = Command([program, "get", "global", "low_power"], every_s=_SAVER_EVERY_S)
    return lambda: {"throttle_flag.battery_saver": parse_saver(command.text())}


def parse_saver(output: Optional[str]) -> Optional[float]:
    """Read ``settings get global low_power``: 0, 1, or ``null`` where it was never set."""
    return {"0": 0.0, "1": 1.0, "null": 0.0}.get((output or "").strip())


def _section(lines: list[str], title: str) -> list[str]:
    """Return the entries below a title: lines like ``Temperature{…}`` that follow it at once."""
    if title not in lines:
        return []
    found = []
    for line in lines[lines.index(title) + 1 :]:
        if "{" not in line:
            break
        found.append(line)
    return found
