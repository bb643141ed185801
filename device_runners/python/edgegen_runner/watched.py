"""Runs another program for as long as the host lives: ``edgegen-runner.pyz --watched PROGRAM …``.

A program that does not watch its input would go on after the host has gone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Sequence

from .protocol import HOST_GONE_EXIT_CODE, watch_host


def main(command: Sequence[str]) -> int:
    """Run a command and return its exit code, 128 and its number for a signal."""
    process = subprocess.Popen(list(command), stdin=subprocess.DEVNULL, start_new_session=True)
    host_gone = threading.Event()

    def end() -> bool:
        """End the program, where the host is gone before it; say whether there was none."""
        ended = process.poll() is not None
        if not ended:
            host_gone.set()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        return ended

    watch_host(end)
    code = process.wait()
    if host_gone.is_set():
        return HOST_GONE_EXIT_CODE
    return code if code >= 0 else 128 - code
