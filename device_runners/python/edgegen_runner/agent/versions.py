"""Versions of packages, side by side; ``current`` is a link that moves in one step.

``packages/<name>/versions/<version>/`` holds links to blobs, and ``packages/<name>/history`` one
line of JSON for each time that ``current`` moved.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any, Optional

from .blobs import is_whole, remove_unused
from .failure import AgentFailure
from .paths import Folders, checked_name, relative, sync_folder

_FILES = ".edgegen-files.json"
"""Beside each version: the hashes of its files, by which its blobs are known to be in use."""


def link(folders: Folders, request: dict[str, Any]) -> dict[str, Any]:
    """Lay out a version from blobs that are all here; return its folder.

    Hard links where the file system and its policy have them, symbolic ones elsewhere (Android).
    """
    name, version = str(request["name"]), str(request["version"])
    folder = folders.version(name, version)
    files = [(relative(str(path)), str(sha256)) for path, sha256 in request["files"]]
    record = _record(folder)
    if folder.is_dir() and record.is_file():
        return {"path": str(folder)}
    staging = folder.with_name(folder.name + ".part")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    for path, sha256 in files:
        blob = folders.blob(sha256)
        if not blob.is_file():
            raise AgentFailure("missing", f"The blob {sha256} is not here.")
        place = staging.joinpath(*path.parts)
        place.parent.mkdir(parents=True, exist_ok=True)
        _link(blob, place)
    aside = folder.with_name(folder.name + ".old.part")
    if folder.exists():  # without its record: half removed, or found to be bad
        shutil.rmtree(aside, ignore_errors=True)
        folder.replace(aside)
    staging.replace(folder)
    shutil.rmtree(aside, ignore_errors=True)
    sync_folder(folder.parent)
    _write_json(record, {"files": [sha256 for _, sha256 in files]})
    return {"path": str(folder)}


def verify(folders: Folders, request: dict[str, Any]) -> dict[str, Any]:
    """Hash all files of a version; return how many are bad, and let those be pushed anew.

    Bad blobs are removed, and so is the version's record: the next `link` lays it out again.
    """
    folder = folders.version(str(request["name"]), str(request["version"]))
    bad = 0
    for path, sha256 in request["files"]:
        if is_whole(folder.joinpath(*relative(str(path)).parts), str(sha256)):
            continue
        bad += 1
        folders.blob(str(sha256)).unlink(missing_ok=True)
    if bad:
        _record(folder).unlink(missing_ok=True)
    return {"bad": bad}


def switch(folders: Folders, request: dict[str, Any]) -> dict[str, Any]:
    """Let ``current`` point to a version that is here; return the one before."""
    name, version = str(request["name"]), str(request["version"])
    if not folders.version(name, version).is_dir():
        raise AgentFailure("missing", f"{name} has no version {version} here.")
    before = current(folders, name)
    package = folders.package(name)
    temporary = package / ".current.new"
    if os.path.lexists(temporary):
        temporary.unlink()
    temporary.symlink_to(Path("versions", version))
    temporary.replace(package / "current")
    sync_folder(package)
    if before != version:
        entry = {"version": version, "at": request.get("at"), "by": request.get("by")}
        with (package / "history").open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
            file.flush()
            os.fsync(file.fileno())
    return {"before": before, "path": str(package / "current")}


def rollback(folders: Folders, request: dict[str, Any]) -> dict[str, Any]:
    """Let ``current`` point to what was current before it, and forget the move back's origin."""
    name = str(request["name"])
    now = current(folders, name)
    if now is None:
        raise AgentFailure("missing", f"{name} is not deployed here.")
    history = _history(folders, name)
    while history and history[-1]["version"] == now:
        history.pop()
    while history and not folders.version(name, history[-1]["version"]).is_dir():
        history.pop()
    if not history:
        raise AgentFailure("missing", f"{name} has no version before {now} here.")
    version = str(history[-1]["version"])
    answer = switch(folders, {"name": name, "version": version})
    package = folders.package(name)
    temporary = package / ".history.new"
    temporary.write_text("".join(json.dumps(entry) + "\n" for entry in history), encoding="utf-8")
    temporary.replace(package / "history")
    return {"before": answer["before"], "version": version}


def current(folders: Folders, name: str) -> Optional[str]:
    """Return the version that ``current`` points to; None where there is none."""
    try:
        version = (folders.package(name) / "current").readlink().name
    except OSError:
        return None
    return version if folders.version(name, version).is_dir() else None


def status(folders: Folders) -> list[dict[str, Any]]:
    """Return each package with its versions, the newest move last."""
    found = []
    for package in sorted(folders.packages.glob("*")):
        if not package.is_dir():
            continue
        moves = {str(e["version"]): e for e in _history(folders, package.name)}
        versions = []
        for folder in sorted((package / "versions").glob("*")):
            if folder.is_dir() and not folder.name.endswith(".part"):
                move = moves.get(folder.name, {})
                versions.append(
                    {
                        "version": folder.name,
                        "size_bytes": _tree_bytes(folder),
                        "at": move.get("at"),
                        "by": move.get("by"),
                    }
                )
        found.append(
            {
                "name": package.name,
                "current": current(folders, package.name),
                "path": str(package / "current"),
                "versions": versions,
            }
        )
    return found


def prune(folders: Folders, request: dict[str, Any]) -> dict[str, Any]:
    """Remove versions but the current and the `keep` before it, then what nothing uses."""
    keep, only = int(request.get("keep", 1)), request.get("name")
    removed = []
    for package in sorted(folders.packages.glob("*")):
        name = package.name
        if not package.is_dir() or (only is not None and name != only):
            continue
        kept = _kept(folders, name, keep)
        for folder in sorted((package / "versions").glob("*")):
            if folder.is_dir() and folder.name not in kept:
                _record(folder).unlink(missing_ok=True)
                shutil.rmtree(folder, ignore_errors=True)
                removed.append([name, folder.name])
        if not kept:
            shutil.rmtree(package, ignore_errors=True)
    for folder in (folders.runs, folders.tools):
        shutil.rmtree(folder, ignore_errors=True)
    _remove_others(folders.runners, {str(request.get("runner", ""))})
    if folders.runtime.is_symlink():
        _remove_others(folders.runtimes, {folders.runtime.readlink().name})
    blobs, freed = remove_unused(folders, _used(folders), parts=True)
    return {"versions": removed, "blobs": blobs, "freed_bytes": freed}


def drop(folders: Folders, request: dict[str, Any]) -> dict[str, Any]:
    """Remove one blob, unless a version uses it."""
    blob = folders.blob(str(request["sha256"]))
    if blob.name in _used(folders):
        raise AgentFailure("bad-request", f"A version uses {blob.name}.")
    blob.unlink(missing_ok=True)
    return {}


def _kept(folders: Folders, name: str, keep: int) -> set[str]:
    now = current(folders, name)
    order = [str(entry["version"]) for entry in _history(folders, name)]
    before = [v for v in reversed(order) if v != now and folders.version(name, v).is_dir()]
    return {*([] if now is None else [now]), *list(dict.fromkeys(before))[:keep]}


def _used(folders: Folders) -> set[str]:
    used: set[str] = set()
    for record in folders.packages.glob(f"*/versions/*{_FILES}"):
        if record.with_name(record.name[: -len(_FILES)]).is_dir():
            used.update(_blobs_of(record))
        else:
            record.unlink()  # its version was removed, and then the power went
    return used


def _blobs_of(record: Path) -> list[str]:
    try:
        return [str(sha256) for sha256 in json.loads(record.read_text(encoding="utf-8"))["files"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        # Without the list nothing may be removed.
        raise AgentFailure("disk", f"{record} cannot be read: {error}.") from error


def _history(folders: Folders, name: str) -> list[dict[str, Any]]:
    try:
        text = (folders.package(name) / "history").read_text(encoding="utf-8")
    except OSError:
        return []
    entries = []
    for line in text.splitlines():
        try:
            entry = json.loads(line)
            checked_name(entry["version"])
        except (ValueError, KeyError, TypeError, AgentFailure):
            continue  # half a line, from a device that lost its power
        entries.append(entry)
    return entries


def _record(folder: Path) -> Path:
    return folder.with_name(folder.name + _FILES)


def _link(blob: Path, place: Path) -> None:
    try:
        os.link(blob, place)
    except OSError:
        place.symlink_to(os.path.relpath(blob, place.parent))


def _write_json(path: Path, value: Any) -> None:
    temporary = path.with_name(path.name + ".new")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(value, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _tree_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _remove_others(folder: Path, kept: set[str]) -> None:
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name in kept:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
