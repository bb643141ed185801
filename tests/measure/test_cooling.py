"""Waiting until a device has cooled down, on a clock that the test moves."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from edgegen.core.progress import SilentProgress
from edgegen.measure import cooling
from edgegen.measure.cooling import wait_until_cool


@pytest.fixture
def wait(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Return a wait on a device whose temperature is a function of the seconds waited."""

    def waited(
        temperature_c: Callable[[float], float | None],
        *,
        wanted_c: float | None = None,
        longest_s: float = 300.0,
    ) -> Any:
        now = [1000.0]

        def sleep(duration_s: float) -> None:
            now[0] += duration_s

        def ask(answer: Callable[..., Any], request: str) -> Any:
            assert request == "temperature"
            value = temperature_c(now[0] - 1000.0)
            sensor = None if value is None and now[0] == 1000.0 else "temperature_c.soc"
            return answer(sensor=sensor, temperature_c=value, at_s=now[0])

        clock = SimpleNamespace(monotonic=lambda: now[0], sleep=sleep)
        monkeypatch.setattr(cooling, "time", clock)
        device: Any = SimpleNamespace(agent=SimpleNamespace(ask=ask))
        return wait_until_cool(device, SilentProgress(), wanted_c=wanted_c, longest_s=longest_s)

    return waited


def test_a_device_that_cools_is_awaited_until_it_no_longer_does(wait: Callable[..., Any]) -> None:
    found = wait(lambda at_s: max(45.0, 70.0 - 0.5 * at_s))
    assert found.reached
    assert found.first_c == 70.0
    assert found.last_c == 45.0
    assert found.waited_s == pytest.approx(78.0, abs=6.0)  # 50 s of cooling, and half a minute


def test_a_device_that_is_at_rest_is_watched_for_half_a_minute(wait: Callable[..., Any]) -> None:
    assert wait(lambda at_s: 40.0).waited_s == pytest.approx(30.0, abs=3.0)


def test_a_wanted_temperature_ends_the_wait_as_soon_as_it_is_there(
    wait: Callable[..., Any],
) -> None:
    assert wait(lambda at_s: 44.0, wanted_c=45.0).waited_s == 0.0
    found = wait(lambda at_s: 70.0 - at_s, wanted_c=55.0)
    assert found.reached
    assert found.waited_s == pytest.approx(15.0)


@pytest.mark.parametrize("wanted_c", [None, 30.0])
def test_a_device_that_stays_warm_is_measured_after_the_longest_wait(
    wait: Callable[..., Any], wanted_c: float | None
) -> None:
    found = wait(lambda at_s: 90.0 - 0.1 * at_s, wanted_c=wanted_c, longest_s=100.0)
    assert not found.reached
    assert found.waited_s == pytest.approx(100.0)
    assert found.last_c == pytest.approx(80.0)


def test_a_sensor_that_falls_silent_keeps_its_last_value(wait: Callable[..., Any]) -> None:
    found = wait(lambda at_s: 60.0 if at_s < 5 else None, wanted_c=50.0, longest_s=20.0)
    assert not found.reached
    assert found.last_c == 60.0


def test_a_device_without_a_temperature_is_not_awaited(wait: Callable[..., Any]) -> None:
    assert wait(lambda at_s: None) is None
