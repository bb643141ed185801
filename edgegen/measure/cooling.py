"""Waits until a device has cooled down, so that measurements begin alike."""

from __future__ import annotations

import time
from dataclasses import dataclass

from edgegen.core.measurement import StartTemperature
from edgegen.core.progress import Progress
from edgegen.devices.device import Device

_LOOK_EVERY_S = 3.0
_STILL_S = 30.0
_STILL_C = 1.0
"""A temperature that has fallen by less than this in `_STILL_S` no longer falls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Temperature:
    """What the agent answers: the sensor that tells the processor's, and when it did."""

    sensor: str | None
    temperature_c: float | None
    at_s: float


def wait_until_cool(
    device: Device,
    progress: Progress,
    *,
    wanted_c: float | None,
    longest_s: float,
) -> StartTemperature | None:
    """Wait until the processor is at `wanted_c` or, where that is None, no longer cools down.

    Returns what was waited for and whether it came before `longest_s` were over; None where the
    device tells no temperature.
    """
    sensor, first_c = _temperature(device)
    if sensor is None or first_c is None:
        return None
    started = time.monotonic()
    seen = [(0.0, first_c)]
    with progress.step(f"cool down: {sensor.partition('.')[2]}", unit="items") as step:
        while True:
            waited_s, last_c = seen[-1]
            reached = last_c <= wanted_c if wanted_c is not None else _is_still(seen)
            if reached or waited_s >= longest_s:
                return StartTemperature(
                    sensor=sensor,
                    first_c=first_c,
                    last_c=last_c,
                    wanted_c=wanted_c,
                    waited_s=waited_s,
                    reached=reached,
                )
            time.sleep(min(_LOOK_EVERY_S, max(longest_s - waited_s, 0.0)))
            value = _temperature(device)[1]
            seen.append((time.monotonic() - started, last_c if value is None else value))
            step.describe(f"{seen[-1][1]:.1f} °C")


def _is_still(seen: list[tuple[float, float]]) -> bool:
    """Return whether the last half minute brought next to nothing."""
    now_s, now_c = seen[-1]
    before = [value for at_s, value in seen if at_s <= now_s - _STILL_S]
    return bool(before) and before[-1] - now_c < _STILL_C


def _temperature(device: Device) -> tuple[str | None, float | None]:
    answer = device.agent.ask(_Temperature, "temperature")
    return answer.sensor, answer.temperature_c
