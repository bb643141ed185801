"""What caps a system beyond heat: settings of the clock, savers (synthetic files and outputs)."""

from pathlib import Path
from typing import Any

import pytest
from edgegen_runner import backends
from edgegen_runner.sensors import android, macos
from edgegen_runner.sensors.readers import find_sensors, read_all

from tests.device_runners.sensor_tools import plant

LIMIT = "speed_limit_percent.cpufreq"
POLICY = "sys/devices/system/cpu/cpufreq/policy0"
USUAL = {
    "cpuinfo_max_freq": "2400000",
    "cpuinfo_min_freq": "600000",
    "scaling_max_freq": "2400000",
    "scaling_min_freq": "600000",
    "scaling_governor": "schedutil",
    "scaling_driver": "cpufreq-dt",
}


def limit(root: Path, **changed: str) -> float | None:
    plant(root, {f"{POLICY}/{name}": text for name, text in {**USUAL, **changed}.items()})
    return read_all(find_sensors(root, readers=("clock_limit",))).get(LIMIT)


@pytest.mark.parametrize(
    ("changed", "percent"),
    [
        ({}, 100.0),
        ({"scaling_max_freq": "1200000"}, 50.0),  # a power mode, or the kernel's cooling
        ({"bios_limit": "1800000"}, 75.0),
        ({"scaling_governor": "powersave"}, 25.0),  # the lowest clock, always
        ({"scaling_governor": "powersave", "scaling_driver": "intel_pstate"}, 100.0),  # dynamic
        ({"scaling_governor": "powersave", "scaling_driver": "amd-pstate-epp"}, 100.0),
        ({"scaling_governor": "userspace", "scaling_setspeed": "900000"}, 37.5),
        ({"scaling_max_freq": "<unsupported>"}, None),
    ],
)
def test_the_share_of_the_highest_clock_that_is_allowed(
    tmp_path: Path, changed: dict[str, str], percent: float | None
) -> None:
    assert limit(tmp_path, **changed) == percent


def test_of_several_clusters_the_one_that_is_capped_most_counts(tmp_path: Path) -> None:
    big = POLICY.replace("policy0", "policy4")
    plant(tmp_path, {f"{big}/cpuinfo_max_freq": "3000000", f"{big}/scaling_max_freq": "600000"})
    assert limit(tmp_path) == 20.0


def test_androids_own_limits_are_not_read_as_such(tmp_path: Path) -> None:
    plant(tmp_path, {"system/bin/dumpsys": ""})
    assert limit(tmp_path, scaling_max_freq="600000") is None


@pytest.mark.parametrize(
    ("output", "flag"),
    [("1\n", 1.0), ("0\n", 0.0), ("null\n", 0.0), ("", None), (None, None), ("2", None)],
)
def test_androids_battery_saver(output: str | None, flag: float | None) -> None:
    assert android.parse_saver(output) == flag


def test_the_battery_saver_is_asked_on_android_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    plant(
        tmp_path, {"system/bin/settings": '#!/bin/sh\n[ "$*" = "get global low_power" ] && echo 1'}
    )
    (tmp_path / "system/bin/settings").chmod(0o755)
    assert find_sensors(tmp_path, readers=("battery_saver",)) == []
    plant(tmp_path, {"system/bin/dumpsys": ""})
    found = find_sensors(tmp_path, readers=("battery_saver",))
    assert read_all(found) == {"throttle_flag.battery_saver": 1.0}


@pytest.mark.parametrize(
    ("output", "values"),
    [
        (" lowpowermode         1\n", {"throttle_flag.low_power_mode": 1.0}),
        (" lowpowermode         0\n", {"throttle_flag.low_power_mode": 0.0}),
        (" sleep 1\n powermode            1\n", {"throttle_flag.low_power_mode": 1.0}),
        (" powermode            2\n", {"throttle_flag.low_power_mode": 0.0}),  # High Power
        (" sleep 1\n", {}),
        (None, {}),
    ],
)
def test_low_power_mode_of_a_mac(output: str | None, values: dict[str, float]) -> None:
    assert macos.parse_low_power_mode(output) == values


@pytest.mark.parametrize(
    ("output", "values"),
    [
        ("com.apple.system.thermalpressurelevel 0\n", {"thermal_status.macos": 0.0}),
        ("com.apple.system.thermalpressurelevel 2\n", {"thermal_status.macos": 2.0}),
        ("com.apple.system.thermalpressurelevel 9\n", {}),
        ("com.apple.system.thermalpressurelevel: Failed with code 1\n", {}),
        (None, {}),
    ],
)
def test_thermal_pressure_of_a_mac_without_root(
    output: str | None, values: dict[str, float]
) -> None:
    assert macos.parse_thermal_pressure(output) == values


def test_a_quota_is_the_threads_default_of_every_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "threads_within_quota", lambda: 3)
    for name in ("onnxruntime", "openvino", "ai_edge_litert"):
        chosen: Any = backends.open_backend(backends.BackendOptions(name=name))
        asked: Any = backends.open_backend(backends.BackendOptions(name=name, threads=2))
        assert (chosen.options.threads, asked.options.threads) == (3, 2)
