"""Sensors of a Raspberry Pi: what its firmware says through vcgencmd.

https://www.raspberrypi.com/documentation/computers/os.html#vcgencmd. Without the right to open
/dev/vcio (the group ``video``) vcgencmd fails, and there are no sensors; `silence` says why.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Optional

from .commands import Command, find_program
from .reading import Read, Values, number, parse_number, plausible_celsius, sorted_paths, text

_PLACES = ("usr/bin", "opt/vc/bin")
_DEVICES = ("dev/vcio", "dev/vchiq")  # since 2022 the first; older vcgencmds open the second

THROTTLE_BITS = {
    0: "under_voltage",
    1: "frequency_capped",
    2: "throttled",
    3: "soft_temperature_limit",
}
"""Bits of ``get_throttled`` that are true now; the same + 16 are true since the machine's start."""

_SINCE_BOOT = 16
_THROTTLED = re.compile(r"throttled=0x([0-9a-fA-F]{1,8})\s*$")
_TEMPERATURE = re.compile(r"temp=(-?[0-9.]{1,12})'C")
_CLOCK = re.compile(r"frequency\([0-9]+\)=([0-9]{1,15})\s*$")
_RAIL = re.compile(r"^\s*(\w+)_([AV]) (?:current|volt)\([0-9]+\)=([0-9.]{1,20})([AV])\s*$", re.M)


def firmware(root: Path) -> Optional[Read]:
    """Throttling, ``temperature_c.soc`` and the clock rate ``frequency_mhz.arm``, as measured.

    ``throttle_flag.*`` is 1 while it lasts, ``throttle_since_boot.*`` from its first time since the
    boot on, and ``throttle_count.*_since_start`` from its first time after the first reading on,
    however short it was.
    """
    program = find_program("vcgencmd", root, _PLACES)
    if program is None:
        return None
    throttled = Command([program, "get_throttled"])
    temperature = Command([program, "measure_temp"])
    clock = Command([program, "measure_clock", "arm"])
    events = ThrottleEvents()

    def read() -> Values:
        hertz = _found(_CLOCK, clock.text())
        return {
            **events.read(parse_throttled(throttled.text())),
            "temperature_c.soc": plausible_celsius(_found(_TEMPERATURE, temperature.text())),
            "frequency_mhz.arm": None if hertz is None else hertz * 1e-6,
        }

    return read


def silence(root: Path) -> Optional[str]:
    """Return why a vcgencmd that is there does not answer; None where it answers or is missing.

    - ``no-group``: this user is not in the group that may open the firmware's device.
    - ``new-group``: the user is in it, but this session began before.
    - ``closed``: root alone may open the device (Ubuntu's /dev/vcio).
    - ``no-device``: there is none (a container that was not given it).
    - ``failed``: the device can be opened, and vcgencmd fails all the same.
    """
    program = find_program("vcgencmd", root, _PLACES)
    if program is None or Command([program, "get_throttled"]).output() is not None:
        return None
    devices = [root / name for name in _DEVICES if (root / name).exists()]
    if not devices:
        return "no-device"
    if any(os.access(device, os.R_OK | os.W_OK) for device in devices):
        return "failed"
    device = devices[0].stat()
    return _refusal(device.st_mode, device.st_gid)


def _refusal(mode: int, group: int) -> str:
    """Return why this user may not open a device of some mode and group."""
    if group == 0 or not mode & stat.S_IRGRP:
        return "closed"
    return "new-group" if _is_member(group) else "no-group"


def _is_member(group: int) -> bool:
    """Return whether the list of groups has this user in a group, since whenever."""
    import grp
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name in grp.getgrgid(group).gr_mem
    except KeyError:  # a user or a group without a name
        return False


class ThrottleEvents:
    """Tells the bits of now and since boot, and what is new since the first reading.

    The firmware keeps a since-boot bit until the next boot. Where it was set already, a new event
    cannot be told from the old one: there is no such sensor then.
    """

    def __init__(self) -> None:
        self._first: Optional[int] = None

    def read(self, bits: Optional[int]) -> Values:
        """Return the flags and the events of one reading; None for each where it failed."""
        if bits is not None and self._first is None:
            self._first = bits
        values: Values = {}
        for bit, name in THROTTLE_BITS.items():
            now = None if bits is None else float(bits >> bit & 1)
            values[f"throttle_flag.{name}"] = now
            sticky = bit + _SINCE_BOOT
            since_boot = None if bits is None else float(bits >> sticky & 1)
            values[f"throttle_since_boot.{name}"] = since_boot
            if self._first is not None and not self._first >> sticky & 1:
                values[f"throttle_count.{name}_since_start"] = since_boot
        return values


def parse_throttled(output: Optional[str]) -> Optional[int]:
    """Return the bits of ``throttled=0x50005``, or None."""
    found = _THROTTLED.search(output or "")
    return int(found[1], 16) if found else None


def power_rails(root: Path) -> Optional[Read]:
    """Power of a Pi 5's rails, ``power_w.pmic.<rail>``, and their sum, ``power_w.pmic_rails``.

    The sum leaves out what takes 5 V by itself: USB, the fan, boards on the header. The supply's
    voltage is ``voltage_v.EXT5V``.
    """
    program = find_program("vcgencmd", root, _PLACES)
    if program is None:
        return None
    command = Command([program, "pmic_read_adc"])
    return lambda: parse_rails(command.text())


def parse_rails(output: Optional[str]) -> Values:
    """Pair the currents and voltages of ``pmic_read_adc`` by the rails' names.

    There is no sum where a rail has lost one of its two.
    """
    amperes: dict[str, Optional[float]] = {}
    volts: dict[str, Optional[float]] = {}
    for rail, quantity, value, unit in _RAIL.findall(output or ""):
        if quantity == unit:
            (amperes if unit == "A" else volts)[rail] = parse_number(value)
    values: Values = {}
    for rail, current_a in amperes.items():
        voltage_v = volts.get(rail)
        is_known = current_a is not None and voltage_v is not None
        values[f"power_w.pmic.{rail}"] = current_a * voltage_v if is_known else None  # type: ignore[operator]
    if values:
        powers = [value for value in values.values() if value is not None]
        values["power_w.pmic_rails"] = sum(powers) if len(powers) == len(values) else None
    if "EXT5V" in volts:
        values["voltage_v.EXT5V"] = volts["EXT5V"]
    return values


def under_voltage(root: Path) -> Optional[Read]:
    """The kernel's own view, which every user may read: ``throttle_flag.under_voltage_kernel``.

    Its driver asks the firmware every 2 s.
    """
    for monitor in sorted_paths(root / "sys/class/hwmon", "hwmon*"):
        if text(monitor / "name") == "rpi_volt":
            path = monitor / "in0_lcrit_alarm"
            return lambda: {"throttle_flag.under_voltage_kernel": number(path)}
    return None


def _found(pattern: re.Pattern[str], output: Optional[str]) -> Optional[float]:
    found = pattern.search(output or "")
    return parse_number(found[1]) if found else None
