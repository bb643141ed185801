"""A package that has the files of another, and draws in other steps or another size by default."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from edgegen.core.codec import dump_json, load_json
from edgegen.core.errors import ConfigError
from edgegen.core.files import inside, sha256_of
from edgegen.core.manifest import load_manifest
from edgegen.core.model import Generation
from edgegen.core.package import EVIDENCE_NAME, MANIFEST_NAME, Evidence, PackageManifest
from edgegen.core.staging import staged_folder


def redrawn(manifest: PackageManifest, drawn: Generation) -> PackageManifest:
    """Return a package's manifest with other defaults of what is drawn.

    Raises ConfigError for another size of a package whose axes are fixed.
    """
    generation = manifest.generation
    size = drawn.width, drawn.height
    if manifest.shapes == "fixed" and size != (generation.width, generation.height):
        raise ConfigError(
            f"This package draws {generation.width} × {generation.height} pixels only.",
            hint="Build one of another size: edgegen package --width --height",
        )
    return replace(manifest, generation=drawn)


def write_redrawn(package: Path, destination: Path, drawn: Generation) -> None:
    """Write a package that has another's files and draws otherwise by default.

    The files are hard links where the disk has them. The checks in the evidence hold for it, too:
    the golden case has its own steps and size. Raises what `redrawn` does, and ResourceError.
    """
    manifest = load_manifest(package)
    changed = redrawn(manifest, drawn)
    evidence = load_json(Evidence, package / EVIDENCE_NAME)
    with staged_folder(destination, replace=True) as staging:
        for artifact in manifest.files:
            place = inside(staging, artifact.path)
            place.parent.mkdir(parents=True, exist_ok=True)
            link_or_copy(inside(package, artifact.path), place)
        path = staging / MANIFEST_NAME
        path.write_text(dump_json(changed), encoding="utf-8")
        text = dump_json(replace(evidence, manifest_sha256=sha256_of(path)))
        (staging / EVIDENCE_NAME).write_text(text, encoding="utf-8")


def link_or_copy(source: Path, destination: Path) -> None:
    """Make a second name of a file, or a copy where the file system cannot."""
    with suppress(OSError):
        os.link(source, destination)
        return
    shutil.copyfile(source, destination)
