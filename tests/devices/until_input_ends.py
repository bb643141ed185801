"""Runs a command until it ends, or until this process's standard input ends: then it is killed.

    python until_input_ends.py COMMAND…

So a server of a test never outlives the test, however that ended.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading


def main() -> int:
    process = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, start_new_session=True)

    def end(*_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    def watch() -> None:
        while os.read(0, 4096):
            pass
        end()

    signal.signal(signal.SIGTERM, end)
    threading.Thread(target=watch, daemon=True).start()
    return process.wait() & 0xFF


if __name__ == "__main__":
    sys.exit(main())
