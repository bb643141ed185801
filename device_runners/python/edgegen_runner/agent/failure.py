"""The one exception with which the agent refuses a request."""

from __future__ import annotations

import errno

KINDS = ("bad-request", "busy", "full", "mismatch", "missing", "disk", "failed", "internal")
"""What can go wrong, in the words of the wire."""


class AgentFailure(Exception):  # noqa: N818 - the wire calls the answer an error
    """Refuse a request: of which kind of `KINDS`, and why."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        assert kind in KINDS
        self.kind = kind
        self.message = message


def disk_failure(error: OSError) -> AgentFailure:
    """Return what an error of the file system is on the wire."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    name = "" if error.filename is None else f" ({error.filename})"
    return AgentFailure("full" if full else "disk", f"{error.strerror or error}{name}")
