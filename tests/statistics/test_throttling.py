"""Judgements of sustained runs: what is throttling, what is only slower, what is only a flag."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest

from edgegen.core.measurement import ImageSample, Run, SensorSample, Step
from edgegen.statistics.throttling import image_rates, judge

Sensor = Callable[[float], float | None]
STEPS = 10


def sustained(
    factor: Callable[[float], float] = lambda _: 1.0,
    sensors: Mapping[str, Sensor] | None = None,
    *,
    seconds: float = 400.0,
    step_s: float = 0.5,
    pause_s: float = 0.0,
) -> Run:
    """A run with a warm-up image, then images for some seconds; sensors once a second.

    `factor` and the sensors are functions of the time.
    """
    generator = np.random.default_rng(4)
    images: list[ImageSample] = []
    now = 1.0
    while now < seconds:
        start_s, steps = now, []
        for index in range(STEPS):
            slow = 3.0 if not images else factor(now)
            end_s = now + step_s * slow * math.exp(0.02 * generator.standard_normal())
            steps.append(Step(index=index, timestep=0.0, start_s=now, end_s=end_s))
            now = end_s
        now += 0.3
        images.append(
            ImageSample(
                index=len(images),
                seed=0,
                warmup=not images,
                start_s=start_s,
                end_s=now,
                steps=tuple(steps),
            )
        )
        now += pause_s
    samples = tuple(
        SensorSample(
            time_s=float(at),
            values={name: read(float(at)) for name, read in (sensors or {}).items()},
        )
        for at in range(int(now))
    )
    return Run(
        kind="sustained", started_s=0, launch_s=0, loads=(), images=tuple(images), sensors=samples
    )


def slow_from(onset_s: float, ratio: float = 1.3) -> Callable[[float], float]:
    return lambda at: ratio if at >= onset_s else 1.0


def rises(at_s: float, to: float = 1.0, *, start: float = 0.0) -> Sensor:
    return lambda at: to if at >= at_s else start


def test_a_run_without_a_change_or_a_flag_is_steady() -> None:
    found = judge(sustained(sensors={"throttle_flag.throttled": lambda _: 0.0}))
    assert found.verdict == "steady"
    assert found.slowdown is None
    assert found.evidence == ()


@pytest.mark.parametrize(
    ("sensor", "read", "kind"),
    [
        ("throttle_flag.throttled", rises(205), "flag"),
        ("throttle_count.core", rises(205, 17, start=12), "counter"),
        ("cooling_state.cpu", rises(205, 3), "cooling"),
        ("thermal_status.android", rises(205, 2), "status"),
        ("frequency_mhz.policy0", rises(201, 1500, start=2400), "clock"),
    ],
)
def test_a_slowdown_with_a_sensor_near_it_is_throttling(
    sensor: str, read: Sensor, kind: str
) -> None:
    found = judge(sustained(slow_from(200), {sensor: read}))

    assert found.verdict == "throttled"
    assert found.slowdown is not None
    assert found.slowdown.onset_low_s <= 200.5
    assert found.slowdown.onset_high_s >= 199.5
    assert found.slowdown.ratio == pytest.approx(1.3, rel=0.01)
    (cause,) = found.causes
    assert (cause.kind, cause.sensor) == (kind, sensor)
    assert cause.time_s == pytest.approx(203, abs=3)
    assert not found.has_recovered


def test_a_slowdown_alone_has_no_known_cause() -> None:
    sensors: dict[str, Sensor] = {
        "throttle_flag.throttled": rises(300),  # long after
        "frequency_mhz.policy0": lambda _: 2400.0,
        "thermal_status.android": rises(200, 1.0),  # light: not felt
        "cooling_state.fan": rises(200, 2.0),  # a fan holds nothing back
    }
    found = judge(sustained(slow_from(200), sensors))
    assert found.verdict == "slowed"
    assert found.slowdown is not None
    assert [event.is_cause for event in found.evidence] == [False]


@pytest.mark.parametrize(
    ("sensor", "read"),
    [
        ("throttle_flag.throttled", rises(150)),
        ("throttle_count.core", rises(150, 3)),
        ("cooling_state.cpu", lambda at: float(150 <= at < 160)),
        ("thermal_status.android", rises(150, 3)),
        ("speed_limit_percent.cpufreq", lambda at: 60.0 if at >= 150 else 100.0),
    ],
)
def test_a_sensor_alone_is_a_flag_without_effect(sensor: str, read: Sensor) -> None:
    found = judge(sustained(sensors={sensor: read}))
    assert found.verdict == "flagged"
    assert found.slowdown is None
    assert [event.sensor for event in found.evidence] == [sensor]
    assert found.causes == ()


def test_a_counter_that_was_there_before_says_nothing() -> None:
    found = judge(sustained(sensors={"throttle_count.core": lambda _: 4711.0}))
    assert found.verdict == "steady"


@pytest.mark.parametrize("seconds", [5.0, 40.0, 150.0])
@pytest.mark.parametrize(
    ("sensor", "read"),
    [
        ("throttle_flag.under_voltage", lambda _: 1.0),
        ("throttle_flag.battery_saver", lambda _: 1.0),
        ("throttle_count.cgroup", lambda at: 10 * at),
        ("thermal_status.android", lambda _: 3.0),
        ("cooling_state.cpu-throttle-alert", lambda _: 1.0),
        ("speed_limit_percent.cpufreq", lambda _: 40.0),
    ],
)
def test_a_device_that_is_held_back_all_the_time_has_a_verdict_of_its_own(
    sensor: str, read: Sensor, seconds: float
) -> None:
    found = judge(sustained(sensors={sensor: read}, seconds=seconds))
    assert found.verdict == "held_back"
    assert found.held_back.held == found.held_back.readings
    assert found.held_back.sensors == (sensor,)


def test_a_run_that_throttles_further_is_throttled_though_it_was_held_back_before() -> None:
    sensors: dict[str, Sensor] = {
        "throttle_flag.under_voltage": lambda _: 1.0,
        "throttle_flag.throttled": rises(200),
    }
    found = judge(sustained(slow_from(200), sensors))
    assert found.verdict == "throttled"
    assert found.held_back.is_all_the_time


def test_a_flag_that_was_set_before_the_run_explains_no_change() -> None:
    found = judge(sustained(slow_from(200), {"throttle_flag.throttled": lambda _: 1.0}))
    assert found.verdict == "held_back"
    assert found.slowdown is not None
    (event,) = found.evidence
    assert event.before is None
    assert not event.is_cause


def test_a_flag_that_came_earlier_and_still_holds_is_evidence() -> None:
    assert judge(sustained(slow_from(200), {"throttle_flag.t": rises(120)})).verdict == "throttled"


def test_a_clock_that_falls_between_images_is_no_evidence() -> None:
    run = sustained(slow_from(200), pause_s=3.0)

    def idle_from_200(at: float) -> float:
        loaded = any(image.start_s <= at <= image.end_s for image in run.images)
        return 2400.0 if loaded or at < 200 else 600.0

    samples = tuple(
        SensorSample(time_s=s.time_s, values={"frequency_mhz.policy0": idle_from_200(s.time_s)})
        for s in run.sensors
    )
    assert judge(replace(run, sensors=samples)).verdict == "slowed"


def test_a_clock_that_always_wanders_is_no_evidence() -> None:
    generator = np.random.default_rng(2)
    wandering: Sensor = lambda _: float(generator.choice([600.0, 1200.0, 2400.0]))  # noqa: E731 - a sensor
    found = judge(sustained(slow_from(200), {"frequency_mhz.policy0": wandering}))
    assert found.verdict == "slowed"


def test_silent_sensors_are_no_evidence() -> None:
    found = judge(sustained(slow_from(200), {"throttle_flag.throttled": lambda _: None}))
    assert found.verdict == "slowed"


def test_a_recovery_is_seen() -> None:
    def factor(at: float) -> float:
        return 1.4 if 120 <= at < 220 else 1.0

    flag: Sensor = lambda at: float(120 <= at < 220)  # noqa: E731 - a sensor
    found = judge(sustained(factor, {"throttle_flag.throttled": flag}))
    assert found.verdict == "throttled"
    assert found.has_recovered
    assert found.changes is not None
    assert len(found.changes.changes) == 2


def test_the_slowdown_with_evidence_is_told_before_an_earlier_one() -> None:
    def factor(at: float) -> float:
        return 1.2 * 1.3 if at >= 250 else 1.2 if at >= 100 else 1.0

    found = judge(sustained(factor, {"throttle_flag.throttled": rises(250)}))
    assert found.slowdown is not None
    assert found.slowdown.onset_s == pytest.approx(250, abs=5)


@pytest.mark.parametrize("seconds", [5.0, 40.0])
def test_a_short_run_is_unknown_even_with_a_flag(seconds: float) -> None:
    found = judge(sustained(sensors={"throttle_flag.t": rises(0.6 * seconds)}, seconds=seconds))
    assert found.verdict == "unknown"
    assert found.changes is None
    assert len(found.evidence) == 1


def test_a_run_without_images_is_unknown() -> None:
    found = judge(replace(sustained(), images=(), sensors=()))
    assert (found.verdict, found.steps) == ("unknown", 0)
    assert found.start_images_per_minute is None


def test_the_warm_up_counts_neither_as_a_change_nor_as_a_rate() -> None:
    found = judge(sustained())
    assert found.verdict == "steady"  # its warm-up took three times as long
    assert found.start_images_per_minute == pytest.approx(60 / 5.3, rel=0.02)


def test_images_a_minute_are_told_for_the_start_and_the_end() -> None:
    found = judge(sustained(slow_from(200, 2.0)))
    assert found.start_images_per_minute == pytest.approx(60 / 5.3, rel=0.02)
    assert found.end_images_per_minute == pytest.approx(60 / 10.3, rel=0.02)


def test_loading_is_left_out_of_the_rate() -> None:
    images = tuple(replace(image, load_s=1.0) for image in sustained().images[1:])
    start, _ = image_rates(images)
    assert start == pytest.approx(60 / 4.3, rel=0.02)


def test_a_rate_is_not_told_where_start_and_end_are_the_same_images() -> None:
    assert image_rates(sustained(seconds=70).images[1:]) == (None, None)


def test_steps_that_no_clock_gives_are_left_out_and_counted() -> None:
    run = sustained(slow_from(200), {"throttle_flag.t": rises(202)})
    broken = run.images[20]
    steps = list(broken.steps)
    steps[3] = replace(steps[3], end_s=steps[3].start_s)  # the clock stood still
    steps[5] = replace(steps[5], start_s=1.0, end_s=2.0)  # it had gone back
    images = (*run.images[:20], replace(broken, steps=tuple(steps)), *run.images[21:])

    found = judge(replace(run, images=images))

    assert found.ignored_steps == 2
    assert found.verdict == "throttled"
