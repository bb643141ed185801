"""Reads the pictures that a runner wrote."""

from __future__ import annotations

from pathlib import Path

from edgegen_runner.png_reader import MOST_PIXELS, Pixels, read_png

from edgegen.core.errors import RunnerError

__all__ = ["MOST_PIXELS", "Pixels", "read_pixels"]

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
