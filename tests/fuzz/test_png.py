"""Broken PNG files, as pictures of a user or as answers of a device."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from edgegen_runner.images import read_picture, to_gray, to_rgb
from edgegen_runner.png import encode_png
from edgegen_runner.png_reader import read_png
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.harness import case, fuzzing

WHOLE = encode_png(np.arange(48, dtype=np.uint8).reshape(4, 4, 3))
SIGNATURE = WHOLE[:8]


@st.composite
def spoiled(draw: st.DrawFn) -> bytes:
    data = bytearray(WHOLE)
    for _ in range(draw(st.integers(1, 4))):
        data[draw(st.integers(8, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.integers(0, len(data)))]) if draw(st.booleans()) else bytes(data)


def chunk(kind: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


@st.composite
def made_up(draw: st.DrawFn) -> bytes:
    """Draw a file whose checksums are right, so that what they guard is read."""
    side = st.sampled_from((0, 1, 2, 5, 8, 9, 64, 12_000, 2**31 - 1, 2**32 - 1))
    header = struct.pack(
        ">IIBBBBB",
        draw(side),
        draw(side),
        draw(st.sampled_from((1, 2, 4, 8, 16, 3, 0, 255))),
        draw(st.sampled_from((0, 2, 3, 4, 6, 1, 7))),
        draw(st.sampled_from((0, 0, 0, 1))),
        draw(st.sampled_from((0, 0, 0, 1))),
        draw(st.sampled_from((0, 1, 1, 2))),
    )
    rows = bytes([draw(st.integers(0, 5))]) * draw(st.integers(0, 600))
    stream = zlib.compress(rows + draw(st.binary(max_size=100)))
    extra = st.tuples(
        st.sampled_from(
            (b"PLTE", b"tRNS", b"eXIf", b"tEXt", b"zTXt", b"iTXt", b"IDAT", b"IHDR", b"teST")
        ),
        st.binary(max_size=40)
        | st.just(b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n 9\n4949"))
        | st.just(b"II*\0\x08\0\0\0\xff\xff" + struct.pack("<HHIHH", 274, 3, 1, 6, 0))
        | st.just(b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(b'tiff:Orientation="8"')),
    )
    extras = [chunk(kind, content) for kind, content in draw(st.lists(extra, max_size=3))]
    return b"".join(
        [SIGNATURE, chunk(b"IHDR", header), *extras, chunk(b"IDAT", stream), chunk(b"IEND", b"")]
    )


@fuzzing(3)
@given(data=spoiled() | made_up() | st.binary(max_size=200).map(SIGNATURE.__add__))
def test_a_broken_picture_ends_orderly(data: bytes, tmp_path_factory) -> None:
    path: Path = tmp_path_factory.getbasetemp() / "fuzzed.png"
    path.write_bytes(data)
    with case("png", also=(ValueError,)):  # read_png's own, which names the file
        read_png(path)
    with case("png"):
        picture = read_picture(path)
        assert to_rgb(picture).shape == (*picture.shape[:2], 3)
        assert to_gray(picture).shape == (*picture.shape[:2], 1)
