"""Reads PNG images of every kind with numpy and zlib, as Pillow reads them.

Source: Portable Network Graphics (PNG) Specification, third edition, W3C
(https://www.w3.org/TR/png-3/): bit depths 1 to 16, gray, colour, palette, transparency, Adam7
interlace. Where the specification leaves a choice, or Pillow makes another, it is Pillow's, because
diffusers reads pictures with it: of 16 bits the upper 8 count, but gray of 16 bits is cut off at
255; colours beyond the palette are black; gamma and colour profiles change nothing.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

import numpy as np
from numpy.typing import NDArray

from .files import open_regular
from .orientation import find_orientation, turned

Pixels = NDArray[np.uint8]

MOST_PIXELS = 1 << 26
"""A picture of 8192 × 8192 pixels; reading one takes up to 1 GB."""

_LARGEST_FILE_BYTES = 1 << 29
_PIECE_BYTES = 1 << 20
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER = struct.Struct(">IIBBBBB")
_GRAY, _COLOUR, _PALETTE, _GRAY_ALPHA, _COLOUR_ALPHA = 0, 2, 3, 4, 6
_CHANNELS = {_GRAY: 1, _COLOUR: 3, _PALETTE: 1, _GRAY_ALPHA: 2, _COLOUR_ALPHA: 4}
_DEPTHS = {
    _GRAY: (1, 2, 4, 8, 16),
    _COLOUR: (8, 16),
    _PALETTE: (1, 2, 4, 8),
    _GRAY_ALPHA: (8, 16),
    _COLOUR_ALPHA: (8, 16),
}
_SUB, _UP, _AVERAGE, _PAETH = 1, 2, 3, 4
_ADAM7 = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
"""First column and row, and the steps to the next, of each pass."""


_Samples = Callable[["_Header", Pixels, int, int], NDArray[Any]]
"""Reads the samples of a part of a picture."""


@dataclass(frozen=True)
class _Header:
    width: int
    height: int
    depth: int
    colour_type: int
    interlaced: bool

    @property
    def bits(self) -> int:
        """Return the bits of a pixel."""
        return self.depth * _CHANNELS[self.colour_type]

    def passes(self) -> Iterator[tuple[slice, slice, int, int]]:
        """Yield where the rows and columns of each part go, and its height and width."""
        for left, top, across, down in _ADAM7 if self.interlaced else ((0, 0, 1, 1),):
            height = -(-(self.height - top) // down)
            width = -(-(self.width - left) // across)
            if height > 0 and width > 0:
                yield slice(top, None, down), slice(left, None, across), height, width


def read_png(path: Path) -> Pixels:
    """Read a file as (height, width, channels), turned as its EXIF orientation says.

    Channels are 1 (gray), 2 (gray, alpha), 3 (RGB) or 4 (RGB, alpha). Raises ValueError where the
    file is broken or too large, and OSError where it cannot be read.
    """
    return _read(path, _samples)


def read_deep_png(path: Path) -> NDArray[Any]:
    """Read a file as `read_png` does, but 16 bits as uint16, all of them.

    Raises what `read_png` raises.
    """
    return _read(path, _deep_samples)


def _read(path: Path, samples: _Samples) -> NDArray[Any]:
    with open_regular(path) as file:
        data = file.read(_LARGEST_FILE_BYTES + 1)
    try:
        if len(data) > _LARGEST_FILE_BYTES:
            raise ValueError(f"it is larger than {_LARGEST_FILE_BYTES >> 20} MiB.")
        return _decode(data, samples)
    except ValueError as error:
        raise ValueError(f"{path} cannot be read as PNG: {error}") from error


def _decode(data: bytes, samples: _Samples) -> NDArray[Any]:
    chunks = list(_chunks(data))
    header = _read_header(*chunks[0])
    for kind, _ in chunks[1:]:
        # An upper-case first letter marks a chunk that a reader must understand.
        if kind[:1].isupper() and kind not in (b"IDAT", b"IEND", b"PLTE"):
            raise ValueError(f"it has an unexpected {kind!r} chunk.")
    stream = [content for kind, content in chunks if kind == b"IDAT"]
    rows = _decompressed(stream, sum(h * _row_bytes(header, w) for *_, h, w in header.passes()))
    shape = (header.height, header.width, _CHANNELS[header.colour_type])
    deep = header.depth == 16 and samples is _deep_samples
    pixels: NDArray[Any] = np.empty(shape, np.uint16 if deep else np.uint8)
    start = 0
    for down, across, height, width in header.passes():
        size = height * _row_bytes(header, width)
        pixels[down, across] = samples(header, rows[start : start + size], height, width)
        start += size
    if header.colour_type == _PALETTE:
        pixels = _palette(chunks)[pixels[:, :, 0]]
    return turned(pixels, find_orientation(chunks))


def _chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Yield the chunks up to IEND, as kind and content."""
    if not data.startswith(_SIGNATURE):
        raise ValueError("it does not start with the PNG signature.")
    view = memoryview(data)
    position, kind = len(_SIGNATURE), b""
    while kind != b"IEND":
        if position + 12 > len(data):
            raise ValueError("it is cut off.")
        (length,) = struct.unpack_from(">I", data, position)
        end = position + 8 + length
        if end + 4 > len(data):
            raise ValueError("it is cut off.")
        kind = data[position + 4 : position + 8]
        if struct.unpack_from(">I", data, end) != (zlib.crc32(view[position + 4 : end]),):
            raise ValueError(f"the checksum of its {kind!r} chunk is wrong.")
        yield kind, view[position + 8 : end]
        position = end + 4


def _read_header(kind: bytes, content: memoryview) -> _Header:
    if kind != b"IHDR" or len(content) != _HEADER.size:
        raise ValueError("it does not start with a header.")
    width, height, depth, colour_type, compression, filtering, interlace = _HEADER.unpack(content)
    if not width or not height:
        raise ValueError(f"it has {width} x {height} pixels.")
    if width * height > MOST_PIXELS:
        raise ValueError(
            f"it has {width} x {height} pixels, more than {MOST_PIXELS:,}: make it smaller."
        )
    if depth not in _DEPTHS.get(colour_type, ()) or compression or filtering or interlace > 1:
        raise ValueError(
            f"PNG has no bit depth {depth} with colour type {colour_type}, compression "
            f"{compression}, filter method {filtering} and interlace {interlace}."
        )
    return _Header(width, height, depth, colour_type, bool(interlace))


def _row_bytes(header: _Header, width: int) -> int:
    """Return the bytes of a row: its filter's type, then its pixels."""
    return 1 + (width * header.bits + 7) // 8


def _decompressed(stream: list[memoryview], size: int) -> Pixels:
    """Return what a compressed stream holds, which must be as many bytes as the pixels take."""
    rows: Pixels = np.empty(size, np.uint8)
    decompressor, filled = zlib.decompressobj(), 0
    try:
        for content in stream:
            left: Any = content
            while len(left) and not decompressor.eof:
                piece = decompressor.decompress(left, _PIECE_BYTES)
                left = decompressor.unconsumed_tail
                if filled + len(piece) > size:
                    raise ValueError("it holds too many pixels.")
                rows[filled : filled + len(piece)] = np.frombuffer(piece, np.uint8)
                filled += len(piece)
    except zlib.error as error:
        raise ValueError(f"its pixels cannot be decompressed: {error}.") from error
    if filled != size or not decompressor.eof:
        raise ValueError("it holds too few pixels.")
    return rows


def _samples(header: _Header, rows: Pixels, height: int, width: int) -> Pixels:
    """Return the samples of a part of the picture, (height, width, channels), in 8 bits.

    Those of a palette are its indices.
    """
    depth, channels = header.depth, _CHANNELS[header.colour_type]
    rows = rows.reshape(height, -1)
    _unfilter(rows, max(1, header.bits // 8))
    if depth == 8:
        return rows[:, 1:].reshape(height, width, channels)
    if depth == 16:
        pairs = rows[:, 1:].reshape(height, width, channels, 2)
        if header.colour_type != _GRAY:
            return pairs[..., 0]
        return np.where(pairs[..., 0] > 0, np.uint8(255), pairs[..., 1])
    shifts = np.arange(8 - depth, -1, -depth, dtype=np.uint8)
    parts = (rows[:, 1:, None] >> shifts) & np.uint8((1 << depth) - 1)
    samples: Pixels = parts.reshape(height, -1)[:, :width, None]
    return (
        samples if header.colour_type == _PALETTE else samples * np.uint8(255 // ((1 << depth) - 1))
    )


def _deep_samples(header: _Header, rows: Pixels, height: int, width: int) -> NDArray[Any]:
    """Return the samples of a part of the picture, those of 16 bits in all of them."""
    if header.depth != 16:
        return _samples(header, rows, height, width)
    rows = rows.reshape(height, -1)
    _unfilter(rows, header.bits // 8)
    values = np.ascontiguousarray(rows[:, 1:]).view(">u2").astype(np.uint16)
    return values.reshape(height, width, _CHANNELS[header.colour_type])


def _palette(chunks: list[tuple[bytes, memoryview]]) -> Pixels:
    """Return the 256 colours of a palette, (256, 3), black where it has fewer."""
    colours = b"".join(content for kind, content in chunks if kind == b"PLTE")[: 3 * 256]
    if not colours:
        raise ValueError("it has no palette.")
    return np.frombuffer(colours.ljust(3 * 256, b"\0"), np.uint8).reshape(256, 3)


def _unfilter(rows: Pixels, step: int) -> None:
    """Undo the filter of each row, in place; the type is in its first byte.

    A byte needs the ones ``step`` to its left, above it, and above left, so a diagonal of pixels
    (column + row = constant) can be done at once. Only the last two diagonals are kept, as
    ``[row + 1]``; what lies outside the image is zero there.
    """
    filters = rows[:, 0]
    if filters.max() > _PAETH:
        raise ValueError(f"filter type {filters.max()} does not exist.")
    if not filters.any():
        return
    height, row_bytes = rows.shape
    width = (row_bytes - 1) // step
    current, previous, before = (np.zeros((height + 1, step), np.int16) for _ in range(3))
    for diagonal in range(width + height - 1):
        first, last = max(0, diagonal - width + 1), min(height, diagonal + 1)
        values: Pixels = np.ndarray(
            (last - first, step),
            np.uint8,
            rows,
            first * row_bytes + 1 + (diagonal - first) * step,
            (row_bytes - step, 1),
        )
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
        current[first + 1 : last + 1] = (values + predicted) & 0xFF
        values[:] = current[first + 1 : last + 1]
        current, previous, before = before, current, previous


def _paeth(
    left: NDArray[np.int16], above: NDArray[np.int16], above_left: NDArray[np.int16]
) -> NDArray[np.int16]:
    """Return whichever neighbour is nearest to left + above - above left; ties in this order."""
    to_left, to_above = np.abs(above - above_left), np.abs(left - above_left)
    to_above_left = np.abs(left + above - 2 * above_left)
    nearest = np.where(to_above <= to_above_left, above, above_left)
    return np.where((to_left <= to_above) & (to_left <= to_above_left), left, nearest)
