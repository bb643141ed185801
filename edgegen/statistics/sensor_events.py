"""Finds the sensor readings of a run that say that the device held itself back.

`edgegen/core/limits.py` says what each sensor means. Of a counter only its rise during the run
says anything. Clocks (`frequency_mhz`) are compared only under load: an idle device lowers
them anyway.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from edgegen.core.limits import holds_back, limit_of, shows_throttling
from edgegen.core.measurement import Run

EventKind = Literal["flag", "status", "cooling", "limit", "counter", "clock"]

NEAR_S = 15.0
"""So near to the onset, a sensor's event is evidence for the cause."""
CLOCK_WINDOW_S = 30.0
"""A clock's median over so long before and after the change is compared."""
LEAST_CLOCK_DROP = 0.03
CLOCK_SHARE_OF_SLOWDOWN = 0.3
"""A drop that explains less of the slowdown than this is not its cause."""

_LEAST_CLOCK_SAMPLES = 3
_KINDS: dict[str, EventKind] = {
    "throttle_flag": "flag",
    "thermal_status": "status",
    "cooling_state": "cooling",
    "speed_limit_percent": "limit",
}
"""Quantity of a sensor -> what it says."""

Series = list[tuple[float, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorEvent:
    """One thing that a sensor said, from `time_s` to `until_s`, in the sensor's own unit.

    `before` is None for what was so at the first reading: nobody saw it happen. `is_cause` says
    whether it is evidence for a slowdown of the run.
    """

    kind: EventKind
    sensor: str
    time_s: float
    until_s: float
    before: float | None
    after: float
    is_cause: bool = False

    @property
    def words(self) -> str:
        return limit_of(self.sensor).words

    def is_near(self, low_s: float, high_s: float) -> bool:
        """Return whether it began near these moments, or had begun in the run and still held."""
        if self.before is None:
            return False
        return self.time_s <= high_s + NEAR_S and self.until_s >= low_s - NEAR_S


def limit_events(run: Run) -> tuple[SensorEvent, ...]:
    """Return, in order, when flags, states and counters said that the device held itself back."""
    found: list[SensorEvent] = []
    for sensor, series in _series(run).items():
        quantity = sensor.partition(".")[0]
        if not shows_throttling(sensor):
            continue  # a fan that runs holds nothing back
        if quantity == "throttle_count":
            found += _rises(sensor, series)
        else:
            found += _spans(sensor, series, _KINDS[quantity])
    return tuple(sorted(found, key=lambda event: (event.time_s, event.sensor)))


def clock_drops(run: Run, low_s: float, high_s: float, ratio: float) -> tuple[SensorEvent, ...]:
    """Return the clocks that fell under load where latency rose by `ratio`.

    `low_s` is when the slowdown began at the earliest, `high_s` when it was complete at the latest.
    A clock that went as low before, for a tenth of the time or more, varies by itself.
    """
    least = max(LEAST_CLOCK_DROP, CLOCK_SHARE_OF_SLOWDOWN * (1 - 1 / ratio))
    found = []
    for sensor, readings in _series(run).items():
        if not sensor.startswith("frequency_mhz."):
            continue
        series = [(at, value) for at, value in readings if _is_under_load(run, at)]
        before = [value for at, value in series if low_s - CLOCK_WINDOW_S <= at < low_s]
        after = [value for at, value in series if high_s < at <= high_s + CLOCK_WINDOW_S]
        if min(len(before), len(after)) < _LEAST_CLOCK_SAMPLES:
            continue
        usual, lower = float(np.median(before)), float(np.median(after))
        if lower > (1 - least) * usual or lower >= float(np.quantile(before, 0.1)):
            continue
        middle = (usual + lower) / 2
        fell = [at for at, value in series if at >= low_s - NEAR_S and value < middle]
        if not fell or fell[0] > high_s + NEAR_S:
            continue
        held = next((at for at, value in series if at > high_s and value > middle), series[-1][0])
        found.append(
            SensorEvent(
                kind="clock",
                sensor=sensor,
                time_s=fell[0],
                until_s=max(held, fell[0]),
                before=usual,
                after=lower,
                is_cause=True,
            )
        )
    return tuple(found)


def _series(run: Run) -> dict[str, Series]:
    """Return each sensor's readings in time, those that gave no answer left out."""
    found: dict[str, Series] = {}
    for sample in sorted(run.sensors, key=lambda sample: sample.time_s):
        for sensor, value in sample.values.items():
            if value is not None:
                found.setdefault(sensor, []).append((sample.time_s, value))
    return found


def _spans(sensor: str, series: Series, kind: EventKind) -> Iterator[SensorEvent]:
    """Yield a span for each time that a sensor was set, and a new one where it was set higher."""
    previous: float | None = None
    sign = -1 if kind == "limit" else 1  # a limit that sinks is one that is set higher
    for place, (at, value) in enumerate(series):
        if holds_back(sensor, value) and (previous is None or sign * value > sign * previous):
            yield SensorEvent(
                kind=kind,
                sensor=sensor,
                time_s=at,
                until_s=_last_held(sensor, series[place:]),
                before=previous,
                after=value,
            )
        previous = value


def _last_held(sensor: str, series: Sequence[tuple[float, float]]) -> float:
    last_s = series[0][0]
    for at, value in series:
        if not holds_back(sensor, value):
            break
        last_s = at
    return last_s


def _rises(sensor: str, series: Series) -> Iterator[SensorEvent]:
    """Yield the rises of a counter; those within 15 s of each other are one."""
    pairs = itertools.pairwise(series)
    rises = [(a, b) for a, b in pairs if b[1] > a[1]]  # a counter that falls was reset
    groups: list[list[tuple[tuple[float, float], tuple[float, float]]]] = []
    for rise in rises:
        if groups and rise[1][0] - groups[-1][-1][1][0] <= NEAR_S:
            groups[-1].append(rise)
        else:
            groups.append([rise])
    for group in groups:
        since_start = group[0][0] == series[0]
        yield SensorEvent(
            kind="counter",
            sensor=sensor,
            time_s=group[0][1][0],
            until_s=group[-1][1][0],
            before=None if since_start else group[0][0][1],
            after=group[-1][1][1],
        )


def _is_under_load(run: Run, at_s: float) -> bool:
    return any(image.start_s <= at_s <= image.end_s for image in run.images)
