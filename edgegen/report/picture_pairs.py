"""A package's pictures beside the reference's, read from the folder of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from edgegen.core.codec import load_json
from edgegen.core.errors import ConfigError, IntegrityError
from edgegen.core.evaluation import Evaluation
from edgegen.core.files import inside
from edgegen.core.kept_pictures import FOLDER_NAME, LIST_NAME, KeptPicture, KeptPictures

if TYPE_CHECKING:
    from edgegen_runner.png_reader import Pixels

LARGEST_SIDE = 256
"""Pictures that are wider or taller are shown smaller, in pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two pictures as PNG files, each None where it was not kept or cannot be read."""

    reference: bytes | None = None
    package: bytes | None = None


class Pictures(Protocol):
    """The pictures of an evaluation, by the place of their result in `Evaluation.pictures`."""

    def pair(self, index: int) -> Pair:
        """Return the pictures of one result."""


class NoPictures:
    """The pictures of an evaluation that kept none."""

    def pair(self, index: int) -> Pair:
        """Return a pair without pictures."""
        return Pair()


class PictureFolder:
    """Pictures in the files that `pictures.json` names, in a folder or its folder `pictures`.

    They are read when they are asked for, and made no larger than `LARGEST_SIDE`. What cannot be
    read, or lies elsewhere, was not kept.
    """

    def __init__(self, folder: Path, evaluation: Evaluation) -> None:
        self._folder = folder
        self._suites = [result.suite for result in evaluation.pictures]

    def pair(self, index: int) -> Pair:
        """Return the pictures of one result."""
        folder, listed = self._listed
        kept = listed.get(index)
        if kept is None or kept.suite != self._suites[index]:
            return Pair()
        return Pair(
            reference=_thumbnail_of(folder, kept.reference),
            package=_thumbnail_of(folder, kept.package),
        )

    @cached_property
    def _listed(self) -> tuple[Path, Mapping[int, KeptPicture]]:
        for folder in (self._folder, self._folder / FOLDER_NAME):
            try:
                listed = load_json(KeptPictures, folder / LIST_NAME)
            except ConfigError:  # there is none here
                continue
            return folder, {kept.index: kept for kept in listed.pictures}
        return self._folder, {}


def _thumbnail_of(folder: Path, name: str) -> bytes | None:
    try:
        return thumbnail(inside(folder, name))
    except IntegrityError:
        return None


def thumbnail(path: Path) -> bytes | None:
    """Return a PNG file at most `LARGEST_SIDE` wide and tall, without texts; None if unreadable."""
    from edgegen_runner.png import encode_png
    from edgegen_runner.png_reader import read_png

    try:
        pixels = read_png(path)
    except (OSError, ValueError):
        return None
    if pixels.shape[2] == 4:
        pixels = pixels[..., :3]
    elif pixels.shape[2] == 2:
        pixels = pixels[..., :1]
    return encode_png(reduced(pixels, LARGEST_SIDE))


def reduced(pixels: Pixels, largest_side: int) -> Pixels:
    """Return pixels (height, width, channels), each side at most `largest_side`, by means of areas.

    Smaller pictures stay as they are.
    """
    import numpy as np

    height, width = pixels.shape[:2]
    longest = max(height, width)
    if longest <= largest_side:
        return pixels
    sums = pixels.astype(np.float64)
    counts = []
    for axis, size in ((0, height), (1, width)):
        small = max(1, round(size * largest_side / longest))
        edges = np.arange(small + 1) * size // small
        sums = np.add.reduceat(sums, edges[:-1], axis=axis)
        counts.append(np.diff(edges))
    means = sums / np.multiply.outer(*counts)[:, :, None]
    return np.ascontiguousarray(np.rint(means).astype(np.uint8))
