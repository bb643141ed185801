"""Says which sensors a device did not have: a figure that is missing is told, never invented."""

from __future__ import annotations

from collections.abc import Iterable

from edgegen.core.measurement import Run

_WANTED = {
    "temperature_c": "temperature (no thermal zone answered)",
    "frequency_mhz": "clock rate (no cpufreq policy answered)",
    "throttle_count": "throttling (no counter answered)",
    "energy_j": "energy (no counter that this user may read)",
}
"""The first part of a sensor's name, and what is said where no sensor has it."""


def unseen_sensors(runs: Iterable[Run]) -> tuple[str, ...]:
    """Return what no sample of any run has a value for."""
    runs = tuple(runs)
    seen = {
        name.partition(".")[0]
        for run in runs
        for sample in run.sensors
        for name, value in sample.values.items()
        if value is not None
    }
    unseen = [text for kind, text in _WANTED.items() if kind not in seen]
    peaks = [run.memory for run in runs if run.memory is not None]
    if peaks and all(peak.peak_pss_bytes is None for peak in peaks):
        unseen.append("peak memory (the system does not tell PSS)")
    return tuple(unseen)
