"""What a Raspberry Pi's firmware says, read from recorded output."""

from pathlib import Path

import pytest
from edgegen_runner.sensors import raspberry_pi
from edgegen_runner.sensors.raspberry_pi import ThrottleEvents, parse_rails, parse_throttled
from edgegen_runner.sensors.readers import find_sensors, read_all

from tests.device_runners.sensor_tools import HOSTILE, calls_of, halves, plant, recorded, tool

FIRMWARE = {
    "get_throttled": "pi3-throttled-before.txt",
    "measure_temp": "pi3-temperature.txt",
    "measure_clock arm": "pi3-clock.txt",
}


@pytest.fixture
def vcgencmd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Pi 3 whose under-voltage is over; its vcgencmd has no pmic_read_adc."""
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    return tool(tmp_path / "opt/vc/bin/vcgencmd", FIRMWARE)


def test_flags_temperature_and_clock_are_read_with_one_call_each(
    tmp_path: Path, vcgencmd: Path
) -> None:
    found = find_sensors(tmp_path)
    assert [group.reader for group in found] == ["vcgencmd"]
    Path(f"{vcgencmd}.calls").unlink()
    assert read_all(found) == {
        "throttle_flag.under_voltage": 0.0,
        "throttle_flag.frequency_capped": 0.0,
        "throttle_flag.throttled": 0.0,
        "throttle_flag.soft_temperature_limit": 0.0,
        "throttle_since_boot.under_voltage": 1.0,
        "throttle_since_boot.frequency_capped": 0.0,
        "throttle_since_boot.throttled": 1.0,
        "throttle_since_boot.soft_temperature_limit": 0.0,
        "throttle_count.frequency_capped_since_start": 0.0,
        "throttle_count.soft_temperature_limit_since_start": 0.0,
        "temperature_c.soc": 62.3,
        "frequency_mhz.arm": 1400.0,
    }
    assert sorted(calls_of(vcgencmd)) == ["get_throttled", "measure_clock arm", "measure_temp"]


def test_a_user_who_may_not_ask_the_firmware_has_no_such_sensors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    program = tool(tmp_path / "usr/bin/vcgencmd", {})
    assert find_sensors(tmp_path) == []
    assert len(calls_of(program)) == 4


@pytest.mark.parametrize(
    ("mode", "group", "is_member", "why"),
    [
        (0o660, 44, False, "no-group"),  # Raspberry Pi OS: root, video
        (0o660, 44, True, "new-group"),
        (0o600, 44, True, "closed"),
        (0o660, 0, True, "closed"),  # Ubuntu: root, root
    ],
)
def test_why_a_user_may_not_ask_the_firmware_is_told(
    monkeypatch: pytest.MonkeyPatch, mode: int, group: int, is_member: bool, why: str
) -> None:
    monkeypatch.setattr(raspberry_pi, "_is_member", lambda group: is_member)
    assert raspberry_pi._refusal(mode, group) == why


def test_a_vcgencmd_without_a_device_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    tool(tmp_path / "usr/bin/vcgencmd", {})
    assert raspberry_pi.silence(tmp_path) == "no-device"


def test_a_vcgencmd_that_answers_or_is_missing_is_not_silent(
    tmp_path: Path, vcgencmd: Path
) -> None:
    assert raspberry_pi.silence(tmp_path) is None
    assert raspberry_pi.silence(tmp_path / "nothing") is None


def test_a_vcgencmd_that_may_open_the_device_and_fails_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    tool(tmp_path / "usr/bin/vcgencmd", {})
    plant(tmp_path, {"dev/vcio": ""})
    assert raspberry_pi.silence(tmp_path) == "failed"


@pytest.mark.parametrize(
    ("file", "bits"),
    [
        ("pi3-throttled-before.txt", 0x50000),
        ("pi3-throttled-now.txt", 0x50005),
        ("pi3-soft-limit.txt", 0x80008),
    ],
)
def test_bits_of_the_firmware_are_hexadecimal(file: str, bits: int) -> None:
    assert parse_throttled(recorded(file)) == bits


@pytest.mark.parametrize("text", ["throttled=0x", "throttled=50005", "0x50005", "throttled=0xzz"])
def test_what_is_no_word_of_bits_is_not_known(text: str) -> None:
    assert parse_throttled(text) is None


def test_an_event_between_two_samples_is_seen_by_its_bit_since_boot() -> None:
    events = ThrottleEvents()
    assert events.read(0x0)["throttle_count.throttled_since_start"] == 0.0
    after = events.read(0x40000)  # it was throttled, and no longer is
    assert after["throttle_flag.throttled"] == 0.0
    assert after["throttle_count.throttled_since_start"] == 1.0
    assert after["throttle_count.under_voltage_since_start"] == 0.0


def test_a_bit_that_was_set_before_the_start_is_no_event_of_the_run() -> None:
    events = ThrottleEvents()
    first = events.read(parse_throttled(recorded("pi3-throttled-before.txt")))
    now = events.read(parse_throttled(recorded("pi3-throttled-now.txt")))
    assert "throttle_count.under_voltage_since_start" not in first | now
    assert now["throttle_flag.under_voltage"] == 1.0
    assert now["throttle_flag.throttled"] == 1.0
    assert now["throttle_flag.frequency_capped"] == 0.0


def test_a_reading_that_failed_is_none_and_not_zero() -> None:
    events = ThrottleEvents()
    events.read(0)
    assert set(events.read(None).values()) == {None}
    assert events.read(0x10000)["throttle_count.under_voltage_since_start"] == 1.0


def test_rails_are_paired_by_name_and_summed() -> None:
    rails = parse_rails(recorded("pi5-rails.txt"))
    assert rails["power_w.pmic.VDD_CORE"] == pytest.approx(1.54489 * 0.8872518)
    assert rails["power_w.pmic.3V7_WL_SW"] == pytest.approx(0.1219913 * 3.606052)
    assert rails["voltage_v.EXT5V"] == 4.87894
    powers = {name: value for name, value in rails.items() if name.startswith("power_w.pmic.")}
    assert len(powers) == 12
    assert "power_w.pmic.EXT5V" not in powers  # a voltage without a current is no power
    total = sum(value for value in powers.values() if value is not None)
    assert rails["power_w.pmic_rails"] == pytest.approx(total)
    assert total == pytest.approx(3.4, abs=0.3)


def test_the_sum_of_rails_is_not_known_where_one_is_not() -> None:
    text = recorded("pi5-rails.txt").replace("VDD_CORE_V volt(15)=0.88725180V", "")
    rails = parse_rails(text)
    assert rails["power_w.pmic.VDD_CORE"] is None
    assert rails["power_w.pmic_rails"] is None
    assert rails["power_w.pmic.HDMI"] is not None


def test_rails_of_a_pi_5_are_read_by_one_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    program = tool(tmp_path / "usr/bin/vcgencmd", {"pmic_read_adc": "pi5-rails.txt"})
    found = find_sensors(tmp_path, ("pmic",))
    Path(f"{program}.calls").unlink()
    assert len(read_all(found)) == 14
    assert calls_of(program) == ["pmic_read_adc"]


def test_half_an_answer_gives_no_wrong_value() -> None:
    whole = parse_rails(recorded("pi5-rails.txt"))
    for part in halves(recorded("pi5-rails.txt")):
        for name, value in parse_rails(part).items():
            if name != "power_w.pmic_rails":
                assert value is None or value == whole[name]


@pytest.mark.parametrize("output", HOSTILE)
def test_garbage_is_no_reading(output: bytes) -> None:
    text = output.decode("utf-8", "replace")
    assert parse_throttled(text) is None
    assert parse_rails(text) == {}


def test_under_voltage_as_the_kernel_sees_it_needs_no_rights(tmp_path: Path) -> None:
    monitor = "sys/class/hwmon/hwmon1"
    plant(tmp_path, {f"{monitor}/name": "rpi_volt", f"{monitor}/in0_lcrit_alarm": "1"})
    read = raspberry_pi.under_voltage(tmp_path)
    assert read is not None
    assert read() == {"throttle_flag.under_voltage_kernel": 1.0}
