"""Which way up a picture is, as Pillow's ``ImageOps.exif_transpose`` finds it.

Source: CIPA DC-008, "Exchangeable image file format", tag 274; Pillow's ``Image.getexif``, which
also takes it from what ImageMagick writes ("Raw profile type exif") and from XMP.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterable
from typing import Optional

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Chunk = tuple[bytes, memoryview]

_ORIENTATION, _SHORT = 274, 3
_LONGEST_TEXT = 1 << 20
_RAW_PROFILE = b"Raw profile type exif"
_XMP = b"XML:com.adobe.xmp"
_XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')


def find_orientation(chunks: Iterable[Chunk]) -> int:
    """Return the orientation that the chunks of a PNG file tell, 1 (upright) where none does."""
    exif: Optional[bytes] = None
    profile: Optional[bytes] = None
    xmp = b""
    for kind, content in chunks:
        if kind == b"eXIf":
            exif = bytes(content)
        elif kind in (b"tEXt", b"zTXt", b"iTXt"):
            keyword, text = _read_text(kind, bytes(content))
            if keyword == _RAW_PROFILE:
                profile = _read_profile(text)
            elif keyword == _XMP:
                xmp = text
    found = _read_exif(profile if exif is None else exif)
    if found is None:
        match = _XMP_ORIENTATION.search(xmp)
        found = int(match[1]) if match else 1
    return found


def turned(pixels: Pixels, orientation: int) -> Pixels:
    """Return a picture (height, width, channels) upright; an unknown orientation is upright."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _read_text(kind: bytes, content: bytes) -> tuple[bytes, bytes]:
    """Return the keyword and the text of a chunk, the text empty where it cannot be read."""
    keyword, _, text = content.partition(b"\0")
    compressed = kind == b"zTXt"
    if compressed:
        text = text[1:]  # the method
    elif kind == b"iTXt":
        compressed = text[:1] == b"\1"
        text = text[2:].partition(b"\0")[2].partition(b"\0")[2]  # after language and translation
    if compressed:
        try:
            text = zlib.decompressobj().decompress(text, _LONGEST_TEXT)
        except zlib.error:
            text = b""
    return keyword, text


def _read_profile(text: bytes) -> bytes:
    """Return the bytes of a profile, which is written in hexadecimal from its fourth line on."""
    try:
        return bytes.fromhex(b"".join(text.split(b"\n")[3:]).decode("ascii"))
    except ValueError:
        return b""


def _read_exif(exif: Optional[bytes]) -> Optional[int]:
    """Return the orientation in the first directory of EXIF data, None where it has none."""
    if exif is None:
        return None
    if exif.startswith(b"Exif\0\0"):
        exif = exif[6:]
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    try:
        if order is None:
            return None
        (directory,) = struct.unpack_from(order + "I", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, directory)
        for index in range(count):
            tag, kind, _, value = struct.unpack_from(
                order + "HHIH", exif, directory + 2 + 12 * index
            )
            if (tag, kind) == (_ORIENTATION, _SHORT):
                return int(value)
    except struct.error:
        return None
    return None
