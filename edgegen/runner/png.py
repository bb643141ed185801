"""Reads the PNG files that edgegen's own runner writes: what a user sees is what is compared.

Eight bits, gray or RGB, not interlaced, rows stored as they are or as their difference from the
left or from above (https://www.w3.org/TR/png-3/, filter types 0 to 2). Nothing else is read.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgegen.core.errors import RunnerError

Pixels = npt.NDArray[np.uint8]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3}
_SUB, _UP = 1, 2
MOST_PIXELS = 8192 * 8192
"""No picture that the runner draws is larger."""


def read_pixels(path: Path) -> Pixels:
    """Return the pixels of a PNG file that the runner wrote, (height, width, 1 or 3).

    Raises RunnerError where it is anything else.
    """
    try:
        return _decode(path.read_bytes())
    except (OSError, ValueError, KeyError, struct.error, zlib.error) as error:
        raise RunnerError(
            f"The image {path} is not what the runner writes: {error}.",
            hint="Draw it again; if it stays so, check the disk that it was written to.",
        ) from error


def _decode(data: bytes) -> Pixels:
    if not data.startswith(_SIGNATURE):
        raise ValueError("no PNG signature")
    at, header, compressed = len(_SIGNATURE), b"", b""
    while at < len(data):
        (size,) = struct.unpack_from(">I", data, at)
        kind, content = data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        header = content if kind == b"IHDR" else header
        compressed += content if kind == b"IDAT" else b""
        at += size + 12
    width, height, depth, colour, *methods = struct.unpack(">IIBBBBB", header)
    channels = _CHANNELS[colour]
    if depth != 8 or any(methods):
        raise ValueError(f"bit depth {depth}, methods {methods}")
    if not 0 < width * height <= MOST_PIXELS:
        raise ValueError(f"{width} × {height} pixels")
    limit = height * (1 + width * channels)
    rows = zlib.decompressobj().decompress(compressed, limit + 1)
    if len(rows) != limit:
        raise ValueError("too few or too many pixels")
    filtered = np.frombuffer(rows, np.uint8).reshape(height, 1 + width * channels)
    return _unfiltered(filtered[:, 0], filtered[:, 1:].reshape(height, width, channels))


def _unfiltered(filters: npt.NDArray[np.uint8], filtered: Pixels) -> Pixels:
    pixels = np.array(filtered)
    for row, kind in enumerate(filters.tolist()):
        if kind == _SUB:
            np.add.accumulate(filtered[row], axis=0, dtype=np.uint8, out=pixels[row])
        elif kind == _UP and row:
            pixels[row] += pixels[row - 1]
        elif kind > _UP:
            raise ValueError(f"filter type {kind}")
    return pixels
