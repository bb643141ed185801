"""What holds a device back: the sensors that say so, in words, and what to do about it.

Names of sensors begin with their quantity (`throttle_flag.under_voltage`):

- `throttle_flag`: above 0 now (a Raspberry Pi's `vcgencmd get_throttled`, bits 0 to 3).
- `throttle_since_boot`: above 0 where it happened since the boot (bits 16 to 19).
- `throttle_count`: a counter since the boot, or since its control group was made.
- `cooling_state`: above 0, a cooling device limits something (Linux's sysfs-class-thermal,
  `cooling_device/cur_state`; Android's thermal HAL). Those that cap no processor are left out.
- `thermal_status`: Android's PowerManager, 0 (none) to 6 (shutdown), and macOS's thermal pressure.
  By its documentation, 1 (THERMAL_STATUS_LIGHT) does not reach the user; from 2 on it counts.
- `speed_limit_percent`: how much of its highest clock the processor may use.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

LEAST_SPEED_PERCENT = 90.0
"""A clock that is capped below this share of its maximum is held back."""

_CAPPED_PARTS = (
    *("cpu", "processor", "powerclamp", "devfreq", "gpu", "npu", "tpu", "ga10b", "gv11b"),
    *("mali", "kgsl", "cdsp", "throttle-alert", "hot-surface"),
)
_LEAST: Mapping[str, float] = {"throttle_flag": 0.0, "thermal_status": 1.0, "cooling_state": 0.0}
"""Quantity -> the value above which it says that the device is held back now."""

_SUPPLY = (
    "The power supply or its cable gives too little: use the one that is made for the board, with "
    "nothing else on its USB ports."
)
_HEAT = "It is too hot: cool it (a fan, a heat sink, no closed case)."
_HEAT_OR_SUPPLY = "It is too hot, or its power supply too weak: look at both."
_QUOTA = (
    "Its control group has a CPU quota: raise it (docker run --cpus, Kubernetes' limits.cpu), or "
    "plan with this rate."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One way to be held back: its name in a sentence, and what to do about it."""

    words: str
    remedy: str


_LIMITS: Mapping[str, Limit] = {
    "under_voltage": Limit(words="under-voltage", remedy=_SUPPLY),
    "under_voltage_kernel": Limit(words="under-voltage", remedy=_SUPPLY),
    "throttled": Limit(words="throttled", remedy=_HEAT_OR_SUPPLY),
    "frequency_capped": Limit(words="clock capped by the firmware", remedy=_HEAT_OR_SUPPLY),
    "soft_temperature_limit": Limit(words="soft temperature limit", remedy=_HEAT),
    "battery_saver": Limit(
        words="battery saver", remedy="Turn it off: adb shell settings put global low_power 0"
    ),
    "low_power_mode": Limit(
        words="Low Power Mode", remedy="Turn it off: sudo pmset -a lowpowermode 0"
    ),
    "speed_limited": Limit(words="speed limit of macOS", remedy=_HEAT),
    "cgroup": Limit(words="CPU quota", remedy=_QUOTA),
    "core": Limit(words="thermal throttling of cores", remedy=_HEAT),
    "package": Limit(words="thermal throttling of the processor", remedy=_HEAT),
    "cpufreq": Limit(
        words="clock capped by settings",
        remedy="Its governor or power mode caps the clock: sudo cpupower frequency-set -g "
        "performance, or on a Jetson sudo nvpmodel -m 0.",
    ),
    "android": Limit(words="Android's thermal status", remedy=_HEAT),
    "macos": Limit(words="macOS's thermal pressure", remedy=_HEAT),
}
"""A sensor's name without its quantity -> what it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """Why a tool that is there does not answer, and the command that mends it, on the device."""

    reason: str
    command: str


_UDEV = (
    """echo 'KERNEL=="vcio", GROUP="video", MODE="0660"' | sudo tee """
    "/etc/udev/rules.d/99-vcio.rules && sudo udevadm trigger --name-match=vcio && "
    "sudo usermod -aG video $USER"
)
_SILENCES: Mapping[tuple[str, str], Silence] = {
    ("vcgencmd", "no-group"): Silence(
        reason="this user is not in the group video, which may ask the firmware",
        command="sudo usermod -aG video $USER, there, then log in again",
    ),
    ("vcgencmd", "new-group"): Silence(
        reason="this user is in the group video, but its session is older",
        command="log in again there, or: sudo reboot",
    ),
    ("vcgencmd", "closed"): Silence(
        reason="root alone may open /dev/vcio", command=f"{_UDEV}, there, then log in again"
    ),
    ("vcgencmd", "no-device"): Silence(
        reason="there is no /dev/vcio, as in a container",
        command="docker run --device /dev/vcio …, or no container",
    ),
    ("vcgencmd", "failed"): Silence(
        reason="it may open the firmware's device and fails all the same",
        command="vcgencmd get_throttled, there, says why",
    ),
}
"""A tool, and why it does not answer (`edgegen_runner/sensors/raspberry_pi.py`)."""


def shows_throttling(sensor: str) -> bool:
    """Return whether a sensor can say that the processor or GPU is held back.

    A cooling device says it only where it caps a processor: a fan that runs, a dimmed display or a
    slower charger hold nothing back.
    """
    quantity, _, name = sensor.partition(".")
    if quantity == "cooling_state":
        return any(part in name.lower() for part in _CAPPED_PARTS)
    return quantity in ("throttle_flag", "throttle_count", "thermal_status", "speed_limit_percent")


def holds_back(sensor: str, value: float) -> bool:
    """Return whether a reading says that the device is held back at that moment.

    A counter never does: only its rise says anything.
    """
    quantity = sensor.partition(".")[0]
    if quantity == "speed_limit_percent":
        return value < LEAST_SPEED_PERCENT
    return shows_throttling(sensor) and quantity in _LEAST and value > _LEAST[quantity]


def limit_of(sensor: str) -> Limit:
    """Return what a sensor that `shows_throttling` means."""
    quantity, _, name = sensor.partition(".")
    known = _LIMITS.get(name.removesuffix("_since_start"))
    if known is not None:
        return known
    if quantity == "throttle_count" and name.startswith("oc"):
        return Limit(words="over-current", remedy=_SUPPLY)
    if quantity == "cooling_state":
        return Limit(words=f"cooling of {name}", remedy=_HEAT)
    return Limit(words=name.replace("_", " "), remedy=_HEAT)


def held_back_now(readings: Mapping[str, float]) -> tuple[str, ...]:
    """Return in words what holds a device back at the moment of its readings."""
    return words_of(name for name, value in readings.items() if holds_back(name, value))


def held_back_since_boot(readings: Mapping[str, float]) -> tuple[str, ...]:
    """Return in words what has held a device back since its boot, as far as it keeps count."""
    kinds = ("throttle_since_boot", "throttle_count")
    return words_of(
        name for name, value in readings.items() if name.partition(".")[0] in kinds and value > 0
    )


def words_of(sensors: Iterable[str]) -> tuple[str, ...]:
    """Return the words for some sensors, each once."""
    return tuple(dict.fromkeys(limit_of(sensor).words for sensor in sensors))


def remedies(sensors: Iterable[str]) -> tuple[str, ...]:
    """Return what to do about some limits, each once, and nothing vague beside what is sure."""
    found = list(dict.fromkeys(limit_of(sensor).remedy for sensor in sensors))
    if _HEAT_OR_SUPPLY in found and (_HEAT in found or _SUPPLY in found):
        found.remove(_HEAT_OR_SUPPLY)
    return tuple(found)


def silence_of(tool: str, why: str) -> Silence:
    """Return what it means that a tool does not answer, and the command that mends it."""
    return _SILENCES.get((tool, why), Silence(reason=f"{tool} fails", command=f"{tool}, there"))
