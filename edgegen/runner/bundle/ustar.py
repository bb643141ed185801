"""Reads the plain kind of tar file that a bundle is, and nothing else.

Only what `archive.py` writes is known: ustar (POSIX.1-1988) with files and folders. Every tar
extracts these in the same way; links, devices and extensions of later formats are refused.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

BLOCK_BYTES = 512
MOST_MEMBERS = 100_000
MOST_BYTES = 4 << 30

_MAGIC = b"ustar\x0000"
_FILE, _FOLDER = b"0", b"5"
_MODES = (0o644, 0o755)
_CHECKSUM = slice(148, 156)


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A file or folder of the archive; a file's bytes begin at `offset`."""

    name: str
    mode: int
    size_bytes: int
    offset: int
    is_folder: bool


def members(file: BinaryIO) -> Iterator[Member]:
    """Yield what an archive holds, in its order.

    Raises ValueError, with the reason, where it is no such archive or is cut short.
    """
    end = file.seek(0, io.SEEK_END)
    if end > MOST_BYTES:
        raise ValueError(f"it has {end} bytes, over {MOST_BYTES}")
    place = 0
    for _ in range(MOST_MEMBERS):
        file.seek(place)
        header = file.read(BLOCK_BYTES)
        if len(header) < BLOCK_BYTES:
            raise ValueError("it is cut short")
        if not any(header):
            _check_rest(file)
            return
        member = _member(header, place + BLOCK_BYTES)
        place = member.offset + -(-member.size_bytes // BLOCK_BYTES) * BLOCK_BYTES
        if place > end:
            raise ValueError(f"{member.name} is cut short")
        yield member
    raise ValueError(f"it holds over {MOST_MEMBERS} files")


def _member(header: bytes, offset: int) -> Member:
    checked = bytearray(header)
    checked[_CHECKSUM] = b" " * 8
    if header[257:265] != _MAGIC or _octal(header[_CHECKSUM]) != sum(checked):
        raise ValueError(f"no ustar header at byte {offset - BLOCK_BYTES}")
    kind = header[156:157]
    name = "/".join(filter(None, (_text(header[345:500]), _text(header[:100]))))
    if kind not in (_FILE, _FOLDER) or _text(header[157:257]):
        raise ValueError(f"{name} is neither a file nor a folder")
    size, mode = _octal(header[124:136]), _octal(header[100:108])
    if kind == _FOLDER and size:
        raise ValueError(f"the folder {name} has {size} bytes")
    if mode not in _MODES:
        raise ValueError(f"{name} has the mode {mode:o}")
    return Member(
        name=name.removesuffix("/") if kind == _FOLDER else name,
        mode=mode,
        size_bytes=size,
        offset=offset,
        is_folder=kind == _FOLDER,
    )


def _text(field: bytes) -> str:
    text = field.split(b"\0")[0].decode("ascii", "backslashreplace")
    if not text.isprintable() or "\\" in text:
        raise ValueError(f"{text!r} is a name that no bundle has")
    return text


def _octal(field: bytes) -> int:
    digits = field.rstrip(b"\0 ").lstrip(b" ")
    if not digits or digits.strip(b"01234567"):
        raise ValueError(f"{field!r} is no octal number")
    return int(digits, 8)


def _check_rest(file: BinaryIO) -> None:
    """Raise ValueError where anything but zeros follows the end; some tars would read on."""
    while rest := file.read(1 << 20):
        if any(rest):
            raise ValueError("something follows its end")
