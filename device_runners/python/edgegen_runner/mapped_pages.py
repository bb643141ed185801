"""Takes back what a process has in memory of mapped files.

A runtime reads weights from a mapped file once, when it makes its own of them; the pages stay in
memory all the same, as long as the system has room. They are clean: the next use reads them again,
from the system's cache where it still has them.
"""

from __future__ import annotations

import ctypes
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Optional

from .process_tree import read

_INTERVAL_S = 0.05
_DONTNEED = 4  # madvise(2): clean pages of a mapped file are read again from it
_HEAD = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ \S+ +(/.*)")


def folder_mark(folder: Path) -> str:
    """Return how the paths of files in a folder begin, as the system names them."""
    return os.path.realpath(folder) + os.sep


@contextmanager
def giving_back(*folders: Path) -> Iterator[None]:
    """Take back the pages of folders' mapped files again and again, and in the end.

    A thread does so where what happens meanwhile lets other threads work.
    """
    marks, done = tuple(folder_mark(folder) for folder in folders), threading.Event()

    def again() -> None:
        while not done.wait(_INTERVAL_S):
            give_back_pages(marks)

    thread = threading.Thread(target=again, name="mapped pages", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        give_back_pages(marks)


def give_back_pages(folders: tuple[str, ...]) -> int:
    """Take back what this process has in memory of mapped files in folders; return the bytes.

    The folders are those of `folder_mark`. A mapping of which a page was written is left alone.
    Raises nothing where the system has no such call.
    """
    maps = read("/proc/self/smaps")
    if not maps:  # Windows, which has no C library without a name either, and macOS
        return 0
    madvise = ctypes.CDLL(None).madvise
    given = 0
    for start, end, resident in clean_mappings(maps, folders):
        size = ctypes.c_size_t(end - start)
        if madvise(ctypes.c_void_p(start), size, ctypes.c_int(_DONTNEED)) == 0:
            given += resident
    return given


def give_back_shared_pages(folders: tuple[str, ...]) -> None:
    """Take back the pages of files in folders that are mapped for reading, and shared.

    It takes half a millisecond, which `give_back_pages` takes tens of: nobody writes such pages, so
    that the system needn't be asked. A look at one number can bring 2 MB of a file back.
    """
    maps = read("/proc/self/maps")
    if not maps:
        return
    madvise = ctypes.CDLL(None).madvise
    for line in maps.splitlines():
        head = _HEAD.fullmatch(line)
        if head is not None and head[3] == "r--s" and head[4].startswith(folders):
            start, end = int(head[1], 16), int(head[2], 16)
            madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), ctypes.c_int(_DONTNEED))


def clean_mappings(maps: str, folders: tuple[str, ...]) -> Iterator[tuple[int, int, int]]:
    """Yield the start, the end and the resident bytes of mapped files in folders, given with a /.

    ``maps`` is the content of ``/proc/PID/smaps`` (proc_pid_smaps(5)). What isn't in memory is left
    out, and what has pages of the process's own (``Anonymous``): those were written, and the file
    doesn't hold them.
    """
    here: Optional[tuple[int, int]] = None
    fields: dict[str, int] = {}
    for line in [*maps.splitlines(), "0-0 ---p 0 0 0"]:
        name, colon, value = line.partition(":")
        if colon and name.isidentifier() and here is not None:
            if value.endswith("kB"):
                fields[name] = int(value.split()[0]) << 10
            continue
        if colon and name.isidentifier():
            continue
        if here is not None and fields.get("Rss") and fields.get("Anonymous") == 0:
            yield (*here, fields["Rss"])
        head = _HEAD.fullmatch(line)
        wanted = head is not None and head[4].startswith(folders) and "x" not in head[3]
        here = (int(head[1], 16), int(head[2], 16)) if head is not None and wanted else None
        fields = {}
