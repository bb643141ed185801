"""Broken and hostile headers of safetensors files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from edgegen.models.weights import Weights
from tests.fuzz.harness import case, fuzzing
from tests.fuzz.mutations import mutated

HEADER = {
    "__metadata__": {"format": "pt"},
    "a.weight": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
    "b.bias": {"dtype": "BF16", "shape": [4], "data_offsets": [24, 32]},
    "c": {"dtype": "F8_E4M3", "shape": [8], "data_offsets": [32, 40]},
    "d": {"dtype": "I64", "shape": [], "data_offsets": [40, 48]},
}
DATA = bytes(range(48))


def packed(header: bytes, length: int | None = None) -> bytes:
    size = len(header) if length is None else length
    return (size % (1 << 64)).to_bytes(8, "little") + header + DATA


@st.composite
def files(draw: st.DrawFn) -> bytes:
    header = json.dumps(draw(mutated(HEADER))).encode(errors="surrogatepass")
    content = packed(header, draw(st.none() | st.integers(0, 1 << 64)))
    if draw(st.booleans()):
        content = content[: draw(st.integers(0, len(content)))]
    spoiled = bytearray(content)
    for _ in range(draw(st.integers(0, 3))):
        if spoiled:
            spoiled[draw(st.integers(0, len(spoiled) - 1))] = draw(st.integers(0, 255))
    return bytes(spoiled)


@fuzzing()
@given(content=files())
@example(content=packed(b'{"a": ' + b"[" * 100_000))
@example(content=packed(b'{"a": {"shape": [' + b"9" * 10_000 + b"]}}"))
@example(content=packed(b'{"__metadata__": {"x": "' + b"x" * (90 << 20) + b'"}}'))
@example(content=packed(b"{" + b",".join(b'"%d":0' % n for n in range(600_000)) + b"}"))
def test_a_broken_file_of_weights_ends_orderly(content: bytes, tmp_path_factory: Any) -> None:
    folder: Path = tmp_path_factory.getbasetemp() / "fuzzed_weights"
    folder.mkdir(exist_ok=True)
    (folder / "model.safetensors").write_bytes(content)
    with case("safetensors"):
        weights = Weights.open(folder)
        for key in weights.entries:
            weights.array(key, "float32")
