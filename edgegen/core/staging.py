"""Folders that appear whole or not at all.

A folder is built beside its place, under a name that starts with `.edgegen-`, and renamed into it.
Replacing a folder is one exchange (`renameat2` with RENAME_EXCHANGE where the kernel has it), so a
kill at any moment leaves either the old folder or the new one; where the file system cannot, two
renames, and a kill between them leaves the old folder aside, from where the next run takes it back.
What else a killed run leaves is recognised by its name and its lock, and removed by the next run
that builds there.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import itertools
import os
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from edgegen.core.errors import ConfigError
from edgegen.core.files import STAGING_PREFIX, translate_disk_errors

Check = Callable[[Path], object]
"""Raises ConfigError for a folder that must not be replaced."""

_LOCK_SUFFIX = ".lock"
_ASIDE_SUFFIX = "-old"
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


@contextlib.contextmanager
def staged_folder(
    destination: Path,
    *,
    replace: bool = False,
    check: Check | None = None,
    setting: str = "--output",
) -> Iterator[Path]:
    """Yield an empty folder beside `destination`; on success it becomes `destination`.

    On any exception the staging folder is removed and `destination` is as it was. What is there
    may be replaced with `replace`; or `check` decides, which raises for what must not be removed.
    It is asked before the work begins, and again when it is done: what came to `destination`
    meanwhile is kept, and so is the new folder, under another name that the error tells.
    `setting` is what the user changes to have another folder.

    Raises ConfigError where `destination` must not be replaced, and ResourceError where the disk
    cannot hold it.
    """
    destination = Path(os.path.abspath(destination))
    allow = check or (_allow_all if replace else _allow_nothing)
    with translate_disk_errors(destination.parent, setting=setting):
        _take_back(destination)
        if os.path.lexists(destination):
            allow(destination)
    token = secrets.token_hex(4)
    staging = destination.parent / f"{STAGING_PREFIX}{destination.name}-{token}"
    lock_path = staging.with_name(staging.name + _LOCK_SUFFIX)
    with translate_disk_errors(destination.parent, setting=setting), _parents(destination):
        remove_stale(destination)
        with _lock(lock_path):
            try:
                staging.mkdir()
                yield staging
                _sync_tree(staging)
                _put(staging, destination, allow)
                _sync_folder(destination.parent)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
                lock_path.unlink(missing_ok=True)


@contextlib.contextmanager
def _parents(path: Path) -> Iterator[None]:
    """Make the folders above `path`; those that were made are removed again on an exception."""
    with no_empty_folders_above(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        yield


@contextlib.contextmanager
def no_empty_folders_above(path: Path) -> Iterator[None]:
    """Remove the folders above `path` that were made meanwhile and in which nothing stands."""
    parents = Path(os.path.abspath(path)).parents
    missing = [parent for parent in parents if not os.path.exists(parent)]
    try:
        yield
    finally:
        for parent in missing:
            with contextlib.suppress(OSError):  # not made, not empty, or another run builds there
                parent.rmdir()


def _put(staging: Path, destination: Path, allow: Check) -> None:
    """Put a whole folder in its place, or beside it where that is taken by what must stay."""
    try:
        while not _try_to_put(staging, destination, allow):
            pass
    except ConfigError as error:
        kept = _keep_beside(staging, destination)
        raise ConfigError(
            f"{error.message} That came while the work was done; what was made is now {kept}.",
            hint=f"Use it there, or move {destination} away and give it that name.",
        ) from error


def _try_to_put(staging: Path, destination: Path, allow: Check) -> bool:
    """Put a folder in its place; return False where that changed at the same moment."""
    if not os.path.lexists(destination):
        try:
            staging.rename(destination)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                raise
            return False
        return True
    allow(destination)
    try:
        _exchange(staging, destination)
    except FileNotFoundError:
        return False
    try:
        allow(staging)  # the old folder: what came to it in between would be lost
    except ConfigError:
        _exchange(staging, destination)
        return False
    return True


def _keep_beside(staging: Path, destination: Path) -> Path:
    """Rename a folder to `NAME-2`, or to the first number whose name is free."""
    for number in itertools.count(2):
        place = destination.with_name(f"{destination.name}-{number}")
        with contextlib.suppress(FileExistsError):
            place.mkdir()  # an empty folder is renamed over: so no other run takes this name
            staging.rename(place)
            return place
    raise AssertionError("numbers end")


def _allow_all(path: Path) -> None:
    """Let anything be replaced: it can be made again."""


def _allow_nothing(path: Path) -> None:
    raise ConfigError(f"{path} exists.", hint="Choose another folder, or pass --force.")


def remove_stale(destination: Path) -> list[Path]:
    """Remove what killed runs left beside `destination`; a living run's folder is kept."""
    removed = []
    pattern = f"{STAGING_PREFIX}{_escape(destination.name)}-*"
    found = {
        path.with_name(path.name.removesuffix(_LOCK_SUFFIX))
        for path in destination.parent.glob(pattern)
    }
    for left in sorted(found):
        # Held until all is gone, so that a run that has just made this lock file waits for it.
        with _try_lock(_lock_of(left)) as ours:
            if not ours:
                continue
            if left.is_dir() and not left.is_symlink():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)
            _lock_of(left).unlink(missing_ok=True)
        removed.append(left)
    return removed


def _take_back(destination: Path) -> None:
    """Put back the folder that a run had put aside when it was killed between two renames."""
    pattern = f"{STAGING_PREFIX}{_escape(destination.name)}-*{_ASIDE_SUFFIX}"
    for aside in sorted(destination.parent.glob(pattern)):
        with _try_lock(_lock_of(aside)) as ours:
            if ours and not os.path.lexists(destination):
                aside.rename(destination)


def _lock_of(staging: Path) -> Path:
    """Return the lock of a staging folder, or of what was put aside for it."""
    return staging.with_name(staging.name.removesuffix(_ASIDE_SUFFIX) + _LOCK_SUFFIX)


def _escape(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    descriptor = _open_locked(path)
    try:
        yield
    finally:
        os.close(descriptor)


def _open_locked(path: Path) -> int:
    """Create and lock a file that nobody else knows; return its descriptor.

    Another run's `remove_stale` may look at the file before it is locked, and hold it for a moment
    or remove it: so wait for the lock, and begin again where the file is gone.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        os.close(descriptor)


@contextlib.contextmanager
def _try_lock(path: Path) -> Iterator[bool]:
    """Lock a file without waiting; yield whether nobody else has it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        ours = True
    except BlockingIOError:
        ours = False
    try:
        yield ours
    finally:
        os.close(descriptor)


def _exchange(new: Path, old: Path) -> None:
    """Exchange two folders in one step; where the system cannot, in two renames."""
    if sys.platform == "linux":
        rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
        if rename is not None:
            done = rename(
                _AT_FDCWD, os.fsencode(new), _AT_FDCWD, os.fsencode(old), _RENAME_EXCHANGE
            )
            if done == 0:
                return
            if ctypes.get_errno() not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(old))
    aside = new.with_name(new.name + _ASIDE_SUFFIX)
    old.rename(aside)
    new.rename(old)
    aside.rename(new)


def _sync_tree(root: Path) -> None:
    for folder, _, names in os.walk(root):
        for name in names:
            descriptor = os.open(os.path.join(folder, name), os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        _sync_folder(Path(folder))


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
