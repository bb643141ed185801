"""Reads the pictures that a runner wrote."""

from __future__ import annotations

import hashlib
from pathlib import Path

from edgegen_runner.png_reader import MOST_PIXELS, Pixels, read_png

from edgegen.core.errors import RunnerError

__all__ = ["MOST_PIXELS", "Pixels", "drawn_pixels", "read_pixels"]

_CHANNELS = (1, 3)


def read_pixels(path: Path) -> Pixels:
    """Return the pixels of a PNG file that a runner wrote, (height, width, 1 or 3).

    Raises RunnerError where it is anything else.
    """
    try:
        pixels = read_png(path)
        if pixels.shape[2] not in _CHANNELS:
            raise ValueError(f"it has {pixels.shape[2]} channels.")
    except (OSError, ValueError) as error:
        raise RunnerError(
            f"The image {path} is not what the runner writes: {error.__cause__ or error}",
            hint="Draw it again; if it stays so, check the disk that it was written to.",
        ) from error
    return pixels


def drawn_pixels(path: str | None, sha256: str | None) -> Pixels:
    """Return the pixels of an image that the runner here reported, (height, width, 1 or 3).

    Raises RunnerError where it drew none, and where the file holds others than it computed.
    """
    if path is None:
        raise RunnerError("The runner made no image.", hint="Pack the runner again.")
    pixels = read_pixels(Path(path))
    if hashlib.sha256(pixels.tobytes()).hexdigest() != sha256:
        raise RunnerError(
            f"{path} does not hold the pixels that the runner computed.",
            hint="Check the disk that holds the temporary folder.",
        )
    return pixels
