"""Broken PNG files, as pictures of a user or as answers of a device."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from edgegen_runner.png import encode_png
from edgegen_runner.png_reader import read_png
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.harness import case, fuzzing

WHOLE = encode_png(np.arange(48, dtype=np.uint8).reshape(4, 4, 3))


@st.composite
def spoiled(draw: st.DrawFn) -> bytes:
    data = bytearray(WHOLE)
    for _ in range(draw(st.integers(1, 4))):
        data[draw(st.integers(8, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.integers(0, len(data)))]) if draw(st.booleans()) else bytes(data)


@fuzzing()
@given(data=spoiled() | st.binary(max_size=200).map(WHOLE[:8].__add__))
def test_a_broken_picture_ends_orderly(data: bytes, tmp_path_factory) -> None:
    path: Path = tmp_path_factory.getbasetemp() / "fuzzed.png"
    path.write_bytes(data)
    with case("png", also=(ValueError,)):  # read_png's own, which names the file
        read_png(path)
