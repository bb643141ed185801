"""Tells files from what git leaves in their places where git-lfs is not installed."""

from __future__ import annotations

from pathlib import Path

from edgegen.core.errors import SourceError
from edgegen.core.regular_files import open_regular

_BEGINNING = b"version https://git-lfs.github.com/spec/"


def refuse_pointer(path: Path) -> None:
    """Refuse a pointer of git-lfs. Raises SourceError; OSError where the file cannot be read."""
    with open_regular(path) as file:
        beginning = file.read(len(_BEGINNING))
    if beginning == _BEGINNING:
        raise SourceError(
            f"{path} is a pointer of git-lfs: the folder was cloned without the large files.",
            hint="In that folder, run: git lfs install && git lfs pull",
        )
