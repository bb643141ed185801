"""Whether a process sees that its processor is emulated. The real thing: tests/devices."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from edgegen_runner.emulation import is_emulated


def played_proc(tmp_path: Path, header: bytes) -> Path:
    thread = tmp_path / "proc/self/task/42"
    thread.mkdir(parents=True)
    (thread / "exe").write_bytes(header)
    return tmp_path / "proc"


def elf_header(machine: int, *, bits: int = 2, order: int = 1) -> bytes:
    pack = ">HH" if order == 2 else "<HH"
    return b"\x7fELF" + bytes((bits, order, 1)) + bytes(9) + struct.pack(pack, 3, machine)


@pytest.mark.parametrize(
    ("executing", "played", "emulated"),
    [
        (62, "aarch64", True),  # qemu on a PC plays a board
        (62, "armv7l", True),
        (62, "riscv64", True),
        (183, "x86_64", True),  # Rosetta for Linux, box64
        (62, "x86_64", False),
        (3, "x86_64", False),  # a 32-bit program
        (62, "i686", False),
        (183, "aarch64", False),
        (40, "aarch64", False),  # a 32-bit Raspberry Pi OS under its 64-bit kernel
        (40, "armv7l", False),
        (183, "a machine of tomorrow", False),
        (9999, "aarch64", False),
    ],
)
def test_program_for_another_processor_than_the_one_named_is_emulation(
    tmp_path: Path, executing: int, played: str, emulated: bool
) -> None:
    proc = played_proc(tmp_path, elf_header(executing))
    assert is_emulated(proc, played) is emulated


def test_big_endian_header_is_read(tmp_path: Path) -> None:
    proc = played_proc(tmp_path, elf_header(22, order=2))
    assert is_emulated(proc, "s390x") is False
    assert is_emulated(proc, "aarch64") is True


@pytest.mark.parametrize("header", [b"", b"\x7fELF", b"#!/bin/sh and some more text"])
def test_system_that_does_not_tell_is_not_called_emulated(tmp_path: Path, header: bytes) -> None:
    assert is_emulated(played_proc(tmp_path, header), "aarch64") is False
    assert is_emulated(tmp_path / "no proc", "aarch64") is False


def test_this_machine_agrees_with_itself() -> None:
    assert is_emulated() is False
