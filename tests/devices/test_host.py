"""The probe of this machine, over trees of files as the kernel lays them out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from edgegen_runner.sensors.readers import READERS

from edgegen.core.codec import decode, encode
from edgegen.core.errors import DeviceError
from edgegen.core.profile import DeviceProfile
from edgegen.devices.host import has_nvidia_driver, host_profile, read_memory, usable_cores
from edgegen.devices.sensors import SENSOR_KINDS, sensors_here

GIB = 2**30
MEMINFO = "MemTotal:        8388608 kB\nMemFree:   100 kB\nMemAvailable:    6291456 kB\n"


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_this_machine_has_a_profile_that_can_be_written() -> None:
    profile = host_profile()
    assert profile.name == "host"
    assert profile.hardware.cores == usable_cores() == len(os.sched_getaffinity(0))
    assert 0 < profile.application_memory_bytes <= profile.hardware.memory_bytes
    assert decode(DeviceProfile, encode(profile), source="host") == profile


def test_a_board_is_recognised_by_its_device_tree(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "proc/meminfo": MEMINFO,
            "proc/cpuinfo": "processor\t: 0\nFeatures\t: fp asimd asimddp\n",
            "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
            "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
            "sys/class/thermal/thermal_zone0/temp": "48312\n",
            "sys/class/thermal/thermal_zone0/trip_point_0_type": "critical\n",
            "sys/class/thermal/thermal_zone0/trip_point_0_temp": "110000\n",
            "sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq": "2400000\n",
        },
    )
    profile = host_profile(root)
    assert profile.kind == "board"
    assert profile.hardware.soc == "Raspberry Pi 5 Model B Rev 1.0"
    assert profile.hardware.memory_bytes == 8 * GIB
    assert profile.application_memory_bytes == 6 * GIB
    assert profile.thermal.critical_c == 110.0
    assert profile.thermal.throttle_c is None
    assert {"thermal_zone", "cpufreq"} <= set(profile.sensors)
    assert profile.notes == ""


def test_a_laptop_is_recognised_by_its_battery(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {"proc/meminfo": MEMINFO, "sys/class/power_supply/BAT0/status": "Discharging\n"},
    )
    assert host_profile(root).kind == "laptop"


def test_a_virtual_machine_says_so(tmp_path: Path) -> None:
    flags = "model name\t: AMD EPYC\nflags\t\t: fpu avx2 hypervisor\n"
    root = write(tmp_path, {"proc/meminfo": MEMINFO, "proc/cpuinfo": flags})
    assert "virtual machine" in host_profile(root).notes


def test_a_zone_that_is_not_the_processors_has_no_say(tmp_path: Path) -> None:
    zone = "sys/class/thermal/thermal_zone0"
    root = write(
        tmp_path,
        {
            "proc/meminfo": MEMINFO,
            f"{zone}/type": "acpitz",
            f"{zone}/trip_point_0_type": "critical",
            f"{zone}/trip_point_0_temp": "20800",
        },
    )
    assert host_profile(root).thermal.critical_c is None


@pytest.mark.parametrize(
    ("limits", "limit", "left"),
    [
        ({}, None, None),
        ({"a/b/memory.max": "max", "a/memory.max": "max"}, None, None),
        ({"a/b/memory.max": str(2 * GIB), "a/b/memory.current": str(GIB)}, 2 * GIB, GIB),
        ({"a/b/memory.max": "max", "a/memory.max": str(GIB)}, GIB, GIB),
        ({"memory.max": str(3 * GIB), "a/memory.max": str(4 * GIB)}, 3 * GIB, 3 * GIB),
        ({"a/memory.max": str(99 * GIB)}, None, None),
        ({"a/b/memory.max": str(GIB), "a/b/memory.current": str(2 * GIB)}, GIB, 0),
    ],
)
def test_the_lowest_limit_of_the_control_groups_counts(
    limits: dict[str, str], limit: int | None, left: int | None, tmp_path: Path
) -> None:
    files = {f"sys/fs/cgroup/{name}": text for name, text in limits.items()}
    files |= {"proc/meminfo": MEMINFO, "proc/self/cgroup": "0::/a/b\n"}
    memory = read_memory(write(tmp_path, files))
    assert (memory.limit_bytes, memory.limit_left_bytes) == (limit, left)
    assert memory.usable_bytes == min(6 * GIB, 6 * GIB if left is None else left)


def test_a_container_that_sees_only_the_top_of_its_group_is_limited(tmp_path: Path) -> None:
    files = {
        "proc/meminfo": MEMINFO,
        "proc/self/cgroup": "0::/docker/0badcafe\n",
        "sys/fs/cgroup/memory.max": str(GIB),
    }
    assert read_memory(write(tmp_path, files)).limit_bytes == GIB


def test_the_older_control_groups_are_read(tmp_path: Path) -> None:
    files = {
        "proc/meminfo": MEMINFO,
        "proc/self/cgroup": "11:cpu,cpuacct:/x\n7:memory:/x\n1:name=systemd:/x\n",
        "sys/fs/cgroup/memory/x/memory.limit_in_bytes": str(2 * GIB),
        "sys/fs/cgroup/memory/x/memory.usage_in_bytes": str(GIB // 2),
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
    }
    memory = read_memory(write(tmp_path, files))
    assert (memory.limit_bytes, memory.limit_left_bytes) == (2 * GIB, 2 * GIB - GIB // 2)
    assert "control group" in host_profile(tmp_path).notes


def test_memory_that_nobody_tells_is_an_error_and_not_zero(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sysconf_names", {})
    with pytest.raises(DeviceError, match="how much memory") as raised:
        host_profile(tmp_path)
    assert raised.value.hint


def test_only_sensors_that_can_be_read_are_there(tmp_path: Path) -> None:
    assert not set(sensors_here(tmp_path)) - {
        name for name, kind in SENSOR_KINDS.items() if kind.program
    }
    assert "rapl" not in sensors_here(tmp_path)
    rapl = write(tmp_path, {"sys/class/powercap/intel-rapl:0/energy_uj": "1"})
    assert "rapl" in sensors_here(rapl)


def test_a_sensor_of_a_program_is_there_with_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "vcgencmd" not in sensors_here(tmp_path)
    program = tmp_path / "vcgencmd"
    program.touch(mode=0o755)
    assert "vcgencmd" in sensors_here(tmp_path)


def test_a_loaded_driver_is_a_gpu(tmp_path: Path) -> None:
    assert not has_nvidia_driver(tmp_path)
    root = write(tmp_path, {"proc/meminfo": MEMINFO, "proc/driver/nvidia/version": "NVRM"})
    assert host_profile(root).hardware.gpu == "NVIDIA"


MONITOR = "sys/class/hwmon/hwmon"
RAILS = "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3"
TREE = {
    "proc/meminfo": MEMINFO,
    "proc/pressure/cpu": "some avg10=0.00 avg60=0.00 avg300=0.00 total=0",
    "sys/class/thermal/thermal_zone0/type": "x86_pkg_temp",
    "sys/class/thermal/thermal_zone0/temp": "40000",
    "sys/class/thermal/cooling_device0/type": "Processor",
    "sys/class/thermal/cooling_device0/cur_state": "0",
    f"{MONITOR}0/name": "coretemp",
    f"{MONITOR}0/temp1_input": "40000",
    f"{MONITOR}1/name": "rpi_volt",
    f"{MONITOR}1/in0_lcrit_alarm": "0",
    f"{MONITOR}2/name": "soctherm_oc",
    f"{MONITOR}2/oc1_event_cnt": "0",
    f"{MONITOR}4/name": "amdgpu",
    f"{MONITOR}4/power1_average": "1000000",
    f"{RAILS}/in1_label": "VDD_IN",
    f"{RAILS}/in1_input": "5000",
    f"{RAILS}/curr1_input": "1000",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq": "2400000",
    "sys/devices/system/cpu/cpufreq/policy0/cpuinfo_max_freq": "2400000",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq": "2400000",
    "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": "0",
    "sys/class/devfreq/17000000.gpu/cur_freq": "600000000",
    "sys/class/powercap/intel-rapl:0/energy_uj": "1",
    "sys/class/powercap/intel-rapl:0/name": "package-0",
    "sys/class/power_supply/BAT0/type": "Battery",
    "sys/class/power_supply/BAT0/capacity": "50",
    "sys/kernel/debug/nvmap/iovmm/clients": "CLIENT PROCESS PID SIZE",
    "var/lib/nvpmodel/status": "pmode:0000",
}


@pytest.mark.parametrize("reader", [name for name in READERS if SENSOR_KINDS[name].files])
def test_a_sensor_is_here_exactly_when_the_runner_reads_it(reader: str, tmp_path: Path) -> None:
    empty, full = tmp_path / "empty", write(tmp_path / "full", TREE)
    empty.mkdir()
    for root in (empty, full):
        assert (reader in sensors_here(root)) == (READERS[reader](root) is not None)
    assert reader in sensors_here(full)


def test_every_reader_of_the_runner_is_a_kind_of_sensor() -> None:
    assert READERS.keys() <= SENSOR_KINDS.keys()
    app_only = {"thermal_state", "phys_footprint"}
    assert SENSOR_KINDS.keys() - READERS.keys() == app_only
