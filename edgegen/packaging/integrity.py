"""Checks that a package's bytes are those that its manifest promises."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from edgegen_runner.contexts import path_for

from edgegen.core.errors import IntegrityError
from edgegen.core.files import STAGING_PREFIX, inside, sha256_of
from edgegen.core.package import (
    EVIDENCE_NAME,
    MANIFEST_NAME,
    Artifact,
    PackageManifest,
)
from edgegen.core.progress import Progress, SilentProgress
from edgegen.core.regular_files import open_regular
from edgegen.packaging.external_data import external_locations

LEFT_BY_SYSTEMS = (".DS_Store", "Thumbs.db", "desktop.ini")
_UNLISTED = (MANIFEST_NAME, EVIDENCE_NAME)
_CHUNK_BYTES = 8 << 20
_SHOWN = 5
_HINT = "Copy or build the package again; what differs was changed after it was built."


def verify_files(
    package: Path, manifest: PackageManifest, *, progress: Progress | None = None
) -> None:
    """Compare every file with the manifest: names and sizes first, then every byte.

    Raises IntegrityError that names what is missing, not listed, a link, outside of the package or
    other than promised; and where an ONNX model keeps weights in a file that is not listed.
    """
    check_listing(package, manifest)
    check_contents(package, manifest, manifest.files, progress or SilentProgress())


def check_listing(
    package: Path, manifest: PackageManifest, *, beside: bool = False
) -> Mapping[str, os.stat_result]:
    """Compare names, kinds and sizes with the manifest; return the status of each listed file.

    With `beside`, what lies beside a package's own files and folders is no matter. Raises
    IntegrityError as `verify_files` does.
    """
    found = dict(_walk(package))
    problems = [*_listing_problems(package, manifest, found)]
    tops = {artifact.path.partition("/")[0] for artifact in manifest.files}
    for path in found.keys() - {artifact.path for artifact in manifest.files}:
        if not (_may_be_there(path) or (beside and path.partition("/")[0] not in tops)):
            link = stat.S_ISLNK(found[path].st_mode)
            problems.append(f"{path} is {'a symbolic link' if link else 'not in the manifest'}")
    _refuse(package, sorted(problems))
    return {artifact.path: found[artifact.path] for artifact in manifest.files}


def check_contents(
    package: Path, manifest: PackageManifest, files: Sequence[Artifact], progress: Progress
) -> None:
    """Compare every byte of some of a package's files with the manifest.

    Raises IntegrityError as `verify_files` does.
    """
    problems = []
    total = sum(artifact.size_bytes for artifact in files)
    with progress.step("integrity", total=total, unit="bytes") as step:
        for artifact in files:
            step.describe(artifact.path)
            if _sha256(package / artifact.path, step.advance) != artifact.sha256:
                problems.append(f"{artifact.path} has another sha256 than the manifest says")
    _refuse(package, problems)
    _refuse(package, [*_external_data_problems(package, manifest)])


def manifest_sha256(package: Path) -> str:
    """Return the hash that evidence names its manifest by."""
    return sha256_of(package / MANIFEST_NAME)


def _listing_problems(
    package: Path, manifest: PackageManifest, found: Mapping[str, os.stat_result]
) -> Iterator[str]:
    listed = {artifact.path: artifact for artifact in manifest.files}
    for path, count in Counter(artifact.path for artifact in manifest.files).items():
        inside(package, path)
        if count > 1:
            yield f"{path} is listed {count} times"
        if path in _UNLISTED or PurePosixPath(path).as_posix() != path:
            yield f"{path} is no name for a listed file"
    for component in manifest.components:
        for chip in [it.folder for it in manifest.compiled] or [""]:
            opened = path_for(component.path, chip)
            inside(package, opened)
            folders = {path[: len(opened) + 1] for path in listed}
            # Core ML opens a folder, whose files are listed.
            if opened not in listed and f"{opened}/" not in folders:
                yield f"{opened}, of {component.spec.name}, is not listed"
    if manifest.golden is not None:
        inside(package, manifest.golden.folder)
    for name in _UNLISTED:
        if os.path.lexists(package / name) and not stat.S_ISREG((package / name).lstat().st_mode):
            yield f"{name} is no file"
    for path, artifact in listed.items():
        if path not in found:
            yield f"{path} is missing"
        else:
            yield from _entry_problems(artifact, found[path])


def _may_be_there(path: str) -> bool:
    """Return whether a file is one that edgegen writes later, or that systems leave in folders."""
    name = path.rpartition("/")[2]
    half_written = name == path and name.startswith(STAGING_PREFIX)  # by a run that was killed
    return path in _UNLISTED or half_written or name in LEFT_BY_SYSTEMS


def _entry_problems(artifact: Artifact, entry: os.stat_result) -> Iterator[str]:
    if stat.S_ISLNK(entry.st_mode):
        yield f"{artifact.path} is a symbolic link"
    elif not stat.S_ISREG(entry.st_mode):
        yield f"{artifact.path} is no file"
    elif entry.st_size != artifact.size_bytes:
        yield f"{artifact.path} has {entry.st_size:,} bytes, not {artifact.size_bytes:,}"


def _walk(package: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Yield everything in the package but folders; links are not followed, and are yielded."""
    pending = [package]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                path = Path(entry.path)
                if entry.is_dir(follow_symlinks=False):
                    pending.append(path)
                else:
                    name = path.relative_to(package).as_posix()
                    yield name, entry.stat(follow_symlinks=False)


def _external_data_problems(package: Path, manifest: PackageManifest) -> Iterator[str]:
    listed = {artifact.path for artifact in manifest.files}
    for path in sorted(path for path in listed if path.endswith(".onnx")):
        for location in external_locations(package / path):
            folder = PurePosixPath(path).parent
            inside(package / folder, location)  # beside the model, or below it
            if (folder / location).as_posix() not in listed:
                yield f"{path} keeps weights in {location}, which is not listed"


def _refuse(package: Path, problems: list[str]) -> None:
    if not problems:
        return
    more = f", and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
    shown = "; ".join(problems[:_SHOWN])
    raise IntegrityError(f"{package} is not as it was built: {shown}{more}.", hint=_HINT)


def _sha256(path: Path, advance: Callable[[float], None]) -> str:
    digest = hashlib.sha256()
    with open_regular(path) as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            advance(len(chunk))
        with contextlib.suppress(AttributeError, OSError):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return digest.hexdigest()
