"""What adb says, read from recorded output (tests/devices/recorded/README.md says whose)."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from edgegen.core.errors import (
    ConfigError,
    ConnectionLostError,
    DeviceError,
    DeviceFullError,
    DeviceUnauthorizedError,
    DeviceUnreachableError,
)
from edgegen.devices.adb import AdbTransport
from edgegen.devices.adb_output import AdbDevice, explain, explain_state, parse_devices

RECORDED = Path(__file__).with_name("recorded") / "adb"
SERIAL = "R5CT00EXAMPLE"


def recorded(name: str) -> str:
    return (RECORDED / f"{name}.txt").read_text(encoding="utf-8")


# ---- the list


@pytest.mark.parametrize("name", ["devices_all_states", "devices_all_states_short"])
def test_every_state_is_read_from_the_long_and_the_short_list(name: str) -> None:
    states = {device.serial[-1]: device.state for device in parse_devices(recorded(name))[0]}
    assert states == {
        "1": "device",
        "2": "recovery",
        "3": "sideload",
        "4": "bootloader",
        "5": "unauthorized",
        "6": "offline",
    }


def test_the_long_list_tells_what_a_device_is() -> None:
    devices = {device.serial: device for device in parse_devices(recorded("devices_all_states"))[0]}
    assert devices["127.0.0.1:40001"] == AdbDevice(
        serial="127.0.0.1:40001",
        state="device",
        model="Pixel_8_Pro",
        product="husky",
        codename="husky",
        transport_id=1,
    )
    assert devices["127.0.0.1:40005"].model is None  # it tells an unauthorized host nothing


def test_missing_permissions_are_a_state_with_its_reason() -> None:
    ((device,), _) = parse_devices(recorded("devices_no_permissions"))
    assert device.state == "no permissions"
    assert device.detail == (
        "(missing udev rules? user is in the plugdev group); "
        "see [http://developer.android.com/tools/device.html]"
    )


def test_odd_serials_and_what_adb_says_of_its_server_do_not_confuse_the_list() -> None:
    devices, unknown = parse_devices(recorded("devices_no_permissions_long"))
    assert unknown == ()
    assert [(device.serial, device.state, device.transport_id) for device in devices] == [
        ("0123abcd", "no permissions", 3),
        ("(no serial number)", "device", 4),
        ("R5CT00EXAMPLE", "authorizing", 5),
        ("192.168.1.20:5555", "connecting", 6),
        ("adb-R5CT00EXAMPLE-x8yZ3q._adb-tls-connect._tcp", "device", 7),
    ]
    assert devices[0].usb == "1-2"
    assert devices[4].model == "SM_S908B"


@pytest.mark.parametrize(
    "serial",
    [
        "adb-R5CT00EXAMPLE-x8yZ3q (2)._adb-tls-connect._tcp",
        "adb-R5CT00EXAMPLE-x8yZ3q._adb-tls-connect._tcp.",
        "[fe80::1ff:fe23:4567:890a%wlan0]:5555",
        "fe80::1%wlan0:37123",
        "emulator-5554",
        "my phone",
        "device device",
        "Gerät (3)",
    ],
)
def test_a_serial_may_hold_blanks_and_signs(serial: str) -> None:
    states = ("device", "offline", "recovery", "sideload", "rescue", "unauthorized")
    ends = (" product:b0sxx model:SM_S908B transport_id:7", "")
    for between, state, end in itertools.product(("\t", " ", "      "), states, ends):
        text = f"List of devices attached\n{serial}{between}{state}{end}\n"
        ((found,), unknown) = parse_devices(text)
        assert (found.serial, found.state, unknown) == (serial, state, ())
        assert found.transport_id == (7 if end else None)
        assert AdbTransport(f"adb://{found.serial}").serial == serial


@pytest.mark.parametrize("serial", ["-s", "--help", "a\nb", "\x1b[31m", "x" * 300])
def test_a_serial_that_no_device_has_is_refused(serial: str) -> None:
    with pytest.raises(ConfigError, match="no adb address"):
        AdbTransport(f"adb://{serial}")


@pytest.mark.parametrize("line", ["0123", "!!", "a" * 5000, "serial DEVICE"])
def test_a_line_that_is_not_understood_is_said(line: str) -> None:
    text = f"List of devices attached\n* daemon started successfully\n{line}\nX1\tdevice\n"
    devices, unknown = parse_devices(text)
    assert [device.serial for device in devices] == ["X1"]
    assert unknown == (line[:1000],)


def test_no_device_is_an_empty_list() -> None:
    assert parse_devices(recorded("devices_none")) == ((), ())


def test_a_server_that_did_not_start_is_no_empty_list() -> None:
    with pytest.raises(DeviceError, match="server cannot be reached") as caught:
        parse_devices(recorded("no_server"))
    assert "adb kill-server" in caught.value.hint


def test_output_that_is_no_list_is_refused() -> None:
    with pytest.raises(DeviceError, match="did not list"):
        parse_devices("")


@pytest.mark.parametrize(
    ("state", "error", "hint"),
    [
        ("unauthorized", DeviceUnauthorizedError, "accept 'Allow USB debugging'"),
        ("authorizing", DeviceUnauthorizedError, "accept 'Allow USB debugging'"),
        ("no permissions", DeviceUnreachableError, "udev"),
        ("offline", DeviceUnreachableError, "reconnect offline"),
        ("connecting", DeviceUnreachableError, "reconnect offline"),
        ("recovery", DeviceError, f"adb -s {SERIAL} reboot"),
        ("bootloader", DeviceError, f"adb -s {SERIAL} reboot"),
    ],
)
def test_a_device_that_is_not_ready_says_why_and_what_to_do(
    state: str, error: type[DeviceError], hint: str
) -> None:
    found = explain_state(AdbDevice(serial=SERIAL, state=state))
    assert type(found) is error
    assert SERIAL in found.message
    assert hint in found.hint


def test_a_ready_device_needs_no_explanation() -> None:
    assert explain_state(AdbDevice(serial=SERIAL, state="device")) is None


# ---- failures


@pytest.mark.parametrize(
    ("name", "error", "hint"),
    [
        ("shell_unauthorized", DeviceUnauthorizedError, "Allow USB debugging"),
        ("push_unauthorized", DeviceUnauthorizedError, "Allow USB debugging"),
        ("connect_unauthorized", DeviceUnauthorizedError, "Allow USB debugging"),
        ("shell_authorizing", DeviceUnauthorizedError, "Allow USB debugging"),
        ("shell_no_permissions", DeviceUnreachableError, "udev"),
        ("shell_offline", DeviceUnreachableError, "adb reconnect offline"),
        ("push_offline", DeviceUnreachableError, "adb reconnect offline"),
        ("shell_unknown", DeviceUnreachableError, "adb devices -l"),
        ("push_unknown", DeviceUnreachableError, "adb devices -l"),
        ("disconnect_unknown", DeviceUnreachableError, "adb devices -l"),
        ("shell_no_device", DeviceUnreachableError, "adb devices -l"),
        ("shell_more_than_one", DeviceError, "adb://SERIAL"),
        ("connect_refused", DeviceUnreachableError, "Wireless debugging"),
        ("connect_silent", DeviceUnreachableError, "Wireless debugging"),
        ("connect_unresolved", DeviceUnreachableError, "Wireless debugging"),
        ("push_full", DeviceFullError, "Free some room"),
        ("push_full_recovery", DeviceFullError, "Free some room"),
        ("push_forbidden", DeviceError, ""),
        ("push_cut", ConnectionLostError, "cable"),
        ("reverse_closed", ConnectionLostError, "cable"),
        ("no_server", DeviceError, "adb kill-server"),
    ],
)
def test_a_failure_is_the_right_error_with_what_to_do(
    name: str, error: type[DeviceError], hint: str
) -> None:
    found = explain(recorded(name), SERIAL)
    assert type(found) is error
    assert hint in found.hint


def test_a_reason_that_adb_gives_is_kept() -> None:
    refused = explain(recorded("connect_refused"), "127.0.0.1:1")
    forbidden = explain(recorded("push_forbidden"), SERIAL)
    group = explain(recorded("shell_no_permissions"), SERIAL)
    assert refused is not None
    assert refused.message == "adb cannot connect to 127.0.0.1:1. Connection refused"
    assert forbidden is not None
    assert forbidden.message.endswith("/sdcard/b: Permission denied")
    assert group is not None
    assert group.message.endswith("user in plugdev group; are your udev rules wrong?")


@pytest.mark.parametrize("name", ["connect_fine", "connect_already", "devices_all_states"])
def test_a_success_is_no_failure(name: str) -> None:
    assert explain(recorded(name), SERIAL) is None


@pytest.mark.parametrize(
    "line",
    [
        "",
        "/system/bin/sh: nosuch: inaccessible or not found",
        "ValueError: the device offline flag is closed",
        "/tmp/big: 1 file pushed, 0 skipped. 387.7 MB/s (20971520 bytes in 0.052s)",
        "failed to load the model: connection closed",
        "runner error: closed",
    ],
)
def test_what_a_command_on_the_device_says_is_not_adb_s_failure(line: str) -> None:
    assert explain(line, SERIAL) is None


def test_a_full_disk_is_seen_in_a_command_s_own_words() -> None:
    assert type(explain("cat: xwrite: No space left on device", SERIAL)) is DeviceFullError


def test_without_a_serial_the_device_still_has_a_name() -> None:
    found = explain(recorded("shell_offline"), "")
    assert found is not None
    assert found.message.startswith("The Android device")
