"""Whether this process runs on a processor that is emulated: its times would mean nothing.

Emulation by a program (qemu-user, Rosetta for Linux, box64) is found by asking the kernel which
program this process really is. The emulator shows its guest a false ``/proc/self/exe``,
``/proc/self/maps`` and, since qemu 8, ``/proc/cpuinfo`` (qemu, linux-user/syscall.c,
``is_proc_myself``), but not ``/proc/self/task/<thread>/exe``. That is a program for the machine
that executes it, whereas ``uname`` names the machine that is played.

An emulated computer with a kernel of its own (qemu-system) is not found: there, all agrees.
"""

from __future__ import annotations

import platform
import struct
import sys
from pathlib import Path
from typing import Optional

_PROC = Path("/proc")
_FAMILIES = {
    3: "x86",  # EM_386
    62: "x86",  # EM_X86_64
    40: "arm",  # EM_ARM: a 32-bit system under a 64-bit kernel is no emulation
    183: "arm",  # EM_AARCH64
    243: "riscv",
    8: "mips",
    20: "power",
    21: "power",
    22: "s390",
    258: "loongarch",
}
"""ELF's number of a machine (elf.h) -> the family whose processors execute it."""
_PREFIXES = {
    "x86": "x86",
    "i386": "x86",
    "i686": "x86",
    "amd64": "x86",
    "arm": "arm",
    "aarch64": "arm",
    "riscv": "riscv",
    "mips": "mips",
    "ppc": "power",
    "s390": "s390",
    "loongarch": "loongarch",
}


def is_emulated(proc: Path = _PROC, machine: Optional[str] = None) -> bool:
    """Say whether another processor than the one that ``uname`` names executes this process.

    False where the system does not tell: without ``/proc``, or on an unknown machine.
    """
    if sys.platform == "darwin":
        return _is_translated()
    played = _family_of(machine or platform.machine())
    executing = _executing_family(proc)
    return played is not None and executing is not None and played != executing


def _family_of(machine: str) -> Optional[str]:
    name = machine.lower()
    for prefix, family in _PREFIXES.items():
        if name.startswith(prefix):
            return family
    return None


def _executing_family(proc: Path) -> Optional[str]:
    """Return the family that this process's real program was compiled for."""
    tasks = proc / "self" / "task"
    try:
        thread = min(tasks.iterdir())
        with open(thread / "exe", "rb") as program:
            header = program.read(20)
    except (OSError, ValueError):
        return None
    if len(header) < 20 or header[:4] != b"\x7fELF":
        return None
    order = ">" if header[5] == 2 else "<"
    (number,) = struct.unpack_from(order + "H", header, 18)
    return _FAMILIES.get(number)


def _is_translated() -> bool:
    """Say whether Rosetta translates this process (Apple, "About the Rosetta translation
    environment": ``sysctl.proc_translated``).
    """
    import ctypes  # costs 10 ms where nobody asks for it

    value, size = ctypes.c_int(0), ctypes.c_size_t(ctypes.sizeof(ctypes.c_int))
    try:
        library = ctypes.CDLL(None)
        failed = library.sysctlbyname(
            b"sysctl.proc_translated", ctypes.byref(value), ctypes.byref(size), None, 0
        )
    except (OSError, AttributeError):
        return False
    return not failed and value.value == 1
