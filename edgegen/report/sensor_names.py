"""Sensors' names as people read them: the quantity, what it is of, and the unit apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgegen.core.limits import limit_of


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorName:
    """`title` is what is read (`Temperature of the chip`), `unit` what its values are in."""

    title: str
    unit: str


_QUANTITIES: Mapping[str, tuple[str, str]] = {
    "temperature_c": ("Temperature", "°C"),
    "frequency_mhz": ("Clock", "MHz"),
    "power_w": ("Power", "W"),
    "energy_j": ("Energy", "J since the start"),
    "voltage_v": ("Voltage", "V"),
    "current_a": ("Current", "A"),
    "battery_percent": ("Battery", "%"),
    "battery_charging": ("Battery is charged", "1: yes"),
    "pressure_percent": ("Waited", "% of 10 s"),
    "available_percent": ("Available", "%"),
    "available_memory_bytes": ("Memory that is left", ""),
    "cgroup_memory_bytes": ("Memory of the control group", ""),
    "cgroup_memory_peak_bytes": ("Memory of the control group, highest", ""),
    "gpu_memory_bytes": ("Memory for the GPU", ""),
    "power_mode": ("Power mode", ""),
    "thermal_status": ("Thermal status", "0: none … 6: shutdown"),
    "cooling_state": ("Cooling", "0: at rest"),
    "speed_limit_percent": ("Share of the highest clock that is allowed", "%"),
    "throttle_flag": ("Held back now", "1: yes"),
    "throttle_since_boot": ("Held back since the boot", "1: yes"),
    "throttle_count": ("Held back so far", "times"),
    "period_count": ("Periods of the CPU quota", "so far"),
    "throttled_s": ("Threads that waited for the CPU quota", "s so far"),
}
"""What a sensor's name begins with -> in words, and the unit. Sizes write their own unit."""
_PARTS: Mapping[str, str] = {
    "soc": "the chip",
    "arm": "the Arm cores",
    "pmic_rails": "all rails of the PMIC",
    "package-0": "the processor",
    "cpu_die": "the processor",
    "VDD_IN": "the whole module (VDD_IN)",
    "EXT5V": "the supply (EXT5V)",
}
"""What some sensors are of; the others have the names that the device gives them."""
_IN_WORDS = ("throttle_flag", "throttle_since_boot", "throttle_count")
_OWN_NAMES = ("period_count", "throttled_s", "thermal_status", "speed_limit_percent")


def sensor_name(sensor: str) -> SensorName:
    """Return how a sensor is called.

    >>> sensor_name("temperature_c.soc")
    SensorName(title='Temperature of the chip', unit='°C')
    """
    quantity, _, part = sensor.partition(".")
    if quantity not in _QUANTITIES:
        return SensorName(title=sensor, unit="")
    words, unit = _QUANTITIES[quantity]
    if quantity in _IN_WORDS:
        words, part = f"{words}: {limit_of(sensor).words}", ""
    elif quantity in _OWN_NAMES:
        part = ""
    part = _PARTS.get(part, part)
    join = " for " if quantity == "pressure_percent" else " of "
    return SensorName(title=f"{words}{join}{part}" if part else words, unit=unit)
