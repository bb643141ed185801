"""Lists the files that an ONNX model keeps its weights in, from the bytes of the model alone.

Reads protobuf's wire format (https://protobuf.dev/programming-guides/encoding/) with the field
numbers of onnx.proto, and skips what it does not need: no toolkit is imported, no weight is read.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from pathlib import Path

from edgegen.core.errors import IntegrityError
from edgegen.core.regular_files import open_regular

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MAXIMUM_DEPTH = 64

_TENSOR, _SPARSE, _GRAPH, _NODE, _ATTRIBUTE, _FUNCTION, _TRAINING = range(7)
_MODEL = 7
_ENTRY = 8

_CHILDREN: Mapping[int, Mapping[int, int]] = {
    _MODEL: {7: _GRAPH, 20: _TRAINING, 25: _FUNCTION},
    _TRAINING: {1: _GRAPH, 2: _GRAPH},
    _GRAPH: {1: _NODE, 5: _TENSOR, 15: _SPARSE},
    _FUNCTION: {7: _NODE, 11: _ATTRIBUTE},
    _NODE: {5: _ATTRIBUTE},
    _ATTRIBUTE: {5: _TENSOR, 6: _GRAPH, 10: _TENSOR, 11: _GRAPH, 22: _SPARSE, 23: _SPARSE},
    _SPARSE: {1: _TENSOR, 2: _TENSOR},
    _TENSOR: {13: _ENTRY},
}
"""Message → field → message of the fields that lead to a TensorProto's external data."""


def external_locations(model: Path) -> tuple[str, ...]:
    """Return the locations that an ONNX model's tensors name, each once, in order of name.

    They are what the file says, and are not trusted. Raises IntegrityError where the file is no
    protobuf message.
    """
    if model.stat().st_size == 0:
        raise IntegrityError(f"{model} is empty.", hint="Build or copy the package again.")
    with (
        open_regular(model) as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
    ):
        try:
            return tuple(sorted(set(_locations(data, 0, len(data), _MODEL, 0))))
        except ValueError as error:
            raise IntegrityError(
                f"{model} is no ONNX model: {error}.", hint="Build or copy the package again."
            ) from error


def _locations(data: mmap.mmap, start: int, end: int, kind: int, depth: int) -> Iterator[str]:
    if depth > _MAXIMUM_DEPTH:
        raise ValueError("its graphs are nested too deeply")
    children = _CHILDREN[kind]
    for field, first, last in _fields(data, start, end):
        child = children.get(field)
        if child == _ENTRY:
            entry = {number: data[at:to] for number, at, to in _fields(data, first, last)}
            if entry.get(1) == b"location":
                yield entry.get(2, b"").decode("utf-8")
        elif child is not None:
            yield from _locations(data, first, last, child, depth + 1)


def _fields(data: mmap.mmap, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield the length-delimited fields of a message: number, first byte, end."""
    at = start
    while at < end:
        tag, at = _varint(data, at, end)
        kind = tag & 7
        if kind == _VARINT:
            _, at = _varint(data, at, end)
        elif kind == _FIXED64:
            at += 8
        elif kind == _FIXED32:
            at += 4
        elif kind == _BYTES:
            size, at = _varint(data, at, end)
            if size > end - at:
                raise ValueError("a field is longer than its message")
            yield tag >> 3, at, at + size
            at += size
        else:
            raise ValueError(f"wire type {kind}")
    if at != end:
        raise ValueError("a field is longer than its message")


def _varint(data: mmap.mmap, at: int, end: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= end:
            raise ValueError("it was cut off")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number is too long")
