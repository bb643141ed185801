"""What the files and tools of a broken or strange system could hold, for all that read sensors."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from edgegen_runner.agent.facts import describe
from edgegen_runner.agent.paths import Folders
from edgegen_runner.sensors import android, jetson, macos, raspberry_pi
from edgegen_runner.sensors.readers import find_sensors, read_all
from edgegen_runner.sensors.reading import Values
from hypothesis import example, given
from hypothesis import strategies as st

from edgegen.core.codec import decode
from edgegen.devices.facts import DeviceFacts
from edgegen.devices.host import host_profile
from edgegen.measure.benchmark_model import BenchmarkModelOptions
from edgegen.measure.benchmark_output import parse
from tests.device_runners.sensor_tools import RECORDED, plant
from tests.device_runners.test_control_groups import TREES
from tests.devices.test_host import TREE
from tests.fuzz.harness import case, fuzzing

PARSERS: Mapping[str, tuple[str, Callable[[bytes], object]]] = {
    "thermalservice": (
        "pixel-6-thermalservice.txt",
        lambda data: android.parse_thermal_service(_text(data)),
    ),
    "battery": ("galaxy-battery.txt", lambda data: android.parse_battery(_text(data), 1e6)),
    "low_power": ("pi3-clock.txt", lambda data: android.parse_saver(_text(data))),
    "pmset": ("mac-pmset-throttled.txt", lambda data: macos.parse_speed_limit(_text(data))),
    "pmset -g": ("mac-pmset-intel.txt", lambda data: macos.parse_low_power_mode(_text(data))),
    "notifyutil": ("pi3-clock.txt", lambda data: macos.parse_thermal_pressure(_text(data))),
    "powermetrics": ("mac-powermetrics.plist", macos.parse_powermetrics),
    "get_throttled": ("pi3-throttled-now.txt", lambda data: _throttled(_text(data))),
    "pmic_read_adc": ("pi5-rails.txt", lambda data: raspberry_pi.parse_rails(_text(data))),
    "nvpmodel": ("jetson-nvpmodel.txt", lambda data: jetson.parse_power_mode(_text(data))),
    "benchmark_model": (
        "../../measure/data/benchmark_model/gpu_part.txt",
        lambda data: parse(_text(data), BenchmarkModelOptions(accelerator="gpu")),
    ),
    "nvmap": ("jetson-nvmap-clients.txt", lambda data: list(jetson.parse_clients(_text(data)))),
}
"""A tool -> an output that was recorded, and what reads it."""

ODD = (
    *("", "-1", "0", "1e999", "nan", "inf", "0x", "٣", "²", "\0", "\x1b[2J", "9" * 5000, "-" * 300),
    *("max", "1 2 3", "\ud7ff", "{" * 200, "/" * 200, "=", ":", "\n\n", "18446744073709551616"),
)
FILES: Mapping[str, str] = {
    **TREE,
    "proc/loadavg": "0.10 0.20 0.30 1/100 1000",
    "proc/vmstat": "nr_free_pages 1\noom_kill 3",
    "proc/cpuinfo": "vendor_id\t: GenuineIntel\nmodel name\t: Intel\nflags\t\t: fpu hypervisor",
    "proc/sys/kernel/random/boot_id": "abc",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_governor": "powersave",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_driver": "cppc_cpufreq",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_min_freq": "600000",
    "var/lib/nvpmodel/status": "pmode:0002",
    "sys/kernel/debug/nvmap/iovmm/clients": "CLIENT PROCESS PID SIZE\nuser python 1 4096K",
    "etc/os-release": 'PRETTY_NAME="Debian"',
    **{f"sys/fs/cgroup/{name}": text for name, text in TREES["version 1, nested"][1].items()},
    "proc/self/cgroup": TREES["version 1, nested"][0],
}
"""A machine that has all of it."""


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _throttled(text: str) -> Values:
    events = raspberry_pi.ThrottleEvents()
    return {**events.read(raspberry_pi.parse_throttled(text)), **events.read(0)}


@st.composite
def spoiled(draw: st.DrawFn, text: str) -> bytes:
    """A text of which words are replaced, cut or repeated, with bytes of any kind in between."""
    words = re.split(r"(\s+|[=:{},<>])", text)
    numbers = [place for place, word in enumerate(words) if any(map(str.isdigit, word))]
    for _ in range(draw(st.integers(1, 4))):
        if numbers and draw(st.booleans()):
            place = draw(st.sampled_from(numbers))
        else:
            place = draw(st.integers(0, len(words) - 1))
        words[place] = draw(st.sampled_from(ODD) | st.text(max_size=8))
    whole = "".join(words).encode("utf-8", "surrogatepass")
    whole = whole[: draw(st.integers(0, len(whole)))] if draw(st.booleans()) else whole
    return whole + draw(st.binary(max_size=8))


@pytest.mark.parametrize("tool", PARSERS)
@fuzzing(0.2)
@given(data=st.data())
def test_what_a_tool_writes_is_read_or_is_nothing(tool: str, data: st.DataObject) -> None:
    name, parse = PARSERS[tool]
    output = data.draw(spoiled((RECORDED / name).read_text()) | st.binary(max_size=100))
    with case("sensor tools"):
        parse(output)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plant(tmp_path_factory.mktemp("machine"), FILES)


@st.composite
def changes(draw: st.DrawFn) -> dict[str, bytes | None]:
    """New contents for some files; None is a folder in a file's place."""
    names = draw(st.sets(st.sampled_from(sorted(FILES)), min_size=1, max_size=8))
    return {
        name: None if draw(st.integers(0, 9)) == 0 else draw(spoiled(FILES[name]))
        for name in sorted(names)
    }


@fuzzing()
@example(changed={"proc/self/cgroup": b"4:memory:/a\n3:cpu:/b\n0::/\0"})
@example(changed={"proc/self/cgroup": b"0:://"})
@example(changed={"proc/vmstat": b"nr_free_pages 1\noom_kill "})
@example(changed={"proc/loadavg": b"1e999 0.20 0.30"})
@example(changed={"proc/meminfo": "MemTotal: ² kB\nMemAvailable: ٣ kB".encode()})
@given(changed=changes())
def test_files_of_the_kernel_are_read_or_are_nothing(
    changed: dict[str, bytes | None], machine: Path
) -> None:
    for name, content in changed.items():
        path = machine / name
        path.unlink()
        path.mkdir() if content is None else path.write_bytes(content)
    try:
        with case("sensor files"):
            read_all(find_sensors(machine))
            facts = describe(Folders(machine / "edgegen"), machine)
            decode(DeviceFacts, json.loads(json.dumps(facts, allow_nan=False)), source="agent")
            host_profile(machine)
    finally:
        for name, content in changed.items():
            path = machine / name
            path.rmdir() if content is None else path.unlink()
            plant(machine, {name: FILES[name]})
