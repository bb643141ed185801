"""Versions of packages, side by side; ``current`` is a link that moves in one step.

``packages/<name>/versions/<version>/`` holds links to blobs, beside it lies its record
(`records.py`), and ``packages/<name>/history`` has each move of ``current`` (`history.py`).
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any, Optional

from . import history, records
from .blobs import has_hash
from .failure import AgentFailure
from .paths import Folders, is_name, relative, sync_folder


def link(folders: Folders, request: dict[str, Any]) -> dict[str, Any]:
    """Lay out a version from blobs that are all here; return its folder.

    One that is here and isn't whole gets what it lacks, file by file, so that what is current
    never goes away. Hard links where the file system and its policy have them, symbolic ones
    elsewhere (Android).
    """
    name, version = str(request["name"]), str(request["version"])
    folder = folders.version(name, version)
    files = {str(relative(str(path))): str(sha256) for path, sha256 in request["files"]}
    if records.is_whole(folder):
        return {"path": str(folder)}
    for sha256 in files.values():
        if not folders.blob(sha256).is_file():
            raise AgentFailure("missing", f"The blob {sha256} is not here.")
    staging = folder.with_name(folder.name + ".part")
    shutil.rmtree(staging, ignore_errors=True)
    place = folder if folder.is_dir() else staging
    place.mkdir(parents=True, exist_ok=True)
    for path, sha256 in files.items():
        _link(folders.blob(sha256), place / path)
    if place == staging:
        staging.replace(folder)
    sync_folder(folder.parent)
    records.write(folder, files)
    return {"path": str(folder)}


def verify(folders: Folders, request: dict[str, Any]) -> dict[str, Any]:
    """Hash all files of a version; return how many are bad, and let those be pushed again.

    Bad blobs are removed, and no version that uses them counts as whole: `link` lays it out again.
    """
    folder = folders.version(str(request["name"]), str(request["version"]))
    files = {relative(str(path)): str(sha256) for path, sha256 in request["files"]}
    bad = [sha256 for path, sha256 in files.items() if not has_hash(folder / path, sha256)]
    if bad:
        records.mark_damaged(folders, set(bad))
    for sha256 in bad:
        folders.blob(sha256).unlink(missing_ok=True)
    return {"bad": len(bad)}


def switch(folders: Folders, request: dict[str, Any]) -> dict[str, Any]:
    """Let ``current`` point to a version that is here, whole; return the one before."""
    name, version = str(request["name"]), str(request["version"])
    if not records.is_whole(folders.version(name, version)):
        raise AgentFailure("missing", f"{name} has no whole version {version} here.")
    now = current(folders, name)
    if now != version:
        move = {"version": version, "at": request.get("at"), "by": request.get("by")}
        history.record_move(folders, name, **move)
        _point(folders, name, version)
    return {"before": now, "path": str(folders.package(name) / "current")}


def rollback(folders: Folders, request: dict[str, Any]) -> dict[str, Any]:
    """Let ``current`` point to the whole version that was current before it."""
    name = str(request["name"])
    now = current(folders, name)
    if now is None:
        known = ", ".join(p.name for p in packages(folders)) or "nothing"
        raise AgentFailure("missing", f"{name} is not deployed here; deployed are: {known}.")
    candidates = history.before(history.moves(folders, name), now)
    whole = [each for each in candidates if records.is_whole(folders.version(name, each))]
    if not whole:
        lost = f" Of {', '.join(candidates)} not all files are here." if candidates else ""
        raise AgentFailure("missing", f"{name} has no version before {now} to go back to.{lost}")
    move = {"version": whole[0], "at": request.get("at"), "by": request.get("by")}
    history.record_move(folders, name, **move, rolled_back=now)
    _point(folders, name, whole[0])
    return {"before": now, "version": whole[0]}


def current(folders: Folders, name: str) -> Optional[str]:
    """Return the version that ``current`` points to; None where there is none."""
    try:
        version = (folders.package(name) / "current").readlink().name
    except OSError:
        return None
    return version if is_name(version) and folders.version(name, version).is_dir() else None


def packages(folders: Folders) -> list[Path]:
    """Return the folders of all packages; what else lies between them is nobody's."""
    found = sorted(folders.packages.glob("*"))
    return [path for path in found if is_name(path.name) and path.is_dir()]


def versions_of(package: Path) -> list[Path]:
    """Return the folders of a package's versions, whole or not."""
    found = sorted((package / "versions").glob("*"))
    return [
        path
        for path in found
        if is_name(path.name) and path.is_dir() and not path.name.endswith(".part")
    ]


def status(folders: Folders) -> list[dict[str, Any]]:
    """Return each package with its versions: whether they are whole, and when they were current."""
    found = []
    for package in packages(folders):
        moved = history.moves(folders, package.name)
        found.append(
            {
                "name": package.name,
                "current": current(folders, package.name),
                "path": str(package / "current"),
                "versions": [
                    {
                        "version": folder.name,
                        "size_bytes": _size_bytes(folder),
                        "whole": records.is_whole(folder),
                        **history.dates(moved, folder.name),
                    }
                    for folder in versions_of(package)
                ],
            }
        )
    return found


def _point(folders: Folders, name: str, version: str) -> None:
    package = folders.package(name)
    temporary = package / ".current.new"
    if os.path.lexists(temporary):
        temporary.unlink()
    temporary.symlink_to(Path("versions", version))
    temporary.replace(package / "current")
    sync_folder(package)


def _link(blob: Path, place: Path) -> None:
    """Let a path be a blob, whatever it was before."""
    place.parent.mkdir(parents=True, exist_ok=True)
    temporary = place.with_name(".edgegen-link.new")
    temporary.unlink(missing_ok=True)
    try:
        os.link(blob, temporary)
    except OSError:
        temporary.symlink_to(os.path.relpath(blob, place.parent))
    temporary.replace(place)
    temporary.unlink(missing_ok=True)  # renaming a link onto its own file leaves both


def _size_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
