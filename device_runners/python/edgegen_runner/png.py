"""Writes PNG images, 8-bit gray and RGB, with numpy and zlib.

Source: Portable Network Graphics (PNG) Specification, third edition, W3C
(https://www.w3.org/TR/png-3/).
"""

from __future__ import annotations

import secrets
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER = struct.Struct(
    ">IIBBBBB"
)  # width, height, bit depth, colour type, compression, filter, interlace
_CHANNELS_COLOUR_TYPE = {1: 0, 3: 2}
_SUB, _UP = 1, 2
_COMPRESSION_LEVEL = 6
_LONGEST_SIDE = 2**31 - 1

NOT_FINITE = "The decoded image holds NaN."
"""What is said of an image that no pixels can show; the host knows it by these words."""


def to_uint8(images: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Turn what a VAE decodes into pixels, as diffusers' ``VaeImageProcessor.postprocess`` does.

    Takes floats (batch, channels, height, width), clipped to [-1, 1]; returns (batch, height,
    width, channels). Raises ValueError for another number of axes, and for NaN, which no pixel can
    show.
    """
    if images.ndim != 4:
        raise ValueError(f"Expected images (batch, channels, height, width), not {images.shape}.")
    images = images.astype(np.float32)
    if np.isnan(images).any():
        raise ValueError(NOT_FINITE)
    pixels = np.clip(images * np.float32(0.5) + np.float32(0.5), 0, 1) * np.float32(255)
    return np.ascontiguousarray(np.rint(pixels).astype(np.uint8).transpose(0, 2, 3, 1))


def to_float32(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return pixels in the range of images, −1…1."""
    return pixels.astype(np.float32) / np.float32(127.5) - np.float32(1)


def encode_png(image: NDArray[np.uint8], text: Mapping[str, str] | None = None) -> bytes:
    """Return a PNG file of uint8 pixels (height, width, 3 or 1), and text such as the prompt.

    The same image and text give the same bytes with the same zlib. Raises ValueError for other
    shapes and types, and for text that PNG cannot hold.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in _CHANNELS_COLOUR_TYPE:
        raise ValueError(
            f"Expected uint8 pixels (height, width, 3 or 1), not {image.dtype} {image.shape}."
        )
    height, width, channels = image.shape
    if not (0 < height <= _LONGEST_SIDE and 0 < width <= _LONGEST_SIDE):
        raise ValueError(f"PNG has no image of {width} x {height} pixels.")
    header = _HEADER.pack(width, height, 8, _CHANNELS_COLOUR_TYPE[channels], 0, 0, 0)
    chunks = [_chunk(b"IHDR", header)]
    chunks += [_text_chunk(keyword, value) for keyword, value in (text or {}).items()]
    chunks += [
        _chunk(b"IDAT", zlib.compress(_filtered(image), _COMPRESSION_LEVEL)),
        _chunk(b"IEND", b""),
    ]
    return _SIGNATURE + b"".join(chunks)


def write_png(path: Path, image: NDArray[np.uint8], text: Mapping[str, str] | None = None) -> None:
    """Write a PNG file of uint8 pixels (height, width, 3 or 1), whole or not at all.

    Raises ValueError as ``encode_png`` does, and OSError when the folder cannot be written.
    """
    data = encode_png(image, text)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:  # through no link that somebody has put there
            file.write(data)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _text_chunk(keyword: str, value: str) -> bytes:
    """Return a tEXt chunk for what Latin-1 can spell in print, an iTXt chunk for the rest."""
    if (
        not 1 <= len(keyword) <= 79
        or not _is_printable_latin_1(keyword)
        or keyword != " ".join(keyword.split())
    ):
        raise ValueError(
            f"{keyword!r} is no PNG keyword: 1 to 79 printable Latin-1 characters, single spaces."
        )
    if "\0" in value:
        raise ValueError(
            f"The text of {keyword!r} holds a zero character, which ends a text in PNG."
        )
    if _is_printable_latin_1(value.replace("\n", "")):
        return _chunk(b"tEXt", keyword.encode("latin-1") + b"\0" + value.encode("latin-1"))
    # After the keyword: not compressed, method 0, no language, no translated keyword.
    return _chunk(b"iTXt", keyword.encode("latin-1") + b"\0\0\0\0\0" + value.encode("utf-8"))


def _is_printable_latin_1(text: str) -> bool:
    return all(" " <= character <= "~" or "\xa1" <= character <= "\xff" for character in text)


def _filtered(image: NDArray[np.uint8]) -> bytes:
    """Return the rows, each as its difference from the left (Sub) or from above (Up).

    The one with the smaller sum of absolute differences is taken, as the specification recommends.
    """
    height = image.shape[0]
    left, above = np.zeros_like(image), np.zeros_like(image)
    left[:, 1:] = image[:, :-1]
    above[1:] = image[:-1]
    differences = np.stack([image - left, image - above])  # uint8 wraps around, as PNG wants
    size = np.abs(differences.view(np.int8).astype(np.int16)).sum(axis=(2, 3), dtype=np.int64)
    best = size.argmin(axis=0)
    rows = np.empty((height, 1 + image[0].size), np.uint8)
    rows[:, 0] = np.where(best == 0, _SUB, _UP)
    rows[:, 1:] = differences[best, np.arange(height)].reshape(height, -1)
    return rows.tobytes()
