"""What the system refuses, as an error of edgegen's: a right, a disk or a limit, not a defect."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping

from edgegen.core.errors import ResourceError

_RIGHTS = "Change its permissions, or retry as the user that owns it."
_SPACE = "Free some space, or choose another folder."
_HINTS: Mapping[int, str] = {
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.EROFS: "Choose a folder that can be written.",
    errno.ENOSPC: _SPACE,
    errno.EDQUOT: _SPACE,
    errno.EFBIG: "Raise the limit on the size of files (ulimit -f), or choose another disk.",
    errno.EIO: "The disk cannot be read or written there: check it, or take a copy.",
    errno.ESTALE: "The network disk has lost it: mount it again, and retry.",
    errno.ELOOP: "Its links lead in a circle: correct them.",
    errno.ENAMETOOLONG: "Choose a shorter name.",
    errno.EMFILE: "Raise the limit on open files (ulimit -n), and retry.",
    errno.ENFILE: "Close other programs, and retry.",
    errno.ENOMEM: "Close other programs, and retry.",
    errno.EAGAIN: "Raise the limit on processes (ulimit -u), or close other programs.",
}


def system_error(error: OSError) -> ResourceError | None:
    """Return what the system's error is to the user; None where it can only be a defect."""
    hint = _HINTS.get(error.errno or 0)
    if hint is None:
        return None
    what = "A file" if error.filename is None else os.fsdecode(error.filename)
    return ResourceError(f"{what} cannot be used: {error.strerror}.", hint=hint)
