"""Writes a bundle's folder as one tar file, and reads what a bundle says of itself.

The form is plain ustar without links: every tar extracts it, Android's toybox too, which knows
gzip only where it was built so. The same files give the same bytes.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgegen.core.codec import decode, parse_json_object
from edgegen.core.errors import ConfigError, IntegrityError
from edgegen.core.files import sha256_of
from edgegen.core.progress import Step

SCHEMA_VERSION = 1
CONTENTS_FILE = "bundle.json"
_TIMESTAMP = 315532800  # 1980-01-01; some tars doubt files of 1970
_MOST_CONTENTS_BYTES = 1 << 20


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
        if path.is_dir():
            digest.update(f"{name}/\0".encode())
        else:
            digest.update(f"{name}\0{_mode(path):o}\0{sha256_of(path)}\n".encode())
    return digest.hexdigest()


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
    """Return what a bundle's archive says of itself.

    Raises ConfigError where the file is no bundle, or one of another version.
    """
    try:
        with tarfile.open(path, "r:") as archive:
            for _ in range(2):
                member = archive.next()
                if member is None or not member.name.endswith("/" + CONTENTS_FILE):
                    continue
                file = archive.extractfile(member)
                if file is not None and member.size <= _MOST_CONTENTS_BYTES:
                    text = file.read().decode("utf-8")
                    data = parse_json_object(text, source=f"{path}:{member.name}")
                    return _decode(data, path)
    except (OSError, tarfile.TarError, UnicodeDecodeError) as error:
        raise _no_bundle(path) from error
    raise _no_bundle(path)


def _decode(data: dict[str, object], path: Path) -> Contents:
    if data.get("schema_version") != SCHEMA_VERSION:
        raise ConfigError(
            f"{path} is a bundle of version {data.get('schema_version')}, not {SCHEMA_VERSION}.",
            hint="Build it with this edgegen: edgegen runner build --platform … -o FILE",
        )
    return decode(Contents, data, source=f"{path}:{CONTENTS_FILE}")


def _no_bundle(path: Path) -> ConfigError:
    return ConfigError(
        f"{path} is no bundle.", hint="edgegen runner build --platform … -o FILE makes one."
    )


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
