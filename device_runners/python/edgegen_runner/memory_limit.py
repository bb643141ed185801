"""Keeps this process within a limit of memory, and ends it where it cannot be kept.

What a runtime maps of a package's files is taken back before the limit is reached: the pages are
clean, and the next use reads them again, from the system's cache where it still has them. What is
beyond the limit then is the runtime's own, and nothing can be done about it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Callable

from .mapped_pages import folder_mark, give_back_pages
from .process_tree import memory_of, resident_pages

MARK = 0.9
"""Pages are taken back from this share of the limit on: a runtime takes some tens of MB in the time
between two looks."""
_INTERVAL_S = 0.005
_REST_S = 0.2  # after pages were looked for and hardly any found
_LITTLE = 0.02


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
        self._folders = tuple(map(folder_mark, folders))
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
