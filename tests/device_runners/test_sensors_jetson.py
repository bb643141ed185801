"""A Jetson's rails, events, power mode and GPU memory.

The trees are synthetic: the names of NVIDIA's files (energymon's JetsonPowerRails.md, the kernel's
tegra234 device trees), with values of our own.
"""

import os
from pathlib import Path

import pytest
from edgegen_runner.sensors import jetson
from edgegen_runner.sensors.jetson import parse_clients, parse_power_mode, read_gpu_bytes
from edgegen_runner.sensors.readers import find_sensors, read_all

from tests.device_runners.sensor_tools import HOSTILE, RECORDED, halves, plant, recorded, tool


def ina3221(path: str, rails: dict[int, tuple[str, int, int]]) -> dict[str, str]:
    files = {f"{path}/name": "ina3221"}
    for channel, (label, millivolts, milliamperes) in rails.items():
        files |= {
            f"{path}/in{channel}_label": label,
            f"{path}/in{channel}_input": str(millivolts),
            f"{path}/curr{channel}_input": str(milliamperes),
        }
    return files


def values(root: Path) -> dict[str, float | None]:
    return read_all(find_sensors(root))


def test_a_rails_power_is_its_voltage_times_its_current(tmp_path: Path) -> None:
    rails = {1: ("VDD_IN", 4984, 1200), 2: ("VDD_CPU_GPU_CV", 4976, 400), 3: ("VDD_SOC", 4976, 88)}
    files = ina3221("sys/class/hwmon/hwmon1", rails)
    files |= {"sys/class/hwmon/hwmon1/in7_label": "sum of shunt voltages"}
    files |= {"sys/class/hwmon/hwmon1/in7_input": "3", "sys/class/hwmon/hwmon1/curr4_input": "9"}
    assert values(plant(tmp_path, files)) == {
        "power_w.VDD_IN": pytest.approx(5.9808),
        "power_w.VDD_CPU_GPU_CV": pytest.approx(1.9904),
        "power_w.VDD_SOC": pytest.approx(0.437888),
    }


def test_a_monitor_with_two_paths_is_read_once_and_unconnected_channels_are_left_out(
    tmp_path: Path,
) -> None:
    by_driver = tmp_path / "sys/bus/i2c/drivers/ina3221/1-0041/hwmon/hwmon2"
    rails = {1: ("NC", 0, 0), 2: ("VDDQ_VDD2_1V8AO", 4968, 80)}
    plant(tmp_path, ina3221(str(by_driver.relative_to(tmp_path)), rails))
    (tmp_path / "sys/class/hwmon").mkdir(parents=True)
    (tmp_path / "sys/class/hwmon/hwmon2").symlink_to(by_driver)
    assert values(tmp_path) == {"power_w.VDDQ_VDD2_1V8AO": pytest.approx(0.39744)}


def test_a_channel_that_does_not_answer_is_none(tmp_path: Path) -> None:
    root = plant(tmp_path, ina3221("sys/class/hwmon/hwmon1", {1: ("VDD_IN", 5000, 1000)}))
    found = find_sensors(root)
    (root / "sys/class/hwmon/hwmon1/curr1_input").unlink()
    assert read_all(found) == {"power_w.VDD_IN": None}


def test_the_older_driver_tells_milliwatts(tmp_path: Path) -> None:
    device = "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0"
    files = {f"{device}/rail_name_0": "POM_5V_IN", f"{device}/in_power0_input": "2525"}
    assert values(plant(tmp_path, files)) == {"power_w.POM_5V_IN": pytest.approx(2.525)}


def test_over_current_events_are_counted(tmp_path: Path) -> None:
    monitor = "sys/class/hwmon/hwmon3"
    files = {f"{monitor}/oc{n}_event_cnt": str(n) for n in (1, 2, 3)}
    assert values(plant(tmp_path, {f"{monitor}/name": "soctherm_oc", **files})) == {
        "throttle_count.oc1": 1.0,
        "throttle_count.oc2": 2.0,
        "throttle_count.oc3": 3.0,
    }


def test_a_unit_that_is_powered_off_has_no_temperature(tmp_path: Path) -> None:
    zone = tmp_path / "sys/class/thermal/thermal_zone2"
    plant(tmp_path, {"sys/class/thermal/thermal_zone2/type": "cv0-thermal"})
    (zone / "temp").mkdir()  # reading it fails, as the kernel's file does with EAGAIN
    assert values(tmp_path) == {}


@pytest.mark.parametrize(
    ("output", "mode"),
    [
        ("pmode:0002\n", 2.0),
        ("pmode:0000 fmode:quiet\n", 0.0),
        ("NV Power Mode: MAXN\n0\n", 0.0),
        (None, None),
        ("NV Power Mode: 15W\n", None),
        ("NVPM ERROR: no status\n", None),
    ],
)
def test_a_power_mode_is_the_number_that_nvpmodel_gives_it(
    output: str | None, mode: float | None
) -> None:
    assert parse_power_mode(output) == mode


def test_the_power_mode_of_a_nano_is_read_from_its_tool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    tool(tmp_path / "usr/sbin/nvpmodel", {"-q": "jetson-nvpmodel.txt"})
    assert values(tmp_path) == {"power_mode.nvpmodel": 1.0}


def test_gpu_memory_is_that_of_the_processes_that_were_asked_for() -> None:
    path = RECORDED / "jetson-nvmap-clients.txt"
    assert read_gpu_bytes(path, (4481,)) == 118372 << 10
    assert read_gpu_bytes(path, (4481, 1731, 99)) == (118372 + 18140) << 10
    assert read_gpu_bytes(path, (1012,)) == 0
    assert read_gpu_bytes(path, (99,)) is None


def test_a_table_with_pss_and_names_with_blanks_is_read_by_its_last_columns() -> None:
    table = (
        "CLIENT                        PROCESS      PID         PSS        SIZE\n"
        "user                   nvargus daemon     4678          0K         76M\n"
        "total                                                  64K         76M\n"
    )
    assert list(parse_clients(table)) == [(4678, 76 << 20)]


def test_half_a_table_gives_no_wrong_client() -> None:
    whole = set(parse_clients(recorded("jetson-nvmap-clients.txt")))
    for part in halves(recorded("jetson-nvmap-clients.txt")):
        complete = part.rpartition("\n")[0]
        assert set(parse_clients(complete)) <= whole


@pytest.mark.parametrize("output", HOSTILE)
def test_garbage_is_no_table_and_no_mode(output: bytes) -> None:
    text = output.decode("utf-8", "replace")
    assert list(parse_clients(text)) == []
    assert parse_power_mode(text[:1000].replace("9", "")) is None


def test_this_processs_gpu_memory_is_a_sensor_where_the_table_may_be_read(tmp_path: Path) -> None:
    header = "CLIENT PROCESS PID SIZE"
    plant(tmp_path, {jetson.NVMAP_CLIENTS: f"{header}\nuser python {os.getpid()} 2048K"})
    assert values(tmp_path) == {"gpu_memory_bytes": 2048 << 10}
