"""Says whether a device was held back while it was timed, how often, by what, and what to do.

Latencies alone do not show it: a device that is throttled from the first reading to the last is
steady. So the sensors are believed, whatever the steps did.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from edgegen.core.limits import (
    held_back_now,
    held_back_since_boot,
    holds_back,
    remedies,
    shows_throttling,
    words_of,
)
from edgegen.core.measurement import Measurement, Run

ALL_THE_TIME = 0.9
"""From this share of the readings on, a device counts as held back all the time."""
_LEAST_READINGS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldBack:
    """In how many of the readings a sensor said that the device was held back.

    `sensors` are those that said it, the most frequent first.
    """

    readings: int
    held: int
    sensors: tuple[str, ...]

    @property
    def words(self) -> tuple[str, ...]:
        return words_of(self.sensors)

    @property
    def is_all_the_time(self) -> bool:
        """Return whether nearly no reading was free of it."""
        return self.readings >= _LEAST_READINGS and self.held >= ALL_THE_TIME * self.readings


NOT_HELD_BACK = HeldBack(readings=0, held=0, sensors=())


def held_back(runs: Iterable[Run]) -> HeldBack:
    """Count the readings of some runs in which a flag was set, a limit was low or a counter rose.

    What a counter did before its first reading nobody knows: the first is taken to be as the
    second. Readings of a device that has no such sensor are not counted.
    """
    readings = held = 0
    said: dict[str, int] = {}
    for run in runs:
        for sensors in _sensors_by_reading(run):
            readings += 1
            held += bool(sensors)
            for sensor in sensors:
                said[sensor] = said.get(sensor, 0) + 1
    often = sorted(said, key=lambda sensor: -said[sensor])
    return HeldBack(readings=readings, held=held, sensors=tuple(often))


def timed_runs(measurement: Measurement) -> tuple[Run, ...]:
    """Return the runs whose images are timed, one after the other."""
    return tuple(run for run in measurement.runs if run.kind in ("steady", "sustained"))


def limits_at_start(measurement: Measurement) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return in words what held the device back at the start, and what had since its boot."""
    limits = measurement.environment.limits
    return held_back_now(limits), held_back_since_boot(limits)


def held_back_sentence(measurement: Measurement) -> str | None:
    """Return whether, how often and by what the device was held back, what that means, and a way
    out; None where no sensor said so, neither at the start nor later.
    """
    found = held_back(timed_runs(measurement))
    limits = measurement.environment.limits
    at_start = [name for name, value in limits.items() if holds_back(name, value)]
    if not found.held and not at_start:
        return None
    of = f"{found.held} of {found.readings} readings"
    words = ", ".join(words_of([*at_start, *found.sensors]))
    if found.is_all_the_time:
        text = f"HELD BACK ALL THE TIME, in {of}: {words}. These are the figures of a throttled "
        text += "device, not of what this device can do."
    elif found.held:
        text = f"HELD BACK in {of}: {words}. The figures mix both states."
    elif found.readings:
        text = f"HELD BACK at the start: {words}; in none of {found.readings} readings later."
    else:
        text = f"HELD BACK at the start: {words}. Nothing was read later."
    return " ".join([text, *remedies([*at_start, *found.sensors])])


def since_boot_sentence(measurement: Measurement) -> str | None:
    """Return what has held the device back at times since its boot; None where nothing has.

    Such a flag stays set: a short event of now cannot be told from an older one by it.
    """
    now, since_boot = limits_at_start(measurement)
    words = [each for each in since_boot if each not in now]
    if not words:
        return None
    return (
        f"Before the start, since the device's boot: {', '.join(words)}. A short event between two "
        "readings may not show beside it: restart the device to see one."
    )


def quota_sentence(measurement: Measurement) -> str | None:
    """Return how many cores' time the control groups allow, and what that cost; None for all."""
    device = measurement.environment
    if device.cpu_quota is None:
        return None
    text = f"Its control group has a CPU quota of {device.cpu_quota:g} cores' time"
    text += f", on {device.cores} cores" if device.cores else ""
    runs = timed_runs(measurement)
    throttled, periods, waited_s = (
        sum(_rise(run, sensor) for run in runs)
        for sensor in ("throttle_count.cgroup", "period_count.cgroup", "throttled_s.cgroup")
    )
    if periods:
        text += f": it was used up in {throttled:.0f} of {periods:.0f} periods"
        text += f", and threads waited for {waited_s:.1f} s" if waited_s else ""
    return f"{text}."


def _sensors_by_reading(run: Run) -> list[list[str]]:
    """Return, for each reading that has such sensors, those that said it."""
    found: list[list[str]] = []
    last: dict[str, float] = {}
    for sample in sorted(run.sensors, key=lambda sample: sample.time_s):
        values = {name: value for name, value in sample.values.items() if value is not None}
        told = {name: value for name, value in values.items() if shows_throttling(name)}
        if told:
            risen = [name for name in told if _has_risen(name, told, last)]
            if len(found) == 1:
                found[0] += risen
            found.append([name for name in told if holds_back(name, told[name])] + risen)
            last.update(told)
    return found


def _has_risen(sensor: str, now: Mapping[str, float], last: Mapping[str, float]) -> bool:
    is_counter = sensor.startswith("throttle_count.")
    return is_counter and sensor in last and now[sensor] > last[sensor]


def _rise(run: Run, sensor: str) -> float:
    values: Sequence[float] = [
        value for sample in run.sensors if (value := sample.values.get(sensor)) is not None
    ]
    return max(0.0, values[-1] - values[0]) if values else 0.0
