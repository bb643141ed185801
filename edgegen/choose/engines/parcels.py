"""Folders that are sent from one machine to another: by the hash of each file, in pieces."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edgegen.core.errors import IntegrityError
from edgegen.core.files import STAGING_PREFIX, inside, sha256_of, translate_disk_errors
from edgegen.core.package import Artifact
from edgegen.core.regular_files import open_regular
from edgegen.core.scratch import ScratchFolder
from edgegen.core.staging import staged_folder
from edgegen.packaging.redrawn import link_or_copy

PIECE_BYTES = 8 << 20
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SETTING = "EDGEGEN_CACHE_DIR"

Read = Callable[[Artifact], Iterable[bytes]]
"""Gives the bytes of a file that a parcel lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """A folder's files. `folder` is where it lies for the sender; `id` is a hash of all of them."""

    id: str
    folder: str
    files: tuple[Artifact, ...]


def pack(folder: Path, names: Iterable[str] | None = None) -> Parcel:
    """Return a folder's files with their hashes: those of `names`, all of them by default.

    What is being written beside them is left out.
    """
    chosen = sorted(names if names is not None else _names(folder))
    files = tuple(artifact_of(folder, name) for name in chosen)
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.sha256} {file.size_bytes} {file.path}\n".encode())
    return Parcel(id=digest.hexdigest(), folder=str(folder), files=files)


def artifact_of(folder: Path, name: str) -> Artifact:
    """Return a file of a folder with its hash and size."""
    path = folder / name  # in a hub's cache, a link
    return Artifact(path=name, sha256=sha256_of(path), size_bytes=path.stat().st_size)


def _names(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not name.startswith(STAGING_PREFIX):
            yield name


def pieces_of(path: Path) -> Iterator[bytes]:
    """Yield a file's bytes, a few megabytes at a time."""
    with open_regular(path) as file:
        while piece := file.read(PIECE_BYTES):
            yield piece


class Writing:
    """A file that arrives in pieces, and must be what was promised of it."""

    def __init__(self, place: Path, promised: Artifact) -> None:
        self._promised = promised
        self._digest = hashlib.sha256()
        self._left = promised.size_bytes
        place.parent.mkdir(parents=True, exist_ok=True)
        self._file = place.open("wb")

    def take(self, piece: bytes) -> None:
        """Write a piece. Raises IntegrityError where it is more than was promised."""
        self._left -= len(piece)
        if self._left < 0:
            raise self._broken("is longer")
        self._digest.update(piece)
        self._file.write(piece)

    @property
    def is_whole(self) -> bool:
        """Return whether all bytes are here."""
        return self._left == 0

    def close(self) -> None:
        """Close the file, whatever is in it."""
        self._file.close()

    def finish(self) -> None:
        """Raise IntegrityError where the file isn't the one that was promised."""
        self._file.close()
        if self._left:
            raise self._broken("is shorter")
        if self._digest.hexdigest() != self._promised.sha256:
            raise self._broken("has another hash")

    def _broken(self, how: str) -> IntegrityError:
        return IntegrityError(
            f"{self._promised.path!r} was sent by another machine, and {how} than promised.",
            hint="Repeat the command; look at that machine's disk and memory if it comes again.",
        )


class Shelf:
    """What a machine received: each file once by its hash, and folders made of them by links."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def has(self, file: Artifact) -> bool:
        """Return whether a file is here."""
        place = self._blob(file)
        return place.is_file() and place.stat().st_size == file.size_bytes

    def keep(self, file: Artifact, path: Path) -> None:
        """Keep a file that is on this machine, under its hash."""
        place = self._blob(file)
        with contextlib.suppress(FileExistsError), translate_disk_errors(self._folder):
            place.parent.mkdir(parents=True, exist_ok=True)
            if not place.exists():
                link_or_copy(path, place)

    def lay_out(self, parcel: Parcel, read: Read) -> Path:
        """Return a folder with a parcel's files; `read` gives those that are not here yet.

        Raises IntegrityError for a file that is another one than promised, and for a path that
        leads out of the folder.
        """
        destination = self._folder / "folders" / _checked(parcel.id)
        if all(
            (path := inside(destination, file.path)).is_file()
            and path.stat().st_size == file.size_bytes
            for file in parcel.files
        ):
            return destination
        with translate_disk_errors(self._folder, setting=_SETTING):
            for file in parcel.files:
                if not self.has(file):
                    self._fetch(file, read(file))
            with staged_folder(destination, replace=True, setting=_SETTING) as staging:
                for file in parcel.files:
                    place = inside(staging, file.path)
                    place.parent.mkdir(parents=True, exist_ok=True)
                    link_or_copy(self._blob(file), place)
        return destination

    def _fetch(self, file: Artifact, pieces: Iterable[bytes]) -> None:
        place = self._blob(file)
        place.parent.mkdir(parents=True, exist_ok=True)
        with ScratchFolder("received", roots=[self._folder]) as scratch:
            arriving = Writing(scratch / "file", file)
            with contextlib.closing(arriving):
                for piece in pieces:
                    arriving.take(piece)
                arriving.finish()
            (scratch / "file").replace(place)

    def _blob(self, file: Artifact) -> Path:
        return self._folder / "files" / _checked(file.sha256)


def _checked(sha256: str) -> str:
    """Return a hash that is to be a file's name. Raises IntegrityError for anything else."""
    if not _SHA256.fullmatch(sha256):
        raise IntegrityError(
            f"{sha256[:80]!r} was sent as a hash.", hint="Repeat the command; report it otherwise."
        )
    return sha256
