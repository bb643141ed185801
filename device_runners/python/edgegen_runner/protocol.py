"""The runner's end of the protocol: one job in, events out, one JSON object a line.

See ``device_runners/protocol.schema.json``.
"""

from __future__ import annotations

import json
import math
import os
import sys
import threading
import time
from typing import Any, Callable

SCHEMA = 1
LONGEST_JOB_BYTES = 16 << 20

HOST_GONE_EXIT_CODE = 4


class EventWriter:
    """Write events to what was standard output; safe to call from several threads.

    From then on, standard output is standard error: what a native library prints there cannot
    break the protocol.
    """

    def __init__(self) -> None:
        sys.stdout.flush()
        self._descriptor = os.dup(1)
        os.set_inheritable(self._descriptor, False)
        os.dup2(2, 1)
        self._lock = threading.Lock()

    def __call__(self, event: str, **fields: Any) -> None:
        """Write one event with the present time."""
        line = {"event": event, "t": time.perf_counter(), **fields}
        data = json.dumps(_finite(line), ensure_ascii=False, allow_nan=False).encode(
            "utf-8", errors="replace"
        )
        with self._lock:
            view = memoryview(data + b"\n")
            while view:
                view = view[os.write(self._descriptor, view) :]


def read_job_line() -> bytes:
    """Read the first line of standard input, byte by byte so that nothing after it is taken.

    Raises EOFError where the input ends first, and ValueError for a line that is too long.
    """
    line = bytearray()
    while True:
        data = os.read(0, 1 << 16)
        if not data:
            raise EOFError("Standard input ended before a job came.")
        line += data
        end = line.find(b"\n")
        if end >= 0:
            return bytes(line[:end])
        if len(line) > LONGEST_JOB_BYTES:
            raise ValueError(f"The job is longer than {LONGEST_JOB_BYTES >> 20} MiB.")


def watch_host(is_done: Callable[[], bool]) -> threading.Thread:
    """Start a thread that ends this process when its standard input closes.

    So nothing keeps running on a device whose host has gone, however it went.
    """

    def watch() -> None:
        while os.read(0, 1 << 12):
            pass
        if not is_done():
            os.write(2, b"The host has gone: the runner ends.\n")
            os._exit(HOST_GONE_EXIT_CODE)

    thread = threading.Thread(target=watch, name="host", daemon=True)
    thread.start()
    return thread


def _finite(value: Any) -> Any:
    """Replace NaN and infinities, which JSON does not have, by None."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return value
