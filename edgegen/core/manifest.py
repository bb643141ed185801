"""Reads the manifest of a package's folder; every command that takes a package asks here."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from edgegen.core.codec import decode, load_json_object
from edgegen.core.errors import ConfigError
from edgegen.core.files import inside
from edgegen.core.package import MANIFEST_NAME, SCHEMA_VERSION, PackageManifest

_INDEX_NAME = "model_index.json"
_BUILTIN_PREFIX = "builtin:"


def load_manifest(package: Path) -> PackageManifest:
    """Read a package's manifest.

    Raises ConfigError where there is no package, or its manifest is not one that this edgegen
    reads: another schema version, an unknown key, a value of another type. Raises IntegrityError
    where it is a link that leads out of the package.
    """
    path = package / MANIFEST_NAME
    if not os.path.lexists(path):
        raise _no_package(package)
    data = load_json_object(inside(package, MANIFEST_NAME))
    version = data.get("schema_version")
    if type(version) is not int:
        raise ConfigError(f"{path} has no schema_version.", hint="Build the package again.")
    if version != SCHEMA_VERSION:
        newer = "Upgrade edgegen: pip install --upgrade edgegen."
        older = "Build the package again with this edgegen."
        raise ConfigError(
            f"{path} has schema version {version}; this edgegen reads {SCHEMA_VERSION}.",
            hint=newer if version > SCHEMA_VERSION else older,
        )
    compiled = data.get("compiled")
    if not isinstance(compiled, list):  # of before a package could be for several chips
        data["compiled"] = [] if compiled is None else [compiled]
    return decode(PackageManifest, data, source=str(path))


def _no_package(package: Path) -> ConfigError:
    """Return the error for what is no package: it says what it is, and what to type."""
    if (package / _INDEX_NAME).is_file() or package.name.startswith(_BUILTIN_PREFIX):
        return ConfigError(
            f"{package} is a model, not a package.",
            hint=f"Package it first: edgegen package {shlex.quote(str(package))} --target onnx",
        )
    if package.is_file():
        return ConfigError(
            f"{package} is a file; a package is a folder.",
            hint=f"Give the folder that has {MANIFEST_NAME} in it.",
        )
    if not package.is_dir():
        return ConfigError(
            f"There is no package {package}.",
            hint="Build one: edgegen package MODEL --target onnx -o DIR",
        )
    inner = sorted(path.parent for path in package.glob(f"*/{MANIFEST_NAME}"))
    return ConfigError(
        f"{package} is no package: {MANIFEST_NAME} is missing.",
        hint=f"Did you mean {inner[0]}?"
        if inner
        else "Give the folder that 'edgegen package' wrote.",
    )
