"""Writes down an error that nobody expected."""

from __future__ import annotations

import os
import platform
import shlex
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from edgegen import __version__
from edgegen.core.folders import state_folder


def write_crash_log(arguments: Sequence[str]) -> Path | None:
    """Write the exception that is being handled to a log file and return its path.

    Returns None where the file cannot be written: the error itself matters more.
    """
    text = "\n".join(
        [
            f"edgegen {__version__}",
            f"Python {platform.python_version()} on {platform.platform()}",
            f"edgegen {shlex.join(arguments)}",
            "",
            traceback.format_exc(),
        ]
    )
    stamp = time.strftime("%Y-%m-%dT%H-%M-%S")
    path = state_folder() / "logs" / f"crash-{stamp}-{os.getpid()}.log"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError:
        return None
    return path
