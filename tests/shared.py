"""What is built once a run of the tests, for all workers."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


def built_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return the path `name` in a folder of this run; whichever worker asks first makes it.

    `make` gets a path that does not exist yet, in a folder that does. The others wait for it: to
    build the same beside it would take as long. What failed is made again by the next that asks.
    The path is shared by all tests: copy it before changing it.
    """
    run = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        run = run.parent
    place = run / "shared" / name
    place.mkdir(parents=True, exist_ok=True)
    path, made = place / Path(name).name, place / "made"
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            shutil.rmtree(path, ignore_errors=True)
            make(path)
            made.touch()
    return path
