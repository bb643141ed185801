"""Programs that the agent starts: they read nothing of the host's, and end with the agent."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

_RUNNING: list[subprocess.Popen[bytes]] = []


def run(
    command: Sequence[str], *, timeout_s: float, folder: Optional[Path] = None
) -> subprocess.CompletedProcess[bytes]:
    """Run a program to its end, and return what it wrote.

    It starts in ``folder``: Python would take modules from the user's own. Raises
    subprocess.SubprocessError where it fails or takes longer, and OSError where it is not there.
    """
    process = subprocess.Popen(
        list(command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=folder,
        start_new_session=True,
    )
    _RUNNING.append(process)
    try:
        output, errors = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        _kill(process)
        process.communicate()
        raise
    finally:
        _RUNNING.remove(process)
    done = subprocess.CompletedProcess(list(command), process.returncode, output, errors)
    done.check_returncode()
    return done


def kill_all() -> None:
    """End what still runs, with all that it started."""
    for process in tuple(_RUNNING):  # the main thread may take one out meanwhile
        _kill(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
