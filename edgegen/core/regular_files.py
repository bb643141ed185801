"""Opens files that somebody else put there: only regular ones, and only where they belong.

A FIFO, a socket or a device in a model or a package would be waited for, or would never end. A link
may lead to a private file, which a package would then carry to others.
"""

from __future__ import annotations

import errno
import io
import os
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class NotRegularError(OSError):
    """What is at a path is not a regular file, or lies outside of where it may."""

    def __init__(self, why: str, path: Path) -> None:
        super().__init__(errno.EINVAL, why, str(path))

    def __str__(self) -> str:
        return str(self.strerror)


def check_regular(path: Path, *, roots: Sequence[Path] = ()) -> os.stat_result:
    """Return the status of a regular file, without opening it.

    With `roots`, the path may lead through links, but not out of all of these folders. Raises
    NotRegularError, and OSError where there is nothing that can be looked at.
    """
    status = path.stat()
    _check_kind(status, path)
    if roots:
        place = path.resolve()
        if not any(place.is_relative_to(root.resolve()) for root in roots):
            raise NotRegularError(f"it is a link that leads out of {roots[0]}, to {place}", path)
    return status


def open_regular(path: Path, *, roots: Sequence[Path] = ()) -> io.FileIO:
    """Open a regular file for reading, unbuffered; see `check_regular`."""
    check_regular(path, roots=roots)  # first: to open a device can be to use it
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _check_kind(os.fstat(descriptor), path)
        return io.FileIO(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def copy_regular(source: Path, destination: Path, *, roots: Sequence[Path] = ()) -> None:
    """Copy a regular file to a place where nothing is yet; see `check_regular`."""
    with open_regular(source, roots=roots) as file, destination.open("xb") as copy:
        shutil.copyfileobj(file, copy)


def _check_kind(status: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = next((name for test, name in _KINDS if test(status.st_mode)), "something else")
        raise NotRegularError(f"it is {kind}, not a file", path)
