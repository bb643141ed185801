"""A small disk, for what must happen when one is full."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgegen.core.errors import MissingDependencyError
from edgegen.core.process import ProcessError, run


@contextlib.contextmanager
def small_disk(folder: Path, size_bytes: int) -> Iterator[Path]:
    """Mount a file system of this size at `folder`, which is made; skip the test where one may not.

    Mounting takes root, and a container may forbid it even then.
    """
    folder.mkdir(parents=True)
    options = f"size={size_bytes},mode=1777"
    try:
        run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], timeout_s=10)
    except (ProcessError, MissingDependencyError) as error:
        pytest.skip(f"A small disk needs a mount: {error}")
    try:
        yield folder
    finally:
        run(["umount", "--lazy", str(folder)], timeout_s=10)
