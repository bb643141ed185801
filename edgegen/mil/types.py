"""The types of numbers in a program, and in a file of weights.

Source: coremltools, `mlmodel/format/MIL.proto` (`DataType`) and `MILBlob/Blob/BlobDataType.hpp`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

TypeName = Literal[
    "bool",
    "string",
    "fp16",
    "fp32",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "int4",
    "uint1",
    "uint2",
    "uint3",
    "uint4",
    "uint6",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberType:
    """A type of numbers.

    `proto` is its number in a program, `blob` in a file of weights (None where those cannot hold
    it). `numpy` is the type that holds one number; `bits` is how many one takes in a file.
    """

    proto: int
    blob: int | None
    numpy: np.dtype[Any]
    bits: int

    @property
    def is_packed(self) -> bool:
        """Whether a number takes less than a byte."""
        return self.bits < 8


def _type(proto: int, blob: int | None, numpy: str, bits: int | None = None) -> NumberType:
    dtype = np.dtype(numpy)
    return NumberType(proto=proto, blob=blob, numpy=dtype, bits=bits or 8 * dtype.itemsize)


TYPES: Mapping[TypeName, NumberType] = {
    "bool": _type(1, None, "?"),
    "string": _type(2, None, "O", 8),
    "fp16": _type(10, 1, "<f2"),
    "fp32": _type(11, 2, "<f4"),
    "int8": _type(21, 4, "i1"),
    "int16": _type(22, 6, "<i2"),
    "int32": _type(23, 14, "<i4"),
    "int64": _type(24, None, "<i8"),
    "int4": _type(25, 8, "i1", 4),
    "uint8": _type(31, 3, "u1"),
    "uint16": _type(32, 7, "<u2"),
    "uint32": _type(33, 15, "<u4"),
    "uint64": _type(34, None, "<u8"),
    "uint4": _type(35, 11, "u1", 4),
    "uint2": _type(36, 10, "u1", 2),
    "uint1": _type(37, 9, "u1", 1),
    "uint6": _type(38, 13, "u1", 6),
    "uint3": _type(39, 12, "u1", 3),
}

NAMES: Mapping[int, TypeName] = {kind.proto: name for name, kind in TYPES.items()}
"""A type's number in a program -> its name."""

FEATURE_TYPES: Mapping[TypeName, int] = {"fp32": 65568, "fp16": 65552, "int32": 131104}
"""What an array that goes in or comes out may be (`ArrayFeatureType.ArrayDataType`)."""

BY_DTYPE: Mapping[np.dtype[Any], TypeName] = {
    kind.numpy: name
    for name, kind in TYPES.items()
    if not kind.is_packed and name not in ("string",)
}


def pack_bits(numbers: NDArray[np.integer[Any]], bits: int) -> NDArray[np.uint8]:
    """Pack numbers of `bits` (1, 2, 3, 4, 6 or 8) from each byte's lowest bit on.

    Negative numbers are taken in two's complement. The last byte is filled with zeros. Returns a
    vector of ⌈n × bits / 8⌉ bytes.
    """
    flat = np.ascontiguousarray(numbers).reshape(-1).view(np.uint8)
    if bits == 8:
        return flat
    size = -(-len(flat) * bits // 8)
    padded = np.zeros(-(-len(flat) // 8) * 8, np.uint8)
    np.bitwise_and(flat, (1 << bits) - 1, out=padded[: len(flat)])
    groups = padded.reshape(-1, 8)
    # Eight numbers are `bits` whole bytes.
    words = np.zeros(len(groups), np.uint64)
    for index in range(8):
        words |= groups[:, index].astype(np.uint64) << np.uint64(bits * index)
    octets = words.astype("<u8").view(np.uint8).reshape(-1, 8)[:, :bits]
    return np.ascontiguousarray(octets).reshape(-1)[:size]


def unpack_bits(
    data: NDArray[np.uint8], count: int, bits: int, *, is_signed: bool = False
) -> NDArray[Any]:
    """Return `count` numbers that `pack_bits` packed, as uint8 or, signed, as int8."""
    padded = np.zeros(-(-count // 8) * bits, np.uint8)
    padded[: len(data)] = data[: len(padded)]
    words = np.zeros((len(padded) // bits, 8), np.uint8)
    words[:, :bits] = padded.reshape(-1, bits)
    wide = words.view("<u8").reshape(-1)
    mask = np.uint64((1 << bits) - 1)
    numbers = np.empty((len(wide), 8), np.uint8)
    for index in range(8):
        numbers[:, index] = (wide >> np.uint64(bits * index) & mask).astype(np.uint8)
    flat = numbers.reshape(-1)[:count]
    if not is_signed:
        return flat
    shift = 8 - bits
    return (flat << shift).view(np.int8) >> shift
