"""`weight.bin`: the file beside a program that holds its large constants.

Source: coremltools, `mlmodel/src/MILBlob/Blob/StorageFormat.hpp`, version 2. A header of 64 bytes
holds the number of entries. An entry is 64 bytes of metadata, the numbers, and zeros up to the next
multiple of 64; a program names the place of its metadata.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from edgegen.core.errors import IntegrityError
from edgegen.core.files import translate_disk_errors
from edgegen.mil.types import TYPES, TypeName, pack_bits, unpack_bits

ALIGNMENT_BYTES = 64
VERSION = 2
_SENTINEL = 0xDEADBEEF
_HEADER = struct.Struct("<II56x")
_ENTRY = struct.Struct("<IIQQQ32x")
_WRITE_BYTES = 16 << 20


class WeightFileWriter:
    """Writes entries one after the other; nothing of them stays in memory."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._count = 0
        self._position = _HEADER.size
        file.write(bytes(_HEADER.size))

    def add(self, array: NDArray[Any], kind: TypeName) -> int:
        """Append an array's numbers and return the offset by which a program names them."""
        number_type = TYPES[kind]
        if number_type.blob is None:
            raise TypeError(f"a file of weights cannot hold {kind}")
        flat = np.ascontiguousarray(array, number_type.numpy).reshape(-1)
        count = flat.size
        data = pack_bits(flat, number_type.bits) if number_type.is_packed else flat.view(np.uint8)
        offset = self._position
        size = data.nbytes
        padding_bits = 8 * size - count * number_type.bits
        self._file.write(
            _ENTRY.pack(_SENTINEL, number_type.blob, size, offset + _ENTRY.size, padding_bits)
        )
        for start in range(0, size, _WRITE_BYTES):
            self._file.write(data[start : start + _WRITE_BYTES].data)
        behind = -size % ALIGNMENT_BYTES
        self._file.write(bytes(behind))
        self._count += 1
        self._position += _ENTRY.size + size + behind
        return offset

    def finish(self) -> int:
        """Write the header and return the file's size in bytes."""
        self._file.seek(0)
        self._file.write(_HEADER.pack(self._count, VERSION))
        return self._position


@contextmanager
def write_weight_file(path: Path) -> Iterator[WeightFileWriter]:
    """Write a file of weights at `path`."""
    with translate_disk_errors(path.parent), path.open("wb") as file:
        writer = WeightFileWriter(file)
        yield writer
        writer.finish()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    blob_type: int
    size_bytes: int
    start: int


class WeightFile:
    """A file of weights that is mapped: only the pages that are read take memory.

    Raises IntegrityError where the header is not one of version 2.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        size = path.stat().st_size
        if size < _HEADER.size:
            raise self._broken("it is shorter than its header")
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        _, version = _HEADER.unpack_from(self._map)
        if version != VERSION:
            raise self._broken(f"its version is {version}, not {VERSION}")

    def read(self, offset: int, kind: TypeName, shape: Sequence[int]) -> NDArray[Any]:
        """Return an entry's numbers; a view of the file where they are whole bytes.

        Raises IntegrityError where there is no such entry there, or it is cut off.
        """
        number_type = TYPES[kind]
        entry = self._entry(offset)
        count = math.prod(shape)
        if entry.blob_type != number_type.blob:
            raise self._broken(f"the entry at {offset} does not hold {kind}")
        if entry.size_bytes != -(-count * number_type.bits // 8):
            raise self._broken(
                f"the entry at {offset} has {entry.size_bytes} bytes, which are not {count} "
                f"numbers of {kind}"
            )
        if number_type.is_packed:
            data = np.frombuffer(self._map, np.uint8, entry.size_bytes, entry.start)
            is_signed = kind == "int4"
            numbers = unpack_bits(data, count, number_type.bits, is_signed=is_signed)
        else:
            numbers = np.frombuffer(self._map, number_type.numpy, count, entry.start)
        return numbers.reshape(shape)

    def _entry(self, offset: int) -> _Entry:
        size = len(self._map)
        if offset < _HEADER.size or offset % ALIGNMENT_BYTES or offset + _ENTRY.size > size:
            raise self._broken(f"it has no entry at {offset}")
        sentinel, blob_type, size_bytes, start, _ = _ENTRY.unpack_from(self._map, offset)
        if sentinel != _SENTINEL:
            raise self._broken(f"it has no entry at {offset}")
        if start < offset + _ENTRY.size or start + size_bytes > size:
            raise self._broken(f"the entry at {offset} is cut off")
        return _Entry(blob_type=blob_type, size_bytes=size_bytes, start=start)

    def _broken(self, why: str) -> IntegrityError:
        return IntegrityError(
            f"{self.path} is not a whole file of weights: {why}.",
            hint="Copy the package again, or build it again.",
        )
