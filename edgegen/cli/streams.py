"""Makes the standard streams such that nothing which is said can end what is done.

A stream may be closed (`2>&-`): the next file that is opened would get its number, and with it what
is meant for people. A reader of the messages may be gone (`2> >(head)`, a terminal that was
closed): what they would have read is dropped, and the work goes on.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys

TYPE_CHECKING = False  # what `typing` has, which takes a while to import
if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


def prepare_streams() -> None:
    """Open what is closed, and let messages be written whatever comes of them."""
    for descriptor in (0, 1, 2):
        _open_if_closed(descriptor)
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115 - open until the end
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - as above
    # A terminal that has no '…' gets a '?', not a traceback.
    with contextlib.suppress(AttributeError):
        sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # TextIOWrapper
    encoding = "utf-8" if sys.stderr is None else sys.stderr.encoding
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(_Messages(2, "w", closefd=False)),
        encoding=encoding,
        errors="replace",
        line_buffering=True,
        write_through=True,
    )


def flush_output() -> OSError | None:
    """Flush standard output; return what went wrong, after which nothing more is written there."""
    try:
        sys.stdout.flush()
    except OSError as error:
        with contextlib.suppress(OSError, ValueError):  # ValueError: a test's stream has no number
            # The interpreter flushes once more when it exits, and would complain.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return error
    return None


class _Messages(io.FileIO):
    """Standard error: what cannot be written any more is dropped."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data) or 0
        except OSError:
            return len(memoryview(data))


def _open_if_closed(descriptor: int) -> None:
    try:
        os.fstat(descriptor)
    except OSError:  # the lowest number that is free is taken, and those below are open
        os.open(os.devnull, os.O_RDWR)
