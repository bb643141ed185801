"""Files and folders that appear whole or not at all.

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
import hashlib
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from edgegen.core.errors import ConfigError, IntegrityError, ResourceError
from edgegen.core.regular_files import open_regular

STAGING_PREFIX = ".edgegen-"
_LOCK_SUFFIX = ".lock"
_ASIDE_SUFFIX = "-old"
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_CHUNK_BYTES = 8 << 20
_UNWRITABLE = (
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.EEXIST,
    errno.ENOTDIR,
    errno.ENAMETOOLONG,
    errno.EBUSY,  # a folder that is mounted cannot be exchanged
    errno.EXDEV,
)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes in hexadecimal digits, reading it in pieces."""
    digest = hashlib.sha256()
    with open_regular(path) as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
        with contextlib.suppress(AttributeError, OSError):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return digest.hexdigest()


def inside(root: Path, relative: str) -> Path:
    """Return `root / relative`, refusing whatever would leave `root`.

    Paths in a manifest, an archive or a device's answer are not trusted: absolute paths, `..`,
    back-slashes, empty names and symbolic links that lead out of `root` are refused.
    Raises IntegrityError.
    """
    parts = PurePosixPath(relative).parts
    plain = (
        bool(parts)
        and not relative.startswith("/")
        and "\\" not in relative
        and "\0" not in relative
        and ":" not in parts[0]
        and ".." not in parts
    )
    path = root.joinpath(*parts) if plain else root
    if not plain or not path.resolve().is_relative_to(root.resolve()):
        raise IntegrityError(
            f"The path {relative!r} leaves the folder {root}.",
            hint="Do not use this package: it was made or changed by something else.",
        )
    return path


def write_atomic(path: Path, data: bytes | str, *, setting: str = "--output") -> None:
    """Write a file beside its place, flush it to the disk, and rename it into place.

    Raises ResourceError where it cannot be written; `setting` is what would change the folder.
    """
    content = data.encode() if isinstance(data, str) else data
    temporary = path.with_name(f"{STAGING_PREFIX}{path.name}-{secrets.token_hex(4)}")
    try:
        with translate_disk_errors(path.parent, setting=setting), temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):  # a read-only disk refuses that, too
            temporary.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def translate_disk_errors(folder: Path, *, setting: str = "--output") -> Iterator[None]:
    """Turn a full or read-only disk into a ResourceError that names `folder`.

    `setting` is what the user changes to have another folder.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise ResourceError(
                f"The disk that holds {folder} is full.",
                hint=f"Free some space or choose another folder with {setting}; nothing was left.",
            ) from error
        if error.errno in _UNWRITABLE and _is_about(error, folder):
            raise ResourceError(
                f"{folder} cannot be written: {error.strerror}.",
                hint=f"Choose another folder with {setting}, or change its permissions.",
            ) from error
        raise


def _is_about(error: OSError, folder: Path) -> bool:
    """Say whether an error names `folder`, a place in it or a parent of it, or nothing at all."""
    if not isinstance(error.filename, str | bytes | os.PathLike):
        return True
    place = Path(os.path.abspath(os.fsdecode(error.filename)))
    return place.is_relative_to(folder) or folder.is_relative_to(place)


@contextlib.contextmanager
def staged_folder(destination: Path, *, replace: bool, setting: str = "--output") -> Iterator[Path]:
    """Yield an empty folder beside `destination`; on success it becomes `destination`.

    On any exception the staging folder is removed and `destination` is as it was. With `replace`
    an existing folder is exchanged for the new one, then removed. Whether it may be replaced at
    all is the caller's decision; `setting` is what the user changes to have another folder. Raises
    ConfigError where `destination` exists and `replace` is false, and ResourceError where the disk
    cannot hold it.
    """
    destination = Path(os.path.abspath(destination))
    with translate_disk_errors(destination.parent, setting=setting):
        _take_back(destination)
    if not replace and os.path.lexists(destination):
        raise ConfigError(f"{destination} exists.", hint="Choose another folder, or pass --force.")
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
                _put(staging, destination, replace=replace)
                _sync_folder(destination.parent)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
                lock_path.unlink(missing_ok=True)


@contextlib.contextmanager
def _parents(path: Path) -> Iterator[None]:
    """Make the folders above `path`; those that were made are removed again on an exception."""
    missing = [parent for parent in path.parents if not parent.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for parent in missing:
            with contextlib.suppress(OSError):  # it was not made, or another run builds there
                parent.rmdir()
        raise


def _put(staging: Path, destination: Path, *, replace: bool) -> None:
    """Rename a whole folder into its place; what came there meanwhile is exchanged, or kept."""
    if not os.path.lexists(destination):
        try:
            staging.rename(destination)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                raise
        else:
            return
    if not replace:
        raise ConfigError(
            f"{destination} was made by something else meanwhile.",
            hint="Choose another folder, or pass --force.",
        )
    _exchange(staging, destination)


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
