"""What an Android device, and adb, may print: properties, batteries, lists, states, failures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from edgegen.devices.adb import AdbTransport
from edgegen.devices.adb_output import explain, explain_state, parse_devices
from edgegen.devices.android_facts import (
    parse_battery,
    parse_facts,
    parse_memory,
    parse_properties,
    parse_storage,
    why_no_bundle,
)
from tests.fuzz.harness import case, fuzzing

RECORDED = Path(__file__).parents[1] / "devices" / "recorded"
WORDS = st.sampled_from(
    [
        *("²", "-", "--5", "9" * 5000, "1e9", "0x10", "\x00", "\x1b[2J", "\ud800", "NaN", "true"),
        *("[", "]: [", "]", "[a]: [", " kB", ": ", "\n", "\r\n", "\t", "%", "Avail", "1K-blocks"),
        *("==edgegen:end==", "==edgegen:getprop==", "temperature: ", "level: ", "scale: 0"),
        *("no permissions", "device", "unauthorized", "List of devices attached", " (2)"),
        *("* daemon", "error: ", "adb: "),
    ]
)


def recorded(*names: str) -> str:
    return "\n".join((RECORDED / f"{name}.txt").read_text(encoding="utf-8") for name in names)


FACTS = "\n".join(
    f"==edgegen:{name}==\n{text}"
    for name, text in {
        "getprop": recorded("android/getprop_pixel_8_pro"),
        "machine": "aarch64",
        "meminfo": recorded("android/meminfo_android_10"),
        "storage": recorded("android/df_toybox"),
        "battery": recorded("android/battery_android_14"),
        "boot_id": "0ca843c2-592c-4e6c-a448-35633565e1c1",
        "end": "",
    }.items()
)
DEVICES = recorded("adb/devices_all_states", "adb/devices_no_permissions_long")


@st.composite
def spoiled(draw: st.DrawFn, text: str) -> str:
    """Return a text in which words and pieces of others stand at odd places."""
    for _ in range(draw(st.integers(0, 5))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 30)))
        word = draw(WORDS | st.text(max_size=8))
        text = text[:start] + word * draw(st.sampled_from([1, 1, 1, 300])) + text[end:]
    return text


@fuzzing()
@given(text=spoiled(FACTS))
@example(text=FACTS.replace("[ro.build.version.sdk]: [36]", "[ro.build.version.sdk]: [²]"))
@example(text=FACTS.replace("temperature: 180", "temperature: --5"))
@example(text=FACTS.replace("temperature: 180", f"temperature: {'9' * 5000}"))
@example(text=FACTS.replace("MemTotal:        3659320", f"MemTotal: {'9' * 5000}"))
def test_facts_of_any_kind_end_orderly(text: str) -> None:
    with case("Android: facts"):
        facts = parse_facts(text)
        assert facts.battery_charge is None or 0 <= facts.battery_charge <= 1
        assert facts.free_bytes is None or facts.free_bytes >= 0
        refusal = why_no_bundle("adb://X", facts)
        if refusal is not None:
            raise refusal


@fuzzing()
@given(
    text=spoiled(recorded("android/battery_android_14", "android/df_toybox", "android/df_toolbox")),
    parse=st.sampled_from([parse_battery, parse_memory, parse_properties, parse_storage]),
)
@example(text="[a]: [" * 100_000, parse=parse_properties)
@example(text=" \n" * 200_000, parse=parse_memory)
@example(text="  a: b" * 100_000, parse=parse_battery)
def test_a_tool_may_print_anything(text: str, parse: Callable[[str], object]) -> None:
    with case("Android: tools"):
        parse(text)


@fuzzing()
@given(text=spoiled(DEVICES))
@example(text="List of devices attached\n" + " " * 1_000_000)
@example(text="List of devices attached\n" + "a b " * 250)
@example(text="List of devices attached\n" + "no permissions " * 66)
def test_a_list_of_devices_may_hold_anything(text: str) -> None:
    with case("adb: devices"):
        devices, _ = parse_devices(text)
        for device in devices:
            explain_state(device)
            AdbTransport(f"adb://{device.serial}")


FAILURES = recorded(
    *(f"adb/{path.stem}" for path in sorted((RECORDED / "adb").glob("*.txt")) if path.stem)
)


@fuzzing()
@given(text=spoiled(FAILURES), serial=st.text(max_size=10) | WORDS)
@example(text="error: " * 20_000, serial="{0}")
def test_a_failure_of_adb_may_be_told_in_any_words(text: str, serial: str) -> None:
    with case("adb: failures"):
        explain(text, serial)
