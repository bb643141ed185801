"""Writes a bundle's folder as one tar file, and reads what a bundle says of itself.

The form is plain ustar without links: every tar extracts it, Android's toybox too, which knows
gzip only where it was built so. The same files give the same bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from edgegen.core.codec import decode, parse_json_object
from edgegen.core.errors import ConfigError, IntegrityError
from edgegen.core.files import sha256_of
from edgegen.core.progress import Step
from edgegen.runner.bundle.ustar import Member, members

SCHEMA_VERSION = 1
CONTENTS_FILE = "bundle.json"
_TIMESTAMP = 315532800  # 1980-01-01; some tars doubt files of 1970
_MOST_CONTENTS_BYTES = 1 << 20
_PIECE_BYTES = 8 << 20
_ID = re.compile(r"[0-9a-f]{64}")
_WORD = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Something that a bundle was made of: a package of Debian or a wheel.

    `licence` is its SPDX expression, `source` its address, `size_bytes` the size of its file there.
    """

    name: str
    version: str
    licence: str
    sha256: str
    size_bytes: int
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What `bundle.json` says. `id` is a hash over all files but that one, with their names."""

    schema_version: int
    id: str
    platform: str
    runtime: str
    python: str
    compiled_by: str
    parts: tuple[Part, ...]

    def __post_init__(self) -> None:
        if not _ID.fullmatch(self.id):
            raise ValueError(f"{self.id[:80]!r} is no id")
        for word in (self.platform, self.runtime):
            if not _WORD.fullmatch(word):
                raise ValueError(f"{word[:80]!r} is no name of a platform or a runtime")

    @property
    def folder(self) -> str:
        """Return the name of the folder that the archive extracts to."""
        return f"{self.platform}-{self.id[:12]}"


def content_id(root: Path) -> str:
    """Return a hash over the paths, modes and bytes of all files below a folder."""
    digest = hashlib.sha256()
    for path in _sorted(root):
        name = path.relative_to(root).as_posix()
        if name == CONTENTS_FILE:
            continue
        sha256 = None if path.is_dir() else sha256_of(path)
        digest.update(_fingerprint(name, _mode(path), sha256))
    return digest.hexdigest()


def _fingerprint(name: str, mode: int, sha256: str | None) -> bytes:
    """Return what a file adds to the bundle's id; a folder has no hash."""
    return (f"{name}/\0" if sha256 is None else f"{name}\0{mode:o}\0{sha256}\n").encode()


def write_archive(root: Path, folder: str, path: Path, step: Step) -> None:
    """Write the files below `root` to a tar file, in which they lie below `folder`.

    `bundle.json` comes first, so that it is found at once.
    """
    first = root / CONTENTS_FILE
    rest = [each for each in _sorted(root) if each != first]
    step.total = sum(each.stat().st_size for each in rest if each.is_file())
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        archive.addfile(_entry(root, folder))
        for each in (first, *rest):
            entry = _entry(each, f"{folder}/{each.relative_to(root).as_posix()}")
            if each.is_dir():
                archive.addfile(entry)
                continue
            with each.open("rb") as file:
                archive.addfile(entry, file)
            step.advance(entry.size)


def read_contents(path: Path) -> Contents:
    """Return what a bundle's archive says of itself; only its beginning is read.

    Raises ConfigError where the file is no bundle, or one of another version.
    """
    with _reading(path) as file:
        return _contents(members(file), file, path)


def check_archive(path: Path) -> Contents:
    """Read a whole archive, and return what it says of itself.

    Raises what `read_contents` raises, and IntegrityError where the files are not those that its
    id stands for, or lie where they don't belong.
    """
    with _reading(path) as file:
        rest = members(file)
        contents = _contents(rest, file, path)
        digest, before = hashlib.sha256(), ""
        for member in rest:
            name = member.name.removeprefix(f"{contents.folder}/")
            if name == member.name or name <= before or not _is_plain(name):
                raise ValueError(f"{member.name} isn't where it belongs")
            before = name
            digest.update(_fingerprint(name, member.mode, _sha256(file, member)))
    if digest.hexdigest() != contents.id:
        raise IntegrityError(
            f"{path} isn't the bundle that it says: its files have changed.",
            hint="Copy it again, or build it: edgegen runner build --platform "
            f"{contents.platform} -o FILE",
        )
    return contents


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[BinaryIO]:
    try:
        if not path.is_file():
            raise ValueError("it isn't a file")
        with path.open("rb") as file:
            yield file
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{path} is no bundle: {error}.",
            hint="edgegen runner build --platform … -o FILE makes one.",
        ) from error


def _contents(rest: Iterator[Member], file: BinaryIO, path: Path) -> Contents:
    """Read the two members that every bundle begins with: its folder, and bundle.json."""
    folder, first = next(rest, None), next(rest, None)
    if folder is None or first is None or first.name != f"{folder.name}/{CONTENTS_FILE}":
        raise ValueError(f"it doesn't begin with {CONTENTS_FILE}")
    if first.size_bytes > _MOST_CONTENTS_BYTES:
        raise ValueError(f"its {CONTENTS_FILE} is larger than {_MOST_CONTENTS_BYTES} bytes")
    file.seek(first.offset)
    text = file.read(first.size_bytes).decode("utf-8")
    contents = _decode(parse_json_object(text, source=f"{path}:{first.name}"), path)
    if contents.folder != folder.name:
        raise ValueError(f"its folder is {folder.name}, not {contents.folder}")
    return contents


def _sha256(file: BinaryIO, member: Member) -> str | None:
    """Return the hash of a file of the archive; None for a folder."""
    if member.is_folder:
        return None
    digest, left = hashlib.sha256(), member.size_bytes
    file.seek(member.offset)
    while left:
        piece = file.read(min(left, _PIECE_BYTES))
        if not piece:
            raise ValueError(f"{member.name} is cut short")
        digest.update(piece)
        left -= len(piece)
    return digest.hexdigest()


def _is_plain(name: str) -> bool:
    return all(part not in ("", ".", "..") for part in name.split("/"))


def _decode(data: dict[str, object], path: Path) -> Contents:
    if data.get("schema_version") != SCHEMA_VERSION:
        raise ConfigError(
            f"{path} is a bundle of version {data.get('schema_version')}, not {SCHEMA_VERSION}.",
            hint="Build it with this edgegen: edgegen runner build --platform … -o FILE",
        )
    return decode(Contents, data, source=f"{path}:{CONTENTS_FILE}")


def _sorted(root: Path) -> Iterator[Path]:
    for path in sorted(root.rglob("*"), key=lambda each: each.relative_to(root).as_posix()):
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            raise IntegrityError(f"{path.relative_to(root)} is a link, which no bundle may have.")
        yield path


def _entry(path: Path, name: str) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.mtime = _TIMESTAMP
    entry.mode = _mode(path)
    if path.is_dir():
        entry.type = tarfile.DIRTYPE
    else:
        entry.size = path.stat().st_size
    return entry


def _mode(path: Path) -> int:
    return 0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644
