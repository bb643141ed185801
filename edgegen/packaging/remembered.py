"""Refuses a package that was changed, before it is run: its files are hashed once, then remembered.

What was hashed is remembered in the cache, by each file's size, inode and times. A file of which
these are the same was not written since, as git's index has it, too; so a package is read as a
whole only the first time. Every change that goes through the file system is found. What is not: a
bit that flips on the disk by itself. For that, everything is hashed again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgegen.core.codec import dump_json, load_json
from edgegen.core.errors import ConfigError, ResourceError
from edgegen.core.files import write_atomic
from edgegen.core.folders import cache_folder
from edgegen.core.package import PackageManifest
from edgegen.core.progress import Progress
from edgegen.packaging.integrity import check_contents, check_listing, manifest_sha256

_SETTLED_S = 2.0
"""A file that changed just before it was hashed may change again without its times: file systems
count in steps of up to two seconds. It is hashed the next time, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Remembered:
    """The files of a package that were hashed: by path, what their status was then."""

    manifest_sha256: str
    stamps: Mapping[str, str]


def require_unchanged(
    package: Path, manifest: PackageManifest, progress: Progress, *, everything: bool = False
) -> None:
    """Compare names and sizes with the manifest, and hash what was not hashed as it is now.

    With `everything`, all is hashed. Raises IntegrityError for what is not as it was built.
    """
    started_s = time.time()
    statuses = check_listing(package, manifest, beside=not everything)
    known = _recall(package)
    digest = manifest_sha256(package)
    seen = known.stamps if known is not None and known.manifest_sha256 == digest else {}
    stamps = {path: _stamp(status) for path, status in statuses.items()}
    files = [it for it in manifest.files if everything or seen.get(it.path) != stamps[it.path]]
    if not files:
        return
    check_contents(package, manifest, files, progress)
    settled = {
        path: stamps[path]
        for path, status in statuses.items()
        if max(status.st_mtime, status.st_ctime) < started_s - _SETTLED_S
    }
    with contextlib.suppress(ResourceError):  # without a cache, it is hashed each time
        _remember(package, _Remembered(manifest_sha256=digest, stamps=settled))


def _stamp(status: os.stat_result) -> str:
    return f"{status.st_size}-{status.st_ino}-{status.st_mtime_ns}-{status.st_ctime_ns}"


def _place(package: Path) -> Path:
    name = hashlib.sha256(os.fsencode(package.resolve())).hexdigest()[:32]
    return cache_folder() / "hashed" / f"{name}.json"


def _recall(package: Path) -> _Remembered | None:
    try:
        return load_json(_Remembered, _place(package))
    except ConfigError:  # there is none, or another version of edgegen wrote it
        return None


def _remember(package: Path, hashed: _Remembered) -> None:
    path = _place(package)
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, dump_json(hashed), setting="EDGEGEN_CACHE_DIR")
