"""Reads GGUF files without trusting them: their header here, their blocks by the package `gguf`.

The format (ggml's docs/gguf.md): `GGUF`, the version, how many tensors and entries there are; the
entries, key, type and value; the tensors, name, axes from the innermost, type and offset; then,
from a multiple of `general.alignment` on, their bytes. A quantized row is a whole number of blocks.
"""

from __future__ import annotations

import io
import math
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from edgegen.core.errors import MissingDependencyError, SourceError
from edgegen.core.regular_files import open_regular
from edgegen.models.safetensors import StoredType, TensorEntry

PLAIN: Mapping[int, tuple[StoredType, int]] = {
    0: ("float32", 4),
    1: ("float16", 2),
    24: ("int8", 1),
    25: ("int16", 2),
    26: ("int32", 4),
    27: ("int64", 8),
    28: ("float64", 8),
    30: ("bfloat16", 2),
}
"""Number of a type -> ours, and its size in bytes."""
BLOCKS: Mapping[int, tuple[str, int, int]] = {
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136),
    29: ("IQ1_M", 256, 56),
    34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17),
}
"""Number of a quantized type -> its name, the weights of a block, and its bytes."""

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_ALIGNMENT = "general.alignment"
_ORIGINAL = "comfy.gguf.orig_shape."
"""ComfyUI-GGUF stores tensors whose rows are no whole blocks as rows of 256, and says here what
their shape was."""
_NUMBERS: Mapping[int, str] = {
    0: "<B",
    1: "<b",
    2: "<H",
    3: "<h",
    4: "<I",
    5: "<i",
    6: "<f",
    7: "<?",
    10: "<Q",
    11: "<q",
    12: "<d",
}
_STRING, _ARRAY = 8, 9
_MOST_TENSORS = 100_000
_MOST_ENTRIES = 10_000
_LONGEST_TEXT = 1 << 20
_LONGEST_ARRAY = 1 << 20
_MOST_AXES = 8
_LARGEST_AXIS = 1 << 40
_AGAIN = "Download or copy the file again; it was cut off or changed."


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizedEntry:
    """Where a quantized tensor lies; `dtype` names its type in GGUF, `kind` is that's number."""

    dtype: str
    kind: int
    shape: tuple[int, ...]
    file: Path
    offset: int
    size_bytes: int

    @property
    def elements(self) -> int:
        """Return the number of elements."""
        return math.prod(self.shape)


GgufEntry = TensorEntry | QuantizedEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufFile:
    """A GGUF file whose header is sound. `metadata` are its texts."""

    path: Path
    entries: Mapping[str, GgufEntry]
    metadata: Mapping[str, str]

    @classmethod
    def open(cls, path: Path) -> GgufFile:
        """Read and check the header of `path`. Raises SourceError."""
        try:
            with open_regular(path) as raw, io.BufferedReader(raw) as file:
                size_bytes = os.fstat(raw.fileno()).st_size
                return _read(path, _Cursor(path, file, size_bytes))
        except OSError as error:
            raise SourceError(
                f"{path} cannot be read: {error.strerror}.", hint="Check the file."
            ) from error


def require_gguf() -> None:
    """Raise MissingDependencyError where quantized tensors cannot be read."""
    _package()


def dequantized(entry: QuantizedEntry, data: bytearray) -> NDArray[Any]:
    """Return the float32 values of a quantized tensor. Raises MissingDependencyError."""
    package = _package()
    _, each, block_bytes = BLOCKS[entry.kind]
    rows = entry.shape[0] if entry.shape and entry.elements // entry.shape[0] % each == 0 else 1
    stored = np.frombuffer(data, np.uint8).reshape(rows, -1)
    assert stored.shape[1] % block_bytes == 0
    values: NDArray[Any] = package.quants.dequantize(
        stored, package.GGMLQuantizationType(entry.kind)
    )
    return values.reshape(entry.shape)


def part_of(entry: GgufEntry, shape: tuple[int, ...], index: int, count: int) -> GgufEntry:
    """Return one of `count` equal parts of a tensor's first axis.

    Raises SourceError where a part doesn't begin with a block.
    """
    if isinstance(entry, QuantizedEntry) and entry.elements // count % BLOCKS[entry.kind][1]:
        raise SourceError(
            f"{entry.file}: a tensor of {entry.shape} in {entry.dtype} cannot be taken in {count} "
            "parts.",
            hint="Take the file in another quantization, F16 or Q8_0 say.",
        )
    each = entry.size_bytes // count
    return replace(entry, shape=shape, offset=entry.offset + index * each, size_bytes=each)


def _package() -> Any:
    try:
        import gguf
    except ImportError as error:
        raise MissingDependencyError(
            "Reading a quantized GGUF file needs the package gguf, which is not installed.",
            hint="Run: pip install 'edgegen[gguf]'",
        ) from error
    return gguf


class _Cursor:
    """Reads a header from its start; more than the file has, or than makes sense, is an error."""

    def __init__(self, path: Path, file: BinaryIO, size_bytes: int) -> None:
        self.path, self.size_bytes = path, size_bytes
        self._file = file
        self.at = 0

    def take(self, count: int) -> bytes:
        data = self._file.read(count) if count <= self.size_bytes - self.at else b""
        if len(data) != count:
            raise SourceError(
                f"{self.path} was cut off: its header goes on after {self.size_bytes:,} bytes.",
                hint=_AGAIN,
            )
        self.at += count
        return data

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def count(self, what: str, most: int, form: str = "<Q") -> int:
        value: int = self.number(form)
        if value > most:
            raise self.broken(f"it has {value:,} {what}, and the most that make sense are {most:,}")
        return value

    def text(self) -> str:
        data = self.take(self.count("letters in one text", _LONGEST_TEXT))
        return data.decode("utf-8", errors="replace")

    def value(self, kind: int) -> Any:
        if kind == _STRING:
            return self.text()
        if kind in _NUMBERS:
            return self.number(_NUMBERS[kind])
        if kind != _ARRAY:
            raise self.broken(f"there is no type of value {kind}")
        inner, length = self.number("<I"), self.count("values in one list", _LONGEST_ARRAY)
        if inner == _ARRAY:
            raise self.broken("it has lists in lists")
        return [self.value(inner) for _ in range(length)]

    def broken(self, why: str) -> SourceError:
        return SourceError(f"The header of {self.path} is broken: {why}.", hint=_AGAIN)


def _read(path: Path, cursor: _Cursor) -> GgufFile:
    if cursor.size_bytes < len(_MAGIC) or cursor.take(len(_MAGIC)) != _MAGIC:
        raise SourceError(
            f"{path} is not a GGUF file.", hint="Check that the file is what its name says."
        )
    version = cursor.number("<I")
    if version not in _VERSIONS:
        raise SourceError(
            f"{path} is a GGUF file of version {version}; edgegen reads 2 and 3.",
            hint="Take a file that was made by a current tool, for a little-endian machine.",
        )
    tensors = cursor.count("tensors", _MOST_TENSORS)
    values = {}
    for _ in range(cursor.count("entries", _MOST_ENTRIES)):
        key = cursor.text()
        values[key] = cursor.value(cursor.number("<I"))
    found = {}
    for _ in range(tensors):
        name = cursor.text()
        if name in found:
            raise cursor.broken(f"tensor {name!r:.90} is in it twice")
        axes = [
            cursor.count("numbers in one axis", _LARGEST_AXIS)
            for _ in range(cursor.count("axes of a tensor", _MOST_AXES, "<I"))
        ]
        found[name] = (tuple(reversed(axes)), cursor.number("<I"), cursor.number("<Q"))
    alignment = values.get(_ALIGNMENT, 32)
    if type(alignment) is not int or not 0 < alignment <= 1 << 20:
        raise cursor.broken(f"its alignment is {alignment!r}")
    start = -(-cursor.at // alignment) * alignment
    entries = {
        name: _entry(cursor, name, shape, kind, start + offset, values)
        for name, (shape, kind, offset) in found.items()
    }
    texts = {key: value for key, value in values.items() if isinstance(value, str)}
    return GgufFile(path=path, entries=entries, metadata=texts)


def _entry(
    cursor: _Cursor,
    name: str,
    shape: tuple[int, ...],
    kind: int,
    offset: int,
    values: Mapping[str, Any],
) -> GgufEntry:
    elements = math.prod(shape)
    if kind in PLAIN:
        dtype, element_bytes = PLAIN[kind]
        size_bytes = elements * element_bytes
    elif kind in BLOCKS:
        _, each, block_bytes = BLOCKS[kind]
        if elements % each or (shape and shape[-1] % each):
            raise cursor.broken(f"tensor {name!r:.90} of {shape} has no whole blocks of {each}")
        size_bytes = elements // each * block_bytes
    else:
        raise SourceError(
            f"{cursor.path}: tensor {name!r:.90} has the type {kind}, which edgegen does not read.",
            hint="Take the file in another quantization: Q8_0, Q5_K or F16, say.",
        )
    if offset + size_bytes > cursor.size_bytes:
        raise SourceError(
            f"{cursor.path} was cut off: tensor {name!r:.90} ends at byte "
            f"{offset + size_bytes:,}, the file has {cursor.size_bytes:,}.",
            hint=_AGAIN,
        )
    shape = _original(cursor, name, shape, values)
    if kind in PLAIN:
        return TensorEntry(
            dtype=dtype, shape=shape, file=cursor.path, offset=offset, size_bytes=size_bytes
        )
    return QuantizedEntry(
        dtype=BLOCKS[kind][0],
        kind=kind,
        shape=shape,
        file=cursor.path,
        offset=offset,
        size_bytes=size_bytes,
    )


def _original(
    cursor: _Cursor, name: str, shape: tuple[int, ...], values: Mapping[str, Any]
) -> tuple[int, ...]:
    said = values.get(_ORIGINAL + name)
    if said is None:
        return shape
    if not isinstance(said, list) or not all(type(it) is int and it >= 0 for it in said):
        raise cursor.broken(f"tensor {name!r:.90} had the shape {said!r:.80}")
    if len(said) > _MOST_AXES or math.prod(said) != math.prod(shape):
        raise cursor.broken(f"tensor {name!r:.90} of {shape} had the shape {said!r:.80}")
    return tuple(said)
