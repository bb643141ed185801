"""A package's pictures beside the reference's, read from the folder of an evaluation."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from edgegen.core.evaluation import Evaluation, PictureResult

if TYPE_CHECKING:
    from edgegen_runner.png_reader import Pixels

LARGEST_SIDE = 256
"""Pictures that are wider or taller are shown smaller, in pixels."""

_NAME = re.compile(r"(?P<suite>[^/]+)-(?P<number>\d{1,6})-(?P<whose>reference|package)\.png")


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
    """Pictures in files `<suite>-<number>-reference.png` and `…-package.png`.

    The number counts a suite's results in `Evaluation.pictures`, from 0; of a suite's name, letters
    and digits are kept. They are read when they
    are asked for, and made no larger than `LARGEST_SIDE`.
    """

    def __init__(self, folder: Path, evaluation: Evaluation) -> None:
        self._folder = folder
        self._names = numbered(evaluation.pictures)

    def pair(self, index: int) -> Pair:
        """Return the pictures of one result."""
        suite, number = self._names[index]
        name = _plain(suite)
        paths = {
            whose: self._files.get((name, number, whose)) for whose in ("reference", "package")
        }
        return Pair(
            **{whose: None if path is None else thumbnail(path) for whose, path in paths.items()}
        )

    @cached_property
    def _files(self) -> Mapping[tuple[str, int, str], Path]:
        found = {}
        for folder in (self._folder, self._folder / "pictures"):
            for path in sorted(folder.glob("*.png")):
                match = _NAME.fullmatch(path.name)
                if match is not None:
                    found[_plain(match["suite"]), int(match["number"]), match["whose"]] = path
        return found


def _plain(suite: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in suite)


def numbered(results: Sequence[PictureResult]) -> tuple[tuple[str, int], ...]:
    """Return each result's suite, and its number among the results of that suite, from 0."""
    counts: dict[str, int] = {}
    names = []
    for result in results:
        names.append((result.suite, counts.get(result.suite, 0)))
        counts[result.suite] = names[-1][1] + 1
    return tuple(names)


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
