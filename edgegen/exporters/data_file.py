"""How weights lie in a file: aligned, so that a runtime can map them, and written whole."""

from __future__ import annotations

from typing import Any

PAGE_BYTES = 4096
PAGED_FROM_BYTES = 1 << 20
SMALL_ALIGNMENT_BYTES = 64
_WRITE_BYTES = 64 << 20


def alignment_bytes(size_bytes: int) -> int:
    """Return what the place of a tensor is a multiple of: the page size for a large one."""
    return PAGE_BYTES if size_bytes >= PAGED_FROM_BYTES else SMALL_ALIGNMENT_BYTES


def write_all(file: Any, data: bytes | bytearray | memoryview) -> None:
    """Write all of `data` to an unbuffered file, which may take less at a time."""
    view = memoryview(data)
    while view:
        view = view[file.write(view[:_WRITE_BYTES]) or 0 :]
