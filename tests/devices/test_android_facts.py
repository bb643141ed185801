"""What Android devices say of themselves, from recorded output (see recorded/README.md)."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgegen.core.errors import ConnectionLostError
from edgegen.devices.android_facts import (
    AndroidFacts,
    facts_command,
    parse_battery,
    parse_facts,
    parse_properties,
    parse_storage,
    why_no_bundle,
)

RECORDED = Path(__file__).with_name("recorded") / "android"
BOOT_ID = "0ca843c2-592c-4e6c-a448-35633565e1c1"

PIXEL = AndroidFacts(
    model="Pixel 8 Pro",
    manufacturer="Google",
    codename="husky",
    android="16",
    sdk=36,
    abis=("arm64-v8a",),
    machine="aarch64",
    soc="Google Tensor G3",
    fingerprint="google/husky/husky:16/CP1A.260405.005/15001963:user/release-keys",
    emulator=False,
    memory_bytes=3659320 * 1024,
    available_memory_bytes=372516 * 1024,
    storage_bytes=114982996 * 1024,
    free_bytes=20007384 * 1024,
    battery_charge=0.8,
    battery_temperature_c=18.0,
    boot_id=BOOT_ID,
)


def recorded(name: str) -> str:
    return (RECORDED / f"{name}.txt").read_text(encoding="utf-8")


def answer(tmp_path: Path, **replies: str) -> str:
    """Ask the real command of a shell in which the programs of Android are played."""
    replies = {
        "getprop": recorded("getprop_pixel_8_pro"),
        "df": recorded("df_toybox"),
        "dumpsys": recorded("battery_android_14"),
        "uname": "aarch64\n",
        "/proc/meminfo": recorded("meminfo_android_10"),
        "/proc/sys/kernel/random/boot_id": BOOT_ID,  # without an end of line
        **replies,
    }
    functions = []
    for index, (name, reply) in enumerate(replies.items()):
        (tmp_path / str(index)).write_text(reply)
        if not name.startswith("/"):
            functions.append(f"{name}() {{ /bin/cat {tmp_path}/{index}; }}")
    cases = " ".join(
        f"{name}) /bin/cat {tmp_path}/{index};;"
        for index, name in enumerate(replies)
        if name.startswith("/")
    )
    functions.append(f'cat() {{ case "$1" in {cases} esac; }}')
    command = "\n".join([*functions, facts_command("/data/local/tmp")])
    return subprocess.run(
        ["/bin/sh", "-c", command], capture_output=True, check=True
    ).stdout.decode()


def test_one_answer_tells_all_facts(tmp_path: Path) -> None:
    assert parse_facts(answer(tmp_path)) == PIXEL


def test_line_ends_of_an_old_adb_change_nothing(tmp_path: Path) -> None:
    assert parse_facts(answer(tmp_path).replace("\n", "\r\n")) == PIXEL


def test_what_a_device_does_not_say_is_none(tmp_path: Path) -> None:
    facts = parse_facts(answer(tmp_path, dumpsys="", df=""))
    missing = {"battery_charge", "battery_temperature_c", "storage_bytes", "free_bytes"}
    assert facts == replace(PIXEL, **dict.fromkeys(missing))


def test_programs_that_are_not_there_leave_the_rest_to_be_read() -> None:
    command = facts_command("/")
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, check=True)
    facts = parse_facts(done.stdout.decode())
    assert done.stderr == b""
    assert (facts.model, facts.battery_charge, facts.abis) == (None, None, ())
    assert facts.boot_id == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert facts.memory_bytes
    assert facts.free_bytes is not None


@pytest.mark.parametrize("cut", [0, 100, -2])
def test_an_answer_that_broke_off_is_a_lost_connection(tmp_path: Path, cut: int) -> None:
    with pytest.raises(ConnectionLostError, match="broke off"):
        parse_facts(answer(tmp_path)[:cut].rstrip())


def test_a_home_with_a_blank_is_one_argument() -> None:
    assert "df -k '/data/local/tmp/my folder' 2>" in facts_command("/data/local/tmp/my folder")


def test_an_old_phone_is_known_by_its_board(tmp_path: Path) -> None:
    facts = parse_facts(answer(tmp_path, getprop=recorded("getprop_nexus_5")))
    assert facts.soc == "msm8974"
    assert facts.codename == "hammerhead"
    assert facts.fingerprint == "google/hammerhead/hammerhead:5.1/LMY06B/1666863:userdebug/dev-keys"
    assert (facts.model, facts.sdk, facts.android) == (None, None, None)


def test_properties_may_hold_brackets_colons_and_several_lines() -> None:
    text = "[a]: [0:DEFAULT]\n[b]: [x[1]: y]\n[c]: [first\nsecond]\n[d]: []\n[e]: [last]\n"
    assert parse_properties(text) == {
        "a": "0:DEFAULT",
        "b": "x[1]: y",
        "c": "first\nsecond",
        "e": "last",
    }


def test_an_emulator_says_so(tmp_path: Path) -> None:
    getprop = recorded("getprop_pixel_8_pro") + "[ro.boot.qemu]: [1]\n"
    assert parse_facts(answer(tmp_path, getprop=getprop)).emulator


# ---- battery, storage


def test_a_battery_s_temperature_is_in_tenths_of_a_degree() -> None:
    assert parse_battery(recorded("battery_android_14")) == (0.8, 18.0)


def test_lines_that_a_maker_added_are_passed_over() -> None:
    assert parse_battery(recorded("battery_hyperos")) == (0.8, 36.4)


def test_an_emulator_s_battery_has_no_temperature() -> None:
    assert parse_battery(recorded("battery_emulator")) == (0.89, None)


def test_a_device_without_a_battery_has_no_charge() -> None:
    text = recorded("battery_android_14").replace("present: true", "present: false")
    assert parse_battery(text) == (None, None)


def test_a_cold_battery_may_be_below_zero() -> None:
    text = recorded("battery_android_14").replace("temperature: 180", "temperature: -55")
    assert parse_battery(text) == (0.8, -5.5)


def test_storage_is_read_from_the_right_whatever_the_file_system_is_called() -> None:
    text = recorded("df_toybox").replace("/dev/block/dm-30", "a name with 7 blanks")
    assert parse_storage(text) == (114982996 * 1024, 20007384 * 1024)


def test_another_df_s_numbers_are_not_guessed_at() -> None:
    assert parse_storage(recorded("df_toolbox")) is None


# ---- what no bundle runs on


@pytest.mark.parametrize(
    ("changes", "says", "hint"),
    [
        ({"abis": ("x86_64",), "emulator": True}, "an emulator for x86_64", "arm64-v8a"),
        ({"abis": ("x86_64", "x86")}, "a device for x86_64, x86", "Use a phone"),
        ({"abis": ("armeabi-v7a", "armeabi")}, "for armeabi-v7a, armeabi", "64-bit"),
        ({"abis": (), "machine": "armv7l"}, "for armv7l", "64-bit"),
        ({"sdk": 23, "android": "6.0.1"}, "Android 6.0.1 (SDK 23)", "newer device"),
        ({"sdk": 19, "android": None}, "SDK 19", "newer device"),
    ],
)
def test_a_device_that_no_bundle_runs_on_says_why(
    changes: dict[str, Any], says: str, hint: str
) -> None:
    refusal = why_no_bundle("adb://X", replace(PIXEL, **changes))
    assert refusal is not None
    assert says in refusal.message
    assert hint in refusal.hint


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"abis": ("x86_64", "arm64-v8a")},
        {"abis": (), "machine": "aarch64"},
        {"abis": (), "machine": None},
        {"sdk": None},
        {"sdk": 24},
    ],
)
def test_a_device_that_may_run_a_bundle_is_not_refused(changes: dict[str, Any]) -> None:
    assert why_no_bundle("adb://X", replace(PIXEL, **changes)) is None
