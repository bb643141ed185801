"""What a measurement says that it could not see."""

import pytest

from edgegen.core.limits import shows_throttling
from edgegen.core.measurement import MemoryPeak, Run, SensorSample
from edgegen.measure.unseen_sensors import unseen_sensors


def run(*samples: dict[str, float | None], memory: MemoryPeak | None = None) -> Run:
    return Run(
        kind="steady",
        started_s=0,
        launch_s=0,
        loads=(),
        images=(),
        sensors=tuple(SensorSample(time_s=i, values=v) for i, v in enumerate(samples)),
        memory=memory,
    )


ALL = {
    "temperature_c.cpu": 50.0,
    "frequency_mhz.policy0": 1800.0,
    "throttle_flag.throttled": 0.0,
    "power_w.VDD_IN": 5.0,
}


def measures(unseen: tuple[str, ...]) -> list[str]:
    return [text.partition(" (")[0] for text in unseen]


def test_a_device_that_tells_everything_has_nothing_unseen() -> None:
    assert unseen_sensors([run(ALL)]) == ()


@pytest.mark.parametrize(
    ("left_out", "missing"),
    [
        ("temperature_c.cpu", "temperature"),
        ("frequency_mhz.policy0", "clock rate"),
        ("throttle_flag.throttled", "throttling"),
        ("power_w.VDD_IN", "energy"),
    ],
)
def test_what_no_sensor_tells_is_unseen(left_out: str, missing: str) -> None:
    some = {name: value for name, value in ALL.items() if name != left_out}
    assert measures(unseen_sensors([run(some)])) == [missing]
    assert measures(unseen_sensors([run({**some, left_out: None})])) == [missing]
    assert unseen_sensors([run(some), run({left_out: ALL[left_out]})]) == ()


@pytest.mark.parametrize(
    ("name", "tells"),
    [
        ("throttle_count.oc1", True),
        ("throttle_count.under_voltage_since_start", True),
        ("thermal_status.android", True),
        ("cooling_state.cpu.thermal-cpufreq-0", True),
        ("cooling_state.Processor", True),
        ("cooling_state.pwm-fan", False),
        ("cooling_state.LCD", False),
        ("temperature_c.cpu", False),
        ("power_mode.nvpmodel", False),
    ],
)
def test_what_shows_throttling(name: str, tells: bool) -> None:
    assert shows_throttling(name) is tells
    assert ("throttling" in measures(unseen_sensors([run({name: 0.0})]))) is not tells


def test_the_reason_is_that_of_the_sensor_which_the_profile_promises() -> None:
    pi = unseen_sensors([run({"frequency_mhz.policy0": 1.0})], ("vcgencmd", "pmic", "thermal_zone"))
    assert measures(pi) == ["temperature", "throttling", "energy"]
    assert all("group video" in text for text in pi)
    assert "thermal_zone did not answer" in pi[0]
    (energy,) = unseen_sensors([run({**ALL, "power_w.VDD_IN": None})], ("rapl",))
    assert "root alone reads the energy counters" in energy


def test_a_battery_that_was_charged_says_why_there_is_no_energy() -> None:
    phone = {**ALL, "power_w.VDD_IN": None, "battery_percent": 80.0, "battery_charging": 1.0}
    (energy,) = unseen_sensors([run(phone)], ("android_battery",))
    assert "battery was charged" in energy


def test_a_run_without_a_single_sample_has_seen_nothing() -> None:
    assert len(unseen_sensors([run()])) == 4


def test_memory_that_the_system_does_not_tell_is_unseen() -> None:
    assert unseen_sensors([run(ALL, memory=MemoryPeak(peak_pss_bytes=5))]) == ()
    assert measures(unseen_sensors([run(ALL, memory=MemoryPeak())])) == ["peak memory"]
