"""Decides whether a package may go to a place, and whether what is there may be replaced."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from edgegen.core.codec import load_json_object
from edgegen.core.errors import ConfigError, IntegrityError
from edgegen.core.files import STAGING_PREFIX, inside, translate_disk_errors
from edgegen.core.package import EVIDENCE_NAME, MANIFEST_NAME
from edgegen.packaging.integrity import LEFT_BY_SYSTEMS

_OWN = (MANIFEST_NAME, EVIDENCE_NAME)
_SHOWN = 3


def require_replaceable(destination: Path, *, force: bool) -> None:
    """Refuse a place that holds anything but an empty folder or, with `force`, a package.

    A package is only replaced where nothing would be lost that edgegen did not write. Raises
    ConfigError for what must not be replaced, and ResourceError for what cannot be read.
    """
    with translate_disk_errors(destination.absolute().parent):
        if not os.path.lexists(destination):
            return
        if destination.is_symlink() or not destination.is_dir():
            raise _something_else(destination)
        if os.path.ismount(destination):
            raise ConfigError(
                f"{destination} is a disk of its own, which nothing can be renamed over.",
                hint=f"Choose a folder in it: --output {destination / 'package'}",
            )
        if not any(destination.iterdir()):
            return
        foreign = _foreign_files(destination)
    if not force:
        raise ConfigError(
            f"{destination} holds a package already.",
            hint="Choose another folder, or pass --force to replace it.",
        )
    if foreign:
        more = f", and {len(foreign) - _SHOWN} more" if len(foreign) > _SHOWN else ""
        raise ConfigError(
            f"{destination} also holds what does not belong to its package: "
            f"{', '.join(foreign[:_SHOWN])}{more}.",
            hint="Move that to another place, then retry.",
        )


def _foreign_files(package: Path) -> list[str]:
    """Return the files that a package's manifest does not list. Raises ConfigError without one."""
    try:
        files = load_json_object(inside(package, MANIFEST_NAME))["files"]
        listed = {str(file["path"]) for file in files}
    except (ConfigError, IntegrityError, KeyError, TypeError) as error:
        raise _something_else(package) from error
    return sorted({*_files(package)} - {*listed, *_OWN})


def _files(package: Path) -> Iterator[str]:
    for folder, folders, names in os.walk(package, onerror=_cannot_look):
        links = [name for name in folders if Path(folder, name).is_symlink()]
        for name in (*names, *links):
            if name not in LEFT_BY_SYSTEMS and not name.startswith(STAGING_PREFIX):
                yield Path(folder, name).relative_to(package).as_posix()


def _cannot_look(error: OSError) -> None:
    raise error


def _something_else(destination: Path) -> ConfigError:
    return ConfigError(
        f"{destination} holds something else than a package.",
        hint="Choose a folder that does not exist; edgegen only replaces packages of its own.",
    )
