"""Builds bundles and finds those that were built: one tar file a platform and runtime.

A bundle is kept in the cache under a hash of the facts and of the code that built it. Debian's
updates do not change that hash: `refresh` takes them in.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, replace
from pathlib import Path

from edgegen_runner.runtimes import DEFAULT

from edgegen.core.codec import dump_json, load_json
from edgegen.core.errors import ConfigError
from edgegen.core.files import STAGING_PREFIX, sha256_of, translate_disk_errors
from edgegen.core.folders import cache_folder
from edgegen.core.progress import Progress, SilentProgress
from edgegen.core.regular_files import copy_regular
from edgegen.core.scratch import ScratchFolder
from edgegen.core.shipped import shipped
from edgegen.core.staging import staged_folder
from edgegen.runner.bundle.archive import (
    CONTENTS_FILE,
    SCHEMA_VERSION,
    Contents,
    Part,
    check_archive,
    content_id,
    read_contents,
    write_archive,
)
from edgegen.runner.bundle.assemble import assemble
from edgegen.runner.bundle.check import check_programs
from edgegen.runner.bundle.debian import Deb, PrivateApt, check_tools, unpack
from edgegen.runner.bundle.facts import BundleFacts, facts_path, load_facts
from edgegen.runner.bundle.stdlib import find_compiler
from edgegen.runner.wheels import Pin, download, wheels_for

ARCHIVE_FILE = "bundle.tar"
_RECORD_FILE = "record.json"
_SETTING = "EDGEGEN_CACHE_DIR"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A bundle on this machine. The archive extracts to one folder, named `folder`."""

    platform: str
    runtime: str
    id: str
    folder: str
    archive: Path
    sha256: str
    size_bytes: int
    python: str
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Record:
    """What lies beside an archive in the cache."""

    sha256: str
    size_bytes: int


def build_bundle(
    platform: str,
    *,
    runtime: str = DEFAULT.package,
    refresh: bool = False,
    progress: Progress | None = None,
) -> Bundle:
    """Return the bundle of a platform and runtime, building it where the cache has none.

    With `refresh` it is built anew, with what Debian's archive has today. Raises ConfigError for
    an unknown platform or runtime, MissingDependencyError where this machine lacks a tool,
    ResourceError where an archive cannot be reached or the disk is full, and IntegrityError where
    what was fetched or built is not right.
    """
    facts = load_facts()
    kind = facts.platform(platform)
    facts.runtime(runtime)
    if not refresh and (known := find_bundle(platform, runtime)) is not None:
        return known
    progress = progress or SilentProgress()
    check_tools(facts.debian)
    compiler, compiled_by = find_compiler(facts.python)
    place = _place(platform, runtime)
    with (
        translate_disk_errors(place.parent, setting=_SETTING),
        ScratchFolder("bundle") as scratch,
    ):
        pins = wheels_for(
            _version(facts.python), "Linux", facts.machine, facts.glibc, runtime=runtime
        )
        wheels = download(pins, scratch / "wheels", progress)
        debs = _fetch_debs(facts, scratch, progress)
        root = scratch / "bundle"
        with progress.step("assemble"):
            unpack(debs, scratch / "unpacked")
            assemble(
                root,
                facts=facts,
                platform=kind,
                unpacked=scratch / "unpacked",
                wheels={pin.name: path for pin, path in zip(pins, wheels, strict=True)},
                scratch=scratch / "work",
                compiler=compiler,
            )
            check_programs(root, facts)
        contents = Contents(
            schema_version=SCHEMA_VERSION,
            id=content_id(root),
            platform=platform,
            runtime=runtime,
            python=facts.python,
            compiled_by=compiled_by,
            parts=(*_parts_of(debs, facts), *_parts_of_wheels(pins, wheels, facts)),
        )
        (root / CONTENTS_FILE).write_text(dump_json(contents), encoding="utf-8")
        place.parent.mkdir(parents=True, exist_ok=True)
        with (
            staged_folder(place, replace=True) as staging,
            progress.step("archive", unit="bytes") as step,
        ):
            archive = staging / ARCHIVE_FILE
            write_archive(root, contents.folder, archive, step)
            record = _Record(sha256=sha256_of(archive), size_bytes=archive.stat().st_size)
            (staging / _RECORD_FILE).write_text(dump_json(record), encoding="utf-8")
    return _bundle(contents, place / ARCHIVE_FILE, record)


def find_bundle(platform: str, runtime: str = DEFAULT.package) -> Bundle | None:
    """Return the bundle that the cache has for today's facts, whole; None where it has none.

    Raises ConfigError for an unknown platform or runtime.
    """
    facts = load_facts()
    facts.platform(platform)
    facts.runtime(runtime)
    place = _place(platform, runtime)
    try:
        record = load_json(_Record, place / _RECORD_FILE)
        if sha256_of(place / ARCHIVE_FILE) != record.sha256:
            return None
        contents = read_contents(place / ARCHIVE_FILE)
    except (ConfigError, OSError):
        return None
    return _bundle(contents, place / ARCHIVE_FILE, record)


def read_bundle(archive: Path) -> Bundle:
    """Return a bundle that was built elsewhere, by the path of its archive.

    Raises ConfigError where the file is no bundle, or for a platform that is unknown here, and
    IntegrityError where it is damaged.
    """
    contents = check_archive(archive)
    load_facts().platform(contents.platform)
    record = _Record(sha256=sha256_of(archive), size_bytes=archive.stat().st_size)
    return _bundle(contents, archive, record)


def save_bundle(bundle: Bundle, path: Path) -> Bundle:
    """Copy a bundle's archive to a place of the user's, whole or not at all."""
    temporary = path.with_name(f"{STAGING_PREFIX}{path.name}-{secrets.token_hex(4)}")
    try:
        with translate_disk_errors(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
            copy_regular(bundle.archive, temporary)
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return replace(bundle, archive=path)


def _fetch_debs(facts: BundleFacts, scratch: Path, progress: Progress) -> tuple[Deb, ...]:
    apt = PrivateApt(scratch / "apt", facts.debian)
    with progress.step("Debian's lists"):
        apt.update()
    (scratch / "debs").mkdir()
    return apt.download([each.name for each in facts.packages], scratch / "debs", progress)


def _parts_of(debs: tuple[Deb, ...], facts: BundleFacts) -> tuple[Part, ...]:
    return tuple(
        Part(
            name=deb.name,
            version=deb.version,
            licence=package.licence,
            sha256=deb.sha256,
            size_bytes=deb.size_bytes,
            source=deb.uri,
        )
        for deb, package in zip(debs, facts.packages, strict=True)
    )


def _parts_of_wheels(
    pins: tuple[Pin, ...], wheels: tuple[Path, ...], facts: BundleFacts
) -> tuple[Part, ...]:
    return tuple(
        Part(
            name=pin.name,
            version=pin.version,
            licence=facts.wheel(pin.name).licence,
            sha256=pin.sha256,
            size_bytes=wheel.stat().st_size,
            source=f"https://pypi.org/project/{pin.name}/{pin.version}/",
        )
        for pin, wheel in zip(pins, wheels, strict=True)
    )


def _place(platform: str, runtime: str) -> Path:
    """Return the folder of a bundle in the cache, named by all that its build goes by."""
    digest = hashlib.sha256(runtime.encode())
    sources = sorted(Path(__file__).parent.glob("*.py"))
    for path in (facts_path(), shipped("device_runners") / "wheels.toml", *sources):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return cache_folder() / "bundles" / f"{platform}-{digest.hexdigest()[:16]}"


def _bundle(contents: Contents, archive: Path, record: _Record) -> Bundle:
    return Bundle(
        platform=contents.platform,
        runtime=contents.runtime,
        id=contents.id,
        folder=contents.folder,
        archive=archive,
        sha256=record.sha256,
        size_bytes=record.size_bytes,
        python=contents.python,
        parts=contents.parts,
    )


def _version(text: str) -> tuple[int, int]:
    major, minor = text.split(".")
    return int(major), int(minor)
