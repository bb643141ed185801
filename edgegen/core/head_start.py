"""Starts Python before this process has imported what it needs: the two import beside each other.

Nothing but the standard library's `subprocess` is imported for it, so that it takes as little time
as can be. `edgegen.core.process.Child` takes what was started.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

from edgegen.core.environment import RUNNER_ENVIRONMENT, child_environment

TYPE_CHECKING = False  # what `typing` has, which takes a while to import
if TYPE_CHECKING:
    from typing import IO


class HeadStart:
    """A Python that was started: its process, and the file that gets its standard error."""

    def __init__(
        self, arguments: Sequence[str], process: subprocess.Popen[bytes], log: IO[bytes]
    ) -> None:
        self.arguments = tuple(arguments)
        self.process = process
        self.log = log


def head_start(*options: str) -> HeadStart | None:
    """Start this Python in a session of its own; None where the system doesn't start it."""
    arguments = [sys.executable, *options]
    try:
        log = _log()
        process = subprocess.Popen(
            arguments,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=child_environment(RUNNER_ENVIRONMENT),
            start_new_session=True,
        )
    except OSError:  # whoever needs the process starts it then, and says what is wrong
        return None
    return HeadStart(arguments, process, log)


def _log() -> IO[bytes]:
    """Return a file without a name."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("log"), "w+b")
    from tempfile import TemporaryFile

    return TemporaryFile()
