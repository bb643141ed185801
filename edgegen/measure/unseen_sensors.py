"""Which sensors a device did not have: a missing figure is reported, never invented."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from edgegen.core.limits import shows_throttling
from edgegen.core.measurement import Run
from edgegen.devices.sensors import MEASURES, SENSOR_KINDS

_PLAIN_REASONS: Mapping[str, str] = {
    "temperature": "no sensor answered",
    "clock rate": "no sensor answered",
    "throttling": "no flag and no counter answered",
    "energy": "no sensor that this user may read",
}
"""What is said of a measure where the device's profile promises nothing that tells it."""

_CHARGED = "the battery was charged, so that what it gave is not what the device took"


def unseen_sensors(runs: Iterable[Run], promised: Collection[str] = ()) -> tuple[str, ...]:
    """Return what no sample of any run has a value for, each with the reason.

    `promised` are the kinds of sensors that the device's profile lists: where one of them should
    have measured something, the reason is that sensor's.
    """
    runs = tuple(runs)
    seen = {
        name
        for run in runs
        for sample in run.sensors
        for name, value in sample.values.items()
        if value is not None
    }
    unseen = [
        f"{measure} ({_reason(measure, seen, runs, promised)})"
        for measure in MEASURES
        if not any(_tells(measure, name) for name in seen)
    ]
    peaks = [run.memory for run in runs if run.memory is not None]
    if peaks and all(peak.peak_pss_bytes is None for peak in peaks):
        unseen.append("peak memory (the system does not tell PSS)")
    return tuple(unseen)


def _tells(measure: str, name: str) -> bool:
    quantity = name.partition(".")[0]
    match measure:
        case "temperature":
            return quantity == "temperature_c"
        case "clock rate":
            return quantity == "frequency_mhz"
        case "throttling":
            return shows_throttling(name)
        case _:
            return quantity in ("energy_j", "power_w")


def _reason(
    measure: str, seen: Collection[str], runs: Iterable[Run], promised: Collection[str]
) -> str:
    if measure == "energy" and "battery_percent" in seen and _was_charged(runs):
        return _CHARGED
    reasons = [
        SENSOR_KINDS[kind].silence or f"{kind} did not answer"
        for kind in promised
        if kind in MEASURES[measure]
    ]
    return "; ".join(dict.fromkeys(reasons)) or _PLAIN_REASONS[measure]


def _was_charged(runs: Iterable[Run]) -> bool:
    return any(sample.values.get("battery_charging") == 1 for run in runs for sample in run.sensors)
