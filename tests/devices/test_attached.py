"""What `edgegen devices` lists of adb's: played by a script that prints adb's own words."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgegen.devices.discovery import Listing, attached

HEADER = "List of devices attached"


@pytest.fixture
def listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]  # a function
    """Return a function that lists what adb sees, by what it prints."""

    def found(*lines: str) -> dict[str, Listing]:
        (tmp_path / "said").write_text("\n".join((HEADER, *lines)) + "\n")
        adb = tmp_path / "adb"
        adb.write_text(f"#!/bin/sh\ncat {tmp_path}/said\n")
        adb.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        return {each.address: each for each in attached() if each.address != "local"}

    return found


def test_every_phone_is_listed_whatever_its_name_and_state(listed) -> None:  # type: ignore[no-untyped-def]  # see above
    found = listed(
        "adb-R5CT00EXAMPLE-x8yZ3q (2)._adb-tls-connect._tcp device product:b0s model:SM_S908B",
        "[fe80::1%wlan0]:5555   offline transport_id:2",
        "0123abcd               unauthorized usb:1-2",
        "X4                     sideload",
        "X5                     no permissions (missing udev rules?); see [http://x] usb:1-3",
    )
    ready = found.pop("adb://adb-R5CT00EXAMPLE-x8yZ3q (2)._adb-tls-connect._tcp")
    assert (ready.model, ready.problem) == ("SM_S908B", "")
    assert sorted(found) == ["adb://0123abcd", "adb://X4", "adb://X5", "adb://[fe80::1%wlan0]:5555"]
    assert all(each.problem and each.hint for each in found.values())
    assert "'[fe80::1%wlan0]:5555'" in found["adb://[fe80::1%wlan0]:5555"].hint
    assert "adb -s X4 reboot" in found["adb://X4"].hint


def test_a_line_that_is_not_understood_is_listed_with_its_words(listed) -> None:  # type: ignore[no-untyped-def]  # see above
    found = listed("X1\tdevice", "something quite NEW!")
    assert found["adb://X1"].problem == ""
    assert "something quite NEW!" in found["adb://"].problem
    assert "adb devices -l" in found["adb://"].hint


def test_a_device_without_a_serial_is_the_only_one_or_is_refused(listed) -> None:  # type: ignore[no-untyped-def]  # see above
    assert listed("(no serial number)     device usb:1-3")["adb://"].problem == ""
    found = listed("(no serial number)     device usb:1-3", "X1    device")
    assert "no serial number" in found["adb://"].problem
