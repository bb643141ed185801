"""What an Android device says of itself before Python is there: one command, and its answer."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from edgegen.core.errors import ConnectionLostError

_MARK = "==edgegen:{}=="
_END = "end"
_QUESTIONS: Mapping[str, str] = {
    "getprop": "getprop",
    "meminfo": "cat /proc/meminfo",
    "storage": "df -k {home}",
    "battery": "dumpsys battery",
    "boot_id": "cat /proc/sys/kernel/random/boot_id",
}

_SECTION = re.compile(r"^==edgegen:(\w+)==$", re.MULTILINE)
_PROPERTY = re.compile(r"^\[([^\]\n]+)\]: \[(.*?)\]$", re.MULTILINE | re.DOTALL)
_SIZE = re.compile(r"^\s*(\w+):\s+(\d+) kB$", re.MULTILINE)
_BATTERY = re.compile(r"^  ([a-z]+): (\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class AndroidFacts:
    """What a device is and has; None where it does not say.

    `abis` are the instruction sets that it runs, the best first. `soc` is its maker's name of the
    chip, or the board's code name before Android 12. `boot_id` changes with each start.
    `battery_charge` is a fraction.
    """

    model: str | None
    manufacturer: str | None
    codename: str | None
    android: str | None
    sdk: int | None
    abis: tuple[str, ...]
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
    sdk = properties.get("ro.build.version.sdk", "")
    return AndroidFacts(
        model=properties.get("ro.product.model"),
        manufacturer=properties.get("ro.product.manufacturer"),
        codename=properties.get("ro.product.device") or properties.get("ro.build.product"),
        android=properties.get("ro.build.version.release"),
        sdk=int(sdk) if sdk.isdigit() else None,
        abis=_abis(properties),
        soc=_soc(properties),
        fingerprint=_fingerprint(properties),
        emulator=_is_emulator(properties),
        memory_bytes=memory.get("MemTotal"),
        available_memory_bytes=memory.get("MemAvailable"),
        storage_bytes=storage[0] if storage else None,
        free_bytes=storage[1] if storage else None,
        battery_charge=battery[0],
        battery_temperature_c=battery[1],
        boot_id=sections.get("boot_id", "").strip() or None,
    )


def parse_properties(text: str) -> Mapping[str, str]:
    """Read the output of `getprop`: lines of `[name]: [value]`; empty values are left out."""
    return {name: value for name, value in _PROPERTY.findall(text) if value}


def parse_memory(text: str) -> Mapping[str, int]:
    """Read /proc/meminfo; sizes are in bytes."""
    return {name: int(size) * 1024 for name, size in _SIZE.findall(text)}


def parse_storage(text: str) -> tuple[int, int] | None:
    """Read `df -k FOLDER` of toybox: bytes in all, and bytes free. None where it is another df."""
    lines = [line.split() for line in text.splitlines() if line.strip()]
    if len(lines) < 2 or "1K-blocks" not in lines[0]:
        return None
    values = lines[-1][-5:]  # counted from the right: a file system's name may hold blanks
    if len(values) < 5 or not (values[0].isdigit() and values[2].isdigit()):
        return None
    return int(values[0]) * 1024, int(values[2]) * 1024


def parse_battery(text: str) -> tuple[float | None, float | None]:
    """Read `dumpsys battery`: the charge as a fraction, and the temperature in °C.

    Both are None where there is no battery. An emulator says that its battery has 0 mV and 0 °C:
    that is no temperature.
    """
    values = dict(_BATTERY.findall(text))
    if values.get("present") != "true":
        return None, None
    level, scale = values.get("level", ""), values.get("scale", "")
    whole = int(scale) if scale.isdigit() else 0
    charge = int(level) / whole if level.isdigit() and whole else None
    tenths = values.get("temperature", "")
    if not tenths.lstrip("-").isdigit() or values.get("voltage") == "0":
        return charge, None
    return charge, int(tenths) / 10


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
