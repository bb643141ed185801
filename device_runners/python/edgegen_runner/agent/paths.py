"""The agent's folder on the device, and the paths in it. Names that the host sends are checked."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath

from .failure import AgentFailure

_SHA256 = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class Folders:
    """Where things are below the root: blobs by their hash, versions of packages, runs."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.blobs = root / "blobs"
        self.packages = root / "packages"
        self.runs = root / "runs"
        self.tools = root / "tools"
        self.runtimes = root / "runtimes"
        self.runtime = root / "runtime"
        self.runners = root / "runner"
        self.lock = root / "lock"

    def blob(self, sha256: str) -> Path:
        """Return the place of a blob."""
        if not _SHA256.fullmatch(sha256):
            raise AgentFailure("bad-request", f"{sha256!r} is no sha256.")
        return self.blobs / sha256

    def package(self, name: str) -> Path:
        """Return the folder of a package's versions."""
        return self.packages / checked_name(name)

    def version(self, name: str, version: str) -> Path:
        """Return the folder of one version of a package."""
        return self.package(name) / "versions" / checked_name(version)

    def run(self, name: str) -> Path:
        """Return the folder of one run's files."""
        return self.runs / checked_name(name)

    def inside(self, path: str) -> Path:
        """Return a path that lies below the root.

        Raises AgentFailure (bad-request) for one that does not, links followed.
        """
        place = Path(os.path.realpath(path))
        if Path(os.path.realpath(self.root)) not in place.parents:
            raise AgentFailure("bad-request", f"{path!r} is not below {self.root}.")
        return place


def checked_name(name: str) -> str:
    """Return a name that is one plain part of a path.

    Raises AgentFailure (bad-request) for another.
    """
    if not is_name(name):
        raise AgentFailure("bad-request", f"{name!r} is no name.")
    return name


def is_name(name: str) -> bool:
    """Return whether a name is one plain part of a path."""
    return _NAME.fullmatch(name) is not None


def relative(path: str) -> PurePosixPath:
    """Return a relative path that stays where it is put.

    Raises AgentFailure (bad-request) for one that is absolute or has ``..``.
    """
    pure = PurePosixPath(path)
    if not pure.parts or pure.is_absolute() or ".." in pure.parts or "\0" in path or "\\" in path:
        raise AgentFailure("bad-request", f"{path!r} is no relative path.")
    return pure


def sync_folder(folder: Path) -> None:
    """Flush a folder's names to the disk, as far as its file system does that."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)
