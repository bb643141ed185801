"""Runs a part of this program in a fork of it: what is imported is shared, memory is given back."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Forked:
    """How a fork ended: the text that it returned, its exit code and its processor seconds.

    The exit code is negative for a signal; the text is empty unless the fork came to its end.
    """

    text: str
    returncode: int
    cpu_s: float


def run_forked(work: Callable[[], str]) -> Forked:
    """Run `work` in a fork of this process, wait for it, and return what it returned.

    An exception in the fork is printed to its standard error and makes its exit code 1. On Linux
    the fork ends when this process does. No other thread may hold a lock that `work` needs.
    """
    reader, writer = os.pipe()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _run_and_exit(work, writer, parent)
    os.close(writer)
    with os.fdopen(reader, encoding="utf-8") as pipe:
        text = pipe.read()
    _, status, usage = os.wait4(pid, 0)
    returncode = os.waitstatus_to_exitcode(status)
    return Forked(
        text=text if returncode == 0 else "",
        returncode=returncode,
        cpu_s=usage.ru_utime + usage.ru_stime,
    )


def _run_and_exit(work: Callable[[], str], writer: int, parent: int) -> None:
    """Leave without the interpreter's own ending, which belongs to the process that forked."""
    code = 1
    try:
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == parent:
            text = work()
            with os.fdopen(writer, "w", encoding="utf-8") as pipe:
                pipe.write(text)
            code = 0
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        os._exit(code)
