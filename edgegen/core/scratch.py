"""Private folders for what only one run needs, which never outlive it for long.

A run holds a lock (flock) on each of its folders, and the system releases it when the run ends,
however it ends. So a folder of ours that nobody has locked was left by a run that was killed, and
the next run that makes one there removes it. Unlike a process number, the lock means the same in
containers that share a folder, and never means another process.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

from edgegen.core.errors import ResourceError
from edgegen.core.folders import state_folder

SYSTEM_FOLDER = Path("/tmp")  # noqa: S108 - what is made in it is made exclusively, and private
_PREFIX = "edgegen-"
_TOKEN_BYTES = 6
_OURS = re.compile(rf"{_PREFIX}[a-z0-9]+-[0-9a-f]{{{2 * _TOKEN_BYTES}}}")


class ScratchFolder:
    """A private folder that `close` removes, or a later run where this one is killed.

    A context manager that yields its path. `purpose` is part of its name: small letters and digits.
    It lies in the first of `roots` that takes it; by default in the system's folder for temporary
    files (TMPDIR), else in edgegen's state folder. Raises ResourceError where none takes it.
    """

    def __init__(self, purpose: str, *, roots: Sequence[Path] | None = None) -> None:
        self.path, self._lock = _make(purpose, default_roots() if roots is None else roots)

    def __enter__(self) -> Path:
        return self.path

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove the folder with all that it holds; a second call does nothing."""
        if self._lock is not None:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._lock)
            self._lock = None


@contextlib.contextmanager
def utf8_name(folder: Path) -> Iterator[Path]:
    """Yield a path of a folder whose name is UTF-8: its own, else a link to it.

    Toolkits take texts where they mean files, and fail on a name of other bytes.
    """
    try:
        str(folder.absolute()).encode()
    except UnicodeEncodeError:
        with ScratchFolder("link") as scratch:
            link = scratch / "folder"
            link.symlink_to(folder.absolute())
            yield link
    else:
        yield folder


def remove_abandoned(root: Path) -> list[Path]:
    """Remove the scratch folders in `root` whose runs are dead, and return them.

    Only folders of ours are looked at: by name, owner and mode.
    """
    removed = []
    for path in sorted(root.glob(f"{_PREFIX}*")):
        with contextlib.suppress(OSError):  # another run may be removing it, too
            if _OURS.fullmatch(path.name) and _is_private(path.lstat()):
                descriptor = _open_folder(path)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(path, ignore_errors=True)
                    removed.append(path)
                finally:
                    os.close(descriptor)
    return removed


def default_roots() -> tuple[Path, ...]:
    """Return where temporary files go: the system's folder for them, else edgegen's own state."""
    chosen = os.environ.get("TMPDIR")
    return (Path(chosen) if chosen else SYSTEM_FOLDER, state_folder() / "tmp")


def _make(purpose: str, roots: Sequence[Path]) -> tuple[Path, int | None]:
    failure: OSError | None = None
    for root in roots:
        try:
            root.mkdir(parents=True, exist_ok=True)
            remove_abandoned(root)
            return _make_locked(root, purpose)
        except OSError as error:
            failure = error
    raise ResourceError(
        f"There is no room for temporary files: {failure}.",
        hint="Set TMPDIR to a folder that can be written and has space.",
    ) from failure


def _make_locked(root: Path, purpose: str) -> tuple[Path, int]:
    """Make and lock a folder; begin again where another run took it for abandoned meanwhile."""
    while True:
        path = root / f"{_PREFIX}{purpose}-{secrets.token_hex(_TOKEN_BYTES)}"
        path.mkdir(mode=0o700)
        with contextlib.suppress(FileNotFoundError):
            descriptor = _open_folder(path)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
                return path, descriptor
            os.close(descriptor)


def _open_folder(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)


def _is_private(status: os.stat_result) -> bool:
    is_private = stat.S_IMODE(status.st_mode) == 0o700
    return stat.S_ISDIR(status.st_mode) and is_private and status.st_uid == os.getuid()
