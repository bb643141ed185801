"""Finds the folder of a built-in model, and makes it where models share their files.

Of `scenes-4step-tiny`, only the autoencoder is its own: the rest is in the folders of the models
that it shares files with (`BuiltinModel.shares`), which saves 27 MB of what is installed. Its whole
folder, of links, is made in the cache, and made again when edgegen has changed. Every installation
has folders of its own there, named by a hash of where it is; those of one that has moved or gone
stay behind: a few dozen links, or copies where the disk has no links.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path

from edgegen.builtin.models import BUILTIN_MODELS
from edgegen.core.folders import cache_folder
from edgegen.core.staging import staged_folder

PREFIX = "builtin:"
SHIPPED = Path(__file__).with_name("data")

_HASH_DIGITS = 12


def builtin_folder(name: str) -> Path:
    """Return the folder of a built-in model, which has all its files.

    Raises ResourceError where it has to be made, and the cache cannot be written.
    """
    shipped = SHIPPED.resolve()  # one name, and so one folder, however an installation is reached
    files = _files(shipped, name)
    if all(path.is_relative_to(shipped / name) for path in files.values()):
        return SHIPPED / name
    installation = hashlib.sha256(str(shipped).encode()).hexdigest()[:_HASH_DIGITS]
    folder = cache_folder() / "builtin" / installation / name
    if not _is_current(folder, files):
        with staged_folder(folder, replace=True, setting="EDGEGEN_CACHE_DIR") as staging:
            for relative, path in files.items():
                (staging / relative).parent.mkdir(parents=True, exist_ok=True)
                _link(staging / relative, path)
    return folder


def _files(shipped: Path, name: str) -> Mapping[Path, Path]:
    """Return the path of each file of a model, by its path in the model's folder.

    A component belongs to one model as a whole: a folder that a model has is all its own.
    """
    folder = shipped / name
    own = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
    shares = BUILTIN_MODELS[PREFIX + name].shares
    if shares is None:
        return own
    tops = {relative.parts[0] for relative in own}
    shared = _files(shipped, shares.removeprefix(PREFIX))
    return own | {it: path for it, path in shared.items() if it.parts[0] not in tops}


def _is_current(folder: Path, files: Mapping[Path, Path]) -> bool:
    found = {path.relative_to(folder) for path in folder.rglob("*") if not path.is_dir()}
    return found == files.keys() and all(
        _leads_to(folder / relative, path) for relative, path in files.items()
    )


def _leads_to(place: Path, path: Path) -> bool:
    """Say whether a place is a link to the path, or a copy of it, and as old as the file there."""
    if place.is_symlink() and place.readlink() != path:
        return False
    return _identity(place) == _identity(path)


def _identity(path: Path) -> tuple[int, int] | None:
    """Return size and time of change of what a path leads to; None where it leads nowhere."""
    if not path.exists():
        return None
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _link(place: Path, path: Path) -> None:
    try:
        place.symlink_to(path)
    except OSError:  # Windows, where links are a privilege
        shutil.copy2(path, place)
