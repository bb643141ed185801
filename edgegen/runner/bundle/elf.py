"""Reads what a bundle's check must know of an ELF file: its machine, alignment and libraries.

After the System V ABI, chapters 4 and 5 (https://refspecs.linuxfoundation.org/elf/gabi4+/).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

MACHINES = {"x86_64": 62, "aarch64": 183}
"""`e_machine` of what `uname -m` says."""

_MAGIC = b"\x7fELF"
_64_BIT_LITTLE_ENDIAN = b"\x02\x01"
_HEADER = struct.Struct("<HHIQQQIHHHHHH")  # after the 16 bytes of e_ident
_SEGMENT = struct.Struct("<IIQQQQQQ")
_ENTRY = struct.Struct("<qQ")
_LOAD, _DYNAMIC = 1, 2
_NULL, _NEEDED, _STRTAB, _RPATH, _RUNPATH = 0, 1, 5, 15, 29


class NotElfError(ValueError):
    """A file that is not a 64-bit little-endian ELF file, or a damaged one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Elf:
    """An ELF file's machine, the libraries that it asks for, and where it looks for them.

    `alignment_bytes` is the smallest one of its LOAD segments; None where it has none.
    """

    machine: int
    alignment_bytes: int | None
    needed: tuple[str, ...] = ()
    search: tuple[str, ...] = ()


def is_elf(path: Path) -> bool:
    """Return whether a file begins as an ELF file does."""
    with path.open("rb") as file:
        return file.read(4) == _MAGIC


def read_elf(path: Path) -> Elf:
    """Read an ELF file of a 64-bit little-endian machine.

    Raises NotElfError where it is none, or ends too early.
    """
    data = path.read_bytes()
    if data[:4] != _MAGIC or data[4:6] != _64_BIT_LITTLE_ENDIAN:
        raise NotElfError(f"{path} is not a 64-bit little-endian ELF file")
    try:
        return _parse(data)
    except (struct.error, ValueError, OverflowError) as error:
        raise NotElfError(f"{path} is a damaged ELF file: {error}") from error


def _parse(data: bytes) -> Elf:
    header = _HEADER.unpack_from(data, 16)
    machine, segments_at, segment_bytes, count = header[1], header[4], header[8], header[9]
    segments = [_SEGMENT.unpack_from(data, segments_at + i * segment_bytes) for i in range(count)]
    loads = [segment for segment in segments if segment[0] == _LOAD]
    entries: list[tuple[int, int]] = []
    for kind, _, offset, _, _, size, _, _ in segments:
        if kind == _DYNAMIC:
            for at in range(offset, offset + size, _ENTRY.size):
                tag, value = _ENTRY.unpack_from(data, at)
                if tag == _NULL:
                    break
                entries.append((tag, value))
    found = dict(entries)
    strings = _file_offset(found[_STRTAB], loads) if _STRTAB in found else 0

    def text(value: int) -> str:
        start = strings + value
        return data[start : data.index(b"\0", start)].decode()

    search = text(found[_RUNPATH]) if _RUNPATH in found else None
    if search is None and _RPATH in found:
        search = text(found[_RPATH])
    return Elf(
        machine=machine,
        alignment_bytes=min((segment[7] for segment in loads), default=None),
        needed=tuple(text(value) for tag, value in entries if tag == _NEEDED),
        search=tuple(part for part in (search or "").split(":") if part),
    )


def _file_offset(address: int, loads: list[tuple[int, ...]]) -> int:
    """Return where in the file the byte lies that is loaded at an address."""
    for _, _, offset, virtual, _, size, _, _ in loads:
        if virtual <= address < virtual + size:
            return int(address - virtual + offset)
    raise ValueError(f"no segment holds the address {address:#x}")
