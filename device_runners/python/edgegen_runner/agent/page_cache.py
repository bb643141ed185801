"""Evicts files from the page cache, and says how much of them is in memory.

A cold load reads its files from storage. Without root, the system still drops one file's clean
pages when asked (``posix_fadvise``, POSIX_FADV_DONTNEED); whether it did is asked, not believed
(``mincore``). Pages that another process has mapped stay, and so do the storage device's own
caches.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional

EVICTED = "files evicted from the page cache"
_UNTOUCHED = "files as they lay"
_PROT_READ = 1
_MAP_SHARED = 1


def evict(files: Sequence[Path]) -> dict[str, Any]:
    """Drop the files' pages from memory, as far as the system does, and look what is left.

    Raises OSError where a file cannot be read.
    """
    advise = getattr(os, "posix_fadvise", None)
    if advise is None:
        return look(files, how=f"{_UNTOUCHED}: {sys.platform} cannot evict one file")
    for path in files:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            with contextlib.suppress(OSError):  # a read-only file system has nothing to write
                os.fsync(descriptor)  # dirty pages would stay
            advise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
    return look(files, how=EVICTED)


def look(files: Sequence[Path], *, how: str = _UNTOUCHED) -> dict[str, Any]:
    """Say how many of the files' bytes are in the page cache; None where that cannot be seen."""
    sizes = {path: path.stat().st_size for path in files}
    resident = [_resident_bytes(path, size) for path, size in sizes.items()]
    known = [value for value in resident if value is not None]
    return {
        "file_bytes": sum(sizes.values()),
        "resident_bytes": sum(known) if len(known) == len(resident) else None,
        "how": how,
    }


def _resident_bytes(path: Path, size_bytes: int) -> Optional[int]:
    """Return how much of a file is in memory; the mapping that asks touches no page of it."""
    if size_bytes == 0:
        return 0
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None, use_errno=True)
    library.mmap.restype = ctypes.c_void_p
    library.mmap.argtypes = [
        ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long,
    ]  # fmt: skip
    library.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    library.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        address = library.mmap(None, size_bytes, _PROT_READ, _MAP_SHARED, descriptor, 0)
        if address == ctypes.c_void_p(-1).value:
            return None
        try:
            pages = -(-size_bytes // mmap.PAGESIZE)
            present = ctypes.create_string_buffer(pages)
            if library.mincore(address, size_bytes, present) != 0:
                return None
            return min(size_bytes, mmap.PAGESIZE * sum(byte & 1 for byte in present.raw[:pages]))
        finally:
            library.munmap(address, size_bytes)
    finally:
        os.close(descriptor)
