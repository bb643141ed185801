"""Where the runner here keeps a package's graphs, or their weights, as a runtime takes them.

The folder is in the cache and has the hash of the package's manifest as its name, so a package that
was built again, or changed, has none yet.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from edgegen.core.folders import cache_folder

MOST_PACKAGES = 12
MOST_BYTES = 10_000_000_000
"""Packages that were drawn with last keep theirs, up to so many and so much in all."""


def optimized_folder(manifest_sha256: str) -> Path | None:
    """Return the folder of a package, which exists then; None where there can be no cache.

    Its files must have been checked against the manifest. Packages that weren't drawn with for
    longest lose theirs.
    """
    folder = cache_folder() / "optimized" / manifest_sha256[:32]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        os.utime(folder)
        _forget_oldest(folder.parent)
    except OSError:
        return None
    return folder


def _forget_oldest(folder: Path) -> None:
    with os.scandir(folder) as entries:
        packages = [(entry.stat().st_mtime_ns, entry.path) for entry in entries]
    held = 0
    for number, (_, path) in enumerate(sorted(packages, reverse=True)):
        held += _size_bytes(path)
        if number >= MOST_PACKAGES or (number > 0 and held > MOST_BYTES):
            with contextlib.suppress(OSError):
                shutil.rmtree(path)


def _size_bytes(folder: str) -> int:
    """Return what the files take in the folders of a folder: those of components."""
    total = 0
    with os.scandir(folder) as components:
        for component in components:
            with contextlib.suppress(OSError), os.scandir(component.path) as files:
                total += sum(file.stat().st_size for file in files)
    return total
