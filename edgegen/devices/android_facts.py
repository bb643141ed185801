"""What an Android device says of itself before Python is there: one command, and its answer."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from edgegen.core.errors import ConnectionLostError, MissingDependencyError

OLDEST_ANDROID, OLDEST_SDK = 7, 24
BUNDLE_ABI = "arm64-v8a"
"""The instruction set that bundles for Android are for."""

_MARK = "==edgegen:{}=="
_END = "end"
_QUESTIONS: Mapping[str, str] = {
    "getprop": "getprop",
    "machine": "uname -m",
    "meminfo": "cat /proc/meminfo",
    "storage": "df -k {home}",
    "battery": "dumpsys battery",
    "boot_id": "cat /proc/sys/kernel/random/boot_id",
}

_SECTION = re.compile(r"^==edgegen:(\w+)==$", re.MULTILINE)
_PROPERTY = re.compile(r"\[([^\]]+)\]: \[(.*)")
_SIZE = re.compile(r"^[ \t]{0,20}(\w+):[ \t]{1,40}(\d{1,15}) kB$", re.MULTILINE | re.ASCII)
_BATTERY = re.compile(r"^  ([a-z]+): (\S+)$", re.MULTILINE)
_NUMBER = re.compile(r"-?[0-9]{1,15}")
_LONGEST_VALUE = 200
_TEMPERATURES_C = (-60.0, 150.0)
"""What a battery can have; other values are those of a broken sensor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AndroidFacts:
    """What a device is and has; None where it does not say.

    `abis` are the instruction sets that it runs, the best first, `machine` its kernel's. `soc` is
    its maker's name of the chip, or the board's code name before Android 12. `boot_id` changes
    with each start. `battery_charge` is a fraction.
    """

    model: str | None
    manufacturer: str | None
    codename: str | None
    android: str | None
    sdk: int | None
    abis: tuple[str, ...]
    machine: str | None
    soc: str | None
    fingerprint: str | None
    emulator: bool
    memory_bytes: int | None
    available_memory_bytes: int | None
    storage_bytes: int | None
    free_bytes: int | None
    battery_charge: float | None
    battery_temperature_c: float | None
    boot_id: str | None


def too_old(address: str, version: str = "an Android before 7") -> MissingDependencyError:
    """Return the error for an Android whose adb doesn't tell how a command ended."""
    return MissingDependencyError(
        f"{address} has {version}; edgegen needs Android {OLDEST_ANDROID} or newer, the first "
        "whose adb tells how a command ended.",
        hint="Use a newer device, or upgrade it.",
    )


def why_no_bundle(address: str, facts: AndroidFacts) -> MissingDependencyError | None:
    """Return why no bundle runs on a device; None where one does, as far as the device says."""
    if facts.sdk is not None and facts.sdk < OLDEST_SDK:
        return too_old(address, f"Android {facts.android or '?'} (SDK {facts.sdk})")
    sets = facts.abis or tuple(filter(None, (facts.machine,)))
    if not sets or not {BUNDLE_ABI, "aarch64"}.isdisjoint(sets):
        return None
    what = "an emulator" if facts.emulator else "a device"
    if any(each.startswith("x86") for each in sets):
        hint = (
            "Use a phone; or, on a 64-bit Arm computer, an emulator with an arm64-v8a system image."
        )
    else:
        hint = "Use a device whose Android is a 64-bit one, which many with a 64-bit chip are not."
    return MissingDependencyError(
        f"{address} is {what} for {', '.join(sets)}; bundles are for {BUNDLE_ABI} alone.", hint=hint
    )


def facts_command(home: str) -> str:
    """Return the shell command whose answer `parse_facts` reads.

    `home` is the folder whose free space is asked for: one that is there. The command always ends
    with 0: what a device does not know is missing from its answer.
    """
    parts = []
    for name, question in _QUESTIONS.items():
        command = question.format(home=shlex.quote(home))
        parts.append(f"echo '{_MARK.format(name)}'; {command} 2>/dev/null")
    # An answer may lack the end of its last line: the next mark still begins a line of its own.
    return "; echo; ".join([*parts, f"echo '{_MARK.format(_END)}'"])


def parse_facts(text: str) -> AndroidFacts:
    """Read the answer to `facts_command`.

    Raises ConnectionLostError where its end is missing: adb may end with 0 when the device is lost.
    """
    text = text.replace("\r\n", "\n")
    names_and_bodies = _SECTION.split(text)[1:]
    sections = dict(zip(names_and_bodies[::2], names_and_bodies[1::2], strict=True))
    if _END not in sections:
        raise ConnectionLostError(
            "The device broke off while it was asked what it is.",
            hint="Look at the cable, and retry.",
        )
    properties = parse_properties(sections.get("getprop", ""))
    memory = parse_memory(sections.get("meminfo", ""))
    storage = parse_storage(sections.get("storage", ""))
    battery = parse_battery(sections.get("battery", ""))
    return AndroidFacts(
        model=properties.get("ro.product.model"),
        manufacturer=properties.get("ro.product.manufacturer"),
        codename=properties.get("ro.product.device") or properties.get("ro.build.product"),
        android=properties.get("ro.build.version.release"),
        sdk=_number(properties.get("ro.build.version.sdk", "")),
        abis=_abis(properties),
        machine=_line(sections.get("machine", "")),
        soc=_soc(properties),
        fingerprint=_fingerprint(properties),
        emulator=_is_emulator(properties),
        memory_bytes=memory.get("MemTotal"),
        available_memory_bytes=memory.get("MemAvailable"),
        storage_bytes=storage[0] if storage else None,
        free_bytes=storage[1] if storage else None,
        battery_charge=battery[0],
        battery_temperature_c=battery[1],
        boot_id=_line(sections.get("boot_id", "")),
    )


def parse_properties(text: str) -> Mapping[str, str]:
    """Read the output of `getprop`: `[name]: [value]`, where a value may have several lines.

    Empty values are left out, and long ones cut.
    """
    found: dict[str, str] = {}
    name, value = "", ""
    for line in text.split("\n"):
        begin = _PROPERTY.fullmatch(line)
        if begin is not None:
            name, value = begin[1], begin[2]
        elif name:
            value = f"{value}\n{line}"
        if name and value.endswith("]"):
            found[name] = value[:-1][:_LONGEST_VALUE]
            name = ""
    return {name: value for name, value in found.items() if value}


def parse_memory(text: str) -> Mapping[str, int]:
    """Read /proc/meminfo; sizes are in bytes."""
    return {name: int(size) * 1024 for name, size in _SIZE.findall(text)}


def parse_storage(text: str) -> tuple[int, int] | None:
    """Read `df -k FOLDER` of toybox: bytes in all, and bytes free. None where it is another df."""
    lines = [line.split() for line in text.splitlines() if line.strip()]
    if len(lines) < 2 or "1K-blocks" not in lines[0]:
        return None
    values = lines[-1][-5:]  # counted from the right: a file system's name may hold blanks
    size, free = (_number(each) for each in (values[0], values[2])) if values[4:] else (None, None)
    return None if size is None or free is None else (size * 1024, free * 1024)


def parse_battery(text: str) -> tuple[float | None, float | None]:
    """Read `dumpsys battery`: the charge as a fraction, and the temperature in °C.

    Both are None where there is no battery. An emulator says that its battery has 0 mV and 0 °C:
    that is no temperature.
    """
    values = dict(_BATTERY.findall(text))
    if values.get("present") != "true":
        return None, None
    level, scale = _number(values.get("level", "")), _number(values.get("scale", ""))
    charge = level / scale if level is not None and scale and 0 <= level <= scale else None
    tenths = _number(values.get("temperature", ""))
    low, high = _TEMPERATURES_C
    if tenths is None or values.get("voltage") == "0" or not low <= tenths / 10 <= high:
        return charge, None
    return charge, tenths / 10


def _number(text: str) -> int | None:
    return int(text) if _NUMBER.fullmatch(text) else None


def _line(text: str) -> str | None:
    """Return the one line of an answer; None where it is empty."""
    return text.strip()[:_LONGEST_VALUE] or None


def _abis(properties: Mapping[str, str]) -> tuple[str, ...]:
    listed = properties.get("ro.product.cpu.abilist") or properties.get("ro.product.cpu.abi", "")
    return tuple(filter(None, listed.split(",")))


def _soc(properties: Mapping[str, str]) -> str | None:
    names = (properties.get("ro.soc.manufacturer"), properties.get("ro.soc.model"))
    known = " ".join(name for name in names if name)
    return known or properties.get("ro.board.platform") or properties.get("ro.hardware")


def _fingerprint(properties: Mapping[str, str]) -> str | None:
    for partition in ("", "vendor.", "system."):
        if found := properties.get(f"ro.{partition}build.fingerprint"):
            return found
    return None


def _is_emulator(properties: Mapping[str, str]) -> bool:
    return "1" in (properties.get("ro.kernel.qemu"), properties.get("ro.boot.qemu"))
