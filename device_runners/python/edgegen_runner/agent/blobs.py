"""Files by their content: written beside their place, verified, and only then renamed into it."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

from .failure import AgentFailure
from .paths import Folders, checked_name, sync_folder
from .wire import HostGone, Wire

_PIECE_BYTES = 8 << 20
_FLUSH_BYTES = 64 << 20
_PART = ".part"


def missing(folders: Folders, wanted: list[Any]) -> list[list[Any]]:
    """Return [sha256, bytes that are here] for each of [[sha256, size], …] that is not whole."""
    found = []
    for sha256, size in wanted:
        path = folders.blob(str(sha256))
        if _size(path) == size:
            continue
        part = _size(_part(path)) or 0
        found.append([sha256, part if part <= size else 0])
    return found


def receive(folders: Folders, wire: Wire, request: dict[str, Any]) -> dict[str, Any]:
    """Take a blob from the wire, from `offset` on.

    What had come before is hashed from the disk, so that a prefix that went bad is found: the
    answer is then ``mismatch``, and the next try begins at 0. What has come when the connection
    breaks stays as ``.part``.
    """
    sha256, size = str(request["sha256"]), int(request["size"])
    offset = int(request.get("offset", 0))
    path = folders.blob(sha256)
    part = _part(path)
    folders.blobs.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    if not 0 <= offset <= size:
        raise AgentFailure("bad-request", f"{offset} of {size} bytes are no part of a file.")
    if offset > (_size(part) or 0):
        raise AgentFailure("bad-request", f"{offset} bytes of {sha256} are not here.")
    with part.open("r+b" if offset else "wb", buffering=0) as file:
        _hash_prefix(file, offset, digest)
        file.truncate(offset)
        wire.answer(event="ready")
        left, unsafe = size - offset, 0
        try:
            while left:
                piece = wire.read_piece(left)
                left -= len(piece)
                digest.update(piece)
                _write(file, piece)
                unsafe += len(piece)
                if unsafe >= _FLUSH_BYTES:  # else the last flush takes minutes on a slow card
                    os.fsync(file.fileno())
                    unsafe = 0
            os.fsync(file.fileno())
        except OSError:
            _drain(wire, left)
            raise
    if digest.hexdigest() != sha256:
        part.unlink()
        raise AgentFailure("mismatch", f"What came is not {sha256}.")
    part.replace(path)
    path.chmod(0o444)
    sync_folder(folders.blobs)
    return {}


def _hash_prefix(file: Any, length: int, digest: Any) -> None:
    while length:
        piece = file.read(min(length, _PIECE_BYTES))
        if not piece:
            raise AgentFailure("bad-request", "The part became shorter meanwhile.")
        digest.update(piece)
        length -= len(piece)


def _write(file: Any, piece: bytes) -> None:
    view = memoryview(piece)
    while view:
        view = view[file.write(view) :]


def _drain(wire: Wire, left: int) -> None:
    """Read what the host still sends, so that the answer finds its place."""
    while left:
        left -= len(wire.read_piece(left))


def send(folders: Folders, wire: Wire, request: dict[str, Any]) -> None:
    """Write a file of this folder to the wire: its size in the answer, then its bytes."""
    path = folders.inside(str(request["path"]))
    if not path.is_file():
        raise AgentFailure("missing", f"{path} is not there.")
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        wire.answer(event="bytes", size=size)
        while size:
            try:
                piece = file.read(min(size, 1 << 20))
            except OSError as error:
                raise HostGone from error  # an answer would be taken for the file's bytes
            if not piece:
                raise HostGone
            wire.write(piece)
            size -= len(piece)


def has_hash(path: Path, sha256: str) -> bool:
    """Return whether a file's bytes are those of a hash."""
    digest = hashlib.sha256()
    try:
        with path.open("rb", buffering=0) as file:
            while True:
                piece = file.read(_PIECE_BYTES)
                if not piece:
                    return digest.hexdigest() == sha256
                digest.update(piece)
    except OSError:
        return False


def make_tool(folders: Folders, request: dict[str, Any]) -> dict[str, Any]:
    """Copy a blob to a file that may be executed, and return its path."""
    blob = folders.blob(str(request["sha256"]))
    folder = folders.tools / blob.name
    tool = folder / checked_name(str(request["name"]))
    if not tool.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / ".new"
        shutil.copyfile(blob, temporary)
        temporary.chmod(0o755)
        temporary.replace(tool)
    return {"path": str(tool)}


def unused_blobs(folders: Folders, used: set[str]) -> list[Path]:
    """Return the blobs that no version uses, and what came of others before a push broke off."""
    return [path for path in sorted(folders.blobs.glob("*")) if path.name not in used]


def _part(path: Path) -> Path:
    return path.with_name(path.name + _PART)


def _size(path: Path) -> Any:
    try:
        return path.stat().st_size
    except OSError:
        return None
