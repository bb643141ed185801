"""Frees a device's storage: old versions, and what nothing there uses any more."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import history, records
from .blobs import unused_blobs
from .failure import AgentFailure
from .paths import Folders
from .versions import current, packages, versions_of


@dataclass
class _Plan:
    """What is to go: versions, packages of which nothing stays, other folders and files, blobs."""

    versions: list[Path]
    packages: list[Path]
    others: list[Path]
    blobs: list[Path]


def prune(folders: Folders, request: dict[str, Any]) -> dict[str, Any]:
    """Remove versions but the current and the `keep` before it, then what nothing uses.

    With `dry_run` nothing is removed; the answer is the same.
    """
    plan = _plan(folders, int(request.get("keep", 1)), request.get("name"), request.get("runner"))
    answer = {
        "versions": [[path.parent.parent.name, path.name] for path in plan.versions],
        "others": [str(path.relative_to(folders.root)) for path in plan.others],
        "blobs": len(plan.blobs),
        "freed_bytes": sum(map(_bytes, (*plan.blobs, *plan.others))),
    }
    if not request.get("dry_run"):
        _remove(folders, plan)
    return answer


def drop(folders: Folders, request: dict[str, Any]) -> dict[str, Any]:
    """Remove one blob, unless a version uses it."""
    blob = folders.blob(str(request["sha256"]))
    if any(blob.name in records.blobs_of(version) for version in records.versions(folders)):
        raise AgentFailure("bad-request", f"A version uses {blob.name}.")
    blob.unlink(missing_ok=True)
    return {}


def _plan(folders: Folders, keep: int, only: Any, runner: Any) -> _Plan:
    going, empty = [], []
    used: set[str] = set()
    for package in packages(folders):
        others = only is not None and package.name != only
        kept = None if others else _kept(folders, package.name, keep)
        for version in versions_of(package):
            if kept is None or version.name in kept:
                used |= records.blobs_of(version)
            else:
                going.append(version)
        if kept is not None and not kept:
            empty.append(package)
    return _Plan(
        versions=going,
        packages=empty,
        others=list(_others(folders, runner)),
        blobs=unused_blobs(folders, used),
    )


def _kept(folders: Folders, name: str, keep: int) -> set[str]:
    """Return what stays of a package: the current version, and the latest `keep` whole ones."""
    now = current(folders, name)
    others = [
        version
        for version in history.latest(history.moves(folders, name))
        if version != now and records.is_whole(folders.version(name, version))
    ]
    return {*([] if now is None else [now]), *others[:keep]}


def _others(folders: Folders, runner: Any) -> Iterator[Path]:
    """Yield runs, tools, other runners, runtimes that are not in use, and what was half made."""
    yield from (path for path in (folders.runs, folders.tools) if path.is_dir())
    yield from _but(folders.runners, runner)
    in_use = folders.runtime.readlink().name if folders.runtime.is_symlink() else None
    yield from _but(folders.runtimes, in_use)
    for package in packages(folders):
        yield from sorted((package / "versions").glob("*.part"))


def _but(folder: Path, kept: Any) -> Iterator[Path]:
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name != kept:
            yield path


def _remove(folders: Folders, plan: _Plan) -> None:
    """Remove what is planned; a kill at any moment leaves versions that are whole, or none."""
    for version in plan.versions:
        records.remove(version)
        _remove_path(version)
    for path in (*plan.packages, *plan.others, *plan.blobs):
        _remove_path(path)
    records.remove_strays(folders)


def _remove_path(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _bytes(path: Path) -> int:
    """Return what a file or a folder takes; links aren't followed."""
    return path.lstat().st_size + (
        sum(each.lstat().st_size for each in path.rglob("*"))
        if path.is_dir() and not path.is_symlink()
        else 0
    )
