"""Sensors of an NVIDIA Jetson beyond those of any Linux."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Optional

from .commands import find_program, run
from .reading import Read, ReadOne, number, parse_number, scaled, sorted_paths, text, together

NVMAP_CLIENTS = "sys/kernel/debug/nvmap/iovmm/clients"

_UNCONNECTED = ("", "NC")
_PID = re.compile(r"[0-9]{1,10}")
_SIZE = re.compile(r"([0-9]{1,15})([KMG]?)")
_FACTORS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def power_rails(root: Path) -> Optional[Read]:
    """Power of the rails that an INA3221 watches: ``power_w.<rail>``.

    ``VDD_IN`` (``POM_5V_IN``) is the whole module and contains the others; an AGX Orin has no
    such rail. The sum of shunt voltages (``in7``) is no rail. JetPack 4 had another driver.
    """
    sensors: dict[str, ReadOne] = {}
    for monitor in _monitors(root, "ina3221"):
        for channel in (1, 2, 3):
            rail = text(monitor / f"in{channel}_label") or ""
            if rail not in _UNCONNECTED:
                millivolts = monitor / f"in{channel}_input"
                sensors[f"power_w.{rail}"] = _Product(millivolts, monitor / f"curr{channel}_input")
    for device in sorted_paths(root / "sys/bus/i2c/drivers/ina3221x", "*/iio:device*"):
        for channel in (0, 1, 2):
            rail = text(device / f"rail_name_{channel}") or ""
            if rail not in _UNCONNECTED:
                sensors[f"power_w.{rail}"] = scaled(device / f"in_power{channel}_input", 1e-3)
    return together(sensors)


def over_current(root: Path) -> Optional[Read]:
    """How often the chip was slowed down for over-current: ``throttle_count.oc<n>``."""
    sensors: dict[str, ReadOne] = {}
    for monitor in _monitors(root, "soctherm_oc"):
        for path in sorted_paths(monitor, "oc*_event_cnt"):
            sensors[f"throttle_count.{path.name.partition('_')[0]}"] = scaled(path, 1.0)
    return together(sensors)


def power_mode(root: Path) -> Optional[Read]:
    """The number of the power mode, as nvpmodel counts them: ``power_mode.nvpmodel``.

    Where its status file is not there, nvpmodel is asked once, at the start.
    """
    path = root / "var/lib/nvpmodel/status"
    if text(path) is not None:
        return lambda: {"power_mode.nvpmodel": parse_power_mode(text(path))}
    program = find_program("nvpmodel", root, ("usr/sbin",))
    if program is None:
        return None
    output = run([program, "-q"], 2.0)
    mode = parse_power_mode((output or b"").decode("ascii", "replace"))
    return lambda: {"power_mode.nvpmodel": mode}


def parse_power_mode(output: Optional[str]) -> Optional[float]:
    """Return the mode of ``pmode:0002``, or of nvpmodel's ``NV Power Mode: 15W`` and ``2``."""
    for line in (output or "").splitlines():
        words = line.strip()
        if words.startswith("pmode:"):
            words = words[len("pmode:") :].split(" ")[0]
        if words.isdecimal():
            return parse_number(words)
    return None


def gpu_memory(root: Path) -> Optional[Read]:
    """Memory that nvmap gave this process for the GPU, of no PSS: ``gpu_memory_bytes``.

    Root alone reads it. In a container the process has another number: then it is None.
    """
    path = root / NVMAP_CLIENTS
    if not os.access(path, os.R_OK):
        return None
    return lambda: {"gpu_memory_bytes": read_gpu_bytes(path, (os.getpid(),))}


def read_gpu_bytes(path: Path, members: Collection[int]) -> Optional[int]:
    """Return the bytes that nvmap gave some processes; None where it lists none of them."""
    sizes = [size for pid, size in parse_clients(text(path) or "") if pid in members]
    return sum(sizes) if sizes else None


def parse_clients(table: str) -> Iterator[tuple[int, int]]:
    """Yield process numbers and bytes of nvmap's table of clients.

    Its columns are CLIENT, PROCESS, PID, on some kernels PSS, and SIZE. A name may have blanks.
    """
    lines = table.splitlines()
    behind = 2 if lines and "PSS" in lines[0].split() else 1
    for line in lines[1:]:
        words = line.split()
        if len(words) < behind + 3 or not _PID.fullmatch(words[-1 - behind]):
            continue
        size = _SIZE.fullmatch(words[-1])
        if size:
            yield int(words[-1 - behind]), int(size[1]) * _FACTORS[size[2]]


def _monitors(root: Path, name: str) -> list[Path]:
    """Return the hwmon folders of a chip, each once, by its class or by its i2c driver."""
    found = [
        path
        for path in sorted_paths(root / "sys/class/hwmon", "hwmon*")
        if text(path / "name") == name
    ]
    found += sorted_paths(root / "sys/bus/i2c/drivers" / name, "*/hwmon/hwmon*")
    return list({path.resolve(): path for path in found}.values())


class _Product:
    """Watts, of files with millivolts and milliamperes."""

    def __init__(self, millivolts: Path, milliamperes: Path) -> None:
        self._millivolts = millivolts
        self._milliamperes = milliamperes

    def __call__(self) -> Optional[float]:
        voltage, current = number(self._millivolts), number(self._milliamperes)
        return None if voltage is None or current is None else voltage * current * 1e-6
