"""Files that appear whole or not at all, paths that stay in their folder, and a disk's errors."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from edgegen.core.errors import IntegrityError, ResourceError
from edgegen.core.regular_files import open_regular

STAGING_PREFIX = ".edgegen-"
_CHUNK_BYTES = 8 << 20
_LONGEST_MADE_BYTES = 160
_UNWRITABLE = (
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.EEXIST,
    errno.ENOENT,  # the folder is gone
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


LONGEST_NAME_BYTES = 255
"""Of a file's name, on every file system that matters."""


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
        and _is_encodable(relative)
    )
    path = root.joinpath(*parts) if plain else root
    if not plain or not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root)):
        raise IntegrityError(
            f"The path {relative!r} leaves the folder {root}.",
            hint="Do not use this package: it was made or changed by something else.",
        )
    return path


def file_names(texts: Sequence[str]) -> tuple[str, ...]:
    """Return a name of a file or folder for each text, in the same order, all different.

    Letters, digits and `.`, `_`, `-` stay, `×` becomes `x`, and the rest becomes `-`; no name
    begins with a dot. Where several texts would have the same name, also where case does not count,
    and where a name is cut, each ends with a hash of its text. A text has the same name each time.
    """
    plain = [_plain(text) for text in texts]
    texts_of: dict[str, set[str]] = {}
    for name, text in zip(plain, texts, strict=True):
        texts_of.setdefault(name.casefold(), set()).add(text)
    names = []
    for name, text in zip(plain, texts, strict=True):
        short = name.encode()[:_LONGEST_MADE_BYTES].decode(errors="ignore")
        if len(texts_of[name.casefold()]) > 1 or short != name or not name:
            digest = hashlib.sha256(text.encode("utf-8", errors="surrogateescape")).hexdigest()[:8]
            short = f"{short}-{digest}".lstrip("-")
        names.append(short)
    return tuple(names)


def _plain(text: str) -> str:
    letters = (c if c.isalnum() or c in "._-" else " " for c in text.replace("×", "x"))
    return "-".join("".join(letters).split()).lstrip(".-")


def _is_encodable(relative: str) -> bool:
    """Return whether a file could be called so: not half a character, nothing too long."""
    try:
        parts = os.fsencode(relative).split(b"/")
    except UnicodeEncodeError:
        return False
    return max(map(len, parts)) <= LONGEST_NAME_BYTES


def write_atomic(path: Path, data: bytes | str, *, setting: str = "--output") -> None:
    """Write a file beside its place, flush it to the disk, and rename it into place.

    Raises ResourceError where it cannot be written; `setting` is what would change the folder.
    """
    content = data.encode() if isinstance(data, str) else data
    with translate_disk_errors(path.parent, setting=setting):
        _remove_abandoned(path)
        temporary, descriptor = _create_locked(path)
        try:
            with open(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(descriptor)
                temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):  # a read-only disk refuses that, too
                temporary.unlink(missing_ok=True)
            raise


def _create_locked(path: Path) -> tuple[Path, int]:
    """Create a file beside `path`; its lock says that it is being written."""
    while True:
        temporary = path.with_name(f"{STAGING_PREFIX}{path.name}-{secrets.token_hex(4)}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        with contextlib.suppress(FileNotFoundError):  # it was taken for abandoned
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.path.samestat(os.fstat(descriptor), temporary.stat()):
                return temporary, descriptor
        os.close(descriptor)


def _remove_abandoned(path: Path) -> None:
    """Remove what runs left that were killed while they wrote `path`."""
    for left in path.parent.glob(f"{STAGING_PREFIX}{glob.escape(path.name)}-*"):
        with contextlib.suppress(OSError):
            descriptor = os.open(left, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                if stat.S_ISREG(os.fstat(descriptor).st_mode):
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    left.unlink()
            finally:
                os.close(descriptor)


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
