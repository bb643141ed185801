"""Finding and sampling sensors, whatever they are."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from edgegen_runner.sensors import readers as sensors
from edgegen_runner.sensors.commands import Command, find_program, run

from edgegen.core.shipped import shipped
from tests.device_runners.sensor_tools import HOSTILE, RECORDED, plant


def script(path: Path, body: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def test_sensors_need_no_numpy() -> None:
    code = (
        "import sys; sys.modules['numpy'] = None\n"
        "from edgegen_runner.sensors.readers import find_sensors, take_sample\n"
        "assert take_sample(find_sensors())['cost_s'] > 0\n"
    )
    runner = shipped("device_runners") / "python"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=runner, timeout=60)


def test_machine_without_sensors_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert sensors.find_sensors(tmp_path) == []
    assert sensors.read_all([]) == {}


def test_every_reader_of_an_empty_machine_finds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for reader, find in sensors.READERS.items():
        assert find(tmp_path) is None, reader


def test_a_name_belongs_to_the_first_reader_that_has_it(tmp_path: Path) -> None:
    rails = {"in1_label": "X", "in1_input": "1000", "curr1_input": "500"}
    monitor = "sys/class/hwmon/hwmon0"
    plant(tmp_path, {f"{monitor}/{name}": text for name, text in rails.items()})
    plant(tmp_path, {f"{monitor}/name": "ina3221", f"{monitor}/power1_input": "7000000"})
    names = [name for group in sensors.find_sensors(tmp_path) for name in group.names]
    assert names == ["power_w.X", "power_w.ina3221.power1"]
    assert len(names) == len(set(names))


class Events:
    """Takes events, as the protocol's writer does."""

    def __init__(self) -> None:
        self.times_s: list[float] = []
        self.samples: list[dict[str, Any]] = []
        self.came = threading.Semaphore(0)

    def __call__(self, event: str, **fields: Any) -> None:
        assert event == "sample"
        self.times_s.append(time.perf_counter())
        self.samples.append(fields)
        self.came.release()


@pytest.fixture
def zone(tmp_path: Path) -> Path:
    zone = "sys/class/thermal/thermal_zone0"
    plant(tmp_path, {f"{zone}/type": "cpu-thermal", f"{zone}/temp": "41000"})
    return tmp_path / zone


def test_a_sensor_that_falls_silent_is_none_in_the_samples_after_it(
    tmp_path: Path, zone: Path
) -> None:
    events = Events()
    thread = sensors.SensorThread(0.05, events, tmp_path)
    thread.start()
    assert events.came.acquire(timeout=10)
    (zone / "temp").unlink()
    thread.stop()
    assert events.samples[0]["values"] == {"temperature_c.cpu-thermal": 41.0}
    assert events.samples[-1]["values"] == {"temperature_c.cpu-thermal": None}
    assert all(sample["cost_s"] > 0 for sample in events.samples)


def test_the_schedule_does_not_drift_when_reading_is_slow(
    tmp_path: Path, zone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    script(tmp_path / "vcgencmd", 'sleep 0.06; echo "temp=50.0\'C"; echo throttled=0x0')
    events = Events()
    thread = sensors.SensorThread(0.4, events, tmp_path)
    thread.start()
    for _ in range(5):
        assert events.came.acquire(timeout=30)
    thread.stop()
    costs = [sample["cost_s"] for sample in events.samples]
    assert min(costs) > 0.05
    starts = [time_s - cost for time_s, cost in zip(events.times_s[:5], costs[:5], strict=True)]
    slots = [(start - starts[0]) / 0.4 for start in starts]
    assert all(abs(slot - round(slot)) < 0.3 for slot in slots), slots


def test_samples_that_came_too_late_are_left_out_and_not_made_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    script(tmp_path / "vcgencmd", "sleep 0.05; echo throttled=0x0")
    events = Events()
    thread = sensors.SensorThread(0.01, events, tmp_path)
    thread.start()
    time.sleep(1.0)
    thread.stop()
    assert 1 <= len(events.samples) < 20


@pytest.mark.parametrize("body", ["sleep 60", "exit 3", "kill -9 $$", "yes", "exec sleep 60 >&-"])
def test_a_tool_that_hangs_fails_or_floods_answers_nothing_soon(tmp_path: Path, body: str) -> None:
    program = script(tmp_path / "tool", body)
    began_s = time.monotonic()
    assert run([program], timeout_s=0.5) is None
    assert time.monotonic() - began_s < 5


def test_a_tool_that_does_not_exist_or_run_answers_nothing(tmp_path: Path) -> None:
    assert run([str(tmp_path / "none")], timeout_s=1) is None
    (tmp_path / "text").write_text("x", encoding="utf-8")
    assert run([str(tmp_path / "text")], timeout_s=1) is None


def test_a_tool_that_always_fails_is_asked_ever_less_often(tmp_path: Path) -> None:
    program = script(tmp_path / "tool", f"echo x >> {tmp_path}/calls; exit 1")
    command = Command([program])
    for _ in range(200):
        assert command.output() is None
    calls = (tmp_path / "calls").read_text(encoding="utf-8").count("x")
    assert calls == 9  # samples 1, 3, 6, 11, 20, 37, 70, 135, 200: it rests 1, 2, 4, … 64, 64


def test_a_tool_that_recovers_is_asked_every_time_again(tmp_path: Path) -> None:
    program = script(tmp_path / "tool", f"test -e {tmp_path}/ready && echo yes")
    command = Command([program])
    assert command.output() is None
    (tmp_path / "ready").touch()
    assert [command.output() for _ in range(4)] == [None, b"yes\n", b"yes\n", b"yes\n"]


def test_a_slow_figure_is_asked_for_only_now_and_then(tmp_path: Path) -> None:
    program = script(tmp_path / "tool", f"echo x >> {tmp_path}/calls; echo 7")
    command = Command([program], every_s=60)
    assert [command.output() for _ in range(5)] == [b"7\n"] * 5
    assert (tmp_path / "calls").read_text(encoding="utf-8").count("x") == 1


def test_a_tool_that_hangs_does_not_hold_up_the_end_of_the_run(
    tmp_path: Path, zone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(Command.__init__, "__kwdefaults__", {"timeout_s": 0.25, "every_s": 0.0})
    script(tmp_path / "vcgencmd", "exec sleep 60")
    events = Events()
    thread = sensors.SensorThread(1.0, events, tmp_path)
    thread.start()
    began_s = time.monotonic()
    thread.stop()
    assert time.monotonic() - began_s < 8
    told = len(events.samples)
    time.sleep(1)  # until after the tool's time is up
    assert len(events.samples) == told


def test_a_runner_tells_what_a_tool_says_and_keeps_its_own_input(tmp_path: Path) -> None:
    # The tool would take the host's input, if it were given it.
    script(tmp_path / "vcgencmd", "cat > /dev/null; echo throttled=0x50005")
    schema = json.loads((shipped("device_runners") / "protocol.schema.json").read_text())
    with subprocess.Popen(
        [sys.executable, "-m", "edgegen_runner"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=shipped("device_runners") / "python",
        env={**os.environ, "PATH": f"{tmp_path}:/usr/bin:/bin"},
    ) as runner:
        assert runner.stdin is not None
        assert runner.stdout is not None
        runner.stdin.write(b'{"command": "describe"}\n')
        runner.stdin.flush()  # and is left open: its end would end the runner
        lines = [json.loads(line) for line in runner.stdout]
    assert runner.returncode == 0
    sample = next(line for line in lines if line["event"] == "sample")
    jsonschema.Draft202012Validator(schema).validate(sample)
    assert sample["values"]["throttle_flag.under_voltage"] == 1.0
    assert sample["values"]["throttle_flag.frequency_capped"] == 0.0
    assert sample["cost_s"] > 0


def test_a_tool_is_found_on_the_path_and_in_its_own_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    assert find_program("vcgencmd", tmp_path, ("opt/vc/bin",)) is None
    placed = script(tmp_path / "opt/vc/bin/vcgencmd", "true")
    assert find_program("vcgencmd", tmp_path, ("opt/vc/bin",)) == placed
    first = script(tmp_path / "path/vcgencmd", "true")
    assert find_program("vcgencmd", tmp_path, ("opt/vc/bin",)) == first


@pytest.mark.parametrize("output", HOSTILE)
def test_no_reader_falls_over_what_its_files_or_tools_may_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: bytes
) -> None:
    (tmp_path / "output").write_bytes(output)
    for program in ("vcgencmd", "dumpsys", "nvpmodel", "pmset", "powermetrics", "sysctl"):
        script(tmp_path / "bin" / program, f"cat {tmp_path}/output")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    for name in (
        *("sys/class/thermal/thermal_zone0/temp", "sys/class/thermal/cooling_device0/cur_state"),
        *("sys/class/thermal/thermal_zone0/type", "sys/class/hwmon/hwmon0/name"),
        *("sys/class/hwmon/hwmon0/temp1_input", "sys/class/hwmon/hwmon0/power1_input"),
        *("sys/class/hwmon/hwmon0/energy1_input", "proc/meminfo", "proc/self/cgroup"),
        *("proc/pressure/cpu", "sys/class/powercap/intel-rapl:0/energy_uj"),
        *("sys/class/powercap/intel-rapl:0/max_energy_range_uj", "var/lib/nvpmodel/status"),
        *("sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq", sensors.jetson.NVMAP_CLIENTS),
        *("sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count",),
    ):
        plant(tmp_path, {name: ""})
        (tmp_path / name).write_bytes(output)
    found = sensors.find_sensors(tmp_path)
    for values in (sensors.read_all(found), sensors.read_all(found)):
        assert not any(name.startswith(("throttle_flag", "temperature_c")) for name in values)


def test_every_recorded_file_names_its_source() -> None:
    table = (RECORDED / "README.md").read_text(encoding="utf-8")
    files = {path.name for path in RECORDED.iterdir()} - {"README.md"}
    assert len(files) > 15
    for name in files:
        (row,) = [line for line in table.splitlines() if line.startswith(f"| `{name}` |")]
        assert "transcribed" in row
