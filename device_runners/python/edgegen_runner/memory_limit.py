"""Keeps this process within a limit of memory, and ends it where it cannot be kept.

What a runtime maps of a package's files is taken back before the limit is reached: the pages are
clean, and the next use reads them again, from the system's cache where it still has them. What is
beyond the limit then is the runtime's own, and nothing can be done about it.
"""

from __future__ import annotations

import ctypes
import os
import re
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Callable, Optional

from .process_tree import memory_of, read, resident_pages

MARK = 0.9
"""Pages are taken back from this share of the limit on: a runtime takes some tens of MB in the time
between two looks."""
_INTERVAL_S = 0.005
_REST_S = 0.2  # after pages were looked for and hardly any found
_DONTNEED = 4  # madvise(2): clean pages of a private mapping are read again from the file
_LITTLE = 0.02
_HEAD = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ \S+ +(/.*)")


class MemoryLimit:
    """Watch memory in a thread from `start` to `stop`.

    ``exceeded`` is called with the bytes that are held, from that thread, where the limit can't be
    kept; it is to end the process. ``folders`` are the package's, and that of graphs that are kept.
    """

    def __init__(
        self, limit_bytes: int, folders: Iterable[Path], exceeded: Callable[[int], None]
    ) -> None:
        self.given_back_bytes = 0
        self._limit_bytes = limit_bytes
        self._folders = tuple(os.path.realpath(folder) + os.sep for folder in folders)
        self._exceeded = exceeded
        self._page_bytes = os.sysconf("SC_PAGE_SIZE")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory limit", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """End watching."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        rest_until_s = 0.0
        while not self._stop.wait(_INTERVAL_S):
            held = self._resident_bytes()
            is_over = held > self._limit_bytes
            if held < MARK * self._limit_bytes:
                continue
            if is_over or time.monotonic() >= rest_until_s:
                found = give_back_pages(self._folders)
                self.given_back_bytes += found
                if found < _LITTLE * self._limit_bytes:
                    rest_until_s = time.monotonic() + _REST_S
            if is_over and self._resident_bytes() > self._limit_bytes:
                memory = memory_of([os.getpid()])  # without the share of others in libraries
                if memory is not None and memory.pss_bytes > self._limit_bytes:
                    self._exceeded(memory.pss_bytes)
                    return

    def _resident_bytes(self) -> int:
        return (resident_pages([os.getpid()]) or 0) * self._page_bytes


def give_back_pages(folders: tuple[str, ...]) -> int:
    """Take back what this process has in memory of mapped files in folders; return the bytes.

    A mapping of which a page was written is left alone. Raises nothing where the system has no such
    call.
    """
    madvise = getattr(ctypes.CDLL(None), "madvise", None)
    if madvise is None:
        return 0
    given = 0
    for start, end, resident in clean_mappings(read("/proc/self/smaps") or "", folders):
        size = ctypes.c_size_t(end - start)
        if madvise(ctypes.c_void_p(start), size, ctypes.c_int(_DONTNEED)) == 0:
            given += resident
    return given


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
