"""The list of an evaluation's picture files."""

from __future__ import annotations

from dataclasses import dataclass

FOLDER_NAME = "pictures"
"""The folder beside `evaluation.json`."""
LIST_NAME = "pictures.json"
SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptPicture:
    """The files of a picture, beside the list. `index` is its place in the evaluation's."""

    index: int
    suite: str
    number: int
    reference: str
    package: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptPictures:
    """The list of an evaluation's pictures: `pictures.json`."""

    schema_version: int
    pictures: tuple[KeptPicture, ...]
