"""Reads safetensors files without trusting them, and without holding their tensors.

The format (https://huggingface.co/docs/safetensors): eight bytes with the header's length, little
endian; the header, a JSON object of tensor name → dtype, shape and byte range; then the tensors,
without a gap. Everything that the header says is checked before a byte of a tensor is read.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from edgegen.core.codec import parse_json_object
from edgegen.core.errors import ConfigError, SourceError
from edgegen.core.lfs import refuse_pointer
from edgegen.core.regular_files import open_regular

StoredType = Literal[
    "float64",
    "float32",
    "float16",
    "bfloat16",
    "int64",
    "int32",
    "int16",
    "int8",
    "uint8",
    "bool",
    "float8_e4m3",
    "float8_e5m2",
]

STORED_TYPES: Mapping[str, tuple[StoredType, int]] = {
    "F64": ("float64", 8),
    "F32": ("float32", 4),
    "F16": ("float16", 2),
    "BF16": ("bfloat16", 2),
    "I64": ("int64", 8),
    "I32": ("int32", 4),
    "I16": ("int16", 2),
    "I8": ("int8", 1),
    "U8": ("uint8", 1),
    "BOOL": ("bool", 1),
    "F8_E4M3": ("float8_e4m3", 1),
    "F8_E5M2": ("float8_e5m2", 1),
}
"""The format's name of a type → ours, and its size in bytes."""

MAXIMUM_HEADER_BYTES = 8 << 20
"""SDXL's UNet, of 1,680 tensors, has 0.25 MB. The format allows 100, which take 2 GB to read."""

_MAXIMUM_RANK = 32
_MAXIMUM_DIMENSION = 1 << 62
_AGAIN = "Download or copy the file again; it was cut off or changed."


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorEntry:
    """Where a tensor lies: `size_bytes` from `offset`, counted from the start of `file`."""

    dtype: StoredType
    shape: tuple[int, ...]
    file: Path
    offset: int
    size_bytes: int

    @property
    def elements(self) -> int:
        """Return the number of elements."""
        return math.prod(self.shape)


class Stored(Protocol):
    """Bytes of a file: `size_bytes` from `offset`."""

    @property
    def file(self) -> Path:
        """Return the file."""
        ...

    @property
    def offset(self) -> int:
        """Return where they begin, counted from the start of the file."""
        ...

    @property
    def size_bytes(self) -> int:
        """Return how many they are."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SafetensorsFile:
    """A safetensors file whose header is sound."""

    path: Path
    entries: Mapping[str, TensorEntry]
    metadata: Mapping[str, str]
    size_bytes: int

    @classmethod
    def open(cls, path: Path) -> SafetensorsFile:
        """Read and check the header of `path`.

        Raises SourceError where the file is missing, cut off, longer than its header says, or has
        a header that contradicts itself.
        """
        try:
            refuse_pointer(path)
            with open_regular(path) as file:
                size_bytes = os.fstat(file.fileno()).st_size
                length = int.from_bytes(_read_exactly(file.fileno(), 8, 0, path), "little")
                check_header_length(path, length, size_bytes)
                header = _read_exactly(file.fileno(), length, 8, path)
        except FileNotFoundError as error:
            raise SourceError(
                f"{path} does not exist.", hint="Check the path, or download the model again."
            ) from error
        except OSError as error:
            raise SourceError(
                f"{path} cannot be read: {error.strerror}.", hint="Check the file."
            ) from error
        return cls.parse(path, header, size_bytes)

    @classmethod
    def parse(cls, path: Path, header: bytes, size_bytes: int) -> SafetensorsFile:
        """Check a header that was read elsewhere (by a hub's range request, say).

        `size_bytes` is the size of the whole file. Raises SourceError.
        """
        data = _parse_header(path, header)
        metadata = _metadata(path, data.pop("__metadata__", None))
        start = 8 + len(header)
        entries = {name: _entry(path, name, item, start) for name, item in data.items()}
        end = _check_ranges(path, entries, start)
        if end != size_bytes:
            how = "was cut off" if size_bytes < end else "has bytes that belong to no tensor"
            raise SourceError(
                f"{path} {how}: its header describes {end:,} bytes, the file has {size_bytes:,}.",
                hint=_AGAIN,
            )
        return cls(path=path, entries=entries, metadata=metadata, size_bytes=size_bytes)


def check_header_length(path: Path, length: int, size_bytes: int) -> None:
    """Refuse a header length that the format or the file does not allow. Raises SourceError."""
    if length > MAXIMUM_HEADER_BYTES:
        raise SourceError(
            f"{path} is not a safetensors file that edgegen reads: its header would have "
            f"{length:,} bytes, and the limit is {MAXIMUM_HEADER_BYTES:,}.",
            hint="Check that the file is what its name says.",
        )
    if 8 + length > size_bytes:
        raise SourceError(
            f"{path} was cut off: its header ends at byte {8 + length:,}, "
            f"the file has {size_bytes:,}.",
            hint=_AGAIN,
        )


def read_tensor(entry: Stored, *, again: bool = False) -> bytearray:
    """Read a tensor's bytes, and let the page cache forget them unless they are read `again`.

    The pages never count as this process's memory, as those of a mapped file would.
    Raises SourceError where the file is gone or has become shorter since its header was read.
    """
    data = bytearray(entry.size_bytes)
    view = memoryview(data)
    done = 0
    try:
        with open_regular(entry.file) as file:
            descriptor = file.fileno()
            while done < entry.size_bytes:
                got = os.preadv(descriptor, [view[done:]], entry.offset + done)
                if got == 0:
                    raise SourceError(f"{entry.file} became shorter meanwhile.", hint=_AGAIN)
                done += got
            if not again:
                _forget(descriptor, entry)
    except OSError as error:
        raise SourceError(
            f"{entry.file} cannot be read: {error.strerror}.", hint="Check the file."
        ) from error
    return data


def _forget(descriptor: int, entry: Stored) -> None:
    with contextlib.suppress(AttributeError, OSError):  # not on macOS, nor on every disk
        os.posix_fadvise(descriptor, entry.offset, entry.size_bytes, os.POSIX_FADV_DONTNEED)


def _read_exactly(descriptor: int, size: int, offset: int, path: Path) -> bytes:
    pieces = bytearray()
    while len(pieces) < size:
        piece = os.pread(descriptor, size - len(pieces), offset + len(pieces))
        if not piece:
            raise SourceError(
                f"{path} was cut off: it has {offset + len(pieces):,} bytes, "
                f"its header needs {offset + size:,}.",
                hint=_AGAIN,
            )
        pieces += piece
    return bytes(pieces)


def _parse_header(path: Path, header: bytes) -> dict[str, Any]:
    try:
        return parse_json_object(header.decode("utf-8"), source=f"The header of {path}")
    except (UnicodeDecodeError, ConfigError) as error:
        raise SourceError(
            f"{path} is not a safetensors file: {error}",
            hint="Check that the file is what its name says, or download it again.",
        ) from error


def _metadata(path: Path, data: object) -> Mapping[str, str]:
    if data is None:
        return {}
    if not isinstance(data, dict) or not all(isinstance(item, str) for item in data.values()):
        raise _broken(path, "its '__metadata__' is not a table of strings")
    return data


def _entry(path: Path, name: str, item: object, start: int) -> TensorEntry:
    if not isinstance(item, dict) or set(item) != {"dtype", "shape", "data_offsets"}:
        raise _broken(path, f"tensor {name!r} does not have a dtype, a shape and data_offsets")
    dtype, element_bytes = _stored_type(path, name, item["dtype"])
    shape, offsets = item["shape"], item["data_offsets"]
    if (
        not isinstance(shape, list)
        or len(shape) > _MAXIMUM_RANK
        or not all(type(size) is int and 0 <= size < _MAXIMUM_DIMENSION for size in shape)
    ):
        raise _broken(path, f"tensor {name!r} has the shape {_short(shape)}")
    if (
        not isinstance(offsets, list)
        or len(offsets) != 2
        or not all(type(offset) is int for offset in offsets)
        or not 0 <= offsets[0] <= offsets[1]
    ):
        raise _broken(path, f"tensor {name!r} has the offsets {_short(offsets)}")
    begin, end = offsets
    if end - begin != math.prod(shape) * element_bytes:
        raise _broken(
            path,
            f"tensor {name!r} of {item['dtype']} {_short(shape)} needs "
            f"{_short(math.prod(shape) * element_bytes)} bytes, "
            f"its offsets give {_short(end - begin)}",
        )
    return TensorEntry(
        dtype=dtype, shape=tuple(shape), file=path, offset=start + begin, size_bytes=end - begin
    )


def _stored_type(path: Path, name: str, dtype: object) -> tuple[StoredType, int]:
    if isinstance(dtype, str) and dtype in STORED_TYPES:
        return STORED_TYPES[dtype]
    if isinstance(dtype, str) and dtype.startswith(("F8", "F6", "F4", "C64")):
        raise SourceError(
            f"{path}: tensor {name!r} is stored as {dtype}, which edgegen does not read.",
            hint="Take the fp16, bf16 or fp32 weights of this model.",
        )
    known = ", ".join(STORED_TYPES)
    raise SourceError(
        f"{path}: tensor {name!r} has the unknown type {_short(dtype)}.",
        hint=f"edgegen reads {known}. Save the model again with one of them.",
    )


def _check_ranges(path: Path, entries: Mapping[str, TensorEntry], start: int) -> int:
    """Check that the tensors follow one another; return where the last one ends."""
    end, last = start, "the header"
    for name, entry in sorted(
        entries.items(), key=lambda item: (item[1].offset, item[1].size_bytes)
    ):
        if entry.offset != end:
            what = "overlaps" if entry.offset < end else "leaves a gap after"
            raise _broken(path, f"tensor {name!r} {what} {last}")
        end, last = entry.offset + entry.size_bytes, f"tensor {name!r}"
    return end


def _short(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:  # an integer of thousands of digits
        text = "a very large number"
    return text if len(text) <= 80 else f"{text[:77]}..."


def _broken(path: Path, why: str) -> SourceError:
    return SourceError(f"The header of {path} is broken: {why}.", hint=_AGAIN)
