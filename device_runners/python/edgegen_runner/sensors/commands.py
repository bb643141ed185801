"""Runs a device's own tool once a sample, and never lets it stop or slow down the run."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

_LARGEST_OUTPUT_BYTES = 1 << 20
_LONGEST_REST = 64
_LONGEST_DEATH_S = 0.5


def find_program(name: str, root: Path, places: Sequence[str] = ()) -> Optional[str]:
    """Return the path of a program on PATH, or else in one of some folders below ``root``."""
    if os.name != "posix":
        return None
    folders = os.pathsep.join(str(root / place) for place in places)
    return shutil.which(name) or (shutil.which(name, path=folders) if folders else None)


class Command:
    """A program whose output is read, at most once in ``every_s`` seconds.

    One that fails, hangs or floods answers None. After a failure it rests for 1, 2, 4, … and at
    last 64 samples, so that a tool which always hangs takes less than 2 % of the sensor thread's
    time and none of the run's.
    """

    def __init__(
        self, arguments: Sequence[str], *, timeout_s: float = 1.0, every_s: float = 0.0
    ) -> None:
        self._arguments = list(arguments)
        self._timeout_s = timeout_s
        self._every_s = every_s
        self._rest = 0
        self._next_rest = 1
        self._read_s: Optional[float] = None
        self._output: Optional[bytes] = None

    def output(self) -> Optional[bytes]:
        """Return what the program writes, or wrote less than ``every_s`` ago; None if it fails."""
        if self._rest > 0:
            self._rest -= 1
            return None
        now_s = time.monotonic()
        if self._read_s is not None and now_s - self._read_s < self._every_s:
            return self._output
        self._output = run(self._arguments, self._timeout_s)
        if self._output is None:
            self._rest, self._next_rest = self._next_rest, min(2 * self._next_rest, _LONGEST_REST)
            self._read_s = None
        else:
            self._next_rest = 1
            self._read_s = now_s
        return self._output

    def text(self) -> Optional[str]:
        """Return the output as text, whatever bytes it has; None if the program fails."""
        data = self.output()
        return None if data is None else data.decode("utf-8", "replace")


def run(arguments: Sequence[str], timeout_s: float) -> Optional[bytes]:
    """Return what a program writes; None where it fails, is late, or writes more than 1 MiB."""
    import subprocess

    try:
        process = subprocess.Popen(
            list(arguments),
            stdin=subprocess.DEVNULL,  # standard input is the host's
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # A runner that brings its own libraries must not give them to the system's tools.
            env={key: value for key, value in os.environ.items() if not key.startswith("LD_")},
            # Without close_fds Python may take posix_spawn, which copies no page tables: a fork
            # of a process with gigabytes of weights takes milliseconds. Python's own descriptors
            # are closed in the child all the same.
            close_fds=False,
        )
    except OSError:
        return None
    assert process.stdout is not None
    with process.stdout as pipe:
        data = _read_to_end(pipe.fileno(), time.monotonic() + timeout_s)
    try:
        code = process.wait(timeout=0 if data is None else timeout_s)
    except subprocess.TimeoutExpired:  # it is late, floods, or closed its output and runs on
        process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # it sleeps in the kernel: leave it
            process.wait(timeout=_LONGEST_DEATH_S)
        return None
    return data if code == 0 else None


def _read_to_end(descriptor: int, deadline_s: float) -> Optional[bytes]:
    data = bytearray()
    while True:
        left_s = deadline_s - time.monotonic()
        poll = select.poll()
        poll.register(descriptor, select.POLLIN | select.POLLHUP)
        if left_s <= 0 or not poll.poll(1e3 * left_s):
            return None
        part = os.read(descriptor, 1 << 16)
        if not part:
            return bytes(data)
        data += part
        if len(data) > _LARGEST_OUTPUT_BYTES:
            return None
