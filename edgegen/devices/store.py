"""The store on a device: what is missing travels, by content; versions stand side by side."""

from __future__ import annotations

import platform
import re
import secrets
import shlex
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edgegen.core.errors import ConfigError, DeviceError, DeviceFullError, IntegrityError
from edgegen.core.files import inside, sha256_of
from edgegen.core.manifest import load_manifest
from edgegen.core.package import MANIFEST_NAME, PackageManifest
from edgegen.core.progress import Progress, SilentProgress, Step
from edgegen.core.units import format_bytes
from edgegen.devices.agent import ANSWER_S, SLOWEST_BYTES_PER_S, user_name
from edgegen.devices.answers import Place, check_path, check_size
from edgegen.devices.device import Device

_SPARE_BYTES = 64 << 20
"""What a push leaves free on the device: a full disk breaks more than a push."""
_PRUNE_S = 300.0
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file to push: its path in the version, where it is here, and what it must be."""

    path: str
    source: Path
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipment:
    """A package as the store takes it, or what a device with one of its chips needs of it.

    `version` is the head of its manifest's hash, and the chip where files of others are left out.
    """

    name: str
    version: str
    files: tuple[File, ...]
    manifest: PackageManifest

    @property
    def size_bytes(self) -> int:
        """Return the size of all files."""
        return sum(file.size_bytes for file in self.files)

    @property
    def manifest_sha256(self) -> str:
        """Return the hash of the manifest's file."""
        return next(file.sha256 for file in self.files if file.path == MANIFEST_NAME)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A version that is on a device. `path` is its folder there; `sent_bytes` what travelled."""

    name: str
    version: str
    target: str
    path: str
    size_bytes: int
    sent_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredVersion:
    """A version in a device's store; times are UTC, ISO 8601.

    `at` is when it was deployed last, None where it never was current; `rolled_back_at` when it was
    left by a rollback since. What isn't `whole` lacks some of its files, and cannot become current.
    """

    version: str
    size_bytes: int
    whole: bool
    at: str | None
    by: str | None
    rolled_back_at: str | None

    def __post_init__(self) -> None:
        check_size("size_bytes", self.size_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPackage:
    """A package in a device's store, and the link that applications open."""

    name: str
    current: str | None
    path: str
    versions: tuple[StoredVersion, ...]

    def __post_init__(self) -> None:
        check_path(self.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What was removed, or would be: (package, version) pairs, blobs, other files and folders."""

    versions: tuple[tuple[str, str], ...]
    blobs: int
    others: tuple[str, ...]
    freed_bytes: int

    def __post_init__(self) -> None:
        check_size("blobs", self.blobs)
        check_size("freed_bytes", self.freed_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Missing:
    """Blobs that a device lacks, each with the bytes of it that are there."""

    blobs: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Verified:
    bad: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Switched:
    before: str | None
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _RolledBack:
    before: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Store:
    packages: tuple[StoredPackage, ...]


def shipment(package: Path, name: str | None = None, *, chip: str | None = None) -> Shipment:
    """Read a package's manifest as what is to be pushed; nothing is hashed but the manifest.

    Of a package that was compiled for several chips it is what a device with `chip` needs, and all
    where that is None. Raises ConfigError for a folder that is no package, and IntegrityError where
    a file is missing or has another size.
    """
    path = package / MANIFEST_NAME
    manifest = load_manifest(package)
    own = sha256_of(path)
    files = [
        File(
            path=artifact.path,
            source=inside(package, artifact.path),
            sha256=artifact.sha256,
            size_bytes=artifact.size_bytes,
        )
        for artifact in manifest.files_for(chip)
    ]
    part = "" if len(files) == len(manifest.files) else f"-{chip}"
    for file in files:
        if not file.source.is_file() or file.source.stat().st_size != file.size_bytes:
            raise IntegrityError(
                f"{file.source} is missing, or has another size than its manifest says.",
                hint="Build or copy the package again.",
            )
    files.append(File(path=MANIFEST_NAME, source=path, sha256=own, size_bytes=path.stat().st_size))
    return Shipment(
        name=checked_name(name or package_name(manifest)),
        version=f"{own[:16]}{part}",
        files=tuple(files),
        manifest=manifest,
    )


def package_name(manifest: PackageManifest) -> str:
    """Return the name that a package has on devices, unless told: model, target and recipe."""
    text = f"{manifest.source.model}-{manifest.target}-{manifest.recipe.name}"
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")[:100]
    return name or "package"


def checked_name(name: str) -> str:
    """Return a name that is one plain part of a path.

    Raises ConfigError for another.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"'{name}' is no name for a package on a device.",
            hint="Letters, digits, '.', '_' and '-', at most 100, the first a letter or a digit.",
        )
    return name


def push(device: Device, cargo: Shipment, progress: Progress | None = None) -> Stored:
    """Push what the device lacks of a package, and lay out the version; `current` stays.

    Whatever arrives is verified before it is used. A push that was interrupted goes on where it
    was. Raises DeviceFullError before anything travels where there is too little room, and
    IntegrityError where a file here is not what the manifest says.
    """
    device.require_place()
    unique = {file.sha256: file for file in cargo.files}
    sent = send_blobs(device, list(unique.values()), progress or SilentProgress())
    answer = device.agent.ask(
        Place,
        "link",
        name=cargo.name,
        version=cargo.version,
        files=[[file.path, file.sha256] for file in cargo.files],
    )
    return Stored(
        name=cargo.name,
        version=cargo.version,
        target=cargo.manifest.runs_as,
        path=answer.path,
        size_bytes=cargo.size_bytes,
        sent_bytes=sent,
    )


def verify(device: Device, cargo: Shipment) -> int:
    """Let the device hash all files of a version, and return how many of them are bad.

    Those are removed there: the next `push` sends them anew.
    """
    answer = device.agent.ask(
        _Verified,
        "verify",
        name=cargo.name,
        version=cargo.version,
        files=[[file.path, file.sha256] for file in cargo.files],
        answer_s=ANSWER_S + cargo.size_bytes / SLOWEST_BYTES_PER_S,
    )
    return answer.bad


def send_blobs(device: Device, files: list[File], progress: Progress) -> int:
    """Send the files that the device's store lacks, and return how many bytes travelled."""
    here = _missing(device, files)
    wanted = [file for file in files if file.sha256 in here]
    left = sum(file.size_bytes - here[file.sha256] for file in wanted)
    if not wanted:
        return 0
    free = device.look_again().free_bytes
    if free is not None and left + _SPARE_BYTES > free:
        raise DeviceFullError(
            f"{device.address} has {format_bytes(free)} free; {format_bytes(left)} are to go "
            f"there, and {format_bytes(_SPARE_BYTES)} must stay free.",
            hint=f"Free some space there: edgegen prune --device {device.address}",
        )
    with progress.step(f"push to {device.address}", total=left, unit="bytes") as step:
        for file in wanted:
            step.describe(file.path)
            left += _send(device, file, here[file.sha256], step)
    return left


def _missing(device: Device, files: list[File]) -> dict[str, int]:
    """Return the files that a device lacks, by their hashes, with the bytes that are there."""
    answer = device.agent.ask(
        _Missing, "missing", blobs=[[file.sha256, file.size_bytes] for file in files]
    )
    sizes = {file.sha256: file.size_bytes for file in files}
    for sha256, size in answer.blobs:
        if not 0 <= size <= sizes.get(sha256, -1):
            raise DeviceError(
                f"{device.address} says that it has {size} bytes of the file {sha256[:80]!r}, "
                "which isn't one that it was asked for, or is shorter.",
                hint=f"Its store may be damaged. Retry after: edgegen prune --device "
                f"{shlex.quote(device.address)}",
            )
    return dict(answer.blobs)


def _send(device: Device, file: File, offset: int, step: Step) -> int:
    """Send a file; where its part there went bad, send it anew. Return what went twice."""
    try:
        device.agent.put(
            file.source, file.sha256, file.size_bytes, offset=offset, advance=step.advance
        )
    except IntegrityError as error:
        if offset == 0:
            raise IntegrityError(
                f"{file.source} is not the file that its manifest names, or it changed on its way.",
                hint="Check the package, and push it again: edgegen verify PACKAGE",
            ) from error
        device.agent.put(file.source, file.sha256, file.size_bytes, advance=step.advance)
        return offset
    return 0


def switch(device: Device, stored: Stored) -> str | None:
    """Let `current` point to a version that is there; return the one before."""
    fields = {"name": stored.name, "version": stored.version, **_signed()}
    return device.agent.ask(_Switched, "switch", **fields).before


def rollback(device: Device, name: str) -> tuple[str, str]:
    """Let `current` point to the version before; return (the one that was, the one that is).

    Raises DeviceError where there is none of which all files are there.
    """
    answer = device.agent.ask(_RolledBack, "rollback", name=name, **_signed())
    return answer.before, answer.version


def _signed() -> dict[str, Any]:
    """Return when, and by whom, something is done."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {"at": now, "by": f"{user_name()}@{platform.node()}"}


def status(device: Device) -> tuple[StoredPackage, ...]:
    """Return what the device's store holds."""
    return device.agent.ask(_Store, "status").packages


def prune(device: Device, *, keep: int, name: str | None = None, dry_run: bool = False) -> Pruned:
    """Remove versions but the current and `keep` before it, and what nothing uses any more.

    With `dry_run` nothing is removed.
    """
    return device.agent.ask(
        Pruned,
        "prune",
        keep=keep,
        name=name,
        dry_run=dry_run,
        runner=device.agent.runner_id,
        answer_s=_PRUNE_S,
    )


def new_run_name() -> str:
    """Return a name for a folder of one run's files on a device."""
    return f"run-{secrets.token_hex(6)}"
