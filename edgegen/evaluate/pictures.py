"""Keeps an evaluation's pictures: a PNG file each, a list of them, and the worst on one page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgegen_runner.png import encode_png

from edgegen.core.codec import dump_json, load_json
from edgegen.core.errors import ConfigError, IntegrityError
from edgegen.core.evaluation import PictureResult
from edgegen.core.files import inside, translate_disk_errors, write_atomic
from edgegen.core.kept_pictures import LIST_NAME, SCHEMA_VERSION, KeptPicture, KeptPictures
from edgegen.drawer import Pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """The reference's picture and the package's, both uint8 (height, width, 3)."""

    number: int
    result: PictureResult
    reference: Pixels
    package: Pixels


def write_pictures(folder: Path, pairs: Sequence[Pair]) -> None:
    """Write the pictures and the list of them; what an earlier list names is removed first.

    Raises ResourceError.
    """
    with translate_disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _remove_listed(folder)
    kept = []
    for index, pair in enumerate(pairs):
        suite = pair.result.suite
        stem = f"{index}-{_plain(suite)}-{pair.number}"
        names: Mapping[str, Pixels] = {
            f"{stem}-reference.png": pair.reference,
            f"{stem}-package.png": pair.package,
        }
        for name, pixels in names.items():
            with translate_disk_errors(folder):
                (folder / name).write_bytes(encode_png(pixels))
        reference, package = names
        kept.append(
            KeptPicture(
                index=index, suite=suite, number=pair.number, reference=reference, package=package
            )
        )
    listed = KeptPictures(schema_version=SCHEMA_VERSION, pictures=tuple(kept))
    write_atomic(folder / LIST_NAME, dump_json(listed))


def _remove_listed(folder: Path) -> None:
    """Remove the pictures that a list names, after the list: a kill leaves no list of a part."""
    place = folder / LIST_NAME
    try:
        old = load_json(KeptPictures, place).pictures
        paths = [inside(folder, name) for it in old for name in (it.reference, it.package)]
    except (ConfigError, IntegrityError):  # there is none, or it is another program's
        paths = []
    place.unlink(missing_ok=True)
    for path in paths:
        if path.suffix == ".png":
            path.unlink(missing_ok=True)


def _plain(name: str) -> str:
    """Return a suite's name as part of a file's: a suite of the user's may be called anything."""
    return "".join(letter if letter.isalnum() else "-" for letter in name)[:60] or "suite"
