"""Models that are no diffusers folder as they stand, laid out as one in edgegen's cache.

A layout has configurations and tokenizers as files, and of each component whose weights lie in a
file of another form a note of where: nothing large is copied. Whoever reads a folder reads it, and
`open_weights` finds the weights. Notes are believed in the cache only; in any other folder they
could lead to any file of this machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgegen.core.codec import load_json
from edgegen.core.errors import ConfigError, SourceError
from edgegen.core.folders import cache_folder

NOTE_NAME = "edgegen-layout.json"
VERSION = 1
GGUF_SUFFIX = ".gguf"
CHECKPOINT_SUFFIXES = (".safetensors", GGUF_SUFFIX)
"""Of files that a whole model may lie in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """A component whose weights lie in `file`, which had this size and age when it was read.

    `part` is the network in the file, None where the file is an autoencoder as a whole.
    """

    file: str
    size_bytes: int
    mtime_ns: int
    part: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutNote:
    """What a layout was made of: `name` calls its packages, `form` says what its file is."""

    version: int
    name: str
    form: str | None
    said: tuple[str, ...]
    components: Mapping[str, Noted]


def layouts_folder() -> Path:
    """Return the folder of all layouts; it may not be there."""
    return cache_folder() / "layouts"


def layout_of(folder: Path) -> LayoutNote | None:
    """Return the note of a layout, None for any other folder. Raises SourceError."""
    place = folder.resolve()
    if place.parent != layouts_folder().resolve() or not (place / NOTE_NAME).is_file():
        return None
    try:
        note = load_json(LayoutNote, place / NOTE_NAME)
    except ConfigError as error:
        raise SourceError(error.message, hint=f"Remove {place}, and repeat the command.") from error
    return note


def require_unchanged(noted: Noted) -> Path:
    """Return a noted file. Raises SourceError where it is gone, or another one by now."""
    path = Path(noted.file)
    try:
        status = path.stat()
    except OSError as error:
        raise SourceError(
            f"{path} cannot be read: {error.strerror}.", hint="Check the path of the model's file."
        ) from error
    if (status.st_size, status.st_mtime_ns) != (noted.size_bytes, noted.mtime_ns):
        raise SourceError(
            f"{path} was changed while it was read.", hint="Type the same command again."
        )
    return path
