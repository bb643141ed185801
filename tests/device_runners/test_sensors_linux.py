"""Sensors of any Linux, on trees of files that a kernel could show (synthetic)."""

from pathlib import Path

import pytest
from edgegen_runner.sensors import linux
from edgegen_runner.sensors.readers import find_sensors, read_all

from tests.device_runners.sensor_tools import plant


@pytest.fixture(autouse=True)
def no_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")


def test_sensors_are_found_by_their_files_and_named_with_units(tmp_path: Path) -> None:
    cpus = "sys/devices/system/cpu"
    files = {
        "sys/class/thermal/thermal_zone0/type": "cpu-thermal",
        "sys/class/thermal/thermal_zone0/temp": "40500",
        "sys/class/thermal/thermal_zone1/type": "gpu-thermal",
        "sys/class/thermal/thermal_zone1/temp": "41500",
        "sys/class/thermal/thermal_zone2/type": "cpu-thermal",
        "sys/class/thermal/thermal_zone2/temp": "42500",
        f"{cpus}/cpufreq/policy0/scaling_cur_freq": "1800000",
        f"{cpus}/cpu0/thermal_throttle/core_throttle_count": "1",
        f"{cpus}/cpu1/thermal_throttle/core_throttle_count": "2",
        "proc/pressure/cpu": "some avg10=1.25 avg60=0.1 avg300=0 total=5",
        "proc/meminfo": "MemTotal:  8 kB\nMemAvailable:    3 kB",
        "sys/class/hwmon/hwmon0/name": "k10temp",
        "sys/class/hwmon/hwmon0/temp1_input": "51000",
        "sys/class/hwmon/hwmon0/temp1_label": "Tctl",
        "sys/class/devfreq/17000000.gpu/cur_freq": "624750000",
        "sys/class/devfreq/17000000.ufs/cur_freq": "300000000",
    }
    assert read_all(find_sensors(plant(tmp_path, files))) == {
        "temperature_c.cpu-thermal": pytest.approx(40.5),
        "temperature_c.gpu-thermal": pytest.approx(41.5),
        "temperature_c.cpu-thermal.2": pytest.approx(42.5),
        "temperature_c.k10temp.Tctl": 51.0,
        "frequency_mhz.policy0": 1800.0,
        "frequency_mhz.17000000.gpu": pytest.approx(624.75),
        "throttle_count.core": 3.0,
        "pressure_percent.cpu": 1.25,
        "available_memory_bytes": 3072.0,
    }


@pytest.mark.parametrize("invalid", ["-274000", "250000", "nan", "", "41.5.3"])
def test_a_temperature_that_no_machine_has_is_not_known(tmp_path: Path, invalid: str) -> None:
    zone = "sys/class/thermal/thermal_zone0"
    plant(tmp_path, {f"{zone}/type": "cpu", f"{zone}/temp": "40000"})
    found = find_sensors(tmp_path)
    plant(tmp_path, {f"{zone}/temp": invalid})
    assert read_all(found) == {"temperature_c.cpu": None}


def test_energy_counts_from_the_first_reading_and_over_the_counters_end(tmp_path: Path) -> None:
    domain, core = "sys/class/powercap/intel-rapl:0", "sys/class/powercap/intel-rapl:0:0"
    for name, folder in (("package-0", domain), ("core", core)):
        plant(tmp_path, {f"{folder}/name": name, f"{folder}/max_energy_range_uj": "1000000"})
    plant(tmp_path, {f"{domain}/energy_uj": "900000", f"{core}/energy_uj": "10"})
    found = find_sensors(tmp_path)
    assert read_all(found) == {"energy_j.package-0": 0.0, "energy_j.package-0.core": 0.0}
    plant(tmp_path, {f"{domain}/energy_uj": "100000", f"{core}/energy_uj": "500010"})
    first = read_all(found)
    assert first["energy_j.package-0"] == pytest.approx(0.2)
    assert first["energy_j.package-0.core"] == pytest.approx(0.5)
    plant(tmp_path, {f"{domain}/energy_uj": "400000"})
    assert read_all(found)["energy_j.package-0"] == pytest.approx(0.5)


def test_a_counter_that_goes_back_without_a_known_end_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "energy_uj"
    counter = linux.EnergyCounter(path, None)
    readings = []
    for value in ("5000000", "6000000", "10", "1000010"):
        path.write_text(value, encoding="utf-8")
        readings.append(counter())
    assert readings == [0.0, 1.0, None, None]


def test_energy_and_power_of_hardware_monitors(tmp_path: Path) -> None:
    monitor = "sys/class/hwmon"
    files = {
        f"{monitor}/hwmon0/name": "amdgpu",
        f"{monitor}/hwmon0/power1_average": "12500000",
        f"{monitor}/hwmon0/power1_label": "PPT",
        f"{monitor}/hwmon1/name": "amd_energy",
        f"{monitor}/hwmon1/energy1_input": "77",
        f"{monitor}/hwmon1/energy1_label": "Esocket0",
        f"{monitor}/hwmon2/name": "BAT0",
        f"{monitor}/hwmon2/power1_input": "9000000",
        f"{monitor}/hwmon2/device/type": "Battery",
    }
    assert read_all(find_sensors(plant(tmp_path, files))) == {
        "power_w.amdgpu.PPT": 12.5,
        "energy_j.amd_energy.Esocket0": 0.0,
    }


def test_of_cooling_devices_of_one_type_the_highest_state_counts(tmp_path: Path) -> None:
    folder = "sys/class/thermal/cooling_device"
    files = {}
    for number, (kind, state) in enumerate(
        [("Processor", 0), ("Processor", 3), ("Processor", 1), ("pwm-fan", 2), ("powerclamp", -1)]
    ):
        files |= {f"{folder}{number}/type": kind, f"{folder}{number}/cur_state": str(state)}
    assert read_all(find_sensors(plant(tmp_path, files))) == {
        "cooling_state.Processor": 3.0,
        "cooling_state.pwm-fan": 2.0,
        "cooling_state.powerclamp": -1.0,
    }


SUPPLY = "sys/class/power_supply/BAT0"
BATTERY = {
    f"{SUPPLY}/type": "Battery",
    f"{SUPPLY}/status": "Discharging",
    f"{SUPPLY}/capacity": "64",
    f"{SUPPLY}/voltage_now": "11400000",
    f"{SUPPLY}/current_now": "-1500000",
}


def test_a_battery_that_discharges_tells_the_power(tmp_path: Path) -> None:
    assert read_all(find_sensors(plant(tmp_path, BATTERY))) == {
        "battery_percent": 64.0,
        "battery_charging": 0.0,
        "voltage_v.battery": 11.4,
        "current_a.battery": -1.5,
        "power_w.battery": pytest.approx(17.1),
    }


@pytest.mark.parametrize("status", ["Charging", "Full", "Not charging", "Unknown"])
def test_a_battery_that_does_not_feed_the_machine_tells_no_power(
    tmp_path: Path, status: str
) -> None:
    files = {**BATTERY, f"{SUPPLY}/status": status, f"{SUPPLY}/power_now": "20000000"}
    values = read_all(find_sensors(plant(tmp_path, files)))
    assert "power_w.battery" not in values
    assert ("battery_charging" in values) == (status != "Unknown")


def test_the_battery_of_a_mouse_is_not_the_machines(tmp_path: Path) -> None:
    plant(tmp_path, {**BATTERY, f"{SUPPLY}/scope": "Device"})
    assert find_sensors(tmp_path) == []


@pytest.mark.parametrize(
    ("groups", "files"),
    [
        ("0::/user/run", {"user/run/memory.current": "500", "user/run/memory.peak": "900"}),
        ("0::/docker/1", {"memory.current": "500", "memory.peak": "900"}),
        (
            "7:cpu:/x\n3:memory:/a\n0::/",
            {"memory/a/memory.usage_in_bytes": "500", "memory/a/memory.max_usage_in_bytes": "900"},
        ),
        (
            "3:hugetlb,memory:/outside",
            {"memory/memory.usage_in_bytes": "500", "memory/memory.max_usage_in_bytes": "900"},
        ),
    ],
    ids=["version 2", "version 2 in a container", "version 1", "version 1 in a container"],
)
def test_memory_of_the_control_group_and_its_peak(
    tmp_path: Path, groups: str, files: dict[str, str]
) -> None:
    plant(tmp_path, {f"sys/fs/cgroup/{name}": text for name, text in files.items()})
    plant(tmp_path, {"proc/self/cgroup": groups})
    assert read_all(find_sensors(tmp_path)) == {
        "cgroup_memory_bytes": 500.0,
        "cgroup_memory_peak_bytes": 900.0,
    }


def test_this_machine_answers_without_an_error() -> None:
    values = read_all(find_sensors())
    assert all(value is None or isinstance(value, float | int) for value in values.values())
    assert values.get("available_memory_bytes", 1 << 20) > 0
