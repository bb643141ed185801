"""What is said of a device that was held back while it was timed."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from edgegen.cli.main import run as run_command
from edgegen.core.limits import holds_back, remedies
from edgegen.core.measurement import Measurement, Run, SensorSample
from edgegen.report.html import page
from edgegen.statistics.analysis import analyse
from edgegen.statistics.held_back import held_back, held_back_sentence
from tests.statistics.samples import measurement
from tests.tiny_packages import onnx_package

WEAK_SUPPLY = {"throttle_flag.under_voltage": 1.0, "throttle_flag.throttled": 1.0}


def with_readings(
    readings: Sequence[Mapping[str, float | None]], at_start: Mapping[str, float] | None = None
) -> Measurement:
    """A quick measurement whose one steady run has these readings, a second apart."""
    usual = measurement(restarts=1)
    samples = tuple(
        SensorSample(time_s=float(second), values=values) for second, values in enumerate(readings)
    )
    steady = replace(next(run for run in usual.runs if run.kind == "steady"), sensors=samples)
    environment = replace(usual.environment, limits=at_start or {})
    return replace(usual, runs=(steady,), environment=environment)


def steady(value: Measurement) -> Run:
    return value.of_kind("steady")[0]


def test_a_pi_that_is_throttled_all_the_time_says_so_first_and_what_to_do() -> None:
    value = with_readings([WEAK_SUPPLY] * 5, {**WEAK_SUPPLY, "throttle_since_boot.throttled": 1.0})
    analysis = analyse(value)
    text = analysis.held_back
    assert text is not None
    assert text.startswith("HELD BACK ALL THE TIME, in 5 of 5 readings: under-voltage, throttled.")
    assert "power supply" in text
    assert text not in [finding.text for finding in analysis.findings]  # said once
    shown = page(analysis)
    assert shown.index("HELD BACK ALL THE TIME") < shown.index('class="cards"')


@pytest.mark.parametrize(
    ("readings", "held"),
    [
        ([{"throttle_count.core": value} for value in (3, 3, 4, 4, 4)], 1),
        ([{"throttle_count.cgroup": value} for value in (3, 5, 9, 12, 20)], 5),  # the first as well
        ([{"throttle_count.cgroup": value} for value in (9, 0, 0, 0, 0)], 0),  # it was reset
        ([{"throttle_since_boot.throttled": 1.0}] * 5, 0),
        ([{"speed_limit_percent.cpufreq": value} for value in (100, 95, 90, 89, 40)], 2),
        ([{"thermal_status.android": value} for value in (0, 1, 2, 3, 1)], 2),
        ([{"cooling_state.cpu-fan": 3.0, "cooling_state.pwm-fan": 3.0}] * 5, 5),
        ([{"cooling_state.pwm-fan": 3.0}] * 5, 0),
        ([{"cooling_state.cv0-throttle-alert": 1.0}] * 5, 5),
        ([{"throttle_flag.throttled": None}] * 5, 0),
        ([{}] * 5, 0),
    ],
)
def test_readings_are_counted_in_which_something_held_the_device_back(
    readings: Sequence[Mapping[str, float | None]], held: int
) -> None:
    value = with_readings(readings)
    assert held_back([steady(value)]).held == held
    assert (held_back_sentence(value) is not None) is (held > 0)


def test_some_readings_are_a_warning_with_their_number() -> None:
    text = held_back_sentence(
        with_readings([{}, *[WEAK_SUPPLY] * 2, *[{"throttle_flag.x": 0}] * 3])
    )
    assert text is not None
    assert text.startswith("HELD BACK in 2 of 5 readings: under-voltage, throttled.")


def test_a_device_that_was_held_back_at_the_start_alone_is_told() -> None:
    text = held_back_sentence(with_readings([{"throttle_flag.throttled": 0.0}] * 3, WEAK_SUPPLY))
    assert text is not None
    assert "at the start: under-voltage, throttled; in none of 3 readings later" in text


def test_what_happened_since_the_boot_is_told_apart_from_now() -> None:
    value = with_readings([], {"throttle_since_boot.under_voltage": 1.0, "throttle_count.oc1": 2.0})
    assert held_back_sentence(value) is None
    said = "\n".join(
        finding.text for finding in analyse(value).findings if finding.weight == "note"
    )
    assert "since the device's boot: under-voltage, over-current" in said
    shown = page(analyse(value))
    assert "Held back since its boot" in shown


def test_a_quota_is_told_with_what_it_cost() -> None:
    value = with_readings(
        [
            {"throttle_count.cgroup": 2, "period_count.cgroup": 9, "throttled_s.cgroup": 1.0},
            {"throttle_count.cgroup": 320, "period_count.cgroup": 330, "throttled_s.cgroup": 17.0},
        ]
    )
    value = replace(
        value,
        environment=replace(value.environment, cpu_quota=1.5, memory_limit_bytes=2_000_000_000),
    )
    said = "\n".join(finding.text for finding in analyse(value).findings)
    assert "quota of 1.5 cores' time, on 4 cores: it was used up in 318 of 321 periods" in said
    assert "waited for 16.0 s" in said
    assert "2.00 GB of memory" in said
    shown = page(analyse(value))
    assert "1.5 cores&#x27; time" in shown
    assert "as many as the CPU quota feeds" not in shown  # --threads was given


@pytest.mark.parametrize("why", ["no-group", "closed", "new-group", "no-device", "failed", "new"])
def test_a_tool_that_does_not_answer_is_named_with_the_command_that_mends_it(why: str) -> None:
    usual = measurement()
    value = replace(usual, environment=replace(usual.environment, silent={"vcgencmd": why}))
    (said,) = [each.text for each in analyse(value).findings if each.text.startswith("vcgencmd")]
    assert "Mend it: " in said
    if why in ("no-group", "closed"):
        assert "sudo usermod -aG video" in said


def test_a_vague_remedy_is_left_out_beside_a_sure_one() -> None:
    both = remedies(["throttle_flag.throttled", "throttle_flag.under_voltage"])
    assert len(both) == 1
    assert "supply" in both[0]
    assert len(remedies(["throttle_flag.throttled"])) == 1


def test_a_frequency_that_nothing_caps_holds_nothing_back() -> None:
    assert not holds_back("frequency_mhz.arm", 600.0)
    assert not holds_back("speed_limit_percent.cpu", 100.0)


def test_the_whole_command_says_it_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tool = tmp_path / "bin/vcgencmd"
    tool.parent.mkdir()
    tool.write_text('#!/bin/sh\n[ "$1" = get_throttled ] && echo throttled=0x50005\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:/usr/bin:/bin")
    package = onnx_package(tmp_path / "package")
    arguments = ("--quick", "--images", "2", "--threads", "1")
    assert run_command(["bench", str(package), *arguments]) == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith("HELD BACK ALL THE TIME")
    assert "under-voltage, throttled" in first
    assert run_command(["devices", "show", "local"]) == 0
    shown = capsys.readouterr().out
    assert "held back now" in shown
    assert "since its boot" in shown
