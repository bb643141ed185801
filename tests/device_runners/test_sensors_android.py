"""What Android's services say, read from recorded output of phones."""

from pathlib import Path

import pytest
from edgegen_runner.sensors.android import parse_battery, parse_thermal_service
from edgegen_runner.sensors.readers import find_sensors, read_all

from tests.device_runners.sensor_tools import HOSTILE, calls_of, halves, plant, recorded, tool


def test_current_temperatures_are_read_and_cached_ones_never() -> None:
    pixel = parse_thermal_service(recorded("pixel-6-thermalservice.txt"))
    assert pixel == {
        "thermal_status.android": 0.0,
        "temperature_c.npu.TPU": pytest.approx(25.0, abs=1e-3),
        "temperature_c.gpu.G3D": pytest.approx(26.0, abs=1e-3),
        "temperature_c.cpu.BIG": pytest.approx(26.0, abs=1e-3),  # cached: 61
        "temperature_c.cpu.LITTLE": pytest.approx(27.0, abs=1e-3),
        "temperature_c.cpu.MID": pytest.approx(27.0, abs=1e-3),
        "temperature_c.skin.VIRTUAL-SKIN": pytest.approx(24.83324),
        "temperature_c.battery.battery": pytest.approx(22.1),
    }


def test_a_phone_whose_service_has_only_cached_temperatures_has_none() -> None:
    text = recorded("pixel-6-thermalservice.txt").replace("Current temperatures from HAL:", "")
    assert parse_thermal_service(text) == {"thermal_status.android": 0.0}


@pytest.mark.parametrize("phone", ["galaxy-s22", "galaxy-a52"])
def test_sensors_that_are_not_built_in_have_no_value(phone: str) -> None:
    values = parse_thermal_service(recorded(f"{phone}-thermalservice.txt"))
    assert values["temperature_c.battery.SUBBAT"] is None
    assert values["temperature_c.battery.SUBBATRAW"] is None
    known = [v for n, v in values.items() if n.startswith("temperature_c") and v is not None]
    assert known
    assert all(20 < value < 50 for value in known)


def test_only_what_caps_a_processor_is_a_cooling_state() -> None:
    values = parse_thermal_service(recorded("pixel-hot-thermalservice.txt"))
    assert {name: value for name, value in values.items() if name.startswith("cooling")} == {
        "cooling_state.cpu.thermal-cpufreq-0": 0.0,
        "cooling_state.cpu.thermal-cpufreq-6": 0.0,
        "cooling_state.gpu.thermal-devfreq-0": 0.0,
    }
    text = recorded("pixel-hot-thermalservice.txt").replace(
        "{mValue=0, mType=2, mName=thermal-cpufreq-6}",
        "{mValue=3, mType=2, mName=thermal-cpufreq-6}",
    )
    assert parse_thermal_service(text)["cooling_state.cpu.thermal-cpufreq-6"] == 3.0


@pytest.mark.parametrize(
    ("before", "after"),
    [("HAL Ready: true", "HAL Ready: false"), ("Override: false", "Override: true")],
)
def test_a_status_that_nobody_measured_is_left_out(before: str, after: str) -> None:
    text = recorded("galaxy-s22-thermalservice.txt").replace(before, after)
    assert "thermal_status.android" not in parse_thermal_service(text)


def test_severe_throttling_is_a_status() -> None:
    text = recorded("galaxy-s22-thermalservice.txt").replace("Status: 0", "Status: 3")
    assert parse_thermal_service(text)["thermal_status.android"] == 3.0


@pytest.mark.parametrize("value", ["NaN", "-274.0", "1.0E9", "28800.0"])
def test_a_temperature_that_no_phone_has_is_not_known(value: str) -> None:
    text = recorded("galaxy-s22-thermalservice.txt").replace("mValue=39.6", f"mValue={value}")
    assert parse_thermal_service(text).get("temperature_c.cpu.AP") is None


@pytest.mark.parametrize(
    "file", ["galaxy-s22-thermalservice.txt", "pixel-6-thermalservice.txt", "galaxy-battery.txt"]
)
def test_half_an_answer_gives_no_wrong_value(file: str) -> None:
    for parse in (parse_thermal_service, parse_battery):
        whole = parse(recorded(file))
        for part in halves(recorded(file)):
            complete = part.rpartition("\n")[0]
            for name, value in parse(complete).items():
                assert value is None or value == whole[name]


@pytest.mark.parametrize("output", HOSTILE)
def test_garbage_is_no_reading(output: bytes) -> None:
    text = output.decode("utf-8", "replace")
    assert parse_thermal_service(text) == {}
    assert parse_battery(text) == {}


def test_the_battery_of_a_phone_on_usb() -> None:
    assert parse_battery(recorded("galaxy-battery.txt"), current_ua=-350_000.0) == {
        "battery_percent": 100.0,
        "battery_charging": 0.0,
        "temperature_c.battery": 30.9,
        "voltage_v.battery": 4.312,
        "current_a.battery": -0.35,
        "power_w.battery": None,  # USB feeds it: the battery's power is not the device's
    }


def test_the_battery_tells_the_power_where_nothing_feeds_the_phone() -> None:
    text = recorded("galaxy-battery.txt").replace("USB powered: true", "USB powered: false")
    text = text.replace("status: 5", "status: 3")
    assert parse_battery(text, -350_000.0)["power_w.battery"] == pytest.approx(1.5092)
    assert parse_battery(text, None)["power_w.battery"] is None


def test_a_current_in_another_unit_is_not_known() -> None:
    assert parse_battery(recorded("galaxy-battery.txt"), 321.0)["current_a.battery"] is None


def test_an_emulator_has_no_voltage_and_no_temperature() -> None:
    values = parse_battery(recorded("emulator-battery.txt"))
    assert values["voltage_v.battery"] is None
    assert values["temperature_c.battery"] is None
    assert values["battery_percent"] == 89.0
    assert values["battery_charging"] == 1.0


def test_each_service_is_asked_once_a_sample_and_the_battery_seldom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    answers = {"thermalservice": "galaxy-s22-thermalservice.txt", "battery": "galaxy-battery.txt"}
    dumpsys = tool(tmp_path / "system/bin/dumpsys", answers)
    plant(tmp_path, {"sys/devices/system/cpu/cpufreq/policy4/scaling_cur_freq": "2284800"})
    # Kernel zones of a phone can be anything: this one is a voltage.
    plant(tmp_path, {"sys/class/thermal/thermal_zone0/type": "vbat"})
    plant(tmp_path, {"sys/class/thermal/thermal_zone0/temp": "4312"})
    found = find_sensors(tmp_path)
    for _ in range(3):
        values = read_all(found)
    assert calls_of(dumpsys).count("battery") == 1
    assert calls_of(dumpsys).count("thermalservice") == 4
    assert values["temperature_c.cpu.AP"] == 39.6
    assert values["temperature_c.battery"] == 30.9
    assert values["frequency_mhz.policy4"] == pytest.approx(2284.8)
    assert "temperature_c.vbat" not in values
    assert "temperature_c.battery.SUBBAT" not in values
