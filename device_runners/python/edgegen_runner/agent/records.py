"""What lies beside each version: its files and their blobs, and whether all of it is there.

A version is whole when its record says so, and each of its files is there in its size. The record
is written after the files and removed before them, so that a kill in the middle never leaves a
version that passes for whole. What isn't whole never becomes ``current``.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .paths import Folders, sync_folder

_SUFFIX = ".edgegen-files.json"


def is_whole(version: Path) -> bool:
    """Return whether all files of a version are there, by its record and their sizes."""
    record = _read(version)
    if record is None or not record["whole"] or not version.is_dir():
        return False
    return all(_size(version / path) == size for path, size in record["sizes"].items())


def write(version: Path, files: dict[str, str]) -> None:
    """Record a version that is laid out: its paths, and the blob of each."""
    sizes = {path: _size(version / path) for path in files}
    _write(version, {"files": sorted(set(files.values())), "sizes": sizes, "whole": True})


def remove(version: Path) -> None:
    """Take a version's record away, for good also where the power goes: it is no longer whole."""
    _place(version).unlink(missing_ok=True)
    sync_folder(version.parent)


def mark_damaged(folders: Folders, sha256s: set[str]) -> None:
    """Record of every version that uses one of these blobs that it isn't whole.

    The rest of its blobs stay in use: the next `link` lays the version out again.
    """
    for version in versions(folders):
        record = _read(version)
        if record is not None and record["whole"] and not sha256s.isdisjoint(record["files"]):
            _write(version, {**record, "whole": False})


def blobs_of(version: Path) -> set[str]:
    """Return the blobs that a version uses: those of its record, and those that it links to."""
    record = _read(version)
    used = set() if record is None else set(record["files"])
    used.update(path.readlink().name for path in version.rglob("*") if path.is_symlink())
    return used


def versions(folders: Folders) -> Iterator[Path]:
    """Yield the folders of all versions of all packages, whole or not."""
    for path in sorted(folders.packages.glob("*/versions/*")):
        if path.is_dir() and not path.is_symlink():
            yield path


def remove_strays(folders: Folders) -> None:
    """Remove records whose version is gone: the power went in the middle."""
    for record in folders.packages.glob(f"*/versions/*{_SUFFIX}"):
        if not record.with_name(record.name[: -len(_SUFFIX)]).is_dir():
            record.unlink()


def _place(version: Path) -> Path:
    return version.with_name(version.name + _SUFFIX)


def _read(version: Path) -> Any:
    """Return a version's record; None where there is none, or it cannot be read."""
    try:
        record = json.loads(_place(version).read_text(encoding="utf-8"))
        files = [str(sha256) for sha256 in record["files"]]
        sizes = {str(path): int(size) for path, size in record.get("sizes", {}).items()}
        whole = record.get("whole", True) is True
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return {"files": files, "sizes": sizes, "whole": whole}


def _write(version: Path, record: dict[str, Any]) -> None:
    path = _place(version)
    temporary = path.with_name(path.name + ".new")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(record, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def _size(path: Path) -> int:
    """Return a regular file's size, links followed; -1 where there is none."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return -1
    return found.st_size if stat.S_ISREG(found.st_mode) else -1
