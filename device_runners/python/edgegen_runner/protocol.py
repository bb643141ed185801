"""The runner's end of the protocol: one job in, events out, one JSON object a line.

See ``device_runners/protocol.schema.json``.
"""

from __future__ import annotations

import json
import math
import os
import select
import sys
import threading
import time
from typing import Any, Callable, Optional

SCHEMA = 1
LONGEST_JOB_BYTES = 16 << 20

HOST_GONE_EXIT_CODE = 4
HOST_SILENCE = "EDGEGEN_HOST_SILENCE_S"

_STEPS_EVERY_S = 0.1


class EventWriter:
    """Write events to what was standard output; safe to call from several threads.

    From then on, standard output is standard error: what a native library prints there cannot
    break the protocol. Steps that come faster than ten a second are written together: encoding
    them with cold caches costs several times as much, and a host that wakes takes a core. Any
    other event is written at once, after what was held.
    """

    def __init__(self, descriptor: Optional[int] = None) -> None:
        """Take standard output, or write to another descriptor and leave it alone."""
        self._descriptor = _take_standard_output() if descriptor is None else descriptor
        self._encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
        self._lock = threading.Lock()
        self._held: list[dict[str, Any]] = []
        self._written_s = 0.0

    def __call__(self, event: str, **fields: Any) -> None:
        """Write one event with the present time."""
        now_s = time.perf_counter()
        line = {"event": event, "t": now_s, **fields}
        with self._lock:
            self._held.append(line)
            if event == "step" and now_s - self._written_s < _STEPS_EVERY_S:
                return
            self._written_s = now_s
            lines = [self._encode(_finite(held)) for held in self._held]
            self._held.clear()
            view = memoryview("".join(f"{line}\n" for line in lines).encode("utf-8", "replace"))
            while view:
                view = view[os.write(self._descriptor, view) :]


def _take_standard_output() -> int:
    sys.stdout.flush()
    descriptor = os.dup(1)
    os.set_inheritable(descriptor, False)
    os.dup2(2, 1)
    return descriptor


def read_job_line() -> bytes:
    """Read the first line of standard input that is not empty.

    Raises EOFError where the input ends first, and ValueError for a line that is too long.
    """
    line = bytearray()
    while True:
        data = os.read(0, 1 << 16)
        if not data:
            raise EOFError("Standard input ended before a job came.")
        line = bytearray((line + data).lstrip(b"\n"))  # signs of life
        end = line.find(b"\n")
        if end >= 0:
            return bytes(line[:end])
        if len(line) > LONGEST_JOB_BYTES:
            raise ValueError(f"The job is longer than {LONGEST_JOB_BYTES >> 20} MiB.")


def watch_host(is_done: Callable[[], bool]) -> threading.Thread:
    """Start a thread that ends this process when its standard input closes.

    So nothing keeps running on a device whose host has gone, however it went. Where the host
    promises a sign of life (EDGEGEN_HOST_SILENCE_S, seconds), its silence ends the process, too:
    a network that just stops delivers no end of input.
    """
    silence_s = _silence_s()

    def watch() -> None:
        while True:
            if silence_s is not None and not select.select([0], [], [], silence_s)[0]:
                break
            if not os.read(0, 1 << 12):
                break
        if not is_done():
            os.write(2, b"The host has gone: the runner ends.\n")
            os._exit(HOST_GONE_EXIT_CODE)

    thread = threading.Thread(target=watch, name="host", daemon=True)
    thread.start()
    return thread


def _silence_s() -> Optional[float]:
    try:
        return float(os.environ[HOST_SILENCE])
    except (KeyError, ValueError):
        return None


def _finite(value: Any) -> Any:
    """Replace NaN and infinities, which JSON does not have, by None."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return value
