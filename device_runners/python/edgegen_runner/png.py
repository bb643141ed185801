"""PNG images with numpy and zlib.

Source: Portable Network Graphics (PNG) Specification, third edition, W3C
(https://www.w3.org/TR/png-3/). Written: 8-bit gray and RGB. Read: 8-bit gray, RGB and RGBA, not
interlaced.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator, Mapping
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
_COLOUR_TYPE_CHANNELS = {0: 1, 2: 3, 6: 4}
_CHANNELS_COLOUR_TYPE = {1: 0, 3: 2}
_SUB, _UP, _AVERAGE, _PAETH = 1, 2, 3, 4
_COMPRESSION_LEVEL = 6
_LONGEST_SIDE = 2**31 - 1


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
        raise ValueError("The decoded image holds NaN.")
    pixels = np.clip(images * np.float32(0.5) + np.float32(0.5), 0, 1) * np.float32(255)
    return np.ascontiguousarray(np.rint(pixels).astype(np.uint8).transpose(0, 2, 3, 1))


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
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def read_png(path: Path) -> NDArray[np.uint8]:
    """Read an 8-bit gray, RGB or RGBA file that is not interlaced, as (height, width, 1, 3 or 4).

    Raises ValueError when the file is broken or of another kind, and OSError when it cannot be
    read.
    """
    try:
        return _decode(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} cannot be read as PNG: {error}") from error


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


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the chunks up to IEND, as kind and content."""
    if not data.startswith(_SIGNATURE):
        raise ValueError("it does not start with the PNG signature.")
    position, kind = len(_SIGNATURE), b""
    while kind != b"IEND":
        if position + 12 > len(data):
            raise ValueError("it is cut off.")
        (length,) = struct.unpack_from(">I", data, position)
        end = position + 8 + length
        if end + 4 > len(data):
            raise ValueError("it is cut off.")
        kind, content = data[position + 4 : position + 8], data[position + 8 : end]
        if struct.unpack_from(">I", data, end) != (zlib.crc32(kind + content),):
            raise ValueError(f"the checksum of its {kind!r} chunk is wrong.")
        yield kind, content
        position = end + 4


def _decode(data: bytes) -> NDArray[np.uint8]:
    chunks = list(_chunks(data))
    kind, header = chunks[0]
    if kind != b"IHDR" or len(header) != _HEADER.size:
        raise ValueError("it does not start with a header.")
    for kind, _ in chunks[1:]:
        # An upper-case first letter marks a chunk that a reader must understand.
        if kind[:1].isupper() and kind not in (b"IDAT", b"IEND", b"PLTE"):
            raise ValueError(f"it has an unexpected {kind!r} chunk.")
    width, height, depth, colour_type, compression, filtering, interlace = _HEADER.unpack(header)
    if not (0 < width <= _LONGEST_SIDE and 0 < height <= _LONGEST_SIDE):
        raise ValueError(f"it has {width} x {height} pixels.")
    if (
        depth != 8
        or colour_type not in _COLOUR_TYPE_CHANNELS
        or compression
        or filtering
        or interlace
    ):
        raise ValueError(
            f"bit depth {depth}, colour type {colour_type} and interlace {interlace} are not read, "
            "only 8-bit gray, RGB and RGBA without interlace."
        )
    channels = _COLOUR_TYPE_CHANNELS[colour_type]
    size = height * (1 + width * channels)
    decompressor = zlib.decompressobj()
    try:
        pixels = decompressor.decompress(
            b"".join(c for kind, c in chunks if kind == b"IDAT"), size + 1
        )
    except (zlib.error, OverflowError) as error:
        raise ValueError(f"its pixels cannot be decompressed: {error}.") from error
    if len(pixels) != size or not decompressor.eof:
        raise ValueError("it holds too few or too many pixels.")
    rows = np.frombuffer(pixels, np.uint8).reshape(height, 1 + width * channels)
    if rows[:, 0].max() > _PAETH:
        raise ValueError(f"filter type {rows[:, 0].max()} does not exist.")
    return _unfiltered(rows[:, 0], rows[:, 1:].reshape(height, width, channels))


def _unfiltered(filters: NDArray[np.uint8], filtered: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Undo the filter of each row.

    A pixel needs the ones to its left, above it, and above left, so a diagonal (column + row =
    constant) can be done at once. Only the last two diagonals are kept, as ``[row + 1]``; what lies
    outside the image is zero there.
    """
    height, width, channels = filtered.shape
    pixels = np.empty_like(filtered)
    current, previous, before = (np.zeros((height + 1, channels), np.int16) for _ in range(3))
    for diagonal in range(width + height - 1):
        first, last = max(0, diagonal - width + 1), min(height, diagonal + 1)
        rows = np.arange(first, last)
        columns = diagonal - rows
        kind = filters[first:last, None]
        left, above, above_left = (
            previous[first + 1 : last + 1],
            previous[first:last],
            before[first:last],
        )
        predicted = np.where(kind == _SUB, left, 0)
        predicted = np.where(kind == _UP, above, predicted)
        predicted = np.where(kind == _AVERAGE, (left + above) >> 1, predicted)
        predicted = np.where(kind == _PAETH, _paeth(left, above, above_left), predicted)
        current[first + 1 : last + 1] = (filtered[rows, columns] + predicted) & 0xFF
        pixels[rows, columns] = current[first + 1 : last + 1]
        current, previous, before = before, current, previous
    return pixels


def _paeth(
    left: NDArray[np.int16], above: NDArray[np.int16], above_left: NDArray[np.int16]
) -> NDArray[np.int16]:
    """Return whichever neighbour is nearest to left + above - above left; ties in this order."""
    to_left, to_above = np.abs(above - above_left), np.abs(left - above_left)
    to_above_left = np.abs(left + above - 2 * above_left)
    nearest = np.where(to_above <= to_above_left, above, above_left)
    return np.where((to_left <= to_above) & (to_left <= to_above_left), left, nearest)
