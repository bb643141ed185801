"""The store on a device: what is missing travels, by content; versions stand side by side."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from edgegen.core.codec import decode
from edgegen.core.errors import ConfigError, DeviceError, DeviceFullError, IntegrityError
from edgegen.core.files import inside, sha256_of
from edgegen.core.manifest import load_manifest
from edgegen.core.package import MANIFEST_NAME, PackageManifest
from edgegen.core.progress import Progress, SilentProgress, Step
from edgegen.devices.agent import ANSWER_S, SLOWEST_BYTES_PER_S
from edgegen.devices.device import Device

_SPARE_BYTES = 64 << 20
"""What a push leaves free on the device: a full disk breaks more than a push."""
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
    """A package as the store takes it. `version` is the head of its manifest's hash."""

    name: str
    version: str
    files: tuple[File, ...]
    manifest: PackageManifest

    @property
    def size_bytes(self) -> int:
        """Return the size of all files."""
        return sum(file.size_bytes for file in self.files)


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
    """A version in a device's store. `at` is UTC, ISO 8601; None where it never was current."""

    version: str
    size_bytes: int
    at: str | None
    by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPackage:
    """A package in a device's store, and the link that applications open."""

    name: str
    current: str | None
    path: str
    versions: tuple[StoredVersion, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What was removed: (package, version) pairs, and files that nothing used any more."""

    versions: tuple[tuple[str, ...], ...]
    blobs: int
    freed_bytes: int


def shipment(package: Path, name: str | None = None) -> Shipment:
    """Read a package's manifest as what is to be pushed; nothing is hashed but the manifest.

    Raises ConfigError for a folder that is no package, and IntegrityError where a file is missing
    or has another size.
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
        for artifact in manifest.files
    ]
    for file in files:
        if not file.source.is_file() or file.source.stat().st_size != file.size_bytes:
            raise IntegrityError(
                f"{file.source} is missing, or has another size than its manifest says.",
                hint="Build or copy the package again.",
            )
    files.append(File(path=MANIFEST_NAME, source=path, sha256=own, size_bytes=path.stat().st_size))
    return Shipment(
        name=checked_name(name or package_name(manifest)),
        version=own[:16],
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
    unique = {file.sha256: file for file in cargo.files}
    sent = send_blobs(device, list(unique.values()), progress or SilentProgress())
    answer = device.agent.request(
        "link",
        name=cargo.name,
        version=cargo.version,
        files=[[file.path, file.sha256] for file in cargo.files],
    )
    return Stored(
        name=cargo.name,
        version=cargo.version,
        target=cargo.manifest.target,
        path=str(answer["path"]),
        size_bytes=cargo.size_bytes,
        sent_bytes=sent,
    )


def verify(device: Device, cargo: Shipment) -> int:
    """Let the device hash all files of a version, and return how many of them are bad.

    Those are removed there: the next `push` sends them anew.
    """
    answer = device.agent.request(
        "verify",
        name=cargo.name,
        version=cargo.version,
        files=[[file.path, file.sha256] for file in cargo.files],
        answer_s=ANSWER_S + cargo.size_bytes / SLOWEST_BYTES_PER_S,
    )
    return int(answer["bad"])


def send_blobs(device: Device, files: list[File], progress: Progress) -> int:
    """Send the files that the device's store lacks, and return how many bytes travelled."""
    answer = device.agent.request(
        "missing", blobs=[[file.sha256, file.size_bytes] for file in files]
    )
    here = {str(sha256): int(size) for sha256, size in answer["blobs"]}
    wanted = [file for file in files if file.sha256 in here]
    left = sum(file.size_bytes - here[file.sha256] for file in wanted)
    if not wanted:
        return 0
    free = device.look_again().free_bytes
    if free is not None and left + _SPARE_BYTES > free:
        raise DeviceFullError(
            f"{device.address} has {free / 1e6:.0f} MB free; {left / 1e6:.0f} MB are to go there, "
            f"and {_SPARE_BYTES / 1e6:.0f} MB must stay free.",
            hint=f"Free some space there: edgegen prune --device {device.address}",
        )
    with progress.step(f"push to {device.address}", total=left, unit="bytes") as step:
        for file in wanted:
            step.describe(file.path)
            left += _send(device, file, here[file.sha256], step)
    return left


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


def switch(device: Device, stored: Stored, by: str) -> str | None:
    """Let `current` point to a version that is there; return the one before."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    answer = device.agent.request("switch", name=stored.name, version=stored.version, at=now, by=by)
    before = answer["before"]
    return None if before is None else str(before)


def rollback(device: Device, name: str) -> tuple[str, str]:
    """Let `current` point to the version before; return (the one that was, the one that is)."""
    answer = device.agent.request("rollback", name=name)
    return str(answer["before"]), str(answer["version"])


def status(device: Device) -> tuple[StoredPackage, ...]:
    """Return what the device's store holds."""
    packages = device.agent.request("status")["packages"]
    try:
        return tuple(
            decode(StoredPackage, each, source=f"the store of {device.address}")
            for each in packages
        )
    except (ConfigError, TypeError) as error:
        raise DeviceError(f"{device.address} sent a broken list of its store: {error}.") from error


def prune(device: Device, *, keep: int, name: str | None = None) -> Pruned:
    """Remove versions but the current and `keep` before it, and what nothing uses any more."""
    runner = Path(device.agent.runner).parent.name
    answer = device.agent.request("prune", keep=keep, name=name, runner=runner, answer_s=300.0)
    return Pruned(
        versions=tuple((str(a), str(b)) for a, b in answer["versions"]),
        blobs=int(answer["blobs"]),
        freed_bytes=int(answer["freed_bytes"]),
    )


def new_run_name() -> str:
    """Return a name for a folder of one run's files on a device."""
    return f"run-{secrets.token_hex(6)}"
