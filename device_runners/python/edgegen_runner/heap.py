"""How glibc's heap keeps large blocks, and gives free ones back."""

from __future__ import annotations

import contextlib
import ctypes

_M_MMAP_THRESHOLD = -3  # malloc.h
_MAPPED_BYTES = 1 << 20


def map_large_blocks() -> None:
    """Ask glibc to map each large block by itself, so that it is given back when it is freed.

    By default a block that was freed raises the size from which blocks are mapped, up to 32 MiB.
    What is smaller then comes from the heap, where a freed block seldom fits the next one, for each
    is aligned: the heap of an SDXL decoder at 256 × 256 grew to three times what was alive. Other C
    libraries don't have this setting.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _MAPPED_BYTES)


def trim() -> None:
    """Ask glibc to give freed memory back to the system; other C libraries do so by themselves."""
    with contextlib.suppress(OSError, AttributeError, TypeError):  # the last one is Windows'
        ctypes.CDLL(None).malloc_trim(0)
