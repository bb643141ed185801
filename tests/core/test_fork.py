"""A fork returns a text, and its death is told apart."""

from __future__ import annotations

import os
import signal
import sys
import time

from edgegen.core.fork import run_forked
from edgegen.core.process import Child


def test_a_forks_text_and_processor_time_come_back() -> None:
    def work() -> str:
        end = time.process_time() + 0.05
        while time.process_time() < end:
            pass
        return f"{os.getpid()} é"

    forked = run_forked(work)
    assert forked.returncode == 0
    assert forked.text.endswith(" é")
    assert int(forked.text.split()[0]) != os.getpid()
    assert 0.05 <= forked.cpu_s < 5


def test_what_a_fork_allocates_is_not_kept() -> None:
    kept: list[int] = []
    run_forked(lambda: str(kept.append(1)))
    assert kept == []


def test_an_exception_in_a_fork_is_exit_code_1_and_no_text() -> None:
    def work() -> str:
        raise ValueError("in the fork")

    forked = run_forked(work)
    assert (forked.returncode, forked.text) == (1, "")


def test_a_killed_fork_is_told_by_its_signal() -> None:
    def work() -> str:
        os.kill(os.getpid(), signal.SIGKILL)
        return "never"

    assert run_forked(work).returncode == -signal.SIGKILL


def test_a_fork_ends_with_the_process_that_made_it() -> None:
    code = (
        "import os, sys, time\n"
        "from edgegen.core.fork import run_forked\n"
        "def work():\n"
        "    os.write(1, b'%d\\n' % os.getpid()); time.sleep(60); return ''\n"
        "run_forked(work)\n"
    )
    with Child([sys.executable, "-c", code]) as child:
        pid = int(next(child.lines()))
        os.kill(child.pid, signal.SIGKILL)
        deadline = time.monotonic() + 10
        while _is_alive(pid) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not _is_alive(pid)


def _is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
