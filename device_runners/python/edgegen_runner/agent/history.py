"""Each move of ``current``: one line of JSON in ``packages/<name>/history``, never taken back.

A line has `version`, `at` and `by`; that of a rollback has `rolled_back`, too: the version that was
left. It is written before ``current`` moves, and read as a wish: ``current`` itself says what is.
"""

from __future__ import annotations

import json
import os
from typing import Any

from .failure import AgentFailure
from .paths import Folders, checked_name, sync_folder

_LONGEST_BYTES = 4 << 20


def moves(folders: Folders, name: str) -> list[dict[str, Any]]:
    """Return the moves of a package, the newest last; lines that are broken are left out."""
    try:
        with (folders.package(name) / "history").open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _LONGEST_BYTES))
            lines = file.read().split(b"\n")
    except OSError:
        return []
    found = []
    for line in lines:
        try:
            move = json.loads(line)
            checked_name(move["version"])
        except (ValueError, KeyError, TypeError, RecursionError, AgentFailure):
            continue  # half a line, from a device that lost its power
        found.append(move)
    return found


def record_move(folders: Folders, name: str, **fields: Any) -> None:
    """Write down a move that follows."""
    path = folders.package(name) / "history"
    with path.open("a+b") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 1))
        torn = file.read() not in (b"", b"\n")  # half a line would spoil this one, too
        file.write(b"\n" * torn + json.dumps(fields).encode("utf-8") + b"\n")
        file.flush()
        os.fsync(file.fileno())
    sync_folder(path.parent)


def before(moved: list[dict[str, Any]], now: str) -> list[str]:
    """Return the versions that were current before `now`, the latest first.

    A rollback leads back to where its version was: what lay after that isn't before it.
    """
    path: list[str] = []
    for move in moved:
        version = str(move["version"])
        if move.get("rolled_back") is not None and version in path:
            del path[len(path) - path[::-1].index(version) :]
        elif path[-1:] != [version]:
            path.append(version)
    if now in path:
        del path[len(path) - 1 - path[::-1].index(now) :]
    return [version for version in dict.fromkeys(reversed(path)) if version != now]


def latest(moved: list[dict[str, Any]]) -> list[str]:
    """Return all versions that were ever current, the one that was so last first."""
    return list(dict.fromkeys(str(move["version"]) for move in reversed(moved)))


def dates(moved: list[dict[str, Any]], version: str) -> dict[str, Any]:
    """Return when and by whom a version was deployed last, and when it was rolled back since."""
    found: dict[str, Any] = {"at": None, "by": None, "rolled_back_at": None}
    for move in moved:
        if move.get("rolled_back") == version:
            found["rolled_back_at"] = move.get("at")
        if move["version"] == version and move.get("rolled_back") is None:
            found = {"at": move.get("at"), "by": move.get("by"), "rolled_back_at": None}
    return {key: value if isinstance(value, str) else None for key, value in found.items()}
