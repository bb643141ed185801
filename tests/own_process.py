"""Runs checks of a process's own state where no test has run before."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path


def in_own_process(check: Callable[..., None], *arguments: str | Path) -> None:
    """Call `check`, a function of a module, in a process of its own; what it asserts must hold.

    The process of a test maps all that tests before it imported: to add its pages up takes longer
    than a short peak, and others of its children and its garbage may come and go meanwhile.
    """
    code = (
        f"import sys; from {check.__module__} import {check.__name__}; "
        f"{check.__name__}(*sys.argv[1:])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
