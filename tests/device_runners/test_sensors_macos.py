"""What a Mac's tools say, read from recorded output; nothing here ran on a Mac."""

from pathlib import Path

import pytest
from edgegen_runner.sensors import macos
from edgegen_runner.sensors.macos import parse_powermetrics, parse_speed_limit

from tests.device_runners.sensor_tools import HOSTILE, RECORDED, halves, recorded, tool


def test_a_speed_limit_below_100_percent_is_throttling() -> None:
    assert parse_speed_limit(recorded("mac-pmset-intel.txt")) == {
        "speed_limit_percent.cpu": 100.0,
        "throttle_flag.speed_limited": 0.0,
    }
    assert parse_speed_limit(recorded("mac-pmset-throttled.txt")) == {
        "speed_limit_percent.cpu": 28.0,
        "throttle_flag.speed_limited": 1.0,
    }


def test_apple_silicon_tells_no_speed_limit() -> None:
    assert parse_speed_limit(recorded("mac-pmset-apple-silicon.txt")) == {}


def test_power_clocks_and_thermal_pressure_of_a_property_list() -> None:
    assert parse_powermetrics((RECORDED / "mac-powermetrics.plist").read_bytes()) == {
        "power_w.cpu": pytest.approx(2.97845),
        "power_w.gpu": pytest.approx(0.269614),
        "power_w.combined": pytest.approx(3.24807),
        "frequency_mhz.P1-Cluster": pytest.approx(1260.02),
        "frequency_mhz.gpu": 338.0,
        "thermal_status.macos": 0.0,
    }


def test_a_list_that_lacks_power_has_none() -> None:
    data = (RECORDED / "mac-powermetrics-thermal.plist").read_bytes()
    assert parse_powermetrics(data) == {"thermal_status.macos": 0.0}
    assert parse_powermetrics(data.replace(b"Nominal", b"Heavy")) == {"thermal_status.macos": 2.0}
    assert parse_powermetrics(data.replace(b"Nominal", b"Lukewarm")) == {}


def test_lists_that_nul_separates_are_read_up_to_the_first() -> None:
    data = (RECORDED / "mac-powermetrics-thermal.plist").read_bytes()
    for stream in (b"\0" + data, data + b"\0", data + b"\0" + data):
        assert parse_powermetrics(stream) == {"thermal_status.macos": 0.0}


def test_half_a_list_gives_nothing() -> None:
    for part in halves(recorded("mac-powermetrics.plist")):
        assert parse_powermetrics(part.encode()) == {}


@pytest.mark.parametrize(
    "output",
    [
        *HOSTILE,
        b"<plist><array/></plist>",
        b"<plist><dict><key>processor</key></dict></plist>",
        b"<plist><dict><key>processor</key><string>x</string></dict></plist>",
        b"<plist><dict><key>processor</key><dict><key>cpu_power</key><real>nan</real></dict>"
        b"</dict></plist>",
        b"<plist><integer>x</integer></plist>",
        b"<plist><dict><integer>1</integer><date>x</date></dict></plist>",
    ],
)
def test_garbage_is_no_reading(output: bytes) -> None:
    assert parse_powermetrics(output) == {}
    assert parse_speed_limit(output.decode("utf-8", "replace")) == {}


def test_root_alone_starts_powermetrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    arguments = "--format plist --sample-count 1 --sample-rate 200 --samplers "
    tool(
        tmp_path / "usr/bin/powermetrics",
        {arguments + "cpu_power,gpu_power,thermal": "mac-powermetrics.plist"},
    )
    monkeypatch.setattr("os.geteuid", lambda: 501)
    assert macos.power(tmp_path) is None
    monkeypatch.setattr("os.geteuid", lambda: 0)
    read = macos.power(tmp_path)
    assert read is not None
    assert read()["power_w.combined"] == pytest.approx(3.24807)
